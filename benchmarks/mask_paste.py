"""Masks per second, pasted into 640 x 480 images and encoded as RLE as the evaluation does it.

    python benchmarks/mask_paste.py

The sides of the boxes are spread evenly on a logarithmic scale from 16 to 480 pixels; masks are blurred ellipses, 100
per image. "full images" is the usual method for comparison: fill a full image for each mask and let pycocotools encode
it. One process, one thread; on a busy machine, compare the masks per second of CPU time.
"""
from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from src.maskrcnn.paste import to_instances

SIZE, SIDE, COUNT = (480, 640), 28, 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=8, help="images a round, 100 masks each")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    images = [detections(np.random.default_rng(i)) for i in range(args.images)]
    ways = {"ours, exact": lambda image: paste(image, None), "ours, paste_pad=1": lambda image: paste(image, 1),
            "full images": full_images}
    rates = {name: [] for name in ways}
    for _ in range(args.rounds):
        for name, way in ways.items():
            started = time.perf_counter(), time.process_time()
            for image in images:
                way(image)
            rates[name].append([COUNT * args.images / (end - start) for start, end in
                                zip(started, (time.perf_counter(), time.process_time()))])
    for name, values in rates.items():
        wall, cpu = zip(*values)
        print(f"{name:<18} median {statistics.median(wall):6.0f} masks/s ({min(wall):.0f} to {max(wall):.0f}, "
              f"{args.rounds} runs), {statistics.median(cpu):.0f} in a second of CPU time")


def detections(rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Boxes, labels, scores, valid and masks of one image, as the network returns them."""
    height, width = SIZE
    sides = np.exp(rng.uniform(np.log(16), np.log(height), (COUNT, 2)))
    corner = rng.uniform(0, 1, (COUNT, 2)) * (np.array([width, height]) - sides)
    boxes = np.concatenate([corner, corner + sides], 1).astype(np.float32)
    y, x = (np.mgrid[:SIDE, :SIDE] + 0.5) / SIDE * 2 - 1
    slopes = rng.uniform(3, 20, (COUNT, 1, 1))
    masks = (1 / (1 + np.exp(slopes * (x ** 2 + y ** 2 - rng.uniform(0.4, 1.2, (COUNT, 1, 1)))))).astype(np.float32)
    return boxes, np.ones(COUNT, np.int32), np.linspace(1, 0.1, COUNT, dtype=np.float32), np.ones(COUNT, bool), masks


def paste(image: tuple[np.ndarray, ...], paste_pad: int | None) -> None:
    to_instances(1, image, image_size=SIZE, original_size=SIZE, paste_pad=paste_pad)


def full_images(image: tuple[np.ndarray, ...]) -> None:
    for box, mask in zip(image[0], image[4]):
        x1, y1, x2, y2 = box.astype(int)
        full = np.zeros(SIZE, np.uint8, order="F")
        full[y1:y2 + 1, x1:x2 + 1] = cv2.resize(mask, (x2 - x1 + 1, y2 - y1 + 1)) > 0.5
        coco_mask.encode(full)


if __name__ == "__main__":
    main()
