"""Generate the practice set: `python -m src.tools.make_sample_set --out=DIR [--seed=1 --train=240 --val=60]`."""
import sys
from pathlib import Path

if __name__ == "__main__":  # works from any folder, as a file too
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src.command_line import Parser, add_flag, entry_point
from src.data.practice.sample_set import write_sample_set


def main() -> None:
    parser = Parser(prog="make_sample_set.py", description="Generate the practice set in VOC and COCO layout.")
    parser.add_argument("--out", required=True, help="folder to make")
    add_flag(parser, "seed", 1, "other seeds draw other pictures")
    add_flag(parser, "train", 240, "number of training images")
    add_flag(parser, "val", 60, "number of held-out images")
    args = parser.parse_args()
    write_sample_set(args.out, seed=args.seed, train=args.train, val=args.val)


if __name__ == "__main__":
    entry_point(main)
