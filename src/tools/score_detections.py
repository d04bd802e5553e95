#!/usr/bin/env python3
"""Score detections in COCO's results format against an annotation file: COCO's lines for boxes and masks.

    python src/tools/score_detections.py --ann_file=JSON --results=eval_result.bbox.json,eval_result.segm.json
    python src/tools/score_detections.py --ann_file=JSON --truth     the file's own objects as detections: AP is 1.0
"""
from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # works from any folder, as a file too
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from src.config import Parser, add_flag, entry_point
from src.contract import InputError, Instances
from src.data.coco import CocoSource, image_folder_of
from src.data.instances import Target, decode_target, to_rle
from src.metrics.coco_map import CocoMAP, summary


def read_results(path: str, label_of: dict[int, int]) -> list[Instances]:
    """Detections of a results file, image by image; `label_of` gives the class index of a category id.

    Raises:
        InputError: not a list of detections, or a category that the annotation file does not have.
    """
    try:
        grouped = defaultdict(list)
        for row in json.loads(Path(path).read_text(encoding="utf-8")):
            grouped[row["image_id"]].append(row)
        return [_instances(image_id, rows, label_of) for image_id, rows in grouped.items()]
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not detections in COCO's results format, a list of image_id, category_id, score and "
                         f"bbox or segmentation each ({type(error).__name__}: {error})") from error


def _instances(image_id: int, rows: Sequence[dict[str, Any]], label_of: dict[int, int]) -> Instances:
    unknown = {row["category_id"] for row in rows} - label_of.keys()
    if unknown:
        raise InputError(f"image {image_id}: categories {sorted(unknown)} are not in the annotation file")
    boxes = np.array([row.get("bbox", (0, 0, 0, 0)) for row in rows], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return Instances(image_id, boxes, np.array([label_of[row["category_id"]] for row in rows], np.int32),
                     np.array([row["score"] for row in rows]),
                     [row["segmentation"] for row in rows if "segmentation" in row])


def objects(target: Target) -> Instances:
    """The objects of an image as detections of score 1; crowds, which are not to be found, are left out."""
    chosen = np.flatnonzero(~target.crowds)
    masks = [target.instances[k].get("segmentation") for k in chosen]
    rles = [] if None in masks else [to_rle(mask, target.size) for mask in masks]
    return Instances(target.image_id, target.boxes_image[chosen], target.labels[chosen], np.ones(len(chosen)), rles)


def score(predictions: Iterable[Instances], targets: Sequence[bytes], *, kinds: Sequence[str],
          max_detections: int) -> str:
    """COCO's lines of `kinds` ("bbox", "segm"), and which images did not have a counterpart."""
    evaluator = CocoMAP(max_detections)
    evaluator.update_all(predictions, targets)
    numbers = evaluator.compute()
    parts = [f"Evaluate annotation type *{kind}*\n{summary(numbers[kind], max_detections)}" for kind in kinds
             if numbers[kind]]
    parts += [f"{len(numbers[key])} {key.replace('_', ' ')}: {numbers[key][:20]}"
              for key in ("images_without_prediction", "predictions_without_truth") if numbers[key]]
    return "\n\n".join(parts)


def parse_args(argv: list[str]) -> argparse.Namespace:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_flag(parser, "ann_file", "", "annotation file in COCO's layout")
    add_flag(parser, "image_dir", "", "folder of its images, by default as in COCO's layout")
    add_flag(parser, "results", "", "results files, separated by commas, each scored by itself")
    add_flag(parser, "truth", False, "score the file's own objects instead")
    add_flag(parser, "max_detections", 100, "best detections of an image that count")
    args = parser.parse_args(argv)
    if not args.ann_file:
        raise InputError("--ann_file is missing: the annotation file to score against")
    if bool(args.results) == args.truth:
        raise InputError("give either --results=FILE,... or --truth")
    return args


def main() -> int:
    args = parse_args(sys.argv[1:])
    source = CocoSource(args.ann_file, args.image_dir or image_folder_of(args.ann_file))
    targets = [record.target for record in source.rows(range(len(source)))]
    if args.truth:
        print(score(map(objects, map(decode_target, targets)), targets, kinds=("bbox", "segm"),
                    max_detections=args.max_detections))
    for path in filter(None, args.results.split(",")):
        found = read_results(path, {c.category_id: c.label for c in source.categories})
        kind = "segm" if any(instances.rles for instances in found) else "bbox"
        print(f"{path}\n" + score(found, targets, kinds=(kind,), max_detections=args.max_detections))
    return 0


if __name__ == "__main__":
    entry_point(main)
