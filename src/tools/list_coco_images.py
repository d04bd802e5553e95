"""Write the list of a COCO file's images for offline inference: `list_coco_images.py --ann_file=JSON --out=FILE`.

Each line has a file name, in double quotes where it contains blanks, and its COCO id.
"""
from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # works from any folder, as a file too
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src.command_line import Parser, add_flag, entry_point
from src.contract import InputError
from src.data.columns import quoted
from src.data.instance.coco_check import is_id
from src.data.instance.coco_index import open_table
from src.files import write_file


def main() -> int:
    parser = Parser(description=__doc__.splitlines()[0])
    add_flag(parser, "ann_file", "", "COCO annotations")
    add_flag(parser, "out", "", "list to write")
    args = parser.parse_args()
    for name in ("ann_file", "out"):
        if not getattr(args, name):
            raise InputError(f"--{name} is missing")
    lines = [column(image.get("file_name"), args.ann_file) + (f" {image['id']}" if is_id(image.get("id")) else "")
             for image in open_table(args.ann_file).images]
    write_file(Path(args.out), "".join(f"{line}\n" for line in lines))
    return 0


def column(name: Any, place: str) -> str:
    """A file name as the first column of a line; InputError, with the place, if a line cannot hold it."""
    try:
        return quoted(name)
    except InputError as error:
        raise InputError(f"{place}: {error}") from None


if __name__ == "__main__":
    entry_point(main)
