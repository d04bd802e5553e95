#!/usr/bin/env python3
"""Choose the least score of each class, for a wanted precision or for the best F1, from detections and their truth.

    python src/tools/score_thresholds.py --ann_file=JSON --results=eval_result.segm.json --min_precision=0.9
    python src/tools/score_thresholds.py --ann_file=JSON --results=eval_result.bbox.json --best_f1 --checkpoint=FILE

The results are those that eval.py writes beside its --result_path. The thresholds go into a JSON file that export.py
and predict.py take as --score_thresholds=FILE, and with --checkpoint into a copy of the checkpoint, which then brings
them along by itself. Choose them on images that the model was not trained on.
"""
from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # works from any folder, as a file too
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src.command_line import Parser, add_flag, entry_point, number_in
from src.contract import InputError
from src.data.instance.coco import CocoDataset
from src.data.instance.coco_layout import image_folder_of
from src.data.instance.target import decode_target
from src.metrics import precision_recall as pr
from src.metrics.coco_map import CocoMAP
from src.metrics.coco_matches import Matches, matches_of
from src.metrics.score_thresholds import KEY, by_label, entries
from src.results.files import write_json
from src.tools.score_detections import kinds_of, read_results

Choose = Callable[[pr.Curve], pr.Choice]


def matched(ann_file: str, results: str, *, iou: float, max_detections: int) -> tuple[str, Matches]:
    """("segm" or "bbox", matches) of a results file: of masks where it has them."""
    dataset = CocoDataset(ann_file, image_folder_of(ann_file), needs_images=False)
    targets = [record.target for record in dataset.rows(range(len(dataset)))]
    sizes = {target.image_id: target.size for target in map(decode_target, targets)}
    evaluator = CocoMAP(max_detections)
    evaluator.update_all(read_results(results, {c.category_id: c.label for c in dataset.categories}, sizes), targets)
    kind = "segm" if "segm" in kinds_of(results) else "bbox"
    return kind, matches_of(evaluator, kind, ious=(iou,))


