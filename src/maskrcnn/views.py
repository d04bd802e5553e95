"""Test-time augmentation: an image is looked at in several scales and mirrored, and what is found becomes one result.

As in detectron2's GeneralizedRCNNWithTTA: the detections of all views are united and suppressed once more; the masks of
those that remain are predicted in every view and averaged. No MindSpore here.
"""
from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from src.contract import Instances, Record
from src.data import image_ops
from src.data.read_ahead import decode_record, read_ahead
from src.maskrcnn.inference import Predictor
from src.maskrcnn.paste import scale_boxes, to_instances
from src.maskrcnn.preprocess import STRIDE, Preprocess
from src.maskrcnn.suppression import suppress

Size = tuple[int, int]
Found = tuple[np.ndarray, np.ndarray, np.ndarray]  # boxes (N, 4) in the image's frame, labels (N,), scores (N,)


@dataclass(frozen=True)
class View:
    """A scale, mirrored or not. `size` is the (height, width) of the image in the view's input."""

    preprocess: Preprocess
    flip: bool

    def input(self, image: np.ndarray) -> tuple[np.ndarray, Size]:
        """(h, w, 3) uint8 RGB -> input (3, H, W) float32, and the size of the image in it."""
        return self.preprocess.prepare(image_ops.mirrored(image) if self.flip else image)

    def to_image(self, boxes: np.ndarray, size: Size, image_size: Size) -> np.ndarray:
        """(N, 4) boxes in the input -> in the image, clipped to it."""
        return scale_boxes(self._mirrored(boxes, size), size, image_size)

    def from_image(self, boxes: np.ndarray, size: Size, image_size: Size) -> np.ndarray:
        """(N, 4) boxes in the image -> in the input."""
        return self._mirrored(scale_boxes(boxes, image_size, size), size)

    def masks(self, masks: np.ndarray) -> np.ndarray:
        """(N, S, S) masks of the view -> of the image."""
        return masks[..., ::-1] if self.flip else masks

    def _mirrored(self, boxes: np.ndarray, size: Size) -> np.ndarray:
        if not self.flip:
            return boxes
        x1, y1, x2, y2 = boxes.T
        return np.stack([size[1] - x2, y1, size[1] - x1, y2], 1)


def views_of(preprocess: Preprocess, scales: Sequence[float], *, flip: bool) -> tuple[View, ...]:
    """The views in each scale, the mirrored ones after the others of their scale.

    Sides of a scaled input are multiples of 32 where those of the input are.
    """
    return tuple(View(dataclasses.replace(preprocess, size=tuple(scaled_side(side, scale, preprocess.rule)
                                                                 for side in preprocess.size)), mirrored)
                 for scale in scales for mirrored in ((False, True) if flip else (False,)))


def scaled_side(side: int, scale: float, rule: str) -> int:
    """A side of the input at a scale, in pixels."""
    return max(round(side * scale / STRIDE), 1) * STRIDE if rule == "canvas" else max(round(side * scale), 1)


class MultiViewPredictor(Predictor):
    """Records -> instances, in order, from several views of each image.

    Args:
        masks_of: image (B, 3, H, W), boxes_input (B, D, 4) float32, labels (B, D) int32 -> masks (B, D, S, S).
        views: how each image is looked at.
        limit: D, instances of an image, at most.
        iou: threshold of the suppression among the views.
        detect, preprocess, batch_size, workers, paste: see `Predictor`.
    """

    def __init__(self, detect: Callable, *, masks_of: Callable[..., np.ndarray], views: Sequence[View], limit: int,
                 iou: float, **rest):
        super().__init__(detect, **rest)
        self.masks_of = masks_of
        self.views = views
        self.limit = limit
        self.iou = iou

    def __call__(self, records: Iterable[Record]) -> Iterator[Instances]:
        with ThreadPoolExecutor(self.workers) as pool:
            for image_ids, images in read_ahead(records, self._image, batch_size=self.batch_size, pool=pool):
                inputs = [list(pool.map(view.input, images)) for view in self.views]
                sizes = [image.shape[:2] for image in images]
                found = self._united(inputs, sizes)
                masks = self._mean_masks(inputs, sizes, found)
                for image_id, size, (boxes, labels, scores), one in zip(image_ids, sizes, found, masks):
                    detections = boxes, labels, scores, np.ones(len(boxes), bool), one
                    yield to_instances(image_id, detections, image_size=size, original_size=size, **self.paste)

    def _image(self, record: Record) -> np.ndarray:
        return decode_record(record, self.preprocess.decoding)

    def _united(self, inputs: list[list[tuple]], sizes: list[Size]) -> list[Found]:
        """What is left of the detections of all views of each image."""
        parts: list[list[Found]] = [[] for _ in sizes]
        for view, batch in zip(self.views, inputs):
            for part, (_, size), image_size, arrays in zip(parts, batch, sizes, self._detections(batch)):
                boxes, labels, scores, valid = arrays[:4]
                shown = valid.astype(bool)
                part.append((view.to_image(boxes[shown], size, image_size), labels[shown], scores[shown]))
        united = [tuple(np.concatenate(arrays) for arrays in zip(*part)) for part in parts]
        return [tuple(array[suppress(*one, iou=self.iou, limit=self.limit)] for array in one) for one in united]

    def _mean_masks(self, inputs: list[list[tuple]], sizes: list[Size], found: list[Found]) -> list[np.ndarray]:
        """(N, S, S) float32 masks of each image's detections, averaged over its views."""
        if not self.paste.get("with_masks", True):
            return [np.zeros((len(boxes), 1, 1), np.float32) for boxes, _, _ in found]
        totals: list = [0.0] * len(sizes)
        for view, batch in zip(self.views, inputs):
            for canvas in dict.fromkeys(pixels.shape for pixels, _ in batch):
                chosen = [k for k, (pixels, _) in enumerate(batch) if pixels.shape == canvas]
                images = np.zeros((self.batch_size, *canvas), np.float32)
                boxes = np.zeros((self.batch_size, self.limit, 4), np.float32)
                labels = np.zeros((self.batch_size, self.limit), np.int32)
                for slot, k in enumerate(chosen):
                    count, images[slot] = len(found[k][0]), batch[k][0]
                    boxes[slot, :count] = view.from_image(found[k][0], batch[k][1], sizes[k])
                    labels[slot, :count] = found[k][1]
                masks = self.masks_of(images, boxes, labels)
                for slot, k in enumerate(chosen):
                    totals[k] = totals[k] + view.masks(masks[slot, :len(found[k][0])]).astype(np.float32)
        return [total / len(self.views) for total in totals]
