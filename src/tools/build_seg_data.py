#!/usr/bin/env python3
"""Check a list of images and labels and convert it to MindRecord files."""
from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src.command_line import Parser, add_flag, entry_point, number_in
from src.contract import Dataset, InputError
from src.data.checks import describe_bad
from src.data.decode import Decoding
from src.data.records import mindrecord
from src.data.records.manifest import Manifest, manifest_path
from src.data.semantic.label_counts import LabelCounts, count_labels, report
from src.data.semantic.label_map import MappedLabels, read_label_map
from src.data.semantic.voc import ListDataset, RecordCheck
from src.report.progress_bar import progress_display

log = logging.getLogger(__name__)


def parse_args() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    add_flag(parser, "data_root", "", "folder that the list's relative paths start from")
    add_flag(parser, "data_lst", "", "list file with lines `image label`")
    add_flag(parser, "dst_path", "", "path of the MindRecord file; shards append their number")
    add_flag(parser, "num_shards", 0, "number of files, 1..1000; 0: one for every 128 MiB",
             type=number_in(int, 0, 1000))
    add_flag(parser, "shuffle", False, "store the records in a random order, fixed by --seed")
    add_flag(parser, "seed", 1, "of --shuffle", type=number_in(int, 0))
    add_flag(parser, "check", "full", "full: decode every image and label; size: compare their headers; none",
             choices=("full", "size", "none"))
    add_flag(parser, "on_bad", "error", "what bad records do: error: nothing is written; skip: they are left out",
             choices=("error", "skip"))
    add_flag(parser, "num_classes", 21, "labels hold 0..num_classes-1", type=number_in(int, 1, 255))
    add_flag(parser, "ignore_label", 255, "label value of pixels without a class", type=number_in(int, 0, 255))
    add_flag(parser, "label_map", "", "renumber the labels: cityscapes (labelIds to trainIds), reduce_zero_label, "
             "pairs such as 0:0,255:1, or a file of pairs")
    add_flag(parser, "allow_single_class", False, "take labels in which all pixels that count are of one class")
    add_flag(parser, "exif", "turn", "what training will do with photos that have an EXIF orientation; sizes are "
             "compared accordingly", choices=("turn", "raw"))
    add_flag(parser, "workers", 0, "threads that read and check; 0: one a processor", type=number_in(int, 0, 1024))
    add_flag(parser, "overwrite", False, "replace finished records of another list or other options")
    add_flag(parser, "wait_seconds", 3600.0, "how long to wait for another process that builds the same records",
             type=number_in(float, 0))
    add_flag(parser, "verify", False, "read the records again and compare; without --data_lst do only that")
    args = parser.parse_args()
    if not args.dst_path:
        raise InputError("--dst_path is missing; give the path of the MindRecord file, e.g. data/voctrain.mindrecord")
    if not (args.data_root and args.data_lst) and (args.data_root or args.data_lst or not args.verify):
        missing = "--data_lst" if args.data_root else "--data_root"
        raise InputError(f"{missing} is missing; give the data's folder and a list of src/tools/get_dataset_lst.py")
    if 0 < args.ignore_label < args.num_classes:
        raise InputError(f"--ignore_label={args.ignore_label} is a class index (--num_classes={args.num_classes})")
    return args


def build(args: argparse.Namespace) -> Manifest:
    listed = ListDataset(args.data_root, args.data_lst, on_bad=args.on_bad)
    dataset = MappedLabels(listed, read_label_map(args.label_map)) if args.label_map else listed
    check = None if args.check == "none" else RecordCheck(args.num_classes, args.ignore_label, args.check,
                                                          Decoding(args.exif))
    options = mindrecord.BuildOptions(
        num_shards=args.num_shards, shuffle=args.seed if args.shuffle else None, on_bad=args.on_bad,
        workers=args.workers, overwrite=args.overwrite, wait_seconds=args.wait_seconds)
    with progress_display() as progress:
        manifest = mindrecord.build(dataset, args.dst_path, options, check=check, left_out=listed.bad,
                                    approve=lambda plan: _approve(args, dataset, plan), progress=progress)
    if manifest.bad:
        log.warning("%s\nleft out %d of %d records; all of them are in %s", describe_bad(manifest.bad),
                    len(manifest.bad), len(manifest.bad) + manifest.records, manifest_path(Path(args.dst_path)))
    return manifest


def _approve(args: argparse.Namespace, dataset: Dataset, plan: Manifest) -> None:
    """Say how many pixels each class has; InputError for labels that teach nothing, before anything is written."""
    if plan.histogram:
        counts = LabelCounts(plan.histogram, plan.records, plan.records)
    else:
        counts = count_labels(dataset, num_classes=args.num_classes, ignore_label=args.ignore_label,
                              workers=args.workers or 2)
    report(counts, args.data_lst, [f"class {k}" for k in range(args.num_classes)], args.ignore_label,
           allow_single_class=args.allow_single_class)


def main() -> int:
    args = parse_args()
    if args.data_lst:
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
