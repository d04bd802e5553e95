"""Precision, recall and F1 by score, for every class and IoU, and the score threshold that a user's wish needs."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from src.metrics.coco_matches import RECALLS, Matches

SCORES = np.linspace(0, 1, 101)  # thresholds at which curves over the score are given
_DIGITS = 4  # of numbers in JSON


@dataclass(frozen=True)
class Curve:
    """What a score threshold gives, for each distinct score as the threshold, highest first.

    Attributes:
        scores, precision, recall: (n,).
        objects: how many there are to be found.
    """

    scores: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    objects: int

    @property
    def f1(self) -> np.ndarray:
        """(n,) harmonic mean of precision and recall, 0 where both are 0."""
        total = self.precision + self.recall
        return np.divide(2 * self.precision * self.recall, total, out=np.zeros_like(total), where=total > 0)

    def at(self, threshold: float) -> dict[str, float | None]:
        """Precision, recall and F1 of the detections of at least this score; precision is None if there is none."""
        k = int((self.scores >= threshold).sum()) - 1
        if k < 0:
            return {"precision": None, "recall": 0.0 if self.objects else None, "f1": 0.0 if self.objects else None}
        known = bool(self.objects)
        return {"precision": float(self.precision[k]), "recall": float(self.recall[k]) if known else None,
                "f1": float(self.f1[k]) if known else None}


@dataclass(frozen=True)
class Choice:
    """The threshold of a class, or why it has none.

    Attributes:
        threshold: None where none can be given.
        reason: empty, or what is missing.
        best: the highest precision that the class reaches; None without detections or objects.
    """

    threshold: float | None
    reason: str = ""
    best: float | None = None


def curve(scores: np.ndarray, correct: np.ndarray, objects: int) -> Curve:
    """The curve of detections that are sorted by falling score; equal scores are one threshold."""
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True)) if len(scores) else np.zeros(0, int)
    hits = correct.cumsum()[last].astype(np.float64)
    return Curve(scores[last], hits / (last + 1), hits / max(objects, 1), objects)


def curve_of(matches: Matches, label: int, iou: float) -> Curve:
    return curve(*matches.of_class(label, iou), matches.objects[label])


def precision_at_recalls(scores: np.ndarray, correct: np.ndarray, objects: int) -> np.ndarray:
    """(101,) COCO's precision: at each of `RECALLS` the best precision of this or any higher recall, 0 beyond."""
    hits = correct.cumsum()
    recall, precision = hits / max(objects, 1), hits / (np.arange(len(hits)) + 1)
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0)
    return envelope[np.searchsorted(recall, RECALLS, side="left")]


def average_precision(matches: Matches, label: int, iou: float) -> float | None:
    """COCO's AP of a class at one IoU; None without objects."""
    if not matches.objects[label]:
        return None
    return float(precision_at_recalls(*matches.of_class(label, iou), matches.objects[label]).mean())


def threshold_for_precision(found: Curve, precision: float) -> Choice:
    """The lowest threshold whose detections have at least this precision, so that most objects are found.

    It lies half-way to the next lower score, so that engines which differ in the last digits decide alike.
    """
    if reason := _nothing(found):
        return Choice(None, reason)
    best = float(found.precision.max())
    enough = np.flatnonzero(found.precision >= precision)
    if not len(enough):
        return Choice(None, f"reaches a precision of {best:.3f} at most", best)
    return Choice(_between(found.scores, int(enough[-1])), best=best)


def threshold_for_best_precision(found: Curve) -> Choice:
    """The lowest threshold of the highest precision."""
    return threshold_for_precision(found, float(found.precision.max(initial=0)))


def threshold_for_best_f1(found: Curve) -> Choice:
    """The threshold of the highest F1, the highest one among equals."""
    if reason := _nothing(found):
        return Choice(None, reason)
    if not found.recall.any():
        return Choice(None, "no detection is correct", 0.0)
    return Choice(_between(found.scores, int(found.f1.argmax())), best=float(found.precision.max()))


def _nothing(found: Curve) -> str:
    if not found.objects:
        return "has no object"
    return "" if len(found.scores) else "has no detection"


def _between(scores: np.ndarray, k: int) -> float:
    """A short number that keeps the scores down to the k-th, and drops those below it."""
    high, low = float(scores[k]), float(scores[k + 1]) if k + 1 < len(scores) else 0.0
    middle = (high + low) / 2
    short = (round(middle, digits) for digits in range(2, 17))
    return next((value for value in short if low < value <= high), high)


def curves_as_json(matches: Matches) -> dict[str, Any]:
    """Curves of every class, for a file.

    Returns:
        {"recalls", "scores": the axes, "classes": {name: {"objects", "detections", "ious": {"0.50": {"ap",
        "precision" at `recalls`, and by score threshold "precision_by_score", "recall_by_score", "f1_by_score",
        "best_f1", "best_f1_threshold"}}}}}. Precision is None where no detection has the score; a class without
        objects has `ious` empty.
    """
    classes = {}
    for label, name in matches.class_names.items():
        objects = matches.objects[label]
        classes[name] = {"objects": objects, "detections": int((matches.labels == label).sum()),
                         "ious": {f"{iou:.2f}": _numbers(matches, label, iou) for iou in matches.ious if objects}}
    return {"recalls": _short(RECALLS), "scores": _short(SCORES), "classes": classes}


def _numbers(matches: Matches, label: int, iou: float) -> dict[str, Any]:
    found, best = curve_of(matches, label, iou), None
    if len(found.scores):
        best = threshold_for_best_f1(found).threshold
    points = [found.at(score) for score in SCORES]
    by_score = {f"{key}_by_score": _short(point[key] for point in points) for key in ("precision", "recall", "f1")}
    precision = precision_at_recalls(*matches.of_class(label, iou), matches.objects[label])
    return {"ap": float(precision.mean()), "precision": _short(precision), **by_score,
            "best_f1": float(found.f1.max(initial=0)), "best_f1_threshold": best}


def _short(values: Sequence[float] | Any) -> list[float | None]:
    return [None if value is None else round(float(value), _DIGITS) for value in values]
