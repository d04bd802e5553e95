"""Write the list of a COCO file's images for offline inference: `list_coco_images.py --ann_file=JSON --out=FILE`.

One file name a line; one that has blanks or starts with a double quote stands in double quotes, where double quotes and
backslashes have a backslash before them.
"""
from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":  # works from any folder, as a file too
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src.config import Parser, add_flag, entry_point
from src.contract import InputError
from src.data.coco_check import read_annotations


def main() -> int:
    parser = Parser(description=__doc__.splitlines()[0])
    add_flag(parser, "ann_file", "", "COCO annotations")
    add_flag(parser, "out", "", "list to write")
    args = parser.parse_args()
    for name in ("ann_file", "out"):
        if not getattr(args, name):
            raise InputError(f"--{name} is missing")
    names = [image["file_name"] for image in read_annotations(args.ann_file)["images"]]
    lines = [quoted(name, args.ann_file) for name in names]
    Path(args.out).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return 0


def quoted(name: str, place: str) -> str:
    """A file name as the first word of a line; InputError where no line can hold it."""
    if not name or "\n" in name or "\0" in name:
        raise InputError(f"{place}: file_name {name!r} cannot stand in a line of a list; rename the image")
    if not name.startswith('"') and not any(map(str.isspace, name)):
        return name
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


if __name__ == "__main__":
    entry_point(main)
