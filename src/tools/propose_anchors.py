"""Propose anchors from the box sizes of a data set: `propose_anchors.py --ann_file=JSON --img_height=H --img_width=W`.

Boxes are measured in pixels of the network's input, after the resize of evaluation. It proposes one and two scales per
level with three ratios, and prints the IoU that boxes can reach with their best anchor: training takes an anchor as
positive from 0.7 on, and below 0.3 a box has no anchor at all.
"""
from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # works from any folder, as a file too
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from src.command_line import Parser, add_flag, entry_point
from src.contract import InputError
from src.data.instance.coco_check import (
    image_entries,
    is_id,
    is_shrunk_to_nothing,
    no_such_image,
    to_instance,
)
from src.data.instance.coco_index import open_table
from src.data.instance.target import Category
from src.maskrcnn.anchor_fit import best_overlaps, propose
from src.maskrcnn.preprocess import Preprocess

ANY = Category(1, 1, "any")  # boxes are measured whatever their class


def box_sizes(ann_file: str, input_size: tuple[int, int]) -> np.ndarray:
    """(N, 2) float64 (width, height) of a file's boxes in the network's input; crowds and empty boxes are left out.

    Raises:
        InputError: an image or annotation is unusable, or there are no boxes.
    """
    table = open_table(ann_file)
    image_sizes = _image_sizes(table.images, ann_file)
    preprocess = Preprocess(input_size, (0.0,) * 3, (1.0,) * 3)
    scales = {}
    for image_id, (height, width) in image_sizes.items():
        fitted = preprocess.fitted((height, width))
        scales[image_id] = fitted[1] / width, fitted[0] / height
    boxes = _boxes(map(table.entry, range(len(table.rows))), image_sizes, ann_file)
    sizes = np.array([np.multiply(box[2:], scales[image_id]) for image_id, box in boxes]).reshape(-1, 2)
    sizes = sizes[(sizes >= 1).all(1)]
    if not len(sizes):
        raise InputError(f"{ann_file}: no boxes of at least one pixel in an input of {input_size[0]} x {input_size[1]}"
                         "; give the annotations of the training split, or a larger --img_height and --img_width")
    return sizes


def _image_sizes(entries: Sequence[Any], ann_file: str) -> dict[int, tuple[int, int]]:
    """(H, W) by image id of the entries of `images`, checked."""
    sizes: dict[int, tuple[int, int]] = {}
    for what, image_id, entry, problem in image_entries(entries):
        if problem:
            raise InputError(f"{ann_file}: {what}: {problem}")
        sizes[image_id] = entry["height"], entry["width"]
    return sizes


def _boxes(entries: Iterable[Any], image_sizes: Mapping[int, tuple[int, int]],
           ann_file: str) -> list[tuple[int, list[float]]]:
    """(image id, [x, y, width, height]) of the entries of `annotations` but crowds, checked."""
    boxes = []
    for position, entry in enumerate(entries):
        place = f"{ann_file}: annotations[{position}]"
        if not isinstance(entry, dict):
            raise InputError(f"{place} is {entry!r}; it must be an object with image_id and bbox")
        image_id = entry.get("image_id")
        if not is_id(image_id) or image_id not in image_sizes:
            raise InputError(f"{place}: {no_such_image(image_id)}")
        if is_shrunk_to_nothing(entry):
            continue
        bare = {"id": position, "bbox": entry.get("bbox"), "iscrowd": entry.get("iscrowd", 0)}
        if not bare["bbox"]:
            bare["segmentation"] = entry.get("segmentation")
        try:
            instance = to_instance(bare, image_sizes[image_id], ANY)
        except InputError as error:
            raise InputError(f"{place} (image {image_id}): {error}") from error
        if not instance["iscrowd"]:
            boxes.append((image_id, instance["bbox"]))
    return boxes


def describe(sizes: np.ndarray, scales: Sequence[float], ratios: Sequence[float]) -> str:
    """How well the anchors can match the boxes, as one line."""
    best = best_overlaps(sizes, scales, ratios)
    scales, ratios = (",".join(f"{v:g}" for v in values) for values in (scales, ratios))
    return (f"--anchor_scales={scales} --anchor_ratios={ratios}: mean best IoU {best.mean():.3f}, "
            f"{100 * (best >= 0.7).mean():.1f} % of the boxes at 0.7 and more, "
            f"{100 * (best < 0.3).mean():.1f} % below 0.3")


def parse_args(argv: list[str]) -> argparse.Namespace:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_flag(parser, "ann_file", "", "annotation file in COCO's layout, of the training split")
    add_flag(parser, "img_height", 768, "height of the network's input, pixels")
    add_flag(parser, "img_width", 1280, "width of the network's input, pixels")
    args = parser.parse_args(argv)
    if not args.ann_file:
        raise InputError("--ann_file is missing: the annotation file of the training split")
    for side in ("img_height", "img_width"):
        if getattr(args, side) < 1:
            raise InputError(f"--{side}={getattr(args, side)}: the network's input has at least 1 pixel; give the side "
                             "that training uses")
    return args


def main() -> int:
    args = parse_args(sys.argv[1:])
    sizes = box_sizes(args.ann_file, (args.img_height, args.img_width))
    side = np.percentile(np.sqrt(sizes.prod(1)), [5, 25, 50, 75, 95])
    print(f"{len(sizes)} boxes in an input of {args.img_height} x {args.img_width}; square root of their area, pixels: "
          f"5 % below {side[0]:.0f}, 25 % {side[1]:.0f}, half {side[2]:.0f}, 75 % {side[3]:.0f}, 95 % {side[4]:.0f}")
    print("by default " + describe(sizes, (8.0,), (0.5, 1.0, 2.0)))
    for count in (1, 2):
        print("proposed   " + describe(sizes, *propose(sizes, scales_per_level=count)))
    return 0


if __name__ == "__main__":
    entry_point(main)
