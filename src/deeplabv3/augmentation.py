"""The training augmentation: from the bytes of a record to the columns of a training batch."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from src.data import image_ops
from src.data.semantic.voc import decode_pair
from src.deeplabv3.preprocess import Preprocess


@dataclass(frozen=True)
class TrainAugmentation:
    """Random scale, pad, crop and flip: (image bytes, label bytes, rng) -> image (3, S, S) float32, label (S, S) int32.

    The image is scaled by a factor uniform in [min_scale, max_scale] (bicubic; nearest for the label), and a window of
    crop_size is cut at a uniformly random place. It is padded at the bottom and right with 0 in the normalised image
    and `ignore_label` in the label. Half of the samples are mirrored. These are the steps of the published recipe in
    its order, except that only the window is normalised.
    """

    preprocess: Preprocess
    crop_size: int
    min_scale: float
    max_scale: float
    num_classes: int
    ignore_label: int

    def __call__(self, image_bytes: bytes, label_bytes: bytes, rng: np.random.Generator) -> tuple:
        image, label = decode_pair(image_bytes, label_bytes, self.num_classes, self.ignore_label,
                                   self.preprocess.decoding)
        scale = rng.uniform(self.min_scale, self.max_scale)
        size = tuple(max(int(scale * side), 1) for side in label.shape)
        crop = (self.crop_size, self.crop_size)
        window = image_ops.random_window(size, crop, rng)
        flip = rng.random() < 0.5
        image = image_ops.resize(image, size, "bicubic")[window]
        label = image_ops.pad_to(image_ops.resize(label, size, "nearest")[window], crop, self.ignore_label)
        left = 0
        if flip:  # mirrors the canvas too: padding at the right is then at the left
            image, label = image_ops.mirrored(image), image_ops.mirrored(label)
            left = self.crop_size - image.shape[1]
        return self.preprocess.normalise(image, crop, left), label.astype(np.int32)
