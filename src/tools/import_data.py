"""Import a labelling tool's export: `import_data.py FORMAT SOURCE --to=DIR`, then train on DIR.

FORMAT names the tool or data set, SOURCE is the unpacked folder that it exported. DIR gets COCO's folders (instances)
or VOC's (label maps) with train and val, and `import.json`, which says where each image came from. Nothing is
overwritten, and what is not taken is listed.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __name__ == "__main__":  # works from any folder, as a file too
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src.command_line import Parser, add_flag, entry_point, number_in
from src.contract import InputError
from src.data.importers.pictures import Options
from src.data.importers.run import import_data
from src.data.importers.table import FORMATS


def main() -> int:
    formats = "\n".join(f"  {name:14} {fmt.holds} -> {' or '.join(fmt.layouts)}" for name, fmt in FORMATS.items())
    parser = Parser(prog="import_data.py", description=f"{__doc__}\nformats:\n{formats}",
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("format", metavar="FORMAT", choices=list(FORMATS), help="see above")
    parser.add_argument("source", metavar="SOURCE", help="the unpacked folder that the tool exported")
    add_flag(parser, "to", "", "folder to make")
    add_flag(parser, "layout", "", "coco or voc, where the format can become either; empty: the first one listed above")
    parser.add_argument("--val_share", type=number_in(float, 0, 0.9), default=None,
                        help="share of images for validation, 0 for none (default: the source's own split, else 0.2)")
    add_flag(parser, "group_by", "", "regular expression for the part of an image's path that a group shares (its "
                                     "first group in parentheses, else all of it); a group is not divided")
    add_flag(parser, "near_duplicates", "together", "together: near duplicates and frames of one video are not divided "
             "between train and val; ignore: only identical files", choices=("together", "ignore"))
    add_flag(parser, "seed", 1, "another seed splits differently", type=number_in(int, 0))
    add_flag(parser, "class_names", "", "with commas: objects of these classes alone, in this order; for label maps "
                                        "the names by index")
    add_flag(parser, "attribute", "", "VIA: the region attribute that holds the class")
    add_flag(parser, "exif", "turn", "frame of annotations of photos with an EXIF orientation, where their size does "
             "not tell: turn is upright, raw as stored", choices=("turn", "raw"))
    add_flag(parser, "crowds", "keep", "regions with iscrowd 1: keep leaves them out of training; objects takes each "
             "as an object, for brush masks of CVAT", choices=("keep", "objects"))
    add_flag(parser, "on_bad", "error", "what to do about bad files and entries; skip leaves bad annotations out of "
             "their images, and images that are unusable themselves", choices=("error", "skip"))
    add_flag(parser, "images", "copy", "copy images, or link to them", choices=("copy", "link"))
    args = vars(parser.parse_args())
    name, source, to = (args.pop(key) for key in ("format", "source", "to"))
    if not to:
        raise InputError("--to is missing; name the folder to make")
    if args["layout"] not in ("", "coco", "voc"):
        raise InputError(f"--layout={args['layout']}: there are coco and voc")
    args["class_names"] = tuple(word.strip() for word in args["class_names"].split(",") if word.strip())
    print(import_data(name, source, to, Options(**args)))
    return 0


if __name__ == "__main__":
    entry_point(main)
