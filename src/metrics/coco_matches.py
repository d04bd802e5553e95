"""Which detection found which object, by COCO's rules: what curves, thresholds, calibration and error kinds start from.

The rules are those of pycocotools' `COCOeval.evaluateImg`, which the numbers of `coco_map` follow too; a test compares
the AP of these matches with them.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask

from src.metrics.coco_map import CocoMAP, Kind

IOUS = tuple(np.linspace(0.5, 0.95, 10).tolist())
RECALLS = np.linspace(0, 1, 101)  # points at which COCO reads a precision-recall curve
AREAS = {"all": (0, 1e10), "small": (0, 32 ** 2), "medium": (32 ** 2, 96 ** 2), "large": (96 ** 2, 1e10)}  # pixels
_ALMOST_ONE = 1 - 1e-10  # an IoU threshold of 1 would miss overlaps that are 1 but for rounding


@dataclass(frozen=True)
class ImageOverlaps:
    """The detections and objects of one image.

    Attributes:
        image_id: of the image.
        labels, scores, areas: (D,) class indices, scores and pixels of the detections; of each class the best ones that
            count, best first over all classes.
        rows: (D,) their positions among the image's detections as they were predicted.
        object_labels, object_areas, crowds: (G,) class indices, pixels, and whether an object is a crowd.
        ious: (D, G) of boxes or masks of any two classes; with a crowd, the share of the detection that lies in it.
    """

    image_id: int
    labels: np.ndarray
    scores: np.ndarray
    areas: np.ndarray
    rows: np.ndarray
    object_labels: np.ndarray
    object_areas: np.ndarray
    crowds: np.ndarray
    ious: np.ndarray


@dataclass(frozen=True)
class Matches:
    """The detections of a split, image by image, with what became of them at T IoU thresholds.

    Attributes:
        class_names: {class index: name}, without the background.
        ious: the T thresholds.
        labels, scores: (N,) of the detections.
        correct: (T, N) bool: they found an object of their class.
        ignored: (T, N) bool: they neither count as correct nor as wrong: in a crowd, or of another area.
        objects: {class index: how many objects are to be found}.
    """

    class_names: dict[int, str]
    ious: tuple[float, ...]
    labels: np.ndarray
    scores: np.ndarray
    correct: np.ndarray
    ignored: np.ndarray
    objects: dict[int, int]

    def of_class(self, label: int, iou: float) -> tuple[np.ndarray, np.ndarray]:
        """(n,) scores and correctness of a class's detections that count, best first."""
        t = self.at(iou)
        chosen = np.flatnonzero((self.labels == label) & ~self.ignored[t])
        chosen = chosen[np.argsort(-self.scores[chosen], kind="stable")]
        return self.scores[chosen], self.correct[t, chosen]

    def at(self, iou: float) -> int:
        """The position of an IoU threshold.

        Raises:
            ValueError: detections were not matched at it.
        """
        return int(np.flatnonzero(np.isclose(self.ious, iou))[0]) if np.isclose(self.ious, iou).any() else _no(iou)


def _no(iou: float) -> int:
    raise ValueError(f"detections were not matched at IoU {iou}")


def overlaps(evaluator: CocoMAP, kind: Kind) -> list[ImageOverlaps]:
    """The images of an evaluation that count for `kind`, by id."""
    labels = {category.category_id: category.label for category in evaluator.categories}
    return [_image(evaluator, image_id, kind, labels) for image_id in evaluator.image_ids(kind)]


def match(images: Sequence[ImageOverlaps], categories: dict[int, str], *, ious: Sequence[float] = IOUS,
          area: str = "all") -> Matches:
    """Match the detections of a split.

    Args:
        images: `overlaps`.
        categories: {class index: name} of the classes that count.
        ious: thresholds.
        area: one of `AREAS`: objects of other areas, and detections of other areas that found nothing, are ignored.
    """
    found = [match_image(image, ious, AREAS[area]) for image in images]
    empty = np.zeros((len(ious), 0), bool)
    correct, ignored = (np.concatenate([empty, *(one[k] for one in found)], 1) for k in (0, 1))
    counted = np.concatenate([np.zeros(0, int), *(image.object_labels[~_out(image, AREAS[area])] for image in images)])
    return Matches(categories, tuple(ious), np.concatenate([np.zeros(0, int), *(image.labels for image in images)]),
                   np.concatenate([np.zeros(0), *(image.scores for image in images)]), correct, ignored,
                   {label: int((counted == label).sum()) for label in categories})


