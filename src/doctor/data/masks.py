"""The instances of one image as columns: what boxes and masks say of each other, and which masks overlap."""
from __future__ import annotations

import numpy as np
from pycocotools import mask as coco_mask

from src.data.instance.target import Target, to_rle

NO_MASK, POLYGONS, ENCODED = 0, 1, 2
INSTANCE = np.dtype([
    ("image", np.int32),      # position of its image in the split
    ("id", np.int64),
    ("label", np.int32),
    ("box", np.float32, 4),   # xyxy, pixels of the original image, inside it
    ("crowd", np.bool_),
    ("kind", np.uint8),       # of mask: NO_MASK, POLYGONS, ENCODED
    ("pixels", np.float32),   # of the mask; 0 where it is empty or there is none
    ("off", np.float32),      # largest distance of an edge of the box from the mask's, pixels; NaN without a mask
    ("covered", np.float32),  # largest share of its pixels that another object's mask has too
    ("twin", np.float32),     # largest IoU with another object of its class
])
_MOST = 1500  # objects in an image up to which masks are compared with each other


def instances(target: Target, position: int) -> np.ndarray:
    """(N,) of `INSTANCE`: the instances of one image, which is at `position` in its split."""
    rows = np.zeros(len(target.instances), INSTANCE)
    rows["image"], rows["off"] = position, np.nan
    rows["id"] = [entry["id"] for entry in target.instances]
    rows["label"], rows["box"], rows["crowd"] = target.labels, target.boxes_image, target.crowds
    rows["kind"] = [_kind(entry.get("segmentation")) for entry in target.instances]
    masked = np.flatnonzero(rows["kind"])
    if len(masked):
        rles = [to_rle(target.instances[k]["segmentation"], target.size) for k in masked]
        rows["pixels"][masked] = coco_mask.area(rles)
        rows["off"][masked] = _distance(rows["box"][masked], coco_mask.toBbox(rles))
        _compare(rows, masked, rles)
    return rows


def _kind(segmentation: list | dict | None) -> int:
    return NO_MASK if not segmentation else ENCODED if isinstance(segmentation, dict) else POLYGONS


def _distance(boxes: np.ndarray, xywh: np.ndarray) -> np.ndarray:
    """(N,) largest distance between the edges of boxes and those of their masks; empty masks have none."""
    found = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1)
    return np.where(xywh[:, 2] > 0, np.abs(boxes - found).max(1), np.nan)


def _compare(rows: np.ndarray, masked: np.ndarray, rles: list[dict]) -> None:
    """Fill in `covered` and `twin` of the objects (not crowds) that have masks."""
    objects = [k for k, row in enumerate(masked) if not rows["crowd"][row]]
    if not 1 < len(objects) <= _MOST:
        return
    chosen, at = [rles[k] for k in objects], masked[objects]
    covered = np.asarray(coco_mask.iou(chosen, chosen, [1] * len(chosen)))  # shared pixels / pixels of the row's mask
    np.fill_diagonal(covered, 0)
    rows["covered"][at] = covered.max(1)
    pixels = rows["pixels"][at]
    shared = covered * pixels[:, None]
    same = rows["label"][at][:, None] == rows["label"][at]
    rows["twin"][at] = np.where(same, shared / np.maximum(pixels[:, None] + pixels - shared, 1), 0).max(1)
