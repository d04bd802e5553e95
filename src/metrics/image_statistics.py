"""What each image of a split contributes to its numbers: enough to compute them for any weighting of the images.

Evaluations save such statistics beside their results (`src/results/image_files.py`); bootstraps and comparisons of runs
read them. A number is named by its place in the results: ("iou", "road") is `results["iou"]["road"]`.
"""
from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from src.metrics.coco_resample import Accumulation, Averages
from src.metrics.image_matches import ImageMatches

Name = tuple[str, ...]
# Of COCO's twelve numbers, by key: precision of a size at an IoU threshold, or at all of them.
_PRECISIONS = {"AP": (0, None), "AP50": (0, 0), "AP75": (0, 5), "APs": (1, None), "APm": (2, None), "APl": (3, None)}
_RECALLS = {"ARs": 1, "ARm": 2, "ARl": 3}


def digest(truth: bytes) -> int:
    """A number of 63 bits that tells truths of an image apart."""
    return int.from_bytes(hashlib.blake2b(truth, digest_size=8).digest(), "little") >> 1


class ImageStatistics(ABC):
    """The contributions of N images.

    Args:
        image_ids: (N,) int64, increasing.
        truths: (N,) int64 `digest` of each image's truth.
        class_names: of the truth's classes.

    Class attributes:
        kind: how a file names the class.
    """

    kind: ClassVar[str] = ""

    def __init__(self, image_ids: np.ndarray, truths: np.ndarray, class_names: Sequence[str]):
        self.image_ids = image_ids
        self.truths = truths
        self.class_names = tuple(class_names)

    def __len__(self) -> int:
        return len(self.image_ids)

    @abstractmethod
    def numbers(self, weights: np.ndarray) -> dict[Name, np.ndarray]:
        """{name: (B,)} of (N, B) weights, whole numbers as float64; NaN where a number is not defined."""

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """Everything but what the constructor takes, to save."""

    @classmethod
    @abstractmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], image_ids: np.ndarray, truths: np.ndarray,
                    class_names: Sequence[str]) -> ImageStatistics:
        """The inverse of `arrays`."""


class ConfusionStatistics(ImageStatistics):
    """Confusion counts of each image, without the zeros.

    Args:
        image: (M,) int32 index of the image of each count.
        cell: (M,) int32: class of the truth times K plus predicted class.
        count: (M,) int64 pixels.
    """

    kind = "confusion"

    def __init__(self, image_ids: np.ndarray, truths: np.ndarray, class_names: Sequence[str], *, image: np.ndarray,
                 cell: np.ndarray, count: np.ndarray):
        super().__init__(image_ids, truths, class_names)
        self.image, self.cell, self.count = image, cell, count

    def numbers(self, weights: np.ndarray) -> dict[Name, np.ndarray]:
        hits, truth, predicted = (part.T @ weights for part in self._margins())  # (K, B) each
        with np.errstate(invalid="ignore", divide="ignore"):
            iou, recall = (np.where(truth > 0, hits / whole, np.nan) for whole in (truth + predicted - hits, truth))
            accuracy = hits.sum(0) / truth.sum(0)
        numbers: dict[Name, np.ndarray] = {("miou",): _mean(iou, 0), ("pixel_accuracy",): accuracy,
                                           ("mean_accuracy",): _mean(recall, 0)}
        return numbers | {("iou", name): row for name, row in zip(self.class_names, iou)}

    def _margins(self) -> list[np.ndarray]:
        """(N, K) pixels of each image and class: right ones, those of the truth, those predicted."""
        classes, (truth, predicted) = len(self.class_names), np.divmod(self.cell, len(self.class_names))
        margins = []
        for label, counted in ((truth, truth == predicted), (truth, slice(None)), (predicted, slice(None))):
            index = self.image[counted].astype(np.int64) * classes + label[counted]
            sums = np.bincount(index, self.count[counted], minlength=len(self) * classes)
            margins.append(sums.reshape(len(self), classes))
        return margins

    def arrays(self) -> dict[str, np.ndarray]:
        return {"image": self.image, "cell": self.cell, "count": self.count}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], image_ids: np.ndarray, truths: np.ndarray,
                    class_names: Sequence[str]) -> ConfusionStatistics:
        return cls(image_ids, truths, class_names, **{name: arrays[name] for name in ("image", "cell", "count")})


class MatchStatistics(ImageStatistics):
    """Matched detections of boxes and, where there are any, masks.

    Args:
        matches: {"bbox" or "segm": records}; a kind without anything to find is left out.
        max_detections: detections of a class and image that count.
    """

    kind = "matches"

    def __init__(self, image_ids: np.ndarray, truths: np.ndarray, class_names: Sequence[str], *,
                 matches: Mapping[str, ImageMatches], max_detections: int):
        super().__init__(image_ids, truths, class_names)
        self.matches, self.max_detections = dict(matches), max_detections
        few = (1, min(10, max_detections), max_detections)
        self._prepared = {kind: Accumulation(records, num_images=len(self), num_classes=len(class_names), few=few)
                          for kind, records in self.matches.items()}

    def numbers(self, weights: np.ndarray) -> dict[Name, np.ndarray]:
        numbers: dict[Name, np.ndarray] = {}
        for kind, accumulation in self._prepared.items():
            averages = accumulation(weights)
            numbers |= {(kind, name): values for name, values in twelve(averages).items()}
            by_class = averages.precision[:, 0].mean(1)  # (K, B); defined at all thresholds or at none
            numbers |= {("classes", name, kind): row for name, row in zip(self.class_names, by_class)}
        main = next((numbers[kind, "AP"] for kind in ("segm", "bbox") if kind in self.matches), None)
        return numbers if main is None else {("ap",): main} | numbers

    def arrays(self) -> dict[str, np.ndarray]:
        arrays = {"max_detections": np.array(self.max_detections)}
        for kind, matches in self.matches.items():
            arrays |= matches.arrays(f"{kind}_")
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], image_ids: np.ndarray, truths: np.ndarray,
                    class_names: Sequence[str]) -> MatchStatistics:
        matches = {kind: ImageMatches.from_arrays(arrays, f"{kind}_") for kind in ("bbox", "segm")
                   if f"{kind}_score" in arrays}
        return cls(image_ids, truths, class_names, matches=matches, max_detections=int(arrays["max_detections"]))


def twelve(averages: Averages) -> dict[str, np.ndarray]:
    """COCO's twelve numbers, (B,) each, by the keys of `CocoMAP.compute()["bbox"]`."""
    numbers = {}
    for name, (area, threshold) in _PRECISIONS.items():
        values = averages.precision[:, area]
        numbers[name] = _mean(values.mean(1) if threshold is None else values[:, threshold], 0)
    for name, values in zip(("AR1", "AR10", "AR"), averages.recall_of_few):
        numbers[name] = _mean(values, 0)
    return numbers | {name: _mean(averages.recall[:, area], 0) for name, area in _RECALLS.items()}


def _mean(values: np.ndarray, axis: int) -> np.ndarray:
    """Mean of the values that are not NaN, NaN where there is none."""
    counts = np.isfinite(values).sum(axis)
    with np.errstate(invalid="ignore"):
        return np.where(counts > 0, np.nansum(values, axis) / np.maximum(counts, 1), np.nan)


KINDS: dict[str, type[ImageStatistics]] = {cls.kind: cls for cls in (ConfusionStatistics, MatchStatistics)}
