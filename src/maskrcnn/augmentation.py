"""The training augmentation: from the bytes of a record to the columns of a training batch.

Frames: `image` is the original image; `region` is the part of the input that holds the image and its expansion, at the
top left; the rest of the canvas is padding. `image_size` is the region's (height, width). No MindSpore here.
"""
from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from threading import Lock

import cv2
import numpy as np

from src.contract import InputError
from src.data.decode import decode_image, exif_hint
from src.data.instance.target import Target, decode_target
from src.maskrcnn.placed import MAX_HIDDEN, MIN_SIDE, Placed
from src.maskrcnn.placement import Placement, Size, drawn_scale, turned_size, windowed
from src.maskrcnn.preprocess import Preprocess

log = logging.getLogger(__name__)


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
HIDDEN = f"dropped: objects pasted from another image hide more than {MAX_HIDDEN:.0%} of them"
NOT_PASTED = "not pasted into another image: it has max_instance_count already"


@dataclass(frozen=True)
class TrainAugmentation:
    """(image bytes, target bytes, rng) -> the columns of `maskrcnn.COLUMNS` before `sample_id`.

    Photometric distortion, quarter turns, expansion (the image in a larger empty region, so its objects become
    smaller), resize by a random scale, a random window where the result is larger than the canvas, mirroring, and
    objects of another image pasted on top. Instances are padded to `max_instances` slots: boxes, labels and masks are 0
    where `gt_valid` is False. What is switched off draws no random number.

    Attributes:
        preprocess: of the input; every image is placed on the canvas of a landscape image.
        num_classes: K that the targets must have.
        max_instances: G; images with more keep the largest, objects before crowds.
        mask_side: M of the mask crops.
        flip_ratio, photo_ratio: probabilities that an image is mirrored, and that its colours are distorted.
        expand_ratio: images are expanded with probability expand_ratio / 2 (the published rule).
        expand_limit: largest side of an expanded region, as a multiple of the image's side.
        scales: factors of the image's size in the input, of which one is drawn; empty: see `scale_limits`.
        scale_limits: the factor is uniform between these (large-scale jitter: 0.1 to 2, Ghiasi et al. 2021).
        crop_size: (H, W) of the canvas; None: that of the preprocessing.
        rotate_ratio: probability that an image is turned by 90, 180 or 270 degrees.
        copy_paste_ratio: probability that objects of another image are pasted (Ghiasi et al. 2021, arXiv:2012.07177).
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
    scales: tuple[float, ...] = ()
    scale_limits: tuple[float, float] = (1.0, 1.0)
    crop_size: Size | None = None
    rotate_ratio: float = 0.0
    copy_paste_ratio: float = 0.0
    dropped: Dropped = field(default_factory=Dropped, compare=False)

    @property
    def partner_ratio(self) -> float:
        """Share of the samples that are called with a `partner`, see `src/data/pipeline.py`."""
        return self.copy_paste_ratio

    @property
    def canvas(self) -> Size:
        return self.crop_size or self.preprocess.canvas((1, 1))

    def __call__(self, image_bytes: bytes, target_bytes: bytes, rng: np.random.Generator,
                 partner: tuple[bytes, bytes] | None = None) -> tuple[np.ndarray, ...]:
        """`partner`: image and target bytes of the image whose objects are pasted, if any."""
        image, placed = self._place(image_bytes, target_bytes, rng)
        groups, region = [placed], placed.placement.region
        if partner:
            other_image, other = self._place(*partner, rng)
            image = self._paste(image, placed, other_image, other, rng)
            groups, region = [placed, other], tuple(map(max, region, other.placement.region))
        return image, np.array(region, np.float32), *self.truth(*groups)

    def _place(self, image_bytes: bytes, target_bytes: bytes, rng: np.random.Generator) -> tuple[np.ndarray, Placed]:
        """The input (3, H, W) float32 of one image, and its instances on it."""
        image, target = decode_image(image_bytes, self.preprocess.decoding), decode_target(target_bytes)
        self._check(image, target, image_bytes)
        if rng.random() < self.photo_ratio:
            image = distorted(image, rng)
        placement = self.placement(target.size, rng)
        pixels, top, left = placement.pixels(image)
        return self.preprocess.place(pixels, self.canvas, top=top, left=left), Placed(target, placement)

    def _check(self, image: np.ndarray, target: Target, data: bytes) -> None:
        if image.shape[:2] != target.size:
            raise InputError(f"the image is {image.shape[:2]}, its annotation says {target.size} (height, width)"
                             f"{exif_hint(data)}")
        classes = max((c.label for c in target.categories), default=0) + 1
        if classes != self.num_classes:
            raise InputError(f"the data has {classes} classes with background, num_classes={self.num_classes}; set "
                             f"--num_classes={classes}, or name the classes to take with --coco_classes")

    def placement(self, size: Size, rng: np.random.Generator) -> Placement:
        """Draw a random placement for an image of `size` (H, W)."""
        turns = int(rng.integers(1, 4)) if self.rotate_ratio and rng.random() < self.rotate_ratio else 0
        size = turned_size(size, turns)
        ratio = rng.uniform(1, self.expand_limit) if rng.random() < self.expand_ratio / 2 else 1.0
        expanded = (int(size[0] * ratio), int(size[1] * ratio))
        offset = rng.uniform(0, 1, 2) * (expanded[0] - size[0], expanded[1] - size[1])
        factor = drawn_scale(self.scales, self.scale_limits, rng)
        height, width = (max(round(side * factor), 1) for side in self.fitted(expanded))
        scale = np.array([height, width]) / expanded
        resized = tuple(int(max(round(s * f), 1)) for s, f in zip(size, scale))
        top, left = (int(min(round(o * f), r - s)) for o, f, r, s in zip(offset, scale, (height, width), resized))
        flip = bool(rng.random() < self.flip_ratio)
        top, left, region = windowed(top, left, resized, (height, width), self.canvas, rng)
        return Placement(resized, top, left, region, flip, turns)

    def fitted(self, size: Size) -> Size:
        """(H, W) that an image of `size` is resized to at scale 1: as in inference, but for portrait images, which are
        fitted to the landscape canvas too, because batches have one shape."""
        height, width = self.preprocess.fitted(size)
        canvas = self.preprocess.canvas((1, 1))
        factor = min(canvas[0] / height, canvas[1] / width, 1.0)
        return max(round(height * factor), 1), max(round(width * factor), 1)

    def _paste(self, image: np.ndarray, own: Placed, other_image: np.ndarray, other: Placed,
               rng: np.random.Generator) -> np.ndarray:
        """Paste a random number of objects of another image, and hide what lies under them; return the input.

        Crowd regions and objects without a mask are not pasted, and no more objects than slots are free.
        """
        candidates = np.flatnonzero(other.seen & other.given & ~other.crowds)
        chosen = rng.permutation(candidates)[:rng.integers(1, max(len(candidates), 1), endpoint=True)]
        free = max(self.max_instances - np.count_nonzero(own.seen), 0)
        self.dropped.add(NOT_PASTED, len(chosen) - free)
        occluder = np.zeros(self.canvas, bool)
        other.seen[:] = False
        for k in chosen[:free]:
            pixels = other.pixels(k)
            pixels.on(occluder)[:] |= pixels.mask
            other.seen[k] = pixels.mask.any()
        self.dropped.add(HIDDEN, own.hide(occluder))
        return np.where(occluder, other_image, image)

    def truth(self, *groups: Placed) -> tuple[np.ndarray, ...]:
        """gt_boxes (G, 4), gt_labels, gt_valid, gt_ignore (G,), gt_masks (G, M, M), gt_has_mask (G,).

        Args:
            groups: the instances of each image on the canvas.
        """
        self.dropped.add(DEGENERATE, sum(int(group.degenerate.sum()) for group in groups))
        owners = [(group, k) for group in groups for k in range(len(group.labels))]
        crowds = np.concatenate([group.crowds for group in groups])
        chosen = self._chosen(np.concatenate([group.boxes for group in groups]), crowds,
                              np.concatenate([group.seen for group in groups]))
        n, g, side = len(chosen), self.max_instances, self.mask_side
        boxes = np.concatenate([group.final_boxes() for group in groups])[chosen]
        labels = np.concatenate([group.labels for group in groups])[chosen]
        given = np.concatenate([group.given for group in groups])[chosen]
        crops = np.zeros((g, side, side), np.uint8)
        for slot in np.flatnonzero(given & ~crowds[chosen]):
            group, k = owners[chosen[slot]]
            crops[slot] = group.crop(k, side)
        has_mask = crops.any((1, 2))
        self.dropped.add(NO_MASK, int((~has_mask[:n] & given & ~crowds[chosen]).sum()))
        if not (given | crowds[chosen]).all():
            self.dropped.found_boxes_alone()
        return (_padded(boxes, g), _padded(labels, g), np.arange(g) < n, _padded(crowds[chosen], g), crops, has_mask)

    def _chosen(self, boxes: np.ndarray, crowds: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """Indices of the instances that get a slot, in their order."""
        usable = np.flatnonzero(seen)
        self.dropped.add(TOO_MANY, len(usable) - self.max_instances)
        sides = boxes[usable, 2:] - boxes[usable, :2]
        order = np.lexsort((-sides.prod(1), crowds[usable]))
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
