"""Masks of a large image as the edges of their runs: sets of pixels that are compared and joined without pixels.

The pixels of an image of height H are numbered down its columns, x * H + y, as in COCO's run-length encoding. A mask is
an int64 array of edges [start, end, start, end, ...], half-open and increasing. No MindSpore here.
"""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
from pycocotools import mask as coco_mask


def edges_of(region: np.ndarray, top: int, left: int, height: int) -> np.ndarray:
    """Edges of a mask that is empty outside `region` (h, w) bool at (top, left), in an image of `height` pixels."""
    columns = np.zeros((region.shape[1], region.shape[0] + 2), bool)  # an empty pixel before and after each column
    columns[:, 1:-1] = region.T
    x, y = np.nonzero(columns[:, 1:] != columns[:, :-1])
    return _joined((x + left).astype(np.int64) * height + y + top)


def rectangle(top: int, left: int, bottom: int, right: int, height: int) -> np.ndarray:
    """Edges of the rows top..bottom and columns left..right, half-open; none where there are no pixels."""
    if bottom <= top or right <= left:
        return np.zeros(0, np.int64)
    starts = np.arange(left, right, dtype=np.int64) * height
    return _joined((starts[:, None] + (top, bottom)).ravel())


def _joined(edges: np.ndarray) -> np.ndarray:
    """Without the pairs of equal edges between a run that ends at a column's foot and one at the next one's head."""
    pairs = np.flatnonzero(edges[1:] == edges[:-1])
    return np.delete(edges, np.concatenate([pairs, pairs + 1]))


def _combined(a: np.ndarray, b: np.ndarray, rule: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """Edges of the pixels of which `rule` (whether in a, whether in b) is true."""
    edges = np.union1d(a, b)
    inside = rule(np.searchsorted(a, edges, "right") % 2 == 1, np.searchsorted(b, edges, "right") % 2 == 1)
    return edges[np.diff(inside, prepend=False)]


def intersection(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return _combined(a, b, np.logical_and)


def union(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return _combined(a, b, np.logical_or)


def difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """What is in a and not in b."""
    return _combined(a, b, lambda in_a, in_b: in_a & ~in_b)


def area(edges: np.ndarray) -> int:
    """Pixels."""
    return int((edges[1::2] - edges[::2]).sum())


def to_rle(edges: np.ndarray, size: tuple[int, int]) -> dict:
    """COCO's compressed run-length encoding in an image of `size` (H, W): {"size": [H, W], "counts": str}."""
    height, width = size
    runs = np.diff(edges, prepend=0, append=height * width).tolist()
    if not runs[-1]:
        runs.pop()
    rle = coco_mask.frPyObjects({"size": [height, width], "counts": runs}, height, width)
    return {"size": [height, width], "counts": rle["counts"].decode("ascii")}
