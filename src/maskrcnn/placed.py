"""The instances of an image as they lie on the training canvas: boxes, masks, and what is cut off or hidden."""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from src.data.instance.target import Target, crop_of, mask_crop, mask_window
from src.maskrcnn.placement import Placement, turned_boxes, turned_size

MIN_SIDE = 1.0  # input pixels: boxes with a shorter side are degenerate
MAX_HIDDEN = 0.7  # of an object's pixels; objects of which pasted ones hide more are left out


class Pixels(NamedTuple):
    """A mask (h, w) bool on the canvas, and its top row and left column."""

    mask: np.ndarray
    top: int
    left: int

    def on(self, canvas: np.ndarray) -> np.ndarray:
        """The same part of a canvas (H, W), as a view."""
        return canvas[self.top:self.top + self.mask.shape[0], self.left:self.left + self.mask.shape[1]]


class Placed:
    """The N instances of one image in the region of a placement.

    Where the region cuts an object, its box encloses what is left of its mask.

    Attributes:
        boxes: (N, 4) float32 xyxy in the region, not mirrored.
        labels, crowds, given: (N,) class indices, which are crowd regions, and which have a segmentation.
        seen: (N,) bool: not degenerate, not cut off, not hidden.
        degenerate: (N,) bool: even the whole box has a side of less than `MIN_SIDE`.
    """

    def __init__(self, target: Target, placement: Placement):
        self.target = target
        self.placement = placement
        self.labels, self.crowds = target.labels, target.crowds
        self.given = np.array(["segmentation" in instance for instance in target.instances], bool)
        self.size = turned_size(target.size, placement.turns)
        self.parts = turned_boxes(target.boxes_image, target.size, placement.turns)  # in the turned image
        self.remains: dict[int, Pixels] = {}  # of objects that are partly hidden
        whole = placement.whole_boxes(self.parts, self.size)
        if placement.cuts:
            self._cut(whole)
        self.boxes = placement.boxes(self.parts, self.size)
        self.seen = _large_enough(self.boxes)
        self.degenerate = ~_large_enough(whole) if placement.cuts else ~self.seen

    def final_boxes(self) -> np.ndarray:
        """(N, 4) float32 boxes on the canvas, mirrored with the image."""
        return self.placement.mirrored(self.boxes)

    def crop(self, k: int, side: int) -> np.ndarray:
        """The mask of an instance in the frame of its final box: (side, side) uint8, see `target.mask_crop`."""
        if k in self.remains:
            mask, top, left = self.remains[k]
            return crop_of(mask, self._final_box(k) - (left, top, left, top), side)
        box = turned_boxes(self.parts[k:k + 1], self.size, -self.placement.turns)[0]
        crop = mask_crop(self.target.instances[k]["segmentation"], self.target.size, box, side)
        crop = np.rot90(crop, self.placement.turns)
        return crop[:, ::-1] if self.placement.flip else crop

    def pixels(self, k: int) -> Pixels:
        """The pixels of the canvas whose centres lie in an instance; in its box where it has no mask."""
        if k in self.remains:
            return self.remains[k]
        x1, y1, x2, y2 = self._final_box(k)
        top, left, bottom, right = (int(v) for v in (np.floor(y1), np.floor(x1), np.ceil(y2), np.ceil(x2)))
        if not self.given[k]:
            return Pixels(np.ones((bottom - top, right - left), bool), top, left)
        rows, columns = (self.placement.image_pixels(*ends, axis=axis, image_size=self.size)
                         for axis, ends in enumerate(((top, bottom), (left, right))))
        mask = np.zeros((bottom - top, right - left), bool)
        inside = rows >= 0, columns >= 0
        if inside[0].any() and inside[1].any():
            rows, columns = rows[inside[0]], columns[inside[1]]
            part = self._window(k, (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
            mask[np.ix_(*inside)] = part[np.ix_(rows - rows.min(), columns - columns.min())]
        return Pixels(mask, top, left)

    def hide(self, occluder: np.ndarray) -> int:
        """Take away what an occluder (H, W) bool of the canvas's size covers; crowd regions stay as they are.

        Returns:
            how many objects are left out because more than `MAX_HIDDEN` of them is covered.
        """
        left_out = 0
        for k in np.flatnonzero(self.seen & ~self.crowds):
            pixels = self.pixels(k)
            covered = pixels.on(occluder)
            if not covered.any():
                continue
            if not pixels.mask.any():  # so small that it lies between the centres of pixels
                pixels = pixels._replace(mask=np.ones_like(pixels.mask))
            visible, area = pixels.mask & ~covered, np.count_nonzero(pixels.mask)
            remaining = np.count_nonzero(visible)
            if area - remaining > MAX_HIDDEN * area:
                self.seen[k] = False
                left_out += 1
            elif remaining < area:
                self._shrink(k, pixels, visible)
        return left_out

    def _final_box(self, k: int) -> np.ndarray:
        return self.placement.mirrored(self.boxes[k:k + 1])[0]

    def _window(self, k: int, window: tuple[int, int, int, int]) -> np.ndarray:
        """The part of a mask in a window (left, top, right, bottom) of the turned image: (h, w) uint8."""
        back = turned_boxes(np.array([window]), self.size, -self.placement.turns)[0]
        part = mask_window(self.target.instances[k]["segmentation"], self.target.size, tuple(back.tolist()))
        return np.rot90(part, self.placement.turns)

    def _cut(self, whole: np.ndarray) -> None:
        """Restrict the boxes of objects that the region cuts to what it shows of them."""
        height, width = self.placement.region
        shown = np.clip(whole, 0, [width, height] * 2)
        cut = np.flatnonzero((shown != whole).any(1))
        self.parts[cut] = self.placement.in_image(shown[cut], self.size)
        for k in cut:
            if self.given[k] and not self.crowds[k]:
                self.parts[k] = self._tight(k, self.parts[k])

    def _tight(self, k: int, part: np.ndarray) -> np.ndarray:
        """The box around the mask within `part`, both (4,) in the turned image; empty if there is none."""
        left, top = np.floor(part[:2]).astype(int).tolist()
        right, bottom = np.ceil(part[2:]).astype(int).tolist()
        if not (part[2:] > part[:2]).all() or not (mask := self._window(k, (left, top, right, bottom))).any():
            return np.zeros(4, np.float32)
        y1, y2, x1, x2 = _extent(mask)
        return np.concatenate([np.maximum(part[:2], (left + x1, top + y1)),
                               np.minimum(part[2:], (left + x2, top + y2))])

    def _shrink(self, k: int, pixels: Pixels, visible: np.ndarray) -> None:
        """Keep the visible pixels of an instance alone; sides of its box that are not hidden stay where they are."""
        y1, y2, x1, x2 = _extent(visible)
        own = _extent(pixels.mask)
        moved = np.array([x1, y1, x2, y2]) + (pixels.left, pixels.top) * 2
        same = np.array([x1, y1, x2, y2]) == (own[2], own[0], own[3], own[1])
        box = np.where(same, self._final_box(k), moved).astype(np.float32)
        self.boxes[k] = self.placement.mirrored(box[None])[0]
        self.remains[k] = pixels._replace(mask=visible)
        self.seen[k] = _large_enough(box[None])[0]


def _large_enough(boxes: np.ndarray) -> np.ndarray:
    return ((boxes[:, 2:] - boxes[:, :2]) >= MIN_SIDE).all(1)


def _extent(mask: np.ndarray) -> tuple[int, int, int, int]:
    """First and last row, first and last column of a mask that is not empty, half-open."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
