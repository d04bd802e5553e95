"""Pixels of rare classes, as places for training crops. No MindSpore here."""
from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np


def rarity(pixels: Mapping[int, int], ignore_label: int) -> np.ndarray:
    """(256,) weight of each label value: 1 / sqrt(its pixels in the training split), and 0 for `ignore_label`.

    Args:
        pixels: label value -> number of pixels.
    """
    weights = np.array([1 / np.sqrt(max(pixels.get(value, 0), 1)) for value in range(256)])
    weights[ignore_label] = 0
    return weights


def rare_pixel(label: np.ndarray, weights: np.ndarray, rng: np.random.Generator) -> tuple[int, int] | None:
    """A random pixel (row, column) of one of the classes in (H, W) `label`, or None where no pixel counts.

    The class is drawn from those in the label in proportion to `weights`, see `rarity`; its pixels are all alike.
    """
    present = np.flatnonzero((cv2.calcHist([label], [0], None, [256], [0, 256])[:, 0] > 0) & (weights > 0))
    if not len(present):
        return None
    chances = np.cumsum(weights[present])
    drawn = present[min(np.searchsorted(chances, rng.random() * chances[-1], side="right"), len(present) - 1)]
    places = np.flatnonzero(label == drawn)
    row, column = divmod(int(places[rng.integers(len(places))]), label.shape[1])
    return row, column
