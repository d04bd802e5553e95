"""Box arithmetic in the graph: overlaps, deltas, clipping, suppression. Boxes are (..., 4) float32 xyxy."""
from __future__ import annotations

import math
from collections.abc import Sequence

import mindspore.nn as nn
from mindspore import ops

from src.layers.constants import arange, constant, linspace

# Limit of dw and dh: a box grows 62.5 times at most (Fast R-CNN's log(1000 / 16)).
MAX_LOG_RATIO = math.log(1000.0 / 16.0)


class BoxCell(nn.Cell):
    """A cell that stays in float32 when mixed precision casts the network: float16 has steps of a pixel above 1024."""

    def add_flags(self, **flags):
        if "fp16" in flags or "bf16" in flags:
            flags |= {"fp16": False, "bf16": False, "fp32": True}
        super().add_flags(**flags)


def split(boxes):
    """(..., 4) -> x1, y1, x2, y2, each (...)."""
    return boxes[..., 0], boxes[..., 1], boxes[..., 2], boxes[..., 3]


def area(boxes, box_offset: int = 0):
    """(..., 4) -> (...) area in square pixels."""
    x1, y1, x2, y2 = split(boxes)
    return (x2 - x1 + box_offset) * (y2 - y1 + box_offset)


def _pixel_counting(boxes, box_offset: int):
    """Shrink half-open boxes so that a primitive that adds 1 to every width finds the width they have."""
    return boxes if box_offset else boxes - constant((0, 0, 1, 1))


def iou(boxes, gt_boxes, *, box_offset: int = 0):
    """Intersection over union: (N, 4) and (B, G, 4) -> (B, G, N) float32.

    The `IOU` primitive takes 1/20 of the time of broadcasting on a CPU, but counts pixels (+1 widths).
    """
    b, g = gt_boxes.shape[:2]
    flat = _pixel_counting(gt_boxes.reshape(b * g, 4), box_offset)
    return ops.iou(_pixel_counting(boxes, box_offset), flat).reshape(b, g, boxes.shape[0])


def iou_by_image(boxes, gt_boxes, *, box_offset: int = 0):
    """IoU within each image: (B, N, 4) and (B, G, 4) -> (B, G, N)."""
    b, n = boxes.shape[:2]
    every = iou(boxes.reshape(b * n, 4), gt_boxes, box_offset=box_offset)  # (B, G, B * N)
    blocks = every.reshape(b, -1, b, n).transpose(0, 2, 1, 3).reshape(b * b, -1, n)
    return diagonal(blocks, b)


def diagonal(blocks, count: int):
    """(count * count, ...) -> (count, ...): the blocks that compare an image with itself."""
    return ops.gather(blocks, arange(0, count * (count + 1), count + 1), 0)


def intersection_over_area(boxes, regions, *, box_offset: int = 0):
    """Largest share of each box's area that lies in one of the regions: (N, 4) and (B, G, 4) -> (B, N)."""
    b, g = regions.shape[:2]
    flat = _pixel_counting(regions.reshape(b * g, 4), box_offset)
    share = ops.iou(flat, _pixel_counting(boxes, box_offset), mode="iof")  # (N, B * G)
    return share.reshape(-1, b, g).max(axis=2).transpose(1, 0)


def encode(boxes, targets, *, stds: Sequence[float], box_offset: int = 0):
    """Deltas that move `boxes` onto `targets`: two (..., 4) -> (..., 4) (Girshick et al. 2014, appendix C)."""
    x1, y1, x2, y2 = split(boxes)
    u1, v1, u2, v2 = split(targets)
    w, h = x2 - x1 + box_offset, y2 - y1 + box_offset
    deltas = ops.stack((((u1 + u2) - (x1 + x2)) / (2 * w), ((v1 + v2) - (y1 + y2)) / (2 * h),
                        ops.log((u2 - u1 + box_offset) / w), ops.log((v2 - v1 + box_offset) / h)), -1)
    return deltas / constant(stds)


def decode(deltas, boxes, *, stds: Sequence[float], box_offset: int = 0, delta_clip: str = "above"):
    """Move `boxes` by `deltas`: the inverse of `encode`.

    `delta_clip`: "above" limits dw and dh to log(1000 / 16), "both" also to its negative.
    """
    dx, dy, dw, dh = split(deltas * constant(stds))
    dw, dh = ops.minimum(dw, MAX_LOG_RATIO), ops.minimum(dh, MAX_LOG_RATIO)
    if delta_clip == "both":
        dw, dh = ops.maximum(dw, -MAX_LOG_RATIO), ops.maximum(dh, -MAX_LOG_RATIO)
    x1, y1, x2, y2 = split(boxes)
    w, h = x2 - x1 + box_offset, y2 - y1 + box_offset
    x, y = (x1 + x2) / 2 + dx * w, (y1 + y2) / 2 + dy * h
    half_w, half_h = (w * ops.exp(dw) - box_offset) / 2, (h * ops.exp(dh) - box_offset) / 2
    return ops.stack((x - half_w, y - half_h, x + half_w, y + half_h), -1)


def clip_to_image(boxes, image_size):
    """Clip (B, N, 4) boxes to 0..width and 0..height of (B, 2) `image_size` (height, width), both inclusive."""
    height, width = image_size[:, None, 0], image_size[:, None, 1]
    x1, y1, x2, y2 = split(boxes)
    return ops.stack((ops.minimum(ops.relu(x1), width), ops.minimum(ops.relu(y1), height),
                      ops.minimum(ops.relu(x2), width), ops.minimum(ops.relu(y2), height)), -1)


def large_enough(boxes, min_size: float):
    """(..., 4) -> (...) bool: both sides are at least `min_size` pixels."""
    x1, y1, x2, y2 = split(boxes)
    return ops.logical_and(x2 - x1 >= min_size, y2 - y1 >= min_size)


def nms(boxes, threshold: float):
    """Greedy non-maximum suppression within each image.

    Args:
        boxes: (B, N, 4), best score first; N at most 2864 (Ascend's limit).
        threshold: boxes that overlap a kept one by more than this IoU are dropped.

    Returns:
        (B, N) bool, true where kept. Ranks stand in for scores, because Ascend's kernel ignores scores and the CPU's
        sorts by them: ranks make both keep the order given. The primitive takes one set of boxes; sets of several
        images in one call would cost the square of their number and pass the limit.
    """
    b, n = boxes.shape[:2]
    ranks = linspace(n, 1, n).reshape((n, 1))
    nms_with_mask = ops.NMSWithMask(threshold)
    keep = ()
    for image in range(b):
        keep += (nms_with_mask(ops.cat((boxes[image], ranks), 1))[2],)
    return ops.stack(keep)
