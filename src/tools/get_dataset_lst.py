#!/usr/bin/env python3
"""Make gray labels and list files from PASCAL VOC 2012 (with SBD), or from any folder in VOC's layout."""
from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src.command_line import Parser, add_flag, entry_point, number_in
from src.contract import InputError
from src.data.semantic import voc_layout


def main() -> int:
    parser = Parser(description=__doc__)
    add_flag(parser, "data_root", "", "folder with VOCdevkit/VOC2012 and benchmark_RELEASE/dataset, or in VOC's layout")
    add_flag(parser, "out_dir", "", "folder for gray labels and lists where data_root cannot be written to")
    add_flag(parser, "workers", 2, "threads that convert labels", type=number_in(int, 1, 1024))
    args = parser.parse_args()
    if not args.data_root:
        raise InputError("--data_root is missing; give the folder that holds VOCdevkit, or one in VOC's layout")
    for path, lines in voc_layout.make_lists(args.data_root, args.out_dir, args.workers).items():
        print(f"{path}: {lines} lines")
    return 0


if __name__ == "__main__":
    entry_point(main)
