"""Settings of Mask R-CNN for a data set: input size, anchors, slots and detections."""
from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from src.doctor.data.facts import Facts
from src.doctor.data.findings import percent
from src.doctor.data.instance_facts import CELL, anchor_facts, boxes_in_input
from src.doctor.data.look import Look
from src.doctor.data.proposals import Proposal, changed, multiple
from src.maskrcnn.anchor_fit import propose
from src.maskrcnn.augmentation import MIN_SIDE

LARGE_ENOUGH = 16.0  # input pixels: side of an object that the network finds well
ENLARGED, MOST_ENLARGED = 0.6, 2.0  # share of the area from which a smaller input is proposed; most that it enlarges
GAIN = 0.02  # of the mean best IoU for which other anchors, or one more scale, are worth it
SAMPLE = 20_000  # boxes that anchors are fitted to
FEW_SLOTS, MANY_SLOTS = 16, 1.5  # fewest that are proposed; times the present ones, up to which all objects get one
MOST_DETECTIONS, COCO_DETECTIONS = 2000, 100
EXPANSION, SMALL_SHARE = 4.0, 0.3  # largest factor of random expansion; share of objects


def instance_proposals(facts: Facts, look: Look, settings: Any) -> Iterator[Proposal]:
    """Proposals for a `MaskRCNNConfig` from `facts`, the JSON's content, and the training split."""
    train = facts["splits"]["train"]
    if not train["instances"]["objects"] or not train["images"]["height"]:
        return
    sizes = list(_input_size(train, look, settings))
    yield from sizes
    settings = settings.model_copy(update={proposal.key: proposal.proposed for proposal in sizes})
    boxes = boxes_in_input(look, settings)
    boxes = boxes[((boxes[:, 2:] - boxes[:, :2]) >= MIN_SIDE).all(1)]
    if len(boxes):
        yield from _anchors(boxes[::math.ceil(len(boxes) / SAMPLE)], settings)
        yield from _expansion(boxes, settings)
    yield from _slots(look, facts["splits"], settings)


def _input_size(train: Facts, look: Look, settings: Any) -> Iterator[Proposal]:
    """A smaller input where images are enlarged for nothing."""
    height, width = train["images"]["height"]["median"], train["images"]["width"]["median"]
    objects = look.objects
    sides = np.sqrt((objects["box"][:, 2:] - objects["box"][:, :2]).prod(1))
    small = max(float(np.percentile(sides, 10)), 1e-3)
    scale = min(max(LARGE_ENOUGH / small, 1.0), MOST_ENLARGED)
    size = multiple(height * scale, 32), multiple(width * scale, 32)
    if size[0] * size[1] > ENLARGED * settings.img_height * settings.img_width or settings.resize_rule != "canvas":
        return
    reason = (f"images are {height:g} x {width:g} pixels (median), and nine of ten objects are larger than {small:.0f} "
              f"pixels: enlarging them further costs time and memory and shows nothing new")
    yield from changed(settings, "img_height", size[0], reason)
    yield from changed(settings, "img_width", size[1], reason)


def _anchors(boxes: np.ndarray, settings: Any) -> Iterator[Proposal]:
    """The anchors with the best mean IoU in place, as few scales as do."""
    sizes = boxes[:, 2:] - boxes[:, :2]
    now = best = anchor_facts(boxes, settings)
    chosen = None
    for count in (1, 2, 3):
        scales, ratios = propose(sizes, scales_per_level=count)
        for tried in (ratios, ratios[1:2]):
            update = {"anchor_scales": scales, "anchor_ratios": tried}
            found = anchor_facts(boxes, settings.model_copy(update=update))
            if found["mean_best_iou"] > best["mean_best_iou"] + GAIN:
                best, chosen = found, update
    if chosen:
        reason = (f"mean IoU of a box with its best anchor {best['mean_best_iou']:.3f} instead of "
                  f"{now['mean_best_iou']:.3f}; {percent(best['unreached']['0.5'])} of the boxes have none at 0.5 "
                  f"(now {percent(now['unreached']['0.5'])}), {percent(best['unreached']['0.7'])} none at 0.7 (now "
                  f"{percent(now['unreached']['0.7'])})")
        for key, value in chosen.items():
            yield from changed(settings, key, value, reason)


def _expansion(boxes: np.ndarray, settings: Any) -> Iterator[Proposal]:
    small = float((np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(1)) < CELL * EXPANSION).mean())
    if settings.expand_ratio and small > SMALL_SHARE:
        yield from changed(settings, "expand_ratio", 0.0, f"random expansion shrinks images by up to {EXPANSION:g}, "
                           f"which leaves {percent(small)} of the objects smaller than a cell of {CELL:g} pixels")


def _slots(look: Look, splits: Mapping[str, Facts], settings: Any) -> Iterator[Proposal]:
    counts = look.objects_per_image
    slots, most = settings.max_instance_count, int(counts.max())
    if most > slots or multiple(most, 8) <= slots // 4:
        needed = max(multiple(most, 8), FEW_SLOTS)
        if most > MANY_SLOTS * slots:  # a few crowded images are not worth it
            needed = max(multiple(float(np.percentile(counts, 99)), 8), slots)
        yield from changed(settings, "max_instance_count", needed,
                           f"the largest number of objects in an image is {most}; {needed} slots leave out "
                           f"{int((counts - needed).clip(0).sum())} objects; memory and time grow with the slots")
    most = max(int(part["instances"]["per_image"]["max"]) for part in splits.values())
    detections = min(multiple(1.1 * most, 50), MOST_DETECTIONS)
    if most > settings.test_max_per_img:
        yield from changed(settings, "test_max_per_img", detections, f"an image has up to {most} objects")
    if most > max(settings.eval_max_detections, COCO_DETECTIONS):
        yield from changed(settings, "eval_max_detections", detections,
                           f"an image has up to {most} objects, and AP counts no more detections than this; COCO's own "
                           f"numbers are with {COCO_DETECTIONS}")
