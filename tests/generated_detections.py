"""Random objects and detections of three classes with every kind of error, crowds and unequal scores included."""
from __future__ import annotations

import numpy as np

from src.contract import Instances
from src.data.instance.target import Category, encode_categories, encode_instances, encode_target, to_rle
from src.metrics.coco_map import CocoMAP

SIZE = (120, 160)
NAMES = {1: "cat", 2: "dog", 3: "fish"}
CATEGORIES = encode_categories(tuple(Category(label, 10 * label, name) for label, name in NAMES.items()))


def _polygon(box, foot: float = 0.9) -> list[list[float]]:
    """A box whose lower side is shorter, so that masks overlap by less or more than their boxes."""
    x, y, w, h = (float(v) for v in box)
    return [[x, y, x + w, y, x + foot * w, y + h, x, y + h]]


def _box(rng) -> np.ndarray:
    side = rng.uniform(6, 60, 2)
    return np.array([*rng.uniform(0, np.array(SIZE[::-1]) - side), *side])


def image(rng, number: int, *, crowds: bool) -> tuple[Instances, bytes]:
    """The detections and the target of one image."""
    boxes = [_box(rng) for _ in range(rng.integers(0, 7))]
    labels = rng.integers(1, 4, len(boxes))
    is_crowd = (rng.random(len(boxes)) < 0.2) & crowds
    instances = [{"id": 100 * number + k, "label": int(label), "category_id": int(label) * 10, "bbox": box.tolist(),
                  "area": float(box[2] * box[3]), "iscrowd": int(crowd), "segmentation": _polygon(box)}
                 for k, (box, label, crowd) in enumerate(zip(boxes, labels, is_crowd))]
    found = [_box(rng) for _ in range(rng.integers(0, 4))]
    classes = list(rng.integers(1, 4, len(found)))
    for box, label in zip(boxes, labels):  # one to three tries at most objects
        for _ in range(rng.integers(0, 4)):
            moved = box + rng.normal(0, rng.choice([0.03, 0.12, 0.3]), 4) * np.tile(box[2:], 2)
            found.append(np.maximum(moved, [0, 0, 2, 2]))
            classes.append(label if rng.random() < 0.75 else rng.integers(1, 4))
    corners = np.array(found, np.float32).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    order = rng.permutation(len(found))
    rles = [to_rle(_polygon(found[k], 0.4), SIZE) for k in order]
    return (Instances(number, corners[order], np.array(classes, np.int32)[order], rng.random(len(found)), rles),
            encode_target(number, SIZE, CATEGORIES, encode_instances(instances)))


def evaluated(seed: int, images: int = 40, *, crowds: bool = True, max_detections: int = 100,
              scores: int = 0) -> CocoMAP:
    """An evaluator that has counted random images; with `scores` there are only so many different scores."""
    rng, evaluator = np.random.default_rng(seed), CocoMAP(max_detections)
    for number in range(1, images + 1):
        found, target = image(rng, number, crowds=crowds)
        if scores:
            found = Instances(found.image_id, found.boxes_image, found.labels, np.ceil(found.scores * scores) / scores,
                              found.rles)
        evaluator.update(found, target)
    return evaluator
