"""Whether confidences are honest: reliability diagrams and the expected calibration error.

The error is that of Guo et al., "On Calibration of Modern Neural Networks" (2017, equation 3): confidences are sorted
into `BINS` bins of equal width, and the differences between a bin's share of right answers and its mean confidence are
averaged, weighted by how many fall into the bin. What counts as an answer:

    semantic    a pixel whose truth is a class: the probability of the predicted class, and whether that is right
    instance    a detection that counts: its score, and whether it found an object of its class at IoU 0.5. This is
                Küppers et al., "Multivariate Confidence Calibration for Object Detection" (2020), with the confidence
                alone: precision takes the place of accuracy, because objects that were missed have no confidence
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from src.contract import LabelMap
from src.metrics.coco_matches import Matches

BINS = 15
IOU = 0.5  # from which a detection is right
_AT_ONCE = 2 ** 22  # pixels


@dataclass
class Reliability:
    """Counts of answers by confidence, added up bit by bit. Bin b holds confidences in (b, b + 1] / BINS, and 0."""

    counts: np.ndarray = field(default_factory=lambda: np.zeros(BINS, np.int64))
    right: np.ndarray = field(default_factory=lambda: np.zeros(BINS, np.int64))
    confidence: np.ndarray = field(default_factory=lambda: np.zeros(BINS))

    def add(self, confidence: np.ndarray, right: np.ndarray) -> None:
        """Count (n,) confidences in [0, 1] with (n,) bool."""
        bins = np.clip(np.ceil(np.asarray(confidence, np.float64) * BINS).astype(np.int64) - 1, 0, BINS - 1)
        self.counts += np.bincount(bins, minlength=BINS)
        self.right += np.bincount(bins[right], minlength=BINS)
        self.confidence += np.bincount(bins, weights=confidence, minlength=BINS)

    def merge(self, other: Reliability) -> None:
        for own, theirs in ((self.counts, other.counts), (self.right, other.right),
                            (self.confidence, other.confidence)):
            own += theirs

    def compute(self) -> dict[str, Any]:
        """`ece`, `mean_confidence` and `accuracy` (None where nothing was counted), `counts`, and by bin `accuracies`
        and `confidences`, None in empty bins."""
        total = int(self.counts.sum())
        filled = np.maximum(self.counts, 1)
        accuracies, confidences = self.right / filled, self.confidence / filled
        gaps = np.abs(accuracies - confidences) * self.counts
        return {"ece": float(gaps.sum() / total) if total else None,
                "mean_confidence": float(self.confidence.sum() / total) if total else None,
                "accuracy": float(self.right.sum() / total) if total else None, "counts": self.counts.tolist(),
                **{name: [float(v) if n else None for v, n in zip(values, self.counts)] for name, values in
                   (("accuracies", accuracies), ("confidences", confidences))}}


class PixelCalibration:
    """Reliability of label maps, image by image; pixels whose truth is `ignore_label` do not count.

    Args:
        decode_truth: from a target's bytes to its (H, W) labels.
        num_classes: truths from this index on do not count either.
    """

    def __init__(self, decode_truth: Callable[[bytes], np.ndarray], num_classes: int, ignore_label: int = 255):
        self.decode_truth = decode_truth
        self.num_classes = num_classes
        self.ignore_label = ignore_label
        self.reliability = Reliability()

    def update(self, prediction: LabelMap, target: bytes) -> None:
        """Count one image.

        Raises:
            ValueError: the prediction comes without confidences; see `contract.Task.predictor`.
        """
        if prediction.confidence is None:
            raise ValueError("label maps without confidence cannot be calibrated")
        arrays = (self.decode_truth(target), prediction.labels, prediction.confidence)
        for start in range(0, arrays[0].size, _AT_ONCE):
            truth, labels, confidence = (array.reshape(-1)[start:start + _AT_ONCE] for array in arrays)
            counted = (truth != self.ignore_label) & (truth < self.num_classes)
            self.reliability.add(confidence[counted], (truth == labels)[counted])


def of_detections(matches: Matches) -> Reliability:
    """Reliability of all detections that count, at IoU 0.5."""
    found, t = Reliability(), matches.at(IOU)
    counted = ~matches.ignored[t]
    found.add(matches.scores[counted], matches.correct[t, counted])
    return found
