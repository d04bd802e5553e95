"""From an image to the network's input, the same in training, evaluation and export."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from src.data import image_ops
from src.data.decode import AS_STORED, Decoding


@dataclass(frozen=True)
class Preprocess:
    """How an image becomes the network's input. `mean` and `std` are in `colour_order`, on the 0..255 scale."""

    colour_order: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    decoding: Decoding = AS_STORED

    @property
    def mean_rgb(self) -> tuple[int, ...]:
        """The mean as a colour of uint8 RGB images, which is about 0 in the network's input."""
        mean = self.mean if self.colour_order == "RGB" else self.mean[::-1]
        return tuple(round(min(max(value, 0), 255)) for value in mean)

    def normalise(self, image: np.ndarray, canvas: tuple[int, int], left: int = 0) -> np.ndarray:
        """(h, w, 3) uint8 RGB -> (3, *canvas) float32, the image at the top from column `left` on, zeros elsewhere."""
        return image_ops.normalise(image, self.mean, self.std, canvas, colour_order=self.colour_order, left=left)

    def fit(self, image: np.ndarray, long_side: int) -> tuple[np.ndarray, tuple[int, int]]:
        """Scale an RGB image's long side to `long_side` (bilinear) and put it on a square canvas of that side.

        Returns the (3, long_side, long_side) float32 input and the (H, W) of the image on it.
        """
        size = image_ops.fit_long_side(image.shape[:2], long_side)
        return self.normalise(image_ops.resize(image, size, "bilinear"), (long_side, long_side)), size
