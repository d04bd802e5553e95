"""From an image to the network's input, the same in training, evaluation and export. No MindSpore here."""
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from src.data import image_ops
from src.data.decode import AS_STORED, Decoding

STRIDE = 32  # stride of the coarsest feature map from the backbone; sides of the canvas are multiples of it


@dataclass(frozen=True)
class Preprocess:
    """How an image becomes the network's input.

    Attributes:
        size: (height, width) of the canvas under the rule "canvas"; (short side, longest long side) under "short_side".
        mean, std: in `colour_order`, on the 0..255 scale.
        colour_order: of the input's channels, "RGB" or "BGR".
        keep_ratio: False stretches the image over the canvas.
        rule: "canvas" scales the image so that its long and short sides fit those of the canvas, and then, if it still
            does not fit (a portrait image on a landscape canvas), scales it down until it does; "short_side" scales it
            until its short side is `size[0]` or its long side is `size[1]` (torchvision).
        rounding: of the scaled sides, "round" (half up) or "floor".
        decoding: of image files.
        pad_before_normalise: padding is black instead of 0 after normalisation.
    """

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    colour_order: str = "RGB"
    keep_ratio: bool = True
    rule: str = "canvas"
    rounding: str = "round"
    pad_before_normalise: bool = False
    decoding: Decoding = AS_STORED

    def fitted(self, size: tuple[int, int]) -> tuple[int, int]:
        """(H, W) that an image of `size` is resized to."""
        if not self.keep_ratio:
            return self.size
        short, long = min(self.size), max(self.size)
        scaled = self._scaled(size, min(short / min(size), long / max(size)))
        if self.rule == "canvas" and (scaled[0] > self.size[0] or scaled[1] > self.size[1]):
            # The published two steps, each with its rounding. The image itself is resampled once.
            scaled = self._scaled(scaled, min(self.size[0] / scaled[0], self.size[1] / scaled[1]))
        return scaled

    def canvas(self, size: tuple[int, int]) -> tuple[int, int]:
        """(H, W) of the input for an image of `size`: one under "canvas"; a landscape and a portrait one otherwise."""
        height, width = (math.ceil(side / STRIDE) * STRIDE for side in self.size)
        return (width, height) if self.rule == "short_side" and size[0] > size[1] else (height, width)

    def prepare(self, image: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
        """(h, w, 3) uint8 RGB -> input (3, H, W) float32 and the image's (height, width) in it."""
        size = self.fitted(image.shape[:2])
        return self.place(image_ops.resize(image, size, "bilinear"), self.canvas(image.shape[:2])), size

    def place(self, pixels: np.ndarray, canvas: tuple[int, int], *, top: int = 0, left: int = 0) -> np.ndarray:
        """Normalise (h, w, 3) uint8 RGB pixels onto a canvas: (3, H, W) float32."""
        if self.pad_before_normalise:
            black = np.zeros((*canvas, 3), np.uint8)
            black[top:top + pixels.shape[0], left:left + pixels.shape[1]] = pixels
            return image_ops.normalise(black, self.mean, self.std, canvas, colour_order=self.colour_order)
        below = image_ops.normalise(pixels, self.mean, self.std, (canvas[0] - top, canvas[1]),
                                    colour_order=self.colour_order, left=left)
        return np.concatenate([np.zeros((3, top, canvas[1]), np.float32), below], 1) if top else below

    def _scaled(self, size: tuple[int, int], factor: float) -> tuple[int, int]:
        half = 0.5 if self.rounding == "round" else 0.0
        return max(int(size[0] * factor + half), 1), max(int(size[1] * factor + half), 1)