def choose(matches: Matches, args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """{class: {"objects", "detections", "threshold", "precision", "recall", "f1", "reason"}}.

    Raises:
        InputError: classes that do not reach the wanted precision, unless --unreachable says what to do with them.
    """
    wanted: Choose = pr.threshold_for_best_f1 if args.best_f1 else (
        lambda found: pr.threshold_for_precision(found, args.min_precision))
    classes, short = {}, {}
    for label, name in matches.class_names.items():
        found = pr.curve_of(matches, label, args.iou)
        choice = wanted(found)
        if choice.threshold is None and choice.best is not None and not args.best_f1:
            short[name] = choice.reason
            choice = pr.Choice(pr.threshold_for_best_precision(found).threshold, choice.reason, choice.best)
        at = {} if choice.threshold is None else found.at(choice.threshold)
        classes[name] = {"objects": found.objects, "detections": int((matches.labels == label).sum()),
                         "threshold": choice.threshold, **{key: at.get(key) for key in ("precision", "recall", "f1")},
                         "reason": choice.reason}
    if short and args.unreachable == "error":
        lines = "\n".join(f"  {name} {reason}" for name, reason in short.items())
        raise InputError(f"--min_precision={args.min_precision:g}: {len(short)} classes do not reach it:\n{lines}\n"
                         "give a lower one, or --unreachable=best for their best precision, or --best_f1")
    return classes


def table(classes: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [f"{'class':<20} {'objects':>8} {'found':>8} {'threshold':>9} {'precision':>9} {'recall':>7} {'F1':>7}"]
    for name, row in classes.items():
        numbers = [f"{'-':>{width}}" if row[key] is None else f"{row[key]:{width}.4g}"
                   for key, width in (("threshold", 9), ("precision", 9), ("recall", 7), ("f1", 7))]
        counts = f"{name:<20} {row['objects']:8d} {row['detections']:8d}"
        rows.append(" ".join([counts, *numbers, row["reason"]]).rstrip())
    return "\n".join(rows)


def write_checkpoint(source: Path, target: Path, thresholds: Mapping[str, float]) -> None:
    """A copy of a checkpoint that brings these thresholds along.

    Raises:
        InputError: a checkpoint of another model or of other classes.
    """
    from src.engine.checkpoint import rewrite

    def add(metadata: dict[str, Any]) -> dict[str, Any]:
        conventions = metadata.get("conventions", {})
        if "coco_classes" not in conventions:
            raise InputError(f"--checkpoint={source}: no checkpoint of Mask R-CNN with the names of its classes; give "
                             f"the thresholds to export.py and predict.py, --{KEY}=FILE.json")
        by_label(thresholds, conventions["coco_classes"])
        own = {KEY: list(entries(thresholds))}
        config = {"config": metadata["config"] | own} if "config" in metadata else {}
        return metadata | {"conventions": conventions | own} | config

    rewrite(source, target, add)


def parse_args(argv: list[str]) -> argparse.Namespace:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_flag(parser, "ann_file", "", "annotation file in COCO's layout")
    add_flag(parser, "results", "", "detections in COCO's results format, all of them: those of eval.py")
    add_flag(parser, "min_precision", None, "each class gets the lowest threshold of at least this precision",
             type=number_in(float, 0, 1))
    add_flag(parser, "best_f1", False, "each class gets the threshold of its best F1")
    add_flag(parser, "iou", 0.5, "IoU from which a detection is correct", type=number_in(float, 0.01, 1))
    add_flag(parser, "max_detections", 100, "best detections of an image that count", type=number_in(int, 1))
    add_flag(parser, "unreachable", "error", "classes that do not reach --min_precision: error, or the threshold of "
             "their best precision", choices=("error", "best"))
    add_flag(parser, "output", "score_thresholds.json", "JSON file to write")
    add_flag(parser, "checkpoint", "", "checkpoint that a copy with the thresholds is written of")
    add_flag(parser, "output_checkpoint", "", "the copy; by default with _thresholds behind the checkpoint's name")
    args = parser.parse_args(argv)
    for name in ("ann_file", "results"):
        if not getattr(args, name):
            raise InputError(f"--{name} is missing (--help lists the flags)")
    if (args.min_precision is not None) == args.best_f1:
        raise InputError("give either --min_precision=NUMBER, e.g. 0.9, or --best_f1")
    if args.output_checkpoint and not args.checkpoint:
        raise InputError(f"--output_checkpoint={args.output_checkpoint}: give --checkpoint too, what it is a copy of")
    source = Path(args.checkpoint)
    args.copy = args.checkpoint and Path(args.output_checkpoint or source.with_name(f"{source.stem}_thresholds.ckpt"))
    if args.copy and args.copy.exists():
        raise InputError(f"{args.copy}: exists already; give another --output_checkpoint")
    return args


def main() -> int:
    args = parse_args(sys.argv[1:])
    kind, matches = matched(args.ann_file, args.results, iou=args.iou, max_detections=args.max_detections)
    classes = choose(matches, args)
    thresholds = {name: row["threshold"] for name, row in classes.items() if row["threshold"] is not None}
    print(table(classes))
    without = [f"{name} {row['reason']}" for name, row in classes.items() if row["threshold"] is None]
    if not thresholds:
        raise InputError(f"{args.results}: no class has a threshold: {', '.join(without[:5])}; evaluate on images with "
                         "objects, with a model that finds some")
    if without:
        print(f"without a threshold, so that all their detections are kept: {', '.join(without)}")
    if args.copy:
        write_checkpoint(Path(args.checkpoint), args.copy, thresholds)
        print(f"{args.copy}: written")
    write_json(Path(args.output), {KEY: thresholds, "for": "best F1" if args.best_f1 else "precision",
                                   "min_precision": args.min_precision, "iou": args.iou, "kind": kind,
                                   "ann_file": args.ann_file, "results": args.results, "classes": classes})
    print(f"{args.output}: written; give it to export.py or predict.py as --{KEY}={args.output}")
    return 0


if __name__ == "__main__":
    entry_point(main)
