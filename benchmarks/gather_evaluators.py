"""Memory and time of gathering the evaluators of many ranks, simulated, against sending one float per byte.

    python benchmarks/gather_evaluators.py

The ranks evaluate 5,000 images with 80 classes and up to 100 masks each, as COCO's val2017. Every rank's part is real
(pickled, exchanged in the rounds of `src/engine/collectives.py`, unpickled, merged); only the network is replaced by a
copy in memory. "One float per byte" sums a float32 array (ranks, longest part) and unpickles it on every rank.
"""
from __future__ import annotations

import argparse
import multiprocessing
import pickle
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import src  # noqa: F401
import numpy as np
from pycocotools import mask as coco_mask

from src.contract import Instances
from src.data import order
from src.data.instance.target import Category, encode_categories, encode_instances, encode_target
from src.engine.collectives import gather_bytes
from src.metrics.coco_map import CocoMAP

SIZE = 480, 640
CATEGORIES = [Category(k, k, f"class{k}") for k in range(1, 81)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--detections", type=int, default=100, help="of an image")
    parser.add_argument("--ranks", type=int, nargs="+", default=(64, 512))
    args = parser.parse_args()
    print("ranks longest MB  all MB  way                    received MB memory MB seconds")
    for ranks in args.ranks:
        parts = [part_of_rank(order.share(args.images, world_size=ranks, rank=r), args.detections)
                 for r in range(ranks)]
        sizes = np.array([len(part) for part in parts])
        for name, way in (("rank 0", rank_0), ("other ranks", other_rank), ("one float a byte", float_a_byte)):
            with multiprocessing.get_context("fork").Pool(1) as pool:  # in its own process, to measure its own peak
                received, memory, seconds = pool.apply(measure, (way, parts))
            print(f"{ranks:>5} {sizes.max() / 1e6:>10.2f} {sizes.sum() / 1e6:>7.1f}  {name:<22} "
                  f"{received / 1e6:>11.0f} {memory / 1e6:>9.0f} {seconds:>7.2f}", flush=True)


def part_of_rank(image_ids: range, detections: int) -> bytes:
    """A pickled evaluator that has counted these images."""
    rng, evaluator = np.random.default_rng(image_ids.start), CocoMAP()
    for image_id in image_ids:
        truth = [{"label": k + 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0, "segmentation": rle}
                 for k, (box, rle) in enumerate(masks(rng, 7))]
        target = encode_target(image_id, SIZE, encode_categories(CATEGORIES), encode_instances(
            [instance | {"segmentation": instance["segmentation"] | {
                "counts": instance["segmentation"]["counts"].decode()}} for instance in truth]))
        found = list(masks(rng, detections))
        boxes = np.array([box for box, _ in found], np.float32)
        boxes[:, 2:] += boxes[:, :2]
        labels = rng.integers(1, 81, detections).astype(np.int32)
        scores = np.sort(rng.random(detections, np.float32))[::-1]
        evaluator.update(Instances(image_id, boxes, labels, scores, [rle for _, rle in found]), target)
    return pickle.dumps(evaluator)


def masks(rng: np.random.Generator, count: int) -> Iterator[tuple[list[float], dict]]:
    """Boxes (xywh) with outlines of 12 corners in them, as run lengths."""
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    for _ in range(count):
        w, h = rng.uniform(10, 300, 2)
        x, y = rng.uniform(0, SIZE[1] - w), rng.uniform(0, SIZE[0] - h)
        radius = rng.uniform(0.5, 1, 12)
        corners = np.stack([x + w / 2 * (1 + radius * np.cos(angles)), y + h / 2 * (1 + radius * np.sin(angles))], 1)
        yield [x, y, w, h], coco_mask.frPyObjects([corners.reshape(-1).tolist()], *SIZE)[0]


def measure(way: Callable, parts: list[bytes]) -> tuple[int, int, float]:
    """(bytes received, peak memory beyond what was there, seconds)."""
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before, begun = status("VmRSS"), time.perf_counter()
    received = way(parts)
    return received, status("VmHWM") - before, time.perf_counter() - begun


def status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) * 1024


class Wire:
    """The exchange as one rank sees it: all other ranks send their own part."""

    def __init__(self, parts: list[bytes]):
        self.parts = parts
        self.place = 0
        self.received = 0

    def __call__(self, words: np.ndarray) -> np.ndarray:
        if not self.received:
            rows = np.array([len(part) for part in self.parts], np.int64).view(np.int32).reshape(len(self.parts), 2)
        else:
            rows, place = np.zeros((len(self.parts), len(words)), np.int32), self.place
            for row, part in zip(rows, self.parts):
                chunk = np.frombuffer(part, np.uint8)[place:place + words.nbytes]
                row.view(np.uint8)[:len(chunk)] = chunk
            self.place += words.nbytes
        self.received += rows.nbytes
        return rows


def rank_0(parts: list[bytes]) -> int:
    wire = Wire(parts)
    merged(map(pickle.loads, gather_bytes(parts[0], wire)))
    return wire.received


def other_rank(parts: list[bytes]) -> int:
    wire = Wire(parts)
    gather_bytes(parts[1], wire, keep=False)
    return wire.received


def float_a_byte(parts: list[bytes]) -> int:
    longest = max(map(len, parts))
    padded = np.zeros((len(parts), longest), np.float32)
    padded[1, :len(parts[1])] = np.frombuffer(parts[1], np.uint8)
    total = padded.copy()  # the result of the sum
    for row, part in zip(total, parts):
        row[:len(part)] = np.frombuffer(part, np.uint8)
    merged([pickle.loads(row[:len(part)].astype(np.uint8).tobytes()) for row, part in zip(total, parts)])
    return total.nbytes


def merged(evaluators) -> CocoMAP:
    first, *others = evaluators
    for other in others:
        first.merge(other)
    return first


if __name__ == "__main__":
    main()
