#!/usr/bin/env python3
"""Check images with instances, listed in COCO's layout or in a text file, and convert them to MindRecord files."""
from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

if __name__ == "__main__":  # works from any folder, as a file too
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src.command_line import Parser, add_flag, entry_point, number_in
from src.contract import InputError
from src.data.checks import describe_bad
from src.data.decode import Decoding
from src.data.instance.coco import CocoDataset
from src.data.instance.coco_check import RecordCheck
from src.data.instance.coco_layout import coco_layout, image_folder_of
from src.data.instance.target import MAX_CLASSES
from src.data.instance.txt import TxtDataset
from src.data.records import mindrecord
from src.data.records.manifest import Manifest, manifest_path
from src.report.progress_bar import progress_display

log = logging.getLogger(__name__)


def parse_args() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    add_flag(parser, "dataset", "coco", "coco: annotation files in COCO's layout; other: a text file with lines "
             "`path x1,y1,x2,y2,class ...`", choices=("coco", "other"))
    add_flag(parser, "coco_root", "", "coco: folder of the data set")
    add_flag(parser, "data_type", "train2017", "coco: name of the split and of its image folder")
    add_flag(parser, "instance_set", "annotations/instances_{}.json", "coco: annotation file in coco_root; {} is the "
             "data type")
    add_flag(parser, "ann_file", "", "coco: the annotation file, in place of the three flags above")
    add_flag(parser, "coco_classes", "", "names of the classes with commas, background first; coco: none takes all of "
             "the file; other: none names them class_1, ...")
    add_flag(parser, "class_map", "order", "coco: class indices count the categories from 1, or are their ids",
             choices=("order", "id"))
    add_flag(parser, "image_dir", "", "folder that the image paths start from; coco: by default the split's own")
    add_flag(parser, "anno_path", "", "other: the text file")
    add_flag(parser, "num_classes", 0, "other: number of classes, background included, where they have no names")
    add_flag(parser, "dst_path", "", "path of the MindRecord file; shards append their number")
    add_flag(parser, "num_shards", 0, "number of files, 1..1000; 0: one for every 128 MiB",
             type=number_in(int, 0, 1000))
    add_flag(parser, "shuffle", False, "store the records in a random order, fixed by --seed")
    add_flag(parser, "seed", 1, "of --shuffle", type=number_in(int, 0))
    add_flag(parser, "check", "full", "annotations are always checked; full: decode every image; size: compare the "
             "size in its header; none: do not look at images", choices=("full", "size", "none"))
    add_flag(parser, "on_bad", "error", "what bad images and annotations do: error: nothing is written; skip: bad "
             "annotations are left out, and images that are unusable themselves", choices=("error", "skip"))
    add_flag(parser, "exif", "turn", "what training will do with photos that have an EXIF orientation; sizes are "
             "compared accordingly", choices=("turn", "raw"))
    add_flag(parser, "workers", 0, "threads that read and check; 0: one a processor", type=number_in(int, 0, 1024))
    add_flag(parser, "overwrite", False, "replace finished records of other data or other options")
    add_flag(parser, "wait_seconds", 3600.0, "how long to wait for another process that builds the same records",
             type=number_in(float, 0))
    add_flag(parser, "verify", False, "read the records again and compare; without data flags do only that")
    args = parser.parse_args()
    args.coco_classes = tuple(name.strip() for name in args.coco_classes.split(",")) if args.coco_classes else ()
    if not args.dst_path:
        raise InputError("--dst_path is missing; give the path of the MindRecord file, e.g. data/train2017.mindrecord")
    return args


def has_data(args: argparse.Namespace) -> bool:
    return bool(args.coco_root or args.ann_file or args.anno_path)


def open_dataset(args: argparse.Namespace) -> CocoDataset | TxtDataset:
    """The data that the flags name.

    Raises:
        InputError: flags are missing, do not go together, or name unusable data.
    """
    if args.dataset == "other":
        return _text_dataset(args)
    if args.anno_path:
        raise InputError("--anno_path belongs to --dataset=other; set that, or give --coco_root or --ann_file")
    if bool(args.coco_root) == bool(args.ann_file):
        what = "are both given" if args.ann_file else "are missing"
        raise InputError(f"--coco_root and --ann_file {what}; give either the data set's folder or an annotation file")
    if args.coco_root:
        ann_file, image_dir = coco_layout(args.coco_root, args.data_type, args.instance_set)
    else:
        ann_file, image_dir = Path(args.ann_file), image_folder_of(args.ann_file)
    return CocoDataset(ann_file, args.image_dir or image_dir, class_names=args.coco_classes, class_map=args.class_map,
                      on_bad=args.on_bad, how=Decoding(args.exif))


def _text_dataset(args: argparse.Namespace) -> TxtDataset:
    if not (args.anno_path and args.image_dir):
        raise InputError(f"--{'image_dir' if args.anno_path else 'anno_path'} is missing; --dataset=other takes a text "
                         "file and the folder that its paths start from")
    if args.num_classes > MAX_CLASSES:
        raise InputError(f"--num_classes={args.num_classes}: at most {MAX_CLASSES}")
    names = args.coco_classes or ("background", *(f"class_{k}" for k in range(1, args.num_classes)))
    if len(names) < 2 or names[0] != "background" or args.num_classes not in (0, len(names)):
        raise InputError(f"--num_classes={args.num_classes}, --coco_classes={','.join(args.coco_classes)}: give the "
                         "number of classes with background, or their names, background first")
    return TxtDataset(args.anno_path, args.image_dir, class_names=names, on_bad=args.on_bad, how=Decoding(args.exif))


def build(args: argparse.Namespace) -> Manifest:
    dataset = open_dataset(args)
    check = None if args.check == "none" else RecordCheck(args.check, how=Decoding(args.exif))
    options = mindrecord.BuildOptions(
        num_shards=args.num_shards, shuffle=args.seed if args.shuffle else None, on_bad=args.on_bad,
        workers=args.workers, overwrite=args.overwrite, wait_seconds=args.wait_seconds)
    log.info("%s: %d images, classes: %s", dataset.name, len(dataset), ", ".join(dataset.class_names))
    with progress_display() as progress:
        manifest = mindrecord.build(dataset, args.dst_path, options,
                                    check=check, left_out=dataset.bad,
                                    progress=progress)
    if manifest.bad:
        log.warning("%s\nleft out %d bad entries, %d images remain; all of them are in %s", describe_bad(manifest.bad),
                    len(manifest.bad), manifest.records, manifest_path(Path(args.dst_path)))
    return manifest


def main() -> int:
    args = parse_args()
    if has_data(args) or not args.verify:
        manifest = build(args)
        log.info("%s: %d records, %.1f MB in %d files", args.dst_path, manifest.records, manifest.bytes / 1e6,
                 len(manifest.shards))
    if args.verify:
        with progress_display() as progress:
            manifest = mindrecord.verify(args.dst_path, progress=progress)
        log.info("%s: %d records are as they were written", args.dst_path, manifest.records)
    return 0


if __name__ == "__main__":
    entry_point(main)
