"""Tiles of a large image: where they lie, and which detections their inner borders may have cut. No MindSpore here."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from src.data.windows import window_starts
from src.maskrcnn.mask_runs import rectangle

NEAR = 2.0  # pixels: a box that ends this close to a border may go on beyond it; networks locate edges no better


@dataclass(frozen=True)
class Tile:
    """A part of an image, in its pixels, half-open."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)"""
        return self.bottom - self.top, self.right - self.left

    def pixels(self, image: np.ndarray) -> np.ndarray:
        """This part of an image (H, W, ...), as a view."""
        return image[self.top:self.bottom, self.left:self.right]

    def shared(self, other: Tile) -> Tile | None:
        """The part that two tiles share, if any."""
        tile = Tile(max(self.top, other.top), max(self.left, other.left), min(self.bottom, other.bottom),
                    min(self.right, other.right))
        return tile if min(tile.size) > 0 else None

    def edges(self, height: int) -> np.ndarray:
        """Its pixels as a mask in an image of `height` (`src/maskrcnn/mask_runs.py`)."""
        return rectangle(self.top, self.left, self.bottom, self.right, height)

    def cuts(self, boxes: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
        """(N,) bool: which boxes (N, 4) in the image's frame end at a side of this tile inside the image."""
        height, width = image_size
        inner = [self.left > 0, self.top > 0, self.right < width, self.bottom < height]
        distance = np.abs(boxes - (self.left, self.top, self.right, self.bottom))
        return ((distance <= NEAR) & inner).any(1)


def owners(tiles: Sequence[Tile], boxes: np.ndarray) -> np.ndarray:
    """(N,) number of the tile whose centre is nearest to that of each box (N, 4); -1 where the box leaves that tile.

    Of the tiles that hold a box completely it is the one in which the box is farthest from the sides. Equally near
    ones: the first.
    """
    corners = np.array([(t.left, t.top, t.right, t.bottom) for t in tiles], float)
    centres = [(array[:, :2] + array[:, 2:]) / 2 for array in (corners, boxes.astype(float))]
    nearest = np.abs(centres[1][:, None] - centres[0]).sum(2).argmin(1)
    inside = (boxes[:, :2] >= corners[nearest, :2]) & (boxes[:, 2:] <= corners[nearest, 2:])
    return np.where(inside.all(1), nearest, -1)


@dataclass(frozen=True)
class Tiling:
    """How images are cut into tiles.

    Attributes:
        size: (H, W) of a tile, in pixels of the image. An image not larger than it is one tile, the image itself.
        overlap: of neighbouring tiles, in pixels, below both sides of `size`. It is greater at an image's right and
            lower border, where the last tile is moved inwards. An object whose sides are not longer than it lies
            completely in at least one tile.
    """

    size: tuple[int, int]
    overlap: int

    def tiles(self, image_size: tuple[int, int]) -> list[Tile]:
        """The tiles of an image of `image_size` (H, W), row by row."""
        rows, columns = (window_starts(length, side, side - self.overlap)
                         for length, side in zip(image_size, self.size))
        height, width = (min(length, side) for length, side in zip(image_size, self.size))
        return [Tile(top, left, top + height, left + width) for top in rows for left in columns]
