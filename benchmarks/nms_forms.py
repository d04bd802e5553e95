"""Suppression by plain operators, the form for Ascend, against the CPU's primitive.

    python benchmarks/nms_forms.py [--networks]

2,000 boxes of one image, crowded as the RPN's are. Prints the times, their ratio round by round, and how long each form
takes to compile. With --networks: how long Mask R-CNN takes from its construction to the end of its first call, in turn
with primitives and with plain operators, for inference and for training.
"""
from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
import src  # noqa: F401  the CPU switch
import mindspore as ms
import mindspore.nn as nn
import numpy as np

from benchmarks import interleave
from src.maskrcnn.nms import nms


class Suppression(nn.Cell):
    def __init__(self, plain: bool):
        super().__init__()
        self.plain = plain

    def construct(self, boxes):
        return nms(boxes, 0.7, plain=self.plain)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--boxes", type=int, default=2000)
    parser.add_argument("--networks", action="store_true", help="whole networks instead of NMS alone")
    args = parser.parse_args()
    if args.networks:
        for mode in ("infer", "train"):
            compare_networks(mode, args.rounds)
        return
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device("CPU")
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 600, (1, args.boxes, 2))
    boxes = ms.Tensor(np.concatenate([corners, corners + rng.uniform(60, 90, corners.shape)], -1).astype(np.float32))
    cells, times = {"primitive": Suppression(False), "plain": Suppression(True)}, {"primitive": [], "plain": []}
    kept = {name: timed(cell, boxes) for name, cell in cells.items()}
    for name, (seconds, keep) in kept.items():
        print(f"{name}: compiled in {seconds:.1f} s, keeps {keep.sum()} of {args.boxes}")
    assert np.array_equal(kept["plain"][1], kept["primitive"][1])
    for _ in range(args.rounds):
        for name, cell in cells.items():
            times[name].append(timed(cell, boxes)[0])
    for name, seconds in times.items():
        print(f"{name}: {1e3 * statistics.median(seconds):.0f} ms")
    ratios = sorted(b / a for a, b in zip(times["primitive"], times["plain"]))
    print(f"plain / primitive: {statistics.median(ratios):.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f})")


def compare_networks(mode: str, rounds: int) -> None:
    seconds = {"primitive": [], "plain": []}
    for _ in range(rounds):
        for name, found in seconds.items():
            worker = interleave.Worker(name, [sys.executable, str(ROOT / "benchmarks/maskrcnn_speed.py"),
                                              "--worker=mindseg", f"--mode={mode}", f"--box_ops={name}"])
            found.append(worker.facts["first call s"])
            worker.stop()
    ratios = sorted(b / a for a, b in zip(seconds["primitive"], seconds["plain"]))
    print(f"{mode}: first call {statistics.median(seconds['primitive']):.1f} s with primitives, "
          f"{statistics.median(seconds['plain']):.1f} s with plain operators, ratio {statistics.median(ratios):.2f} "
          f"({ratios[0]:.2f} to {ratios[-1]:.2f})")


def timed(cell: nn.Cell, boxes: ms.Tensor) -> tuple[float, np.ndarray]:
    started = time.perf_counter()
    keep = cell(boxes)[0].asnumpy()
    return time.perf_counter() - started, keep


if __name__ == "__main__":
    main()
