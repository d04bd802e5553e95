"""Facts of a split of instances: classes, numbers, sizes in the network's input, anchors, and what masks say."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from src.doctor.data.facts import examples, share, spread
from src.doctor.data.look import Look
from src.doctor.data.masks import NO_MASK
from src.maskrcnn.anchor_fit import overlaps_in_place
from src.maskrcnn.augmentation import MIN_SIDE, TrainAugmentation
from src.maskrcnn.preprocess import Preprocess
from src.maskrcnn.published import feature_shapes

CELL = 4.0  # pixels of the input: side of a cell of the finest level
OFF, OFF_SHARE = 2.0, 0.1  # a box contradicts its mask where an edge is further off, in pixels and in sides of the box
COVERED, TWIN = 0.2, 0.9  # share of an object that another one covers; IoU of an object that is there twice
REACHED = (0.5, 0.7)


def instance_facts(look: Look, settings: Any, class_names: Sequence[str]) -> dict[str, Any]:
    """The facts of a split for a `MaskRCNNConfig`; `class_names` has the background first."""
    rows = look.instances
    objects, counts = look.objects, look.objects_per_image
    boxes = boxes_in_input(look, settings)
    sides = boxes[:, 2:] - boxes[:, :2]
    usable = (sides >= MIN_SIDE).all(1)
    return {"objects": len(objects), "crowds": int(rows["crowd"].sum()),
            "crowd_share": share(rows["crowd"].sum(), len(rows)),
            "classes": _classes(objects, class_names),
            "per_image": spread(counts), "without_objects": int((counts == 0).sum()),
            "above_max_instance_count": _above(counts, settings.max_instance_count),
            "above_test_max_per_img": _above(counts, settings.test_max_per_img),
            "side_in_input": spread(np.sqrt(sides.prod(1))),
            "vanish": int((~usable).sum()), "below_a_cell": int((sides.max(1, initial=0)[usable] < CELL).sum()),
            "anchors": anchor_facts(boxes[usable], settings), "masks": _masks(look, objects)}


def _classes(objects: np.ndarray, names: Sequence[str]) -> dict[str, dict[str, int]]:
    numbers = np.bincount(objects["label"], minlength=len(names))
    pairs = np.unique(np.stack([objects["label"].astype(np.int64), objects["image"]]), axis=1)[0]
    images = np.bincount(pairs, minlength=len(names))
    return {name: {"objects": int(numbers[k]), "images": int(images[k])} for k, name in enumerate(names) if k}


def _above(counts: np.ndarray, limit: int) -> dict[str, int]:
    """Images with more objects than `limit`, and the objects above it."""
    return {"limit": limit, "images": int((counts > limit).sum()), "objects": int((counts - limit).clip(0).sum())}


def boxes_in_input(look: Look, settings: Any) -> np.ndarray:
    """(N, 4) xyxy of the objects in the network's input in training, without the random expansion."""
    preprocess = Preprocess((settings.img_height, settings.img_width), (0.0,) * 3, (1.0,) * 3,
                            keep_ratio=settings.keep_ratio, rule=settings.resize_rule,
                            rounding=settings.resize_rounding)
    fitted = TrainAugmentation(preprocess, 0).fitted
    sizes = np.array([image.size or (1, 1) for image in look.images]).reshape(-1, 2)
    different, which = np.unique(sizes, axis=0, return_inverse=True)
    factors = np.array([np.divide(fitted((height, width)), (height, width)) for height, width in different.tolist()])
    objects = look.objects
    if not len(objects):
        return np.zeros((0, 4))
    return objects["box"] * factors.reshape(-1, 2)[which.reshape(-1)[objects["image"]]][:, [1, 0, 1, 0]]


def anchor_facts(boxes: np.ndarray, settings: Any) -> dict[str, Any] | None:
    """How well the anchors of a configuration fit (N, 4) boxes in its input: shares that no anchor reaches."""
    if not len(boxes):
        return None
    best = overlaps_in_place(boxes, feature_shapes(settings), scales=settings.anchor_scales,
                             ratios=settings.anchor_ratios, strides=settings.anchor_strides,
                             centre=settings.anchor_centre)
    return {"mean_best_iou": round(float(best.mean()), 4),
            "unreached": {f"{iou:g}": share((best < iou).sum(), len(best)) for iou in REACHED},
            "scales": list(settings.anchor_scales), "ratios": list(settings.anchor_ratios)}


def contradicting(objects: np.ndarray) -> np.ndarray:
    """(N,) bool: an edge of the box is far from the mask's."""
    sides = objects["box"][:, 2:] - objects["box"][:, :2]
    with np.errstate(invalid="ignore"):
        return objects["off"] > np.maximum(OFF, OFF_SHARE * sides.max(1, initial=0))


def twins(objects: np.ndarray) -> np.ndarray:
    """(N,) bool: another object of the class has nearly the same mask."""
    return objects["twin"] >= TWIN


def _masks(look: Look, objects: np.ndarray) -> dict[str, Any]:
    def places(chosen: np.ndarray) -> dict[str, Any]:
        found = objects[chosen]
        return examples([{"image": look.images[row["image"]].name, "annotation": int(row["id"])} for row in found[:50]]
                        ) | {"count": len(found), "share": share(len(found), len(objects))}

    masked = objects["kind"] != NO_MASK
    return {"boxes_alone": int((~masked).sum()), "empty": places(masked & (objects["pixels"] == 0)),
            "box_contradicts": places(contradicting(objects)),
            "covered": places(objects["covered"] > COVERED), "twice": places(twins(objects))}
