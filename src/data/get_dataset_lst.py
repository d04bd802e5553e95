"""The documented path of src/tools/get_dataset_lst.py, which takes its place with the same arguments."""
import os
import sys
from pathlib import Path

if __name__ == "__main__":
    tool = Path(__file__).resolve().parents[1] / "tools" / Path(__file__).name
    os.execv(sys.executable, [sys.executable, str(tool), *sys.argv[1:]])