def matches_of(evaluator: CocoMAP, kind: Kind, *, ious: Sequence[float] = IOUS, area: str = "all") -> Matches:
    """`match` of everything that an evaluator has counted."""
    return match(overlaps(evaluator, kind), {c.label: c.name for c in evaluator.categories}, ious=ious, area=area)


def match_image(image: ImageOverlaps, ious: Sequence[float],
                limits: tuple[float, float] = AREAS["all"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(T, D) bool correct, (T, D) bool ignored, and (T, D) the object that each detection was matched to, -1 for none.

    Class by class, the detection with the best score chooses first: the object with the highest IoU that is still free,
    the last one among equals; only where none reaches the threshold, one that does not count. A crowd is never used up.
    """
    shape = (len(ious), len(image.labels))
    owner, ignored, out = np.full(shape, -1), np.zeros(shape, bool), _out(image, limits)
    thresholds = np.minimum(np.array(ious), _ALMOST_ONE)[:, None]
    for label in np.unique(image.labels):
        chosen = np.flatnonzero(image.labels == label)
        objects = np.flatnonzero(image.object_labels == label)
        objects = objects[np.argsort(out[objects], kind="stable")]
        if len(objects):
            owner[:, chosen] = _match_class(image.ious[np.ix_(chosen, objects)], objects, image.crowds[objects],
                                            int((~out[objects]).sum()), thresholds)
    found = owner >= 0
    if out.any():
        ignored = found & out[owner]
    ignored |= ~found & ~_within(image.areas, limits)
    return found & ~ignored, ignored, owner


def _match_class(ious: np.ndarray, objects: np.ndarray, crowds: np.ndarray, counted: int,
                 thresholds: np.ndarray) -> np.ndarray:
    """(T, D) matched objects; the first `counted` of them count."""
    owner = np.full((len(thresholds), len(ious)), -1)
    free = np.ones((len(thresholds), len(objects)), bool)
    for d in np.flatnonzero((ious >= thresholds.min()).any(1)):
        fits = free & (ious[d] >= thresholds)
        for part in (slice(0, counted), slice(counted, None)):
            values = np.where(fits[:, part], ious[d, part], -1)[:, ::-1]
            if not values.shape[1]:
                continue
            best = len(objects[part]) - 1 - values.argmax(1) + (part.start or 0)
            t = np.flatnonzero((values.max(1) >= 0) & (owner[:, d] < 0))
            owner[t, d] = objects[best[t]]
            free[t, best[t]] = crowds[best[t]]
    return owner


def _within(areas: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    return (areas >= limits[0]) & (areas <= limits[1])


def _out(image: ImageOverlaps, limits: tuple[float, float]) -> np.ndarray:
    """(G,) bool: objects that are not to be found."""
    return image.crowds | ~_within(image.object_areas, limits)


def _image(evaluator: CocoMAP, image_id: int, kind: Kind, labels: dict[int, int]) -> ImageOverlaps:
    key = "bbox" if kind == "bbox" else "segmentation"
    instances, rows = evaluator.targets[image_id].instances, evaluator.detections.get(image_id, [])
    classes = np.array([labels[row["category_id"]] for row in rows], int)
    scores = np.array([row["score"] for row in rows], np.float64)
    order = _counted(classes, scores, evaluator.max_detections)
    crowds = np.array([bool(one["iscrowd"]) for one in instances], bool)
    shapes, objects = [rows[k][key] for k in order], [one[key] for one in instances]
    ious = coco_mask.iou(shapes, objects, crowds.astype(np.uint8)) if shapes and objects else []
    by_mask = kind == "segm" and evaluator.areas == "own"
    areas = coco_mask.area(shapes) if by_mask and shapes else [rows[k]["bbox"][2] * rows[k]["bbox"][3] for k in order]
    return ImageOverlaps(image_id, classes[order], scores[order], np.array(areas, np.float64), order,
                         np.array([one["label"] for one in instances], int),
                         np.array([one["area"] for one in instances], np.float64), crowds,
                         np.reshape(ious, (len(shapes), len(objects))))


def _counted(classes: np.ndarray, scores: np.ndarray, limit: int) -> np.ndarray:
    """The detections that count, best first: at most `limit` of a class."""
    order = np.argsort(-scores, kind="stable")
    ranks = np.zeros(len(order), int)
    for label in np.unique(classes):
        own = classes[order] == label
        ranks[own] = np.arange(own.sum())
    return order[ranks < limit]
