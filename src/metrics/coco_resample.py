"""COCO's averages of many weightings of the images at once, as a bootstrap needs them.

An image of weight 2 counts as two equal images would in pycocotools, one of weight 0 as if it were not there. With
all weights 1, AP and AR are those of pycocotools to the last digits: the arithmetic is its own, only the order of sums
differs. A weighting costs little, because everything that does not depend on the weights is sorted out once: of the
detections, only those that can raise recall ("events") are followed at each IoU threshold; the false alarms between
two of them count as one sum.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import sparse

from src.metrics.image_matches import AREAS, EVERY, THRESHOLDS, ImageMatches, ranks

_STEPS = 100  # precision is read at the recalls 0, 0.01, ..., 1
_ELEMENTS = 1 << 21  # of the largest arrays at a time


@dataclass(frozen=True)
class Averages:
    """What COCO's numbers are means of; NaN where there is nothing to find. K classes, A sizes, B weightings.

    Attributes:
        precision: (K, A, T, B) average precision at each IoU threshold.
        recall: (K, A, B) average recall over the thresholds.
        recall_of_few: (L, K, B) the same for objects of any size and the best few detections of an image.
    """

    precision: np.ndarray
    recall: np.ndarray
    recall_of_few: np.ndarray


class Accumulation:
    """Detections prepared for weightings.

    Args:
        matches: of the split.
        num_images: images of the split.
        num_classes: K.
        few: L numbers of detections of a class and image, for `recall_of_few`.
    """

    def __init__(self, matches: ImageMatches, *, num_images: int, num_classes: int, few: Sequence[int]):
        self.num_classes = num_classes
        self.objects = [_counts(matches.truth_category, matches.truth_image, matches.truth[:, a], num_classes,
                                num_images) for a in range(len(AREAS))]
        found = _bits_set(matches.hits)
        self.found = [_counts(matches.category, matches.image, found[:, a], num_classes, num_images)
                      for a in range(len(AREAS))]
        rank = ranks(matches)
        self.found_by_few = [_counts(matches.category, matches.image, np.where(rank < most, found[:, 0], 0),
                                     num_classes, num_images) for most in few]
        order = np.lexsort((-matches.score, matches.category))  # stable: equal scores in the order of the images
        ends = np.searchsorted(matches.category[order], np.arange(num_classes + 1))
        self.curves = {}
        for k in range(num_classes):
            own = order[ends[k]:ends[k + 1]]
            for a in range(len(AREAS)):
                curve = _Curve(matches.image[own], matches.hits[own, a], matches.ignored[own, a], num_images)
                if curve.events.size:
                    self.curves[k, a] = curve

    def __call__(self, weights: np.ndarray) -> Averages:
        """The averages of (images, B) weights, whole numbers as float64."""
        objects = np.stack([counts @ weights for counts in self.objects], 1)  # (K, A, B)
        objects[objects == 0] = np.nan
        precision = np.zeros((self.num_classes, len(AREAS), THRESHOLDS, weights.shape[1]))
        precision += 0 * objects[:, :, None]
        for (k, a), curve in self.curves.items():
            if np.isfinite(objects[k, a]).any():
                precision[k, a] += curve.average_precision(weights, objects[k, a])
        recall = np.stack([counts @ weights for counts in self.found], 1) / (THRESHOLDS * objects)
        of_few = np.stack([counts @ weights for counts in self.found_by_few]) / (THRESHOLDS * objects[:, 0])
        return Averages(precision, recall, of_few)


def _counts(rows: np.ndarray, columns: np.ndarray, values: np.ndarray, num_rows: int,
            num_columns: int) -> sparse.csr_array:
    """Sums of `values` by row and column, as a sparse matrix."""
    used = values > 0
    return sparse.csr_array((values[used].astype(np.float64), (rows[used], columns[used])), (num_rows, num_columns))


def _bits_set(words: np.ndarray) -> np.ndarray:
    """How many bits each uint16 has."""
    return np.unpackbits(np.ascontiguousarray(words).view(np.uint8).reshape(*words.shape, 2), axis=-1).sum(-1)


class _Curve:
    """The detections of one class and size, best first, as a curve of precision over recall needs them.

    Args:
        image: (D,) index of each detection's image.
        hits, ignored: (D,) uint16 bits, see `ImageMatches`.
        num_images: images of the split.
    """

    def __init__(self, image: np.ndarray, hits: np.ndarray, ignored: np.ndarray, num_images: int):
        wrong = (hits == 0) & (ignored == 0)  # a false alarm at every threshold
        positions = np.flatnonzero(~wrong & (ignored != EVERY))
        last = np.flatnonzero(hits[positions])
        positions = positions[:last[-1] + 1 if last.size else 0]
        alarms = np.flatnonzero(wrong)
        before = np.searchsorted(positions, alarms)
        inside = before < len(positions)
        self.events = image[positions]
        self.alarms = _counts(before[inside], image[alarms[inside]], np.ones(inside.sum()), len(positions), num_images)
        self.hits, self.counted = (
            [np.flatnonzero(words[positions] >> t & 1) for t in range(THRESHOLDS)] for words in (hits, ~ignored))

    def average_precision(self, weights: np.ndarray, objects: np.ndarray) -> np.ndarray:
        """(T, B) of (images, B) weights and (B,) objects; 0 where `objects` is NaN."""
        result = np.zeros((THRESHOLDS, weights.shape[1]))
        step = max(_ELEMENTS // len(self.events), 64)
        for start in range(0, weights.shape[1], step):
            some = slice(start, start + step)
            own = np.ascontiguousarray(weights[:, some])
            seen, alarms = own[self.events], self.alarms @ own
            _add_up(alarms)
            for t in range(THRESHOLDS):
                if self.hits[t].size:
                    result[t, some] = self._at(t, seen, alarms, np.nan_to_num(objects[some], nan=1.0))
        return np.where(np.isnan(objects), 0.0, result)

    def _at(self, t: int, seen: np.ndarray, alarms: np.ndarray, objects: np.ndarray) -> np.ndarray:
        hits, counted = self.hits[t], self.counted[t]
        found, judged = seen[hits], seen[counted]
        _add_up(found)
        _add_up(judged)
        judged = judged[np.searchsorted(counted, hits)]
        judged += alarms[hits]
        judged += np.spacing(1)  # as pycocotools has it
        precision = np.divide(found, judged, out=judged)
        _best_from_here(precision)
        return _mean_over_recalls(precision, found / objects)


def _add_up(rows: np.ndarray) -> None:
    """`np.cumsum` along the first axis, in place; row by row it is several times as fast as NumPy's."""
    for previous, row in pairwise(rows):
        np.add(row, previous, out=row)


def _best_from_here(rows: np.ndarray) -> None:
    """The largest value of each row and those below it, in place."""
    for k in range(len(rows) - 1, 0, -1):
        np.maximum(rows[k - 1], rows[k], out=rows[k - 1])


def _mean_over_recalls(precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
    """(B,) mean of the precisions at which each of the 101 recalls is first reached, 0 for those that are not.

    Args:
        precision, recall: (M, B), recall rising along M; precision already the best at this recall or a higher one.
    """
    reached = recall * _STEPS
    reached += 1e-9
    np.floor(reached, out=reached)  # the last recall that this row may reach, or one too many where it is close:
    reached -= reached * (1 / _STEPS) > recall  # compared as pycocotools does, whose recalls are multiples of 0.01
    total = precision[0] * (reached[0] + 1)
    reached[1:] -= reached[:-1].copy()
    total += np.einsum("mb,mb->b", precision[1:], reached[1:])
    return total / (_STEPS + 1)
