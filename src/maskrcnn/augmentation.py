"""The training augmentation: from the bytes of a record to the columns of a training batch.

Frames: `image` is the original image; `region` is the part of the input that holds the image and its expansion, at the
top left; the rest of the canvas is padding. `image_size` is the region's (height, width). No MindSpore here.
"""
from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from threading import Lock
from typing import NamedTuple

import cv2
import numpy as np

from src.contract import InputError
from src.data import image_ops
from src.data.decode import decode_image, exif_hint
from src.data.instance.target import Target, decode_target, mask_crop
from src.maskrcnn.preprocess import Preprocess

log = logging.getLogger(__name__)

MIN_SIDE = 1.0  # input pixels: boxes with a shorter side are degenerate


class Placement(NamedTuple):
    """Placement of an image: its resized (H, W), its offset in the region, the region's (H, W), mirrored or not."""

    size: tuple[int, int]
    top: int
    left: int
    region: tuple[int, int]
    flip: bool

    def boxes(self, boxes: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
        """(N, 4) xyxy in the frame of an image of `image_size` -> in the input's, inside the region."""
        factor = np.array([self.size[1] / image_size[1], self.size[0] / image_size[0]] * 2)
        moved = boxes * factor + [self.left, self.top] * 2
        return np.clip(moved, 0, [self.region[1], self.region[0]] * 2).astype(np.float32)


class Dropped:
    """Counts unusable instances by reason and logs the 1st, the 10th, the 100th, ... Thread-safe."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.boxes_alone = False
        self._lock = Lock()

    def add(self, reason: str, count: int) -> None:
        if count <= 0:
            return
        with self._lock:
            before = self.counts[reason]
            self.counts[reason] = total = before + count
        if len(str(total)) > len(str(before)) or not before:
            log.warning("%d instances so far %s", total, reason)

    def found_boxes_alone(self) -> None:
        """Log once that the data has boxes without masks, as text files always do."""
        with self._lock:
            first = not self.boxes_alone
            self.boxes_alone = True
        if first:
            log.warning("the data has objects without a mask: they train the boxes, not the masks")


DEGENERATE = f"dropped: their boxes have a side of less than {MIN_SIDE:g} input pixel"
TOO_MANY = "dropped: their images have more than max_instance_count, the largest stay"
NO_MASK = "have a mask with nothing in their box: they train the boxes, not the masks"


@dataclass(frozen=True)
class TrainAugmentation:
    """(image bytes, target bytes, rng) -> the columns of `maskrcnn.COLUMNS` before `sample_id`.

    Photometric distortion, expansion (the image in a larger empty region, so its objects become smaller), resize and
    mirroring. Instances are padded to `max_instances` slots: boxes, labels and masks are 0 where `gt_valid` is False.

    Attributes:
        preprocess: of the input; every image is placed on the canvas of a landscape image.
        num_classes: K that the targets must have.
        max_instances: G; images with more keep the largest, objects before crowds.
        mask_side: M of the mask crops.
        flip_ratio, photo_ratio: probabilities that an image is mirrored, and that its colours are distorted.
        expand_ratio: images are expanded with probability expand_ratio / 2 (the published rule).
        expand_limit: largest side of an expanded region, as a multiple of the image's side.
        dropped: counts of the instances that were left out.
    """

    preprocess: Preprocess
    num_classes: int
    max_instances: int = 128
    mask_side: int = 112
    flip_ratio: float = 0.5
    photo_ratio: float = 0.5
    expand_ratio: float = 1.0
    expand_limit: float = 4.0
    dropped: Dropped = field(default_factory=Dropped, compare=False)

    def __call__(self, image_bytes: bytes, target_bytes: bytes, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        image, target = decode_image(image_bytes, self.preprocess.decoding), decode_target(target_bytes)
        self._check(image, target, image_bytes)
        if rng.random() < self.photo_ratio:
            image = distorted(image, rng)
        placement = self.placement(target.size, rng)
        pixels = image_ops.resize(image, placement.size, "bilinear")
        left = placement.left
        if placement.flip:
            pixels, left = image_ops.mirrored(pixels), placement.region[1] - left - placement.size[1]
        canvas = self.preprocess.canvas((1, 1))
        return (self.preprocess.place(pixels, canvas, top=placement.top, left=left),
                np.array(placement.region, np.float32), *self.truth(target, placement))

    def _check(self, image: np.ndarray, target: Target, data: bytes) -> None:
        if image.shape[:2] != target.size:
            raise InputError(f"the image is {image.shape[:2]}, its annotation says {target.size} (height, width)"
                             f"{exif_hint(data)}")
        classes = max((c.label for c in target.categories), default=0) + 1
        if classes != self.num_classes:
            raise InputError(f"the data has {classes} classes with background, num_classes={self.num_classes}; set "
                             f"--num_classes={classes}, or name the classes to take with --coco_classes")

    def placement(self, size: tuple[int, int], rng: np.random.Generator) -> Placement:
        """Draw a random placement for an image of `size` (H, W)."""
        ratio = rng.uniform(1, self.expand_limit) if rng.random() < self.expand_ratio / 2 else 1.0
        expanded = (int(size[0] * ratio), int(size[1] * ratio))
        offset = rng.uniform(0, 1, 2) * (expanded[0] - size[0], expanded[1] - size[1])
        region = self.fitted(expanded)
        scale = np.array(region) / expanded
        resized = [int(max(round(s * f), 1)) for s, f in zip(size, scale)]
        top, left = (int(min(round(o * f), r - s)) for o, f, r, s in zip(offset, scale, region, resized))
        return Placement((resized[0], resized[1]), top, left, region, bool(rng.random() < self.flip_ratio))

    def fitted(self, size: tuple[int, int]) -> tuple[int, int]:
        """(H, W) that an image of `size` is resized to: as in inference, but for portrait images, which are placed on
        the landscape canvas too, because batches have one shape."""
        height, width = self.preprocess.fitted(size)
        canvas = self.preprocess.canvas((1, 1))
        factor = min(canvas[0] / height, canvas[1] / width, 1.0)
        return max(round(height * factor), 1), max(round(width * factor), 1)

    def truth(self, target: Target, placement: Placement) -> tuple[np.ndarray, ...]:
        """gt_boxes (G, 4), gt_labels, gt_valid, gt_ignore (G,), gt_masks (G, M, M), gt_has_mask (G,)."""
        boxes = placement.boxes(target.boxes_image, target.size)
        chosen = self._chosen(boxes, target.crowds)
        n, g, side = len(chosen), self.max_instances, self.mask_side
        boxes, chosen = boxes[chosen], chosen.tolist()
        if placement.flip:
            boxes[:, [0, 2]] = placement.region[1] - boxes[:, [2, 0]]
        crops = np.zeros((g, side, side), np.uint8)
        for slot, k in enumerate(chosen):
            if "segmentation" in target.instances[k] and not target.crowds[k]:
                crop = mask_crop(target.instances[k]["segmentation"], target.size, target.boxes_image[k], side)
                crops[slot] = crop[:, ::-1] if placement.flip else crop
        has_mask = crops.any((1, 2))
        given = np.array(["segmentation" in target.instances[k] for k in chosen], bool)
        self.dropped.add(NO_MASK, int((~has_mask[:n] & given & ~target.crowds[chosen]).sum()))
        if not (given | target.crowds[chosen]).all():
            self.dropped.found_boxes_alone()
        return (_padded(boxes, g), _padded(target.labels[chosen], g), np.arange(g) < n,
                _padded(target.crowds[chosen], g), crops, has_mask)

    def _chosen(self, boxes: np.ndarray, crowds: np.ndarray) -> np.ndarray:
        """Indices of the instances that get a slot, in the target's order."""
        sides = boxes[:, 2:] - boxes[:, :2]
        usable = np.flatnonzero((sides >= MIN_SIDE).all(1))
        self.dropped.add(DEGENERATE, len(boxes) - len(usable))
        self.dropped.add(TOO_MANY, len(usable) - self.max_instances)
        order = np.lexsort((-sides[usable].prod(1), crowds[usable]))
        return np.sort(usable[order[:self.max_instances]])


def _padded(values: np.ndarray, slots: int) -> np.ndarray:
    return np.concatenate([values, np.zeros((slots - len(values), *values.shape[1:]), values.dtype)])


def distorted(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Photometric distortion of (H, W, 3) uint8 RGB (Liu et al. 2016, SSD): each step with probability 1/2.

    Brightness is shifted by up to 32, contrast and saturation are scaled by 0.5 to 1.5, the hue is rotated by up to 18
    degrees, and channels are permuted; contrast changes either before or after saturation and hue.
    """
    shift = rng.uniform(-32, 32) if rng.random() < 0.5 else 0.0
    contrast = rng.uniform(0.5, 1.5) if rng.random() < 0.5 else 1.0
    saturation = rng.uniform(0.5, 1.5) if rng.random() < 0.5 else 1.0
    hue = rng.uniform(-18, 18) if rng.random() < 0.5 else 0.0
    early = rng.random() < 0.5
    channels = rng.permutation(3) if rng.random() < 0.5 else np.arange(3)
    values = np.arange(256)
    image = cv2.LUT(image, _bytes((values + shift) * (contrast if early else 1.0)))
    if saturation != 1 or hue:
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)  # hue in half degrees
        tables = [np.rint(values + hue / 2) % 180, values * saturation, values]
        hsv = cv2.LUT(hsv, np.stack([_bytes(table) for table in tables], -1)[None])
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    if not early:
        image = cv2.LUT(image, _bytes(values * contrast))
    return np.ascontiguousarray(image[..., channels])


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
