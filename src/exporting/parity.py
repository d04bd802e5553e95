"""Compare the results of an exported file with the checkpoint's, and the limits of their difference."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

# Smallest share of equal pixels, in a label map and over the masks of all detections; largest differences of a box
# edge in input pixels, of a score, and of a mask's probability.
LABELS_EQUAL, MASKS_EQUAL, BOX_PIXELS, SCORE, MASK = 0.9999, 0.9990, 0.1, 1e-3, 1e-2
MASK_ROUNDING = 1e-4  # a probability this near to the threshold may fall on either side of it


@dataclass(frozen=True)
class Difference:
    """The largest differences over some images; `None` for what a task does not have.

    Attributes:
        labels_equal: smallest share of equal pixels of a label map.
        scores: largest difference of a score.
        boxes: largest difference of a box edge, input pixels.
        masks: largest difference of a mask's probability.
        mask_pixels: pixels of all masks that were compared.
        mask_pixels_wrong: how many of them are in the mask on one side alone; those nearer than MASK_ROUNDING to the
            threshold do not count.
        unmatched: detections that only one side has.
        detections: detections of the checkpoint, over all images.
        not_finite: values that are NaN or infinite, on either side and in any slot: results cannot be compared then.
    """

    labels_equal: float | None = None
    scores: float | None = None
    boxes: float | None = None
    masks: float | None = None
    mask_pixels: int | None = None
    mask_pixels_wrong: int | None = None
    unmatched: int | None = None
    detections: int | None = None
    not_finite: int | None = None

    @property
    def masks_equal(self) -> float | None:
        """Share of equal mask pixels over all detections."""
        return 1 - self.mask_pixels_wrong / self.mask_pixels if self.mask_pixels else None

    @property
    def acceptable(self) -> bool:
        """Whether all differences are within their limits; NaN is within none."""
        least = ((self.labels_equal, LABELS_EQUAL), (self.masks_equal, MASKS_EQUAL))
        most = ((self.scores, SCORE), (self.boxes, BOX_PIXELS), (self.masks, MASK))
        return (all(value is None or value >= limit for value, limit in least)
                and all(value is None or value <= limit for value, limit in most)
                and not self.unmatched and not self.not_finite)

    def __str__(self) -> str:
        parts = [("label pixels equal", self.labels_equal, "{:.4%}"), ("scores", self.scores, "{:.1e}"),
                 ("boxes", self.boxes, "{:.4f} px"), ("mask probabilities", self.masks, "{:.1e}"),
                 ("mask pixels equal", self.masks_equal, "{:.4%}"),
                 ("detections", self.detections, "{}"), ("unmatched", self.unmatched, "{}"),
                 ("values that are not finite", self.not_finite or None, "{}")]
        return ", ".join(f"{name} {form.format(value)}" for name, value, form in parts if value is not None)


LIMITS = (f"label pixels equal {LABELS_EQUAL:.2%}, scores {SCORE}, boxes {BOX_PIXELS} px, mask probabilities {MASK}, "
          f"mask pixels equal {MASKS_EQUAL:.1%} over all detections, none unmatched")


def worst(differences: list[Difference]) -> Difference:
    """The largest differences of several, NaN above all; what is counted is summed."""
    def over(name, choose):
        values = [getattr(d, name) for d in differences if getattr(d, name) is not None]
        return choose(values).item() if values else None

    counts = ("mask_pixels", "mask_pixels_wrong", "unmatched", "detections", "not_finite")
    return Difference(labels_equal=over("labels_equal", np.min),
                      **{name: over(name, np.max) for name in ("scores", "boxes", "masks")},
                      **{name: over(name, np.sum) for name in counts})


def compare(reference: tuple[np.ndarray, ...], other: tuple[np.ndarray, ...], spec: Mapping[str, Any]) -> Difference:
    """Compare the outputs for one batch of the model that `spec` describes (see `preprocess_spec`)."""
    names = [entry["name"] for entry in spec["outputs"]]
    broken = sum(int((~np.isfinite(array)).sum()) for array in (*reference, *other))
    if broken:
        return Difference(not_finite=broken)
    if names == ["labels"]:
        return Difference(labels_equal=float((reference[0] == other[0]).mean()))
    if names == ["scores"]:
        a, b = (array[0].astype(np.float32) for array in (reference, other))
        return Difference(labels_equal=float((a.argmax(1) == b.argmax(1)).mean()), scores=float(np.abs(a - b).max()))
    said = spec["postprocess"]
    return worst([compare_detections(tuple(o[i] for o in reference), tuple(o[i] for o in other),
                                     score_threshold=said["score_threshold"],
                                     mask_threshold=said.get("mask_threshold", 0.5))
                  for i in range(len(reference[0]))])


def compare_detections(reference: tuple[np.ndarray, ...], other: tuple[np.ndarray, ...], *, score_threshold: float,
                       mask_threshold: float = 0.5) -> Difference:
    """Compare boxes (D, 4), labels, scores, valid (D,) and masks (D, S, S) of one image.

    Each of the checkpoint's detections is compared with the nearest of the same class, wherever it ranks: scores that
    are equal to rounding may change places. One that is missing counts unless its score lies within the tolerance of
    what is shown at all: `score_threshold`, or the least score of D detections.
    """
    left, right = (tuple(array[o[3].astype(bool)] for array in o) for o in (reference, other))
    full = len(left[0]) == len(reference[0])
    border = max(score_threshold, float(left[2].min()) if full else 0.0) + SCORE
    pairs, free = [], set(range(len(right[0])))
    for i in range(len(left[0])):
        near = [j for j in free if right[1][j] == left[1][i] and _distance(left, i, right, j) <= 10 * BOX_PIXELS]
        if near:
            best = min(near, key=lambda j: _distance(left, i, right, j))
            free.remove(best)
            pairs.append((i, best))
    lost = set(range(len(left[0]))) - {i for i, _ in pairs}
    unmatched = sum(left[2][i] > border for i in lost) + sum(right[2][j] > border for j in free)
    boxes = max((_distance(left, i, right, j) for i, j in pairs), default=0.0)
    scores = max((abs(float(left[2][i]) - float(right[2][j])) for i, j in pairs), default=0.0)
    first, second = (masks[[pair[side] for pair in pairs]] for side, masks in enumerate((left[4], right[4])))
    return Difference(scores=scores, boxes=boxes, masks=float(np.abs(first - second).max(initial=0)),
                      mask_pixels=first.size, mask_pixels_wrong=_wrong_pixels(first, second, mask_threshold),
                      unmatched=int(unmatched), detections=len(left[0]))


def _wrong_pixels(first: np.ndarray, second: np.ndarray, threshold: float) -> int:
    """How many pixels are clearly above the threshold on one side and not above it on the other."""
    near = (np.abs(first - threshold) < MASK_ROUNDING) | (np.abs(second - threshold) < MASK_ROUNDING)
    return int((((first > threshold) != (second > threshold)) & ~near).sum())


def _distance(left: tuple[np.ndarray, ...], i: int, right: tuple[np.ndarray, ...], j: int) -> float:
    return float(np.abs(left[0][i] - right[0][j]).max())
