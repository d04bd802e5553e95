"""Milliseconds that each augmentation of Mask R-CNN adds to a sample, one thread.

    python benchmarks/augmentation_cost.py --coco_root=COCO [--split=val2017] [--rounds=5] [--images=60]

The forms run in turn, image by image; each number is the median over rounds of the processor time per sample, beside
its ratio to the plain form (flip and colours, no expansion) and the range of that ratio.
"""
from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import src  # noqa: F401  isort: skip
from src.command_line import Parser, add_flag, entry_point
from src.data import order
from src.data.instance.coco import CocoDataset
from src.data.instance.coco_layout import coco_layout
from src.data.instance.target import categories_of
from src.maskrcnn.augmentation import TrainAugmentation
from src.maskrcnn.preprocess import Preprocess

FORMS = {"plain": {}, "turned": {"rotate_ratio": 1.0}, "jitter 0.1 to 2": {"scale_limits": (0.1, 2.0)},
         "jitter, copy-paste": {"scale_limits": (0.1, 2.0), "copy_paste_ratio": 1.0}}


def main() -> int:
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--coco_root", required=True, help="data in COCO's layout")
    add_flag(parser, "split", "val2017", "images and annotations")
    add_flag(parser, "rounds", 5, "passes over the images")
    add_flag(parser, "images", 60, "images, evenly spread")
    args = parser.parse_args(sys.argv[1:])
    dataset = CocoDataset(*coco_layout(args.coco_root, args.split, "annotations/instances_{}.json"))
    classes = max(c.label for c in categories_of(dataset)) + 1
    preprocess = Preprocess((768, 1280), (123.0, 116.0, 103.0), (58.0, 57.0, 57.0))
    forms = {name: TrainAugmentation(preprocess, classes, expand_ratio=0.0, **options)
             for name, options in FORMS.items()}
    ids = np.linspace(0, len(dataset) - 1, min(args.images, len(dataset))).astype(int).tolist()
    spent = {name: np.zeros(args.rounds) for name in forms}
    for epoch in range(args.rounds):
        for sample_id in ids:
            seconds(dataset, forms["plain"], sample_id, epoch)  # whoever is first finds cold caches
            for name, form in forms.items():
                spent[name][epoch] += seconds(dataset, form, sample_id, epoch) / len(ids)
    for name, values in spent.items():
        ratios = values / spent["plain"]
        print(f"{name:<20} {1000 * np.median(values):6.1f} ms a sample, {np.median(ratios):.2f} times plain "
              f"({ratios.min():.2f} to {ratios.max():.2f})")
    return 0


def seconds(dataset: CocoDataset, form: TrainAugmentation, sample_id: int, epoch: int) -> float:
    """Processor time of one sample, reading its files included."""
    started = time.process_time()
    partner = order.partner(len(dataset), seed=1, epoch=epoch, sample_id=sample_id, ratio=form.partner_ratio)
    records = list(dataset.rows([sample_id] if partner is None else [sample_id, partner]))
    pair = [(record.image, record.target) for record in records]
    form(*pair[0], order.sample_rng(1, epoch, sample_id), *pair[1:])
    return time.process_time() - started


if __name__ == "__main__":
    entry_point(main)
