"""One image of a split as a row of pictures, truth beside prediction, for label maps and instances. No MindSpore."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from pycocotools import mask as coco_mask

from src.contract import Instances, LabelMap, Record
from src.data.decode import AS_STORED, Decoding, decode_image, decode_label
from src.data.instance.target import Target, decode_target, to_rle
from src.metrics.score_thresholds import keep
from src.report import draw

SIDE = 230  # pixels of a picture's long side
SURE = 0.5  # least score of the detections that are drawn, where their class has no threshold; there are many below it
Thresholds = Mapping[int, float]  # score threshold by class index
NO_THRESHOLDS: Thresholds = MappingProxyType({})


def titles(prediction: LabelMap | Instances, thresholds: Thresholds = NO_THRESHOLDS) -> tuple[str, ...]:
    """Titles of the pictures that `row` returns."""
    if isinstance(prediction, LabelMap):
        return draw.SEMANTIC_TITLES
    return "image", "truth", "above score_thresholds" if thresholds else f"prediction, score >= {SURE:g}"


def picture(records: Sequence[Record], predictions: Sequence[LabelMap | Instances], captions: Sequence[str],
            class_names: Sequence[str], how: Decoding = AS_STORED, thresholds: Thresholds = NO_THRESHOLDS) -> bytes:
    """JPEG with a row of pictures, a caption and, for label maps, the legend of classes for each of some images."""
    pictures = [row(*pair, class_names, SIDE, how, thresholds) for pair in zip(records, predictions)]
    grid = draw.grid(pictures, titles(predictions[0], thresholds), captions, side=SIDE)
    if isinstance(predictions[0], LabelMap):  # instances have their names beside them
        grid = draw.below(grid, draw.legend(class_names, draw.palette(class_names), grid.shape[1]))
    return draw.jpeg(grid)


def spread(length: int, count: int) -> list[int]:
    """`count` indices, or all, spread evenly over a split of `length` images."""
    count = min(count, length)
    return [round(k * (length - 1) / max(count - 1, 1)) for k in range(count)]


def row(record: Record, prediction: LabelMap | Instances, class_names: Sequence[str], side: int,
        how: Decoding = AS_STORED, thresholds: Thresholds = NO_THRESHOLDS) -> list[np.ndarray]:
    """The pictures of one image, one for each of `titles`, each with a long side of `side` pixels."""
    image = decode_image(record.image, how)
    if isinstance(prediction, LabelMap):
        labels, colours = decode_label(record.target), draw.palette(class_names)
        return draw.semantic_row(image, labels, prediction.labels, colours, side)
    factor = side / max(image.shape[:2])
    image = draw.fit(image, side)
    target = decode_target(record.target)
    return [image, truth(image, target, class_names, factor, np.flatnonzero(~target.crowds)),
            found(image, keep(prediction, thresholds, otherwise=SURE), class_names, factor)]


def truth(image: np.ndarray, target: Target, class_names: Sequence[str], factor: float,
          chosen: Sequence[int] | np.ndarray) -> np.ndarray:
    """The instances `chosen` of a target drawn over its image, which was scaled by `factor`."""
    rles = [to_rle(one["segmentation"], target.size) if "segmentation" in one else None
            for one in (target.instances[k] for k in chosen)]
    return draw.instances(image, target.boxes_image[chosen] * factor, target.labels[chosen], class_names=class_names,
                          mask=_mask_of(rles, image))


def found(image: np.ndarray, shown: Instances, class_names: Sequence[str], factor: float) -> np.ndarray:
    """Predicted instances drawn over their image, which was scaled by `factor`."""
    return draw.instances(image, shown.boxes_image * factor, shown.labels, class_names=class_names,
                          scores=shown.scores, mask=_mask_of(shown.rles, image))


def _mask_of(rles: Sequence[dict | None], image: np.ndarray) -> Callable[[int], draw.Part | None]:
    """From an instance's number to its mask in the size of the image, None where it has none."""
    def mask(k: int) -> draw.Part | None:
        if not rles or rles[k] is None:
            return None
        return draw.fit(coco_mask.decode(rles[k]), max(image.shape[:2]), labels=True), 0, 0
    return mask
