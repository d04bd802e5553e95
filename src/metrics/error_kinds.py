"""What costs average precision: the six kinds of error of TIDE (Bolya et al., "TIDE: A General Toolbox for Identifying
Object Detection Errors", 2020), each with the AP at IoU 0.5 that it costs.

A detection that found nothing is of the first kind that fits:

    Loc     its best overlap with an object of its class is at least 0.1 and at most 0.5
    Cls     it overlaps an object of another class by at least 0.5
    Dupe    it overlaps an object of its class by at least 0.5, which a better detection has found already
    Bkg     it overlaps no object by more than 0.1
    Both    the rest: of another class and badly placed at once

and `Miss` is an object that no detection found, and that no detection of the kinds Loc and Cls would have found.

The AP that a kind costs is what would be gained if an oracle mended it alone: of the detections of kind Loc or Cls that
belong to an object not found, the best one becomes correct (with the object's class) and the others go; those of kind
Both, Dupe and Bkg go; objects of kind Miss are no longer asked for. Costs do not add up to the missing AP, because
errors hide each other.

Detections in a crowd are not counted as errors, but may be the ones that an oracle makes correct, as in the paper's
program. Unlike there, a class without objects has no AP; there it counts as 0.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from src.metrics.coco_matches import ImageOverlaps, match_image
from src.metrics.precision_recall import precision_at_recalls

KINDS = ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss")
FOREGROUND, BACKGROUND = 0.5, 0.1  # IoUs


@dataclass(frozen=True)
class Error:
    """One error.

    Attributes:
        kind: one of `KINDS`.
        image: position of its image.
        detection: position among the image's detections that count; -1 for Miss.
        object: position among the image's objects of the one concerned; -1 where there is none.
        score: of the detection; 0 for Miss.
        counts: False for detections in a crowd.
        repairs: the class that the detection would be correct in; 0 where it cannot become correct.
    """

    kind: str
    image: int
    detection: int
    object: int
    score: float
    counts: bool = True
    repairs: int = 0


class ErrorKinds:
    """The errors of a split.

    Args:
        images: `coco_matches.overlaps`.
        categories: {class index: name}.

    Attributes:
        errors: image by image; within one, the best score first and Miss last.
    """

    def __init__(self, images: Sequence[ImageOverlaps], categories: Mapping[int, str]):
        self.categories = categories
        self.images = images
        self.errors: list[Error] = []
        self._correct: list[tuple[int, float]] = []  # (class, score) of the correct detections
        self._objects = dict.fromkeys(categories, 0)
        for number, image in enumerate(images):
            self._add(number, image)

    def compute(self) -> dict[str, Any]:
        """`ap` at IoU 0.5 (None without objects), and `kinds`: {kind: {"count", "ap_lost" (None without objects),
        "classes": {name: count}}}; an error counts for the class of its detection, Miss for that of its object."""
        ap = self._ap("")
        return {"ap": ap, "kinds": {kind: {
            "count": sum(e.kind == kind and e.counts for e in self.errors),
            "ap_lost": None if ap is None else max(self._ap(kind) - ap, 0.0),
            "classes": self._by_class(kind)} for kind in KINDS}}

    def worst_images(self, kind: str, count: int) -> list[tuple[int, list[Error]]]:
        """Positions of the images with the most of a kind, with these errors: by the sum of the scores, as errors of
        high score cost most; of Miss by their number."""
        own: dict[int, list[Error]] = {}
        for error in self.errors:
            if error.kind == kind and error.counts:
                own.setdefault(error.image, []).append(error)
        weight = {image: sum(1 if e.kind == "Miss" else e.score for e in errors) for image, errors in own.items()}
        return [(image, own[image]) for image in sorted(own, key=lambda k: (-weight[k], k))[:count]]

    def _by_class(self, kind: str) -> dict[str, int]:
        counts = dict.fromkeys(self.categories, 0)
        for error in self.errors:
            if error.kind == kind and error.counts:
                image = self.images[error.image]
                counts[int(image.object_labels[error.object] if kind == "Miss" else image.labels[error.detection])] += 1
        return {self.categories[label]: count for label, count in counts.items() if count}

    def _add(self, number: int, image: ImageOverlaps) -> None:
        (correct,), (ignored,), (owner,) = match_image(image, (FOREGROUND,))
        asked = np.flatnonzero(~image.crowds)
        for label in image.object_labels[asked]:
            self._objects[int(label)] += 1
        self._correct += [(int(image.labels[d]), float(image.scores[d])) for d in np.flatnonzero(correct)]
        taken = np.isin(asked, owner[correct])
        repaired = np.zeros(len(asked), bool)
        for d in np.flatnonzero(~correct):
            kind, k = _kind(image.ious[d, asked], image.object_labels[asked] == image.labels[d], taken)
            repairs = 0
            if kind in ("Loc", "Cls") and not taken[k] and not repaired[k]:
                repairs, repaired[k] = int(image.object_labels[asked[k]]), True
            self.errors.append(Error(kind, number, int(d), int(asked[k]) if k >= 0 else -1, float(image.scores[d]),
                                     not ignored[d], repairs))
        self.errors += [Error("Miss", number, -1, int(asked[k]), 0.0) for k in np.flatnonzero(~taken & ~repaired)]

    def _ap(self, mended: str) -> float | None:
        """Mean AP with one kind of error mended."""
        rows = [(label, score, True) for label, score in self._correct]
        objects = dict(self._objects)
        for error in self.errors:
            image = self.images[error.image]
            if error.kind != mended:
                if error.detection >= 0 and error.counts:
                    rows.append((int(image.labels[error.detection]), error.score, False))
            elif error.kind == "Miss":
                objects[int(image.object_labels[error.object])] -= 1
            elif error.repairs:
                rows.append((error.repairs, error.score, True))
        labels, scores, correct = (np.array(column) for column in zip(*rows)) if rows else (np.zeros(0),) * 3
        values = []
        for label, count in self._objects.items():
            own = np.flatnonzero(labels == label)
            if not count or not (objects[label] or len(own)):
                continue
            own = own[np.argsort(-scores[own], kind="stable")]
            values.append(precision_at_recalls(scores[own], correct[own].astype(bool), objects[label]).mean()
                          if objects[label] else 0.0)
        return float(np.mean(values)) if values else None


def _kind(ious: np.ndarray, same: np.ndarray, taken: np.ndarray) -> tuple[str, int]:
    """The kind of a detection that found nothing, and the object concerned, -1 for none.

    Args:
        ious, same, taken: (G,) overlaps with the image's objects, whether these are of the detection's class, and
            whether they were found.
    """
    if not len(ious):
        return "Bkg", -1
    own, other = np.where(same, ious, 0), np.where(same, 0, ious)
    if BACKGROUND <= own.max() <= FOREGROUND:
        return "Loc", int(own.argmax())
    if other.max() >= FOREGROUND:
        return "Cls", int(other.argmax())
    if (own * taken).max() >= FOREGROUND:
        return "Dupe", int((own * taken).argmax())
    if ious.max() <= BACKGROUND:
        return "Bkg", -1
    return "Both", int(ious.argmax())
