"""Anchors of the feature pyramid, in NumPy, because they are constants of the graph (Lin et al. 2017, section 4.1)."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def base_anchors(stride: float, *, scales: Sequence[float], ratios: Sequence[float], centre: str,
                 box_offset: int) -> np.ndarray:
    """Anchors of the cell in row 0, column 0.

    Args:
        stride: stride of the level in input pixels.
        scales: sides of the square anchors, in strides.
        ratios: heights divided by widths, at equal area.
        centre: "pixel" centres them on (stride - 1) / 2, "origin" on 0.
        box_offset: 1 if widths count pixels (x2 - x1 + 1), else 0.

    Returns:
        (len(ratios) * len(scales), 4) float32 xyxy, ratio by ratio, rounded half to even.
    """
    if centre not in ("pixel", "origin"):
        raise ValueError(f"anchor_centre={centre!r}: expected pixel or origin")
    root = np.sqrt(np.asarray(ratios, np.float64))[:, None]
    side = stride * np.asarray(scales, np.float64)[None, :]
    half = np.stack([side / root, side * root], -1).reshape(-1, 2) / 2 - box_offset / 2
    middle = (stride - 1) / 2 if centre == "pixel" else 0.0
    return np.round(np.concatenate([middle - half, middle + half], 1)).astype(np.float32)


def grid_anchors(base: np.ndarray, feature_size: tuple[int, int], image_size: tuple[int, int]) -> np.ndarray:
    """Shift `base` (n, 4) over the cells of a level: (h * w * n, 4) float32, order (row, column, anchor).

    The step is image size // feature size: the level's stride, or less if its last cell extends beyond the image
    (torchvision's AnchorGenerator).
    """
    (height, width), (rows, columns) = image_size, feature_size
    y = np.arange(rows, dtype=np.float32) * (height // rows)
    x = np.arange(columns, dtype=np.float32) * (width // columns)
    y, x = np.meshgrid(y, x, indexing="ij")
    shift = np.stack([x, y, x, y], -1).reshape(-1, 1, 4)
    return (shift + base[None]).reshape(-1, 4)


def pyramid_anchors(image_size: tuple[int, int], feature_sizes: Sequence[tuple[int, int]], *,
                    strides: Sequence[float], scales: Sequence[float], ratios: Sequence[float], centre: str,
                    box_offset: int) -> np.ndarray:
    """(A, 4) float32 anchors of all levels, finest level first. `strides` sets the anchors' sizes by level."""
    return np.concatenate([
        grid_anchors(base_anchors(stride, scales=scales, ratios=ratios, centre=centre, box_offset=box_offset), size,
                     image_size)
        for stride, size in zip(strides, feature_sizes, strict=True)])
