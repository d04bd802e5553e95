"""How programs end: what the launcher is told."""
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(("body", "status"), [
    ("return None", 0), ("return 143", 143), ("raise InputError('no data')", 2), ("raise KeyboardInterrupt", 130)])
def test_the_status_is_written_before_python_ends(body, status, tmp_path):
    program = ("from src.command_line import entry_point\nfrom src.contract import InputError\n"
               f"def main():\n    {body}\nentry_point(main)")
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env={"LAUNCH_STATUS_FILE": f"{tmp_path}/0.status"},
                          capture_output=True, text=True)
    assert done.returncode == status
    assert (tmp_path / "0.status").read_text().split()[1] == str(status)


def test_programs_that_a_program_starts_write_none(tmp_path):
    program = ("import os\nfrom src.command_line import entry_point\ndef main():\n"
               "    print(os.environ.get('LAUNCH_STATUS_FILE'), os.getpid())\nentry_point(main)")
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env={"LAUNCH_STATUS_FILE": f"{tmp_path}/0.status"},
                          capture_output=True, text=True)
    variable, pid = done.stdout.split()
    assert variable == "None"
    assert (tmp_path / "0.status").read_text() == f"{pid} 0"


def test_a_status_that_cannot_be_written_changes_nothing():
    program = "from src.command_line import entry_point\nentry_point(lambda: 3)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env={"LAUNCH_STATUS_FILE": "/dev/full"},
                          capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (3, "")


def test_an_unexpected_error_writes_none(tmp_path):
    program = "from src.command_line import entry_point\ndef main():\n    raise ValueError\nentry_point(main)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env={"LAUNCH_STATUS_FILE": f"{tmp_path}/0.status"},
                          capture_output=True, text=True)
    assert done.returncode == 1
    assert list(tmp_path.iterdir()) == []
