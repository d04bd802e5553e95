"""What intervals add to the evaluation of 5,000 images of COCO's size: seconds of each part, and bytes of the file.

    python benchmarks/bootstrap_speed.py

Objects and detections are generated: 80 classes, the first with 30 % of the objects, 7.3 objects and 100 detections an
image, with masks. Most objects are found, at all IoUs; the other detections are false alarms with low scores. Also
timed are the label maps of 1,449 images with 21 classes, as many as VOC's val split has.
"""
from __future__ import annotations

import argparse
import datetime
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import src  # noqa: F401
import numpy as np
from pycocotools import mask as coco_mask

from src.contract import Instances, LabelMap
from src.data.instance.target import Category, encode_categories, encode_instances, encode_target
from src.metrics import bootstrap
from src.metrics.coco_map import CocoMAP
from src.metrics.miou import MeanIoU
from src.results.image_files import write_statistics

SIZE, CLASSES, OBJECTS, DETECTIONS = (480, 640), 80, 7.3, 100
CATEGORIES = encode_categories([Category(k, k, f"class{k}") for k in range(1, CLASSES + 1)])
SHARES = np.array([0.3, *np.full(CLASSES - 1, 0.7 / (CLASSES - 1))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--label_maps", type=int, default=1449)
    parser.add_argument("--samples", type=int, default=1000)
    args = parser.parse_args()
    print(f"{args.samples} samples   [{os.cpu_count()} cores, {datetime.date.today()}]")
    measure(f"boxes and masks of {args.images} images", instances(args.images), args.samples)
    measure(f"label maps of {args.label_maps} images", label_maps(args.label_maps), args.samples)


def measure(title: str, evaluator: CocoMAP | MeanIoU, samples: int) -> None:
    print(title)
    with timed("the evaluation's numbers"):
        numbers = evaluator.compute()
    with timed("statistics of the images"):
        statistics = evaluator.statistics()
    with timed("intervals"):
        found = bootstrap.report(statistics, samples)["intervals"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.images.npz"
        with timed("writing the file"):
            write_statistics(path, statistics)
        print(f"  {path.stat().st_size / 1e6:.1f} MB")
    for kind in ("bbox", "segm") if "bbox" in numbers else ():
        print(f"  {kind} AP {numbers[kind]['AP']:.4f}, interval {found[kind]['AP']}")


@contextmanager
def timed(what: str) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    print(f"  {what}: {time.perf_counter() - wall:.1f} s ({time.process_time() - cpu:.1f} s of the processor)",
          flush=True)


def instances(images: int) -> CocoMAP:
    rng, evaluator = np.random.default_rng(1), CocoMAP()
    for image_id in range(1, images + 1):
        truth = [_object(rng) for _ in range(rng.poisson(OBJECTS))]
        labels = rng.choice(CLASSES, len(truth), p=SHARES) + 1
        targets = [{"id": k + 1, "label": int(label), "category_id": int(label), "bbox": box.tolist(),
                    "area": float(coco_mask.area(rle)), "iscrowd": int(rng.random() < 0.01), "segmentation": _text(rle)}
                   for k, ((box, rle), label) in enumerate(zip(truth, labels))]
        evaluator.update(_found(rng, image_id, [box for box, _ in truth], labels),
                         encode_target(image_id, SIZE, CATEGORIES, encode_instances(targets)))
    return evaluator


def _found(rng: np.random.Generator, image_id: int, boxes: list[np.ndarray], labels: np.ndarray) -> Instances:
    """Three of four objects, moved a little, and false alarms."""
    chosen = np.flatnonzero(rng.random(len(boxes)) < 0.75)
    shapes = [_object(rng, boxes[k] + rng.normal(0, 0.07, 4) * np.tile(boxes[k][2:], 2)) for k in chosen]
    shapes += [_object(rng) for _ in range(DETECTIONS - len(shapes))]
    scores = np.concatenate([rng.beta(3, 2, len(chosen)), rng.beta(1, 6, DETECTIONS - len(chosen))])
    classes = np.concatenate([labels[chosen], rng.choice(CLASSES, DETECTIONS - len(chosen), p=SHARES) + 1])
    order, corners = np.argsort(-scores), np.array([box for box, _ in shapes], np.float32)
    corners[:, 2:] += corners[:, :2]
    return Instances(image_id, corners[order], classes[order].astype(np.int32), scores[order].astype(np.float32),
                     [_text(shapes[k][1]) for k in order])


def _object(rng: np.random.Generator, box: np.ndarray | None = None) -> tuple[np.ndarray, dict]:
    """A box (xywh) and a hexagon in it as run lengths; sizes from small to large as COCO's."""
    if box is None:
        side = np.clip(rng.lognormal(3.8, 0.9, 2), 6, 400)
        box = np.array([*(rng.random(2) * (np.array(SIZE[::-1]) - side)), *side])
    x, y, w, h = np.maximum(box, [0, 0, 2, 2])
    corners = [x + w * .25, y, x + w * .75, y, x + w, y + h * .5, x + w * .75, y + h, x + w * .25, y + h, x, y + h * .5]
    return np.array([x, y, w, h]), coco_mask.frPyObjects([corners], *SIZE)[0]


def _text(rle: dict) -> dict:
    return rle | {"counts": rle["counts"].decode()}


def label_maps(images: int) -> MeanIoU:
    rng = np.random.default_rng(1)
    evaluator = MeanIoU([f"class{k}" for k in range(21)], lambda target: target)
    for image_id in range(images):
        truth = np.kron(rng.choice(21, (5, 5), p=[0.6, *np.full(20, 0.02)]), np.ones((75, 100))).astype(np.uint8)
        evaluator.update(LabelMap(image_id, np.where(rng.random(truth.shape) < 0.9, truth, 0).astype(np.uint8)), truth)
    return evaluator


if __name__ == "__main__":
    main()
