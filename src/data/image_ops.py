"""Geometry and colour of images and label maps. Pure functions of arrays on cv2 and mmcv.

Images are (H, W, 3) uint8 RGB unless `colour_order` says otherwise; label maps are (H, W) uint8; sizes are (H, W).
"""
from __future__ import annotations

from collections.abc import Sequence

import cv2
import mmcv
import numpy as np


def resize(image: np.ndarray, size: tuple[int, int], interpolation: str) -> np.ndarray:
    """Resize to `size` (H, W); `interpolation` is "nearest", "bilinear" or "bicubic"."""
    return mmcv.imresize(image, (size[1], size[0]), interpolation=interpolation)


def fit_long_side(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """The (H, W) with long side `long_side` and a short side that keeps the ratio, rounded down, at least 1."""
    height, width = size
    if height >= width:
        return long_side, max(int(long_side * width / height), 1)
    return max(int(long_side * height / width), 1), long_side


def mirrored(array: np.ndarray) -> np.ndarray:
    """The image mirrored horizontally, contiguous in memory."""
    return cv2.flip(array, 1)


def normalise(image: np.ndarray, mean: Sequence[float], std: Sequence[float], canvas: tuple[int, int], *,
              colour_order: str = "RGB", left: int = 0) -> np.ndarray:
    """(h, w, 3) uint8 RGB -> (3, *canvas) float32: (image - mean) / std in `colour_order`.

    The image starts at the top, in column `left`; the rest of the canvas is 0. `mean` and `std` are in
    `colour_order`, on the 0..255 scale.
    """
    height, width = image.shape[:2]
    out = np.zeros((3, *canvas), np.float32)
    for i, channel in enumerate((0, 1, 2) if colour_order == "RGB" else (2, 1, 0)):
        # 256 possible values: looking them up, straight into the canvas, is faster than arithmetic on float images
        table = ((np.arange(256, dtype=np.float64) - mean[i]) / std[i]).astype(np.float32)
        cv2.LUT(cv2.extractChannel(image, channel), table, dst=out[i, :height, left:left + width])
    return out


def random_window(size: tuple[int, int], crop: tuple[int, int], rng: np.random.Generator) -> tuple[slice, slice]:
    """A window of at most `crop` (H, W) at a uniformly random place inside `size`; a smaller side is taken whole."""
    top = rng.integers(0, max(size[0] - crop[0], 0), endpoint=True)
    left = rng.integers(0, max(size[1] - crop[1], 0), endpoint=True)
    return slice(top, top + crop[0]), slice(left, left + crop[1])


def window_around(size: tuple[int, int], crop: tuple[int, int], point: tuple[int, int],
                  rng: np.random.Generator) -> tuple[slice, slice]:
    """A window as of `random_window` that holds the pixel `point` (row, column), at any of the places that do."""
    starts = []
    for side, length, position in zip(size, crop, point):
        last = max(side - length, 0)
        starts.append(rng.integers(min(max(position - length + 1, 0), last), min(position, last), endpoint=True))
    return slice(starts[0], starts[0] + crop[0]), slice(starts[1], starts[1] + crop[1])


def rotated(array: np.ndarray, degrees: float, interpolation: str, border: int | tuple) -> np.ndarray:
    """Turn clockwise about the centre; the size stays, and pixels from outside have the value `border`."""
    return mmcv.imrotate(array, degrees, interpolation=interpolation, border_value=border)


def blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur with a standard deviation of `sigma` pixels; the image is mirrored at its border."""
    return cv2.GaussianBlur(image, (0, 0), sigma) if sigma > 0 else image


def coloured(image: np.ndarray, *, brightness: float = 1.0, contrast: float = 1.0, saturation: float = 1.0,
             hue: float = 0.0) -> np.ndarray:
    """Change the colours of an RGB image: brightness, then contrast, then saturation, then hue.

    Args:
        brightness: factor of all values.
        contrast: factor of the distance from the mean gray.
        saturation: factor of the distance from each pixel's gray.
        hue: turn on the colour circle, 1 for all of it.
    """
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    shift = (1 - contrast) * brightness * cv2.mean(gray)[0]
    image = cv2.addWeighted(image, brightness * contrast, image, 0, shift)  # rounds, and clips to 0..255
    gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    image = cv2.addWeighted(image, saturation, gray, 1 - saturation, 0)
    if not hue:
        return image
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
    turned = np.arange(256) + round(hue * 256)  # 256 values are the circle
    hsv[..., 0] = cv2.LUT(hsv[..., 0], (turned % 256).astype(np.uint8))
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL)


def pad_to(array: np.ndarray, size: tuple[int, int], value: int) -> np.ndarray:
    """Pad (h, w[, C]) with `value` at the bottom and right to `size`."""
    return mmcv.impad(array, shape=size, pad_val=value)
