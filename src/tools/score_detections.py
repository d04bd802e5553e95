#!/usr/bin/env python3
"""Score detections in COCO's results format against an annotation file: COCO's lines for boxes and masks.

    python src/tools/score_detections.py --ann_file=JSON --results=eval_result.bbox.json,eval_result.segm.json
    python src/tools/score_detections.py --ann_file=JSON --truth     the file's own objects as detections: AP is 1.0

A file is scored for boxes, masks or both, depending on its entries. If they have both, the area of the box decides
whether a mask counts as small, medium or large, as in pycocotools.
"""
from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

if __name__ == "__main__":  # works from any folder, as a file too
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from src.command_line import Parser, add_flag, entry_point, number_in
from src.contract import InputError, Instances
from src.data.decode import Decoding
from src.data.instance.coco import CocoDataset
from src.data.instance.coco_check import is_id
from src.data.instance.coco_layout import image_folder_of
from src.data.instance.target import Target, decode_target, to_rle
from src.metrics.coco_map import CocoMAP
from src.metrics.tables import coco_table
from src.results.files import checked_detection


def read_results(path: str, label_of: Mapping[int, int], sizes: Mapping[int, tuple[int, int]],
                 with_numbers: Callable[[Any], Any] = lambda row: row) -> list[Instances]:
    """Detections of a results file, image by image.

    Args:
        path: the file: a list of {image_id, category_id, score} with bbox, segmentation or both, all entries alike.
        label_of: class index by category id.
        sizes: (H, W) by image id of the images that have a truth.
        with_numbers: makes numbers of ids that are texts.

    Raises:
        InputError: no list, or an entry that is no detection of these categories and images.
    """
    rows = _rows(path)
    grouped: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for position, row in enumerate(rows):
        try:
            row = _checked(with_numbers(row), label_of, sizes)
        except InputError as error:
            raise InputError(f"{path}: entry [{position}]: {error}") from error
        grouped[row["image_id"]].append(row)
    for key in ("segmentation", "bbox"):
        has_key = [key in row for row in rows]
        if any(has_key) and not all(has_key):
            raise InputError(f"{path}: entry [{has_key.index(False)}] has no {key}, others have one; write boxes and "
                             "masks into a file each")
    return [_instances(image_id, rows, label_of) for image_id, rows in grouped.items()]


def kinds_of(path: str) -> tuple[str, ...]:
    """What the entries of a results file have: ("bbox",), ("segm",) or both; boxes where there is no entry."""
    first = (_rows(path) or [{"bbox": []}])[0]
    return tuple(kind for kind, key in (("bbox", "bbox"), ("segm", "segmentation")) if key in first)


def _rows(path: str) -> list[Any]:
    try:
        rows = json.loads(Path(path).read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error}); write the results again") from error
    if not isinstance(rows, list):
        raise InputError(f"{path}: not detections in COCO's results format; it must be a list, with image_id, "
                         "category_id, score and bbox or segmentation in each entry")
    return rows


def _checked(row: Any, label_of: Mapping[int, int], sizes: Mapping[int, tuple[int, int]]) -> dict[str, Any]:
    """An entry that is a detection, its mask compressed."""
    if not isinstance(row, dict):
        raise InputError(f"is {row!r}; it must be an object with image_id, category_id, score and bbox or segmentation")
    image_id, category_id = row.get("image_id"), row.get("category_id")
    if not is_id(image_id):
        raise InputError(f"image_id is {image_id!r}; it must be a whole number, as in the annotation file")
    if type(category_id) is not int or category_id not in label_of:
        raise InputError(f"category_id is {category_id!r}; the annotation file has {sorted(label_of)[:100]}")
    if "bbox" not in row and "segmentation" not in row:
        raise InputError("has neither bbox nor segmentation; give one of them")
    return checked_detection(row, sizes.get(image_id))


def _instances(image_id: int, rows: Sequence[dict[str, Any]], label_of: Mapping[int, int]) -> Instances:
    boxes = np.array([row.get("bbox", (0, 0, 0, 0)) for row in rows], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return Instances(image_id, boxes, np.array([label_of[row["category_id"]] for row in rows], np.int32),
                     np.array([row["score"] for row in rows], np.float64),
                     [row["segmentation"] for row in rows if "segmentation" in row])


def objects(target: Target) -> Instances:
    """The objects of an image as detections of score 1; crowds, which are not to be found, are left out."""
    chosen = np.flatnonzero(~target.crowds)
    masks = [target.instances[k].get("segmentation") for k in chosen]
    rles = [] if None in masks else [to_rle(mask, target.size) for mask in masks]
    return Instances(target.image_id, target.boxes_image[chosen], target.labels[chosen], np.ones(len(chosen)), rles)


def score(predictions: Iterable[Instances], targets: Sequence[bytes], *, kinds: Sequence[str],
          max_detections: int, areas: Literal["own", "bbox"] = "own") -> str:
    """The numbers of `kinds` ("bbox", "segm") as eval.py prints them; for `areas` see `CocoMAP`."""
    evaluator = CocoMAP(max_detections, areas=areas)
    evaluator.update_all(predictions, targets)
    numbers = evaluator.compute()
    if not any(numbers[kind] for kind in kinds):
        raise InputError("masks cannot be scored: no object of the annotation file has one; give results with boxes")
    return coco_table(numbers, max_detections, kinds=kinds)


def parse_args(argv: list[str]) -> argparse.Namespace:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_flag(parser, "ann_file", "", "annotation file in COCO's layout")
    add_flag(parser, "image_dir", "", "folder of its images, to check that they are there; not needed")
    add_flag(parser, "on_bad", "error", "what to do about bad images and annotations; skip leaves them out",
             choices=("error", "skip"))
    add_flag(parser, "results", "", "results files, separated by commas, each scored by itself")
    add_flag(parser, "truth", False, "score the file's own objects instead")
    add_flag(parser, "max_detections", 100, "best detections of an image that count", type=number_in(int, 1))
    args = parser.parse_args(argv)
    if not args.ann_file:
        raise InputError("--ann_file is missing: the annotation file to score against")
    if bool(args.results.strip(",")) == args.truth:
        raise InputError("give either --results=FILE,... or --truth")
    return args


def main() -> int:
    args = parse_args(sys.argv[1:])
    dataset = CocoDataset(args.ann_file, args.image_dir or image_folder_of(args.ann_file),
                          needs_images=bool(args.image_dir), on_bad=args.on_bad, how=Decoding(exif="turn"))
    targets = [record.target for record in dataset.rows(range(len(dataset)))]
    truths = list(map(decode_target, targets))
    if args.truth:
        print(score(map(objects, truths), targets, kinds=("bbox", "segm"), max_detections=args.max_detections))
    sizes = {truth.image_id: truth.size for truth in truths}
    for path in filter(None, args.results.split(",")):
        found = read_results(path, {c.category_id: c.label for c in dataset.categories}, sizes, dataset.with_numbers)
        kinds = kinds_of(path)
        both = len(kinds) == 2
        print(f"{path}\n" + score(found, targets, kinds=kinds, max_detections=args.max_detections,
                                  areas="bbox" if both else "own"))
        if both:
            print("Entries have boxes and masks: masks are small, medium or large by the area of their boxes, as in "
                  "pycocotools. A file of masks alone is scored by the areas of the masks.")
    return 0


if __name__ == "__main__":
    entry_point(main)
