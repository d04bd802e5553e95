"""The training augmentation: from the bytes of a record to the columns of a training batch."""
from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from src.data import image_ops
from src.data.semantic.rare_classes import rare_pixel
from src.data.semantic.voc import decode_pair
from src.deeplabv3.preprocess import Preprocess


@dataclass(frozen=True)
class TrainAugmentation:
    """Random scale, pad, crop and flip: (image bytes, label bytes, rng) -> image (3, S, S) float32, label (S, S) int32.

    The image is scaled by a factor uniform in [min_scale, max_scale] (bicubic; nearest for the label), and a window of
    crop_size is cut at a uniformly random place. It is padded at the bottom and right with 0 in the normalised image
    and `ignore_label` in the label. Half of the samples are mirrored. These are the steps of the published recipe in
    its order, except that only the window is normalised.

    The rest is off unless asked for, and draws from the generator only where it is on:

    Attributes:
        rotation: largest angle in degrees, either way, before scaling; the corners from outside have the mean colour
            and `ignore_label`.
        rare_class_crops: fraction of the samples whose window holds a pixel of a class drawn in favour of rare ones.
        rarity: (256,) weights of the classes for that, see `rare_classes.rarity`.
        colour_jitter: largest change of brightness, contrast and saturation as a fraction of them, and of hue as a
            fraction of the colour circle; empty for none.
        blur: largest standard deviation of a Gaussian blur of the window, in pixels; half of the samples are blurred.
    """

    preprocess: Preprocess
    crop_size: int
    min_scale: float
    max_scale: float
    num_classes: int
    ignore_label: int
    rotation: float = 0.0
    rare_class_crops: float = 0.0
    rarity: np.ndarray = field(default_factory=lambda: np.zeros(256))
    colour_jitter: tuple[float, ...] = ()
    blur: float = 0.0

    def __call__(self, image_bytes: bytes, label_bytes: bytes, rng: np.random.Generator) -> tuple:
        image, label = decode_pair(image_bytes, label_bytes, self.num_classes, self.ignore_label,
                                   self.preprocess.decoding)
        if self.rotation:
            image, label = self._rotated(image, label, rng.uniform(-self.rotation, self.rotation))
        scale = rng.uniform(self.min_scale, self.max_scale)
        size = tuple(max(int(scale * side), 1) for side in label.shape)
        crop = (self.crop_size, self.crop_size)
        window = self._window(label, size, rng)
        flip = rng.random() < 0.5
        image = self._coloured(image_ops.resize(image, size, "bicubic")[window], rng)
        label = image_ops.pad_to(image_ops.resize(label, size, "nearest")[window], crop, self.ignore_label)
        left = 0
        if flip:  # mirrors the canvas too: padding at the right is then at the left
            image, label = image_ops.mirrored(image), image_ops.mirrored(label)
            left = self.crop_size - image.shape[1]
        return self.preprocess.normalise(image, crop, left), label.astype(np.int32)

    def _rotated(self, image: np.ndarray, label: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
        return (image_ops.rotated(image, degrees, "bilinear", self.preprocess.mean_rgb),
                image_ops.rotated(label, degrees, "nearest", self.ignore_label))

    def _window(self, label: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> tuple[slice, slice]:
        """The part of the scaled image, of `size`, that becomes the sample."""
        crop = (self.crop_size, self.crop_size)
        if self.rare_class_crops and rng.random() < self.rare_class_crops:
            pixel = rare_pixel(label, self.rarity, rng)
            if pixel is not None:
                point = tuple(int((at + 0.5) * scaled / side) for at, scaled, side in zip(pixel, size, label.shape))
                return image_ops.window_around(size, crop, point, rng)
        return image_ops.random_window(size, crop, rng)

    def _coloured(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if self.colour_jitter:
            brightness, contrast, saturation, hue = rng.uniform(-1, 1, 4) * self.colour_jitter
            image = image_ops.coloured(image, brightness=1 + brightness, contrast=1 + contrast,
                                       saturation=1 + saturation, hue=hue)
        if self.blur and rng.random() < 0.5:
            image = image_ops.blurred(image, rng.uniform(0, self.blur))
        return image
