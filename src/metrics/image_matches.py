"""What COCO's evaluation decides image by image: which detections found an object, at every IoU threshold and size.

From these records COCO's averages follow for any weights of the images (`src/metrics/coco_resample.py`), so that a
bootstrap over images needs no second evaluation. They are the matches of `coco_matches.py` without the objects that
were found, for all thresholds and sizes at once and from IoUs that are there already: 5,000 images take seconds.
"""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

AREAS = ("all", "small", "medium", "large")
THRESHOLDS = 10  # IoU 0.50, 0.55, ..., 0.95: bit 0, 1, ..., 9 of a record
EVERY = np.uint16((1 << THRESHOLDS) - 1)
_CELLS = 1 << 20  # elements of the largest arrays that are matched at once


@dataclass(frozen=True)
class ImageMatches:
    """The detections of a split and how many objects there were to find; A = 4 sizes, in the order of `AREAS`.

    Attributes:
        image, category: (D,) int32 indices of each detection's image and class; sorted by image, then class, then
            score, the best first.
        score: (D,) float64.
        hits: (D, A) uint16; bit t: at threshold t the detection found an object of that size.
        ignored: (D, A) uint16; bit t: at threshold t the detection does not count for that size, because it found a
            crowd or an object of another size, or found nothing and is itself of another size.
        truth_image, truth_category: (G,) int32: the images and classes with objects.
        truth: (G, A) int32: how many objects of each size there are; crowds do not count.
    """

    image: np.ndarray
    category: np.ndarray
    score: np.ndarray
    hits: np.ndarray
    ignored: np.ndarray
    truth_image: np.ndarray
    truth_category: np.ndarray
    truth: np.ndarray

    def arrays(self, prefix: str) -> dict[str, np.ndarray]:
        """The records as arrays to save, their names after `prefix`."""
        return {prefix + field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], prefix: str) -> ImageMatches:
        """The inverse of `arrays`."""
        return cls(*(arrays[prefix + field.name] for field in fields(cls)))


def matches_of(evaluation: Any, positions: np.ndarray) -> ImageMatches:
    """The records of an evaluation that was run by `faster_coco_eval`.

    Args:
        evaluation: a `COCOeval_faster` with IoUs, whose images and categories are numbered from 1.
        positions: (images of the evaluation,) index of each of its images in the split.
    """
    params, found = evaluation.params, _table(evaluation.cocoDt, "score")
    order = np.lexsort((-found["score"], found["category"], found["image"]))  # stable, as pycocotools sorts
    found = {name: column[order] for name, column in found.items()}
    kept = _ranks(found["image"], found["category"]) < params.maxDets[-1]
    found = {name: column[kept] for name, column in found.items()}
    truth, limits = _table(evaluation.cocoGt, "iscrowd"), np.asarray(params.areaRng, np.float64)
    outside = _outside(truth["area"], limits) | (truth["iscrowd"] > 0)[:, None]
    hits, others = _matched(evaluation.ious, found, truth, outside, np.asarray(params.iouThrs))
    nothing = ~(hits | others) & EVERY
    ignored = others | np.where(_outside(found["area"], limits), nothing, 0).astype(np.uint16)
    objects = np.stack([truth["image"], truth["category"]], 1)
    pairs, index = np.unique(objects, axis=0, return_inverse=True)
    counts = np.zeros((len(pairs), len(AREAS)), np.int32)
    np.add.at(counts, index.reshape(-1), (~outside).astype(np.int32))
    image = positions.astype(np.int32)
    return ImageMatches(image[found["image"] - 1], (found["category"] - 1).astype(np.int32), found["score"], hits,
                        ignored, image[pairs[:, 0] - 1], (pairs[:, 1] - 1).astype(np.int32), counts)


def ranks(matches: ImageMatches) -> np.ndarray:
    """(D,) rank of each detection by score among those of its image and class, from 0."""
    return _ranks(matches.image, matches.category)


def _ranks(image: np.ndarray, category: np.ndarray) -> np.ndarray:
    number = np.arange(len(image))
    first = np.ones(len(image), bool)
    first[1:] = (np.diff(image) != 0) | (np.diff(category) != 0)
    return number - np.maximum.accumulate(np.where(first, number, 0))


def _table(coco: Any, name: str) -> dict[str, np.ndarray]:
    """Annotations as columns, by image in their order: image, category, area and the column `name`."""
    rows = sorted(coco.anns.values(), key=lambda row: row["image_id"])
    columns = {"image": ("image_id", np.int64), "category": ("category_id", np.int64), "area": ("area", np.float64),
               name: (name, np.float64)}
    return {column: np.array([row.get(key, 0) for row in rows], kind) for column, (key, kind) in columns.items()}


