"""Where an image lies on the training canvas: quarter turns, scale, offset, window and mirroring. No MindSpore here."""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from src.data import image_ops

Size = tuple[int, int]


class Placement(NamedTuple):
    """Placement of an image on the canvas.

    The image is turned, resized and put into a region at the top left of the canvas. What lies outside of the region is
    cut off. At last the region is mirrored.

    Attributes:
        size: (H, W) of the turned and resized image.
        top, left: its offset in the region, in pixels; negative where the image begins before it.
        region: (H, W), not larger than the canvas.
        flip: mirrored or not.
        turns: quarter turns against the clock.
    """

    size: Size
    top: int
    left: int
    region: Size
    flip: bool
    turns: int = 0

    @property
    def cuts(self) -> bool:
        """Whether parts of the image lie outside of the region."""
        return (min(self.top, self.left) < 0 or self.top + self.size[0] > self.region[0]
                or self.left + self.size[1] > self.region[1])

    def whole_boxes(self, boxes: np.ndarray, image_size: Size) -> np.ndarray:
        """(N, 4) xyxy in the frame of a turned image of `image_size` -> (N, 4) float64 in that of the region."""
        factor = np.array([self.size[1] / image_size[1], self.size[0] / image_size[0]] * 2)
        return boxes * factor + [self.left, self.top] * 2

    def boxes(self, boxes: np.ndarray, image_size: Size) -> np.ndarray:
        """The same, cut off at the region's border, float32; not mirrored."""
        moved = self.whole_boxes(boxes, image_size)
        return np.clip(moved, 0, [self.region[1], self.region[0]] * 2).astype(np.float32)

    def in_image(self, boxes: np.ndarray, image_size: Size) -> np.ndarray:
        """(N, 4) in the region, not mirrored -> (N, 4) float32 in the turned image: the inverse of `whole_boxes`."""
        factor = np.array([self.size[1] / image_size[1], self.size[0] / image_size[0]] * 2)
        back = (boxes - np.array([self.left, self.top] * 2)) / factor
        return np.clip(back, 0, [image_size[1], image_size[0]] * 2).astype(np.float32)

    def mirrored(self, boxes: np.ndarray) -> np.ndarray:
        """(N, 4) boxes of the region as they lie after mirroring, if it is mirrored."""
        if not self.flip:
            return boxes
        boxes = boxes.copy()
        boxes[:, [0, 2]] = self.region[1] - boxes[:, [2, 0]]
        return boxes

    def pixels(self, image: np.ndarray) -> tuple[np.ndarray, int, int]:
        """The part of an image (h, w, 3) that the region shows, and its top row and left column there."""
        if self.turns:
            image = np.ascontiguousarray(np.rot90(image, self.turns))
        resized = image_ops.resize(image, self.size, "bilinear")
        top, left = max(self.top, 0), max(self.left, 0)
        bottom, right = (min(offset + side, limit) for offset, side, limit in zip((self.top, self.left), self.size,
                                                                                  self.region))
        if self.cuts:
            resized = np.ascontiguousarray(resized[top - self.top:bottom - self.top, left - self.left:
                                                   right - self.left])
        return (image_ops.mirrored(resized), top, self.region[1] - right) if self.flip else (resized, top, left)

    def image_pixels(self, first: int, last: int, *, axis: int, image_size: Size) -> np.ndarray:
        """(last - first,) the row (axis 0) or column (axis 1) of the turned image under each of the region's pixels.

        -1 where there is none. Columns are those after mirroring.
        """
        centres = np.arange(first, last) + 0.5
        if axis == 1 and self.flip:
            centres = self.region[1] - centres
        place = np.floor((centres - (self.left if axis else self.top)) * image_size[axis] / self.size[axis])
        return np.where((place >= 0) & (place < image_size[axis]), place, -1).astype(int)


def turned_size(size: Size, turns: int) -> Size:
    """(H, W) of an image after quarter turns."""
    return (size[1], size[0]) if turns % 2 else (size[0], size[1])


def turned_boxes(boxes: np.ndarray, size: Size, turns: int) -> np.ndarray:
    """(N, 4) xyxy in an image of `size` (H, W) -> in the same after quarter turns against the clock (`np.rot90`)."""
    for _ in range(turns % 4):
        x1, y1, x2, y2 = boxes.T
        boxes, size = np.stack([y1, size[1] - x2, y2, size[1] - x1], 1), (size[1], size[0])
    return boxes


def window_offset(image: tuple[int, int], length: int, limit: int, rng: np.random.Generator) -> int:
    """Draw the first pixel of a window of `limit` pixels along an axis of `length`: as much of the image as possible.

    Args:
        image: first and last pixel of the image on the axis, half-open.
    """
    ends = image[0], image[1] - limit
    low, high = max(min(ends), 0), min(max(ends), length - limit)
    return int(rng.integers(low, high, endpoint=True))


def windowed(top: int, left: int, size: Size, region: Size, canvas: Size,
             rng: np.random.Generator) -> tuple[int, int, Size]:
    """Cut a window of the canvas's size out of a region that is larger: the image's new top and left, and the region.

    Args:
        top, left, size: of the image in the region.
    """
    offsets = [window_offset((first, first + side), length, limit, rng) if length > limit else 0
               for first, side, length, limit in zip((top, left), size, region, canvas)]
    return top - offsets[0], left - offsets[1], (min(region[0], canvas[0]), min(region[1], canvas[1]))


def drawn_scale(scales: Sequence[float], limits: tuple[float, float], rng: np.random.Generator) -> float:
    """One of `scales`, else a number between the limits. Nothing is drawn where there is no choice."""
    if scales:
        return float(scales[rng.integers(len(scales))])
    return float(rng.uniform(*limits)) if limits[0] < limits[1] else limits[0]
