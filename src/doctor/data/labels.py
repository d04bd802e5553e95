"""The label map of one image: pixels by value, and regions of classes by size."""
from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

REGION = np.dtype([("label", np.uint8), ("pixels", np.int32), ("width", np.int32), ("height", np.int32)])


@dataclass(frozen=True)
class LabelFacts:
    """`pixels` (256,) int64 by label value, `regions` (N,) of `REGION`: connected parts of one class."""

    pixels: np.ndarray
    regions: np.ndarray = field(default_factory=lambda: np.zeros(0, REGION))


def label_facts(label: np.ndarray, *, ignore_label: int, with_regions: bool) -> LabelFacts:
    """Facts of a label map (H, W) uint8; regions of `ignore_label` are left out."""
    pixels = np.bincount(label.ravel(), minlength=256)
    if not with_regions:
        return LabelFacts(pixels)
    values = [value for value in np.flatnonzero(pixels).tolist() if value != ignore_label]
    return LabelFacts(pixels, np.concatenate([np.zeros(0, REGION), *(_regions(label, value) for value in values)]))


def _regions(label: np.ndarray, value: int) -> np.ndarray:
    count, _, stats, _ = cv2.connectedComponentsWithStats((label == value).astype(np.uint8), connectivity=8)
    rows = np.zeros(count - 1, REGION)  # the first component is the rest of the image
    rows["label"], rows["pixels"] = value, stats[1:, cv2.CC_STAT_AREA]
    rows["width"], rows["height"] = stats[1:, cv2.CC_STAT_WIDTH], stats[1:, cv2.CC_STAT_HEIGHT]
    return rows