def _outside(area: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """(N, A) bool: whether each area lies outside the limits of each size."""
    return (area[:, None] < limits[:, 0]) | (area[:, None] > limits[:, 1])


def _matched(ious: Mapping[tuple[int, int], Any], found: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray],
             outside: np.ndarray, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(D, A) uint16 bits each: detections that found a counted object, and those that found one that is ignored."""
    hits = np.zeros((len(found["image"]), len(AREAS)), np.uint16)
    others = np.zeros_like(hits)
    thresholds = np.minimum(thresholds, 1 - 1e-10)  # as pycocotools has it
    for rows, values, objects in _problems(ious, found, truth, thresholds[0]):
        inside = objects >= 0
        bits = _greedy(values, np.where(inside[..., None], outside[objects], True),
                       inside & (truth["iscrowd"][objects] > 0), thresholds)
        chosen = rows >= 0
        hits[rows[chosen]], others[rows[chosen]] = bits[0][chosen], bits[1][chosen]
    return hits, others


def _problems(ious: Mapping[tuple[int, int], Any], found: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray],
              least: float) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Images and classes with candidates, several of like size at once, padded: rows (P, D) of the detections whose IoU
    reaches `least`, their IoUs (P, D, G), and rows (P, G) of the objects, the last one first; padding is -1."""
    starts = {what: _starts(table) for what, table in (("found", found), ("truth", truth))}
    by_key = np.lexsort((np.arange(len(truth["image"])), truth["category"], truth["image"]))
    single = []
    for key, values in ious.items():
        if len(values) == 0:
            continue
        values = np.asarray(values)[:, ::-1]
        rows = np.flatnonzero(values.max(1) >= least)
        if len(rows):
            first = starts["truth"][key]
            single.append((starts["found"][key] + rows, values[rows],
                           by_key[first:first + values.shape[1]][::-1]))
    single.sort(key=lambda one: (one[1].shape[1], -len(one[0])))
    while single:
        width = min(2 * single[0][1].shape[1], single[-1][1].shape[1])
        count = max(_CELLS // (width * len(AREAS) * THRESHOLDS), 1)
        some = [one for one in single[:count] if one[1].shape[1] <= width]
        single = single[len(some):]
        yield _padded(sorted(some, key=lambda one: -len(one[0])))


def _starts(table: Mapping[str, np.ndarray]) -> dict[tuple[int, int], int]:
    """The first row of each image and class, if rows are sorted by them."""
    pairs = np.stack([table["image"], table["category"]], 1)
    keys, counts = np.unique(pairs, axis=0, return_counts=True)
    return dict(zip(map(tuple, keys.tolist()), (np.cumsum(counts) - counts).tolist()))


def _padded(some: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    shape = len(some), len(some[0][0]), max(values.shape[1] for _, values, _ in some)
    rows, values, objects = np.full(shape[:2], -1), np.full(shape, -1.0), np.full(shape[::2], -1)
    for k, (own, iou, truth) in enumerate(some):
        rows[k, :len(own)], objects[k, :len(truth)] = own, truth
        values[k, :len(own), :len(truth)] = iou
    return rows, values, objects


def _greedy(ious: np.ndarray, ignored: np.ndarray, crowd: np.ndarray,
            thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """COCO's matching, of P images and classes at once: each detection in turn takes the free object of largest IoU.

    Args:
        ious: (P, D, G) of detections, best first, and objects, the last one first: of equal IoUs COCO takes the last.
            The number of detections falls along P; padding is below every threshold.
        ignored: (P, G, A) whether an object does not count for a size; it is taken if no other one can be.
        crowd: (P, G) whether an object can be taken again and again.
        thresholds: (T,) IoU.

    Returns:
        (P, D, A) uint16 bits of the thresholds at which a detection found a counted object, and an ignored one.
    """
    ignored = ignored.transpose(0, 2, 1)[:, :, None]  # (P, A, 1, G)
    free = np.ones((*ignored.shape[:2], len(thresholds), ious.shape[2]), bool)
    bits = (1 << np.arange(len(thresholds))).astype(np.uint16)
    result = np.zeros((2, *ious.shape[:2], ignored.shape[1]), np.uint16)
    for k in range(ious.shape[1]):
        active = int((ious[:, k].max(1) >= thresholds[0]).sum())
        iou = ious[:active, None, None, k]  # (active, 1, 1, G)
        within = free[:active] & (iou >= thresholds[:, None])
        counted = within & ~ignored[:active]
        hit = counted.any(-1)
        allowed = np.where(hit[..., None], counted, within)
        best = np.where(allowed, iou, -1.0).argmax(-1)
        found = allowed.any(-1)
        again = np.take_along_axis(crowd[:active], best.reshape(active, -1), 1).reshape(best.shape)
        where = np.nonzero(found & ~again)
        free[(*where, best[where])] = False
        result[0, :active, k] = (hit * bits).sum(-1)
        result[1, :active, k] = ((found & ~hit) * bits).sum(-1)
    return result[0], result[1]
