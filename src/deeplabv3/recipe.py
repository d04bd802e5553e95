"""From bytes to network input: the training augmentation and the deterministic input of evaluation and serving."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from src.data import image_ops
from src.data.semantic.voc import decode_pair


@dataclass(frozen=True)
class InputRecipe:
    """How an image becomes the network's input. `mean` and `std` are in `colour_order`, on the 0..255 scale."""

    colour_order: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def normalise(self, image: np.ndarray, canvas: tuple[int, int], left: int = 0) -> np.ndarray:
        """(h, w, 3) uint8 RGB -> (3, *canvas) float32, the image at the top from column `left` on, zeros elsewhere."""
        return image_ops.normalise(image, self.mean, self.std, canvas, colour_order=self.colour_order, left=left)

    def fit(self, image: np.ndarray, long_side: int) -> tuple[np.ndarray, tuple[int, int]]:
        """Scale an RGB image's long side to `long_side` (bilinear) and put it on a square canvas of that side.

        Returns the (3, long_side, long_side) float32 input and the (H, W) of the image on it.
        """
        size = image_ops.fit_long_side(image.shape[:2], long_side)
        return self.normalise(image_ops.resize(image, size, "bilinear"), (long_side, long_side)), size


@dataclass(frozen=True)
class TrainTransform:
    """Random scale, pad, crop and flip: (image bytes, label bytes, rng) -> image (3, S, S) float32, label (S, S) int32.

    The image is scaled by a factor uniform in [min_scale, max_scale] (bicubic; nearest for the label), a window of
    crop_size is cut at a uniformly random place, what is missing at the bottom and right is 0 in the normalised image
    and `ignore_label` in the label, and half of the samples are mirrored. The published recipe, in its order, but that
    it normalises the window alone.
    """

    recipe: InputRecipe
    crop_size: int
    min_scale: float
    max_scale: float
    num_classes: int
    ignore_label: int

    def __call__(self, image_bytes: bytes, label_bytes: bytes, rng: np.random.Generator) -> tuple:
        image, label = decode_pair(image_bytes, label_bytes, self.num_classes, self.ignore_label)
        scale = rng.uniform(self.min_scale, self.max_scale)
        size = tuple(max(int(scale * side), 1) for side in label.shape)
        crop = (self.crop_size, self.crop_size)
        window = image_ops.random_window(size, crop, rng)
        flip = rng.random() < 0.5
        image = image_ops.resize(image, size, "bicubic")[window]
        label = image_ops.pad_to(image_ops.resize(label, size, "nearest")[window], crop, self.ignore_label)
        left = 0
        if flip:  # mirrors the canvas: what was missing at the right is then missing at the left
            image, label = image_ops.mirrored(image), image_ops.mirrored(label)
            left = self.crop_size - image.shape[1]
        return self.recipe.normalise(image, crop, left), label.astype(np.int32)
