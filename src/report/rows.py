"""One image of a split as a row of pictures, truth beside prediction, for label maps and instances. No MindSpore."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pycocotools import mask as coco_mask

from src.contract import Instances, LabelMap, Record
from src.data.decode import AS_STORED, Decoding, decode_image, decode_label
from src.data.instance.target import decode_target, to_rle
from src.report import draw

SURE = 0.5  # least score of the detections that are drawn; there are many below it


def titles(prediction: LabelMap | Instances) -> tuple[str, ...]:
    """Titles of the pictures that `row` returns."""
    if isinstance(prediction, LabelMap):
        return draw.SEMANTIC_TITLES
    return "image", "truth", f"prediction, score >= {SURE:g}"


def row(record: Record, prediction: LabelMap | Instances, class_names: Sequence[str], side: int,
        how: Decoding = AS_STORED) -> list[np.ndarray]:
    """The pictures of one image, one for each of `titles`, each with a long side of `side` pixels."""
    image = decode_image(record.image, how)
    if isinstance(prediction, LabelMap):
        truth, colours = decode_label(record.target), draw.palette(class_names)
        return draw.semantic_row(image, truth, prediction.labels, colours, side)
    factor = side / max(image.shape[:2])
    image = draw.fit(image, side)
    return [image, _truth(image, record.target, class_names, factor),
            _prediction(image, prediction, class_names, factor)]


def _truth(image: np.ndarray, target: bytes, class_names: Sequence[str], factor: float) -> np.ndarray:
    """The truth without crowd regions, in which nothing is counted."""
    truth = decode_target(target)
    chosen = np.flatnonzero(~truth.crowds)
    rles = [to_rle(truth.instances[k]["segmentation"], truth.size) for k in chosen
            if "segmentation" in truth.instances[k]]
    return draw.instances(image, truth.boxes_image[chosen] * factor, truth.labels[chosen], class_names=class_names,
                          masks=_masks(rles, image))


def _prediction(image: np.ndarray, found: Instances, class_names: Sequence[str], factor: float) -> np.ndarray:
    sure = np.flatnonzero(found.scores >= SURE)
    return draw.instances(image, found.boxes_image[sure] * factor, found.labels[sure], class_names=class_names,
                          scores=found.scores[sure], masks=_masks([found.rles[k] for k in sure if found.rles], image))


def _masks(rles: Sequence[dict], image: np.ndarray) -> list[np.ndarray]:
    return [draw.fit(coco_mask.decode(rle), max(image.shape[:2]), labels=True).astype(bool) for rle in rles]
