"""How well anchors fit the boxes of a data set in the network's input, and anchors that fit better. NumPy alone."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from src.maskrcnn.anchors import base_anchors
from src.maskrcnn.published import STRIDES

LEAST = 1.5  # smallest anchor side, in strides
_AT_ONCE = 1 << 15  # boxes


def propose(sizes: np.ndarray, *, scales_per_level: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(anchor_scales, anchor_ratios as height / width) that overlap (N, 2) box sizes best in the mean.

    Anchors double from level to level, as the strides do, so one factor sets them all. It is at least `LEAST` strides:
    smaller anchors would leave gaps between neighbouring cells.
    """
    ratio = sizes[:, 1] / sizes[:, 0]
    spread = max(float(np.sqrt(np.percentile(ratio, 85) / np.percentile(ratio, 15))), 1.2)
    centre = float(np.median(ratio))
    ratios = tuple(float(f"{centre * f:.2g}") for f in (1 / spread, 1, spread))
    steps = 2 ** (np.arange(scales_per_level) / scales_per_level)
    candidates = [tuple(float(f"{first * step:.2g}") for step in steps) for first in np.arange(LEAST, 8.25, 0.25)]
    return max(candidates, key=lambda scales: best_overlaps(sizes, scales, ratios).mean()), ratios


def best_overlaps(sizes: np.ndarray, scales: Sequence[float], ratios: Sequence[float]) -> np.ndarray:
    """(N,) IoU of each box with its best anchor when both have the same centre: the maximum over all positions."""
    anchors = np.concatenate([base_anchors(stride, scales=scales, ratios=ratios, centre="origin", box_offset=0)
                              for stride in STRIDES])
    shapes = anchors[:, 2:] - anchors[:, :2]
    shared = np.minimum(sizes[:, None], shapes).prod(-1)
    return (shared / (sizes.prod(-1)[:, None] + shapes.prod(-1) - shared)).max(1)


def overlaps_in_place(boxes: np.ndarray, feature_sizes: Sequence[tuple[int, int]], *, scales: Sequence[float],
                      ratios: Sequence[float], strides: Sequence[float] = STRIDES, centre: str = "origin"
                      ) -> np.ndarray:
    """(N,) IoU of each of (N, 4) boxes with its best anchor of the grid: `pyramid_anchors` without their number.

    For an anchor's shape the best cell is the one whose centre is nearest to the box's.

    Args:
        boxes: xyxy in the network's input.
        feature_sizes: (rows, columns) of P2..P6.
        strides: set the anchors' sizes, see `pyramid_anchors`; the cells' distances are `STRIDES`.
    """
    best = np.zeros(len(boxes), np.float32)
    for first in range(0, len(boxes), _AT_ONCE):
        part = boxes[first:first + _AT_ONCE].astype(np.float64)
        for stride, step, size in zip(strides, STRIDES, feature_sizes):
            base = base_anchors(stride, scales=scales, ratios=ratios, centre=centre, box_offset=0).astype(np.float64)
            found = _nearest(part, base, step, size)
            best[first:first + len(part)] = np.maximum(best[first:first + len(part)], found)
    return best


def _nearest(boxes: np.ndarray, base: np.ndarray, step: int, size: tuple[int, int]) -> np.ndarray:
    """(N,) best IoU with the anchors of one level, `base` (A, 4) shifted over a grid of `size` cells."""
    shared = np.ones((len(boxes), len(base)))
    for axis, cells in ((0, size[1]), (1, size[0])):
        low, high = boxes[:, None, axis], boxes[:, None, axis + 2]
        first, last = base[None, :, axis], base[None, :, axis + 2]
        cell = np.clip(np.rint(((low + high) - (first + last)) / 2 / step), 0, cells - 1) * step
        shared *= np.clip(np.minimum(high, last + cell) - np.maximum(low, first + cell), 0, None)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)[:, None] + (base[:, 2:] - base[:, :2]).prod(1)
    return (shared / (areas - shared)).max(1)
