"""Mask crops of a training batch: in the frame of the mask's own box, at a fixed size, as fractions of covered area."""
from __future__ import annotations

import numpy as np


def crop_mask(mask: np.ndarray, box: np.ndarray, side: int) -> np.ndarray:
    """Resample a mask to its box by area.

    A crop does not depend on the image's scale: it stays valid when image and box are resized, and is mirrored with
    them. Objects larger than the crop keep their edges to a fraction of a cell, because cells hold fractions.

    Args:
        mask: (H, W) of 0 and 1, any dtype.
        box: (4,) xyxy in the mask's frame, of positive size; parts outside the mask are empty.
        side: M.

    Returns:
        (M, M) uint8, 0..255 = fraction of the cell that the mask covers.
    """
    x1, y1, x2, y2 = (float(v) for v in box)
    top, left = max(int(np.floor(y1)), 0), max(int(np.floor(x1)), 0)
    inside = np.asarray(mask[top:max(int(np.ceil(y2)), top), left:max(int(np.ceil(x2)), left)], np.float32)
    rows = _overlap(y1 - top, y2 - top, side, inside.shape[0])
    columns = _overlap(x1 - left, x2 - left, side, inside.shape[1])
    return np.round(255 * np.clip(rows @ inside @ columns.T, 0, 1)).astype(np.uint8)


def _overlap(low: float, high: float, cells: int, pixels: int) -> np.ndarray:
    """Fraction of each of `cells` equal parts of low..high that each pixel fills: (cells, pixels) float32."""
    edges = np.linspace(low, high, cells + 1)
    before = np.clip(edges[:, None] - np.arange(pixels), 0, 1)
    return ((before[1:] - before[:-1]) * (cells / (high - low))).astype(np.float32)
