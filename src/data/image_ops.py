"""Geometry and colour of images and label maps. Pure functions of arrays on cv2 and mmcv.

Images are (H, W, 3) uint8 RGB unless a recipe says otherwise; label maps are (H, W) uint8; sizes are (H, W).
"""
from __future__ import annotations

import cv2
import mmcv
import numpy as np


def resize(image: np.ndarray, size: tuple[int, int], interpolation: str) -> np.ndarray:
    """Resize to `size` (H, W); `interpolation` is "nearest", "bilinear" or "bicubic"."""
    return mmcv.imresize(image, (size[1], size[0]), interpolation=interpolation)


def fit_long_side(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """The (H, W) whose long side is `long_side` and whose short side keeps the ratio, rounded down, 1 at least."""
    height, width = size
    if height >= width:
        return long_side, max(int(long_side * width / height), 1)
    return max(int(long_side * height / width), 1), long_side


def in_colour_order(image: np.ndarray, colour_order: str) -> np.ndarray:
    """RGB -> `colour_order`, "RGB" or "BGR"."""
    return image if colour_order == "RGB" else image[..., ::-1]


def normalise(image: np.ndarray, mean: np.ndarray, std: np.ndarray, canvas: tuple[int, int]) -> np.ndarray:
    """(h, w, 3) uint8 -> (3, *canvas) float32: (image - mean) / std at the top left, zeros at the bottom and right.

    `mean` and `std` are on the 0..255 scale, one value per channel of `image`.
    """
    height, width = image.shape[:2]
    out = np.zeros((3, *canvas), np.float32)
    for channel in range(3):
        # 256 possible values: looking them up is faster than arithmetic on float images
        table = ((np.arange(256, dtype=np.float64) - mean[channel]) / std[channel]).astype(np.float32)
        out[channel, :height, :width] = cv2.LUT(np.ascontiguousarray(image[..., channel]), table)
    return out


def random_window(size: tuple[int, int], crop: tuple[int, int], rng: np.random.Generator) -> tuple[slice, slice]:
    """A window of at most `crop` (H, W) at a uniformly random place inside `size`; all of a side that is smaller."""
    top = rng.integers(0, max(size[0] - crop[0], 0), endpoint=True)
    left = rng.integers(0, max(size[1] - crop[1], 0), endpoint=True)
    return slice(top, top + crop[0]), slice(left, left + crop[1])


def pad_to(array: np.ndarray, size: tuple[int, int], value: int) -> np.ndarray:
    """Pad (h, w[, C]) with `value` at the bottom and right to `size`."""
    return mmcv.impad(array, shape=size, pad_val=value)
