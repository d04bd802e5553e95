"""Box arithmetic in the graph: overlaps, deltas and clipping. Boxes are (..., 4) float32 xyxy."""
from __future__ import annotations

import math
from collections.abc import Sequence

import mindspore.nn as nn
from mindspore import ops

from src.layers.constants import arange, constant

# Limit of dw and dh: a box grows 62.5 times at most (Fast R-CNN's log(1000 / 16)).
MAX_LOG_RATIO = math.log(1000.0 / 16.0)


class BoxCell(nn.Cell):
    """A cell that stays in float32 under mixed precision: above 1024, float16 has steps of a pixel."""

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


def shared_area(boxes, others, box_offset: int = 0):
    """Area of the intersections within each image: (B, N, 4) and (B, M, 4) -> (B, N, M) float32.

    Coordinates are expanded to (B, N, M) first: broadcasting maxima and minima take a hundred times as long on a CPU.
    """
    n, m = boxes.shape[1], others.shape[1]
    x1, y1, x2, y2 = split(boxes.expand_dims(2))
    u1, v1, u2, v2 = split(others.expand_dims(1))
    along, down = (1, 1, m), (1, n, 1)
    w = ops.minimum(ops.tile(x2, along), ops.tile(u2, down)) - ops.maximum(ops.tile(x1, along), ops.tile(u1, down))
    h = ops.minimum(ops.tile(y2, along), ops.tile(v2, down)) - ops.maximum(ops.tile(y1, along), ops.tile(v1, down))
    if box_offset:
        w, h = w + box_offset, h + box_offset
    return ops.relu(w) * ops.relu(h)


def pairwise_iou(boxes, others, box_offset: int = 0):
    """IoU within each image by plain operators: (B, N, 4) and (B, M, 4) -> (B, N, M) float32; 0 where both are empty.

    The order of operations is that of `NMSWithMask` on a CPU, so both give the same bits at thresholds.
    """
    shared = shared_area(boxes, others, box_offset)
    areas = area(boxes, box_offset).expand_dims(2) + area(others, box_offset).expand_dims(1)
    return shared / ops.maximum(areas - shared, 1e-12)


def _pixel_counting(boxes, box_offset: int):
    """Shrink half-open boxes by 1 for a primitive that adds 1 to every width."""
    return boxes if box_offset else boxes - constant((0, 0, 1, 1))


def iou(boxes, gt_boxes, *, box_offset: int = 0, plain: bool = False):
    """Intersection over union: (N, 4) and (B, G, 4) -> (B, G, N) float32.

    `plain`: use plain operators. The `IOU` primitive, whose widths count pixels (+1), takes 1/20 of the time on a CPU
    but is deprecated on Ascend.
    """
    b, g = gt_boxes.shape[:2]
    if plain:
        return pairwise_iou(gt_boxes, ops.tile(boxes.expand_dims(0), (b, 1, 1)), box_offset)
    flat = _pixel_counting(gt_boxes.reshape(b * g, 4), box_offset)
    return ops.IOU()(_pixel_counting(boxes, box_offset), flat).reshape(b, g, boxes.shape[0])


def iou_by_image(boxes, gt_boxes, *, box_offset: int = 0, plain: bool = False):
    """IoU within each image: (B, N, 4) and (B, G, 4) -> (B, G, N)."""
    if plain:
        return pairwise_iou(gt_boxes, boxes, box_offset)
    b, n = boxes.shape[:2]
    every = iou(boxes.reshape(b * n, 4), gt_boxes, box_offset=box_offset)  # (B, G, B * N)
    blocks = every.reshape(b, -1, b, n).transpose(0, 2, 1, 3).reshape(b * b, -1, n)
    return _diagonal(blocks, b)


def _diagonal(blocks, count: int):
    """(count * count, ...) -> (count, ...): the blocks that compare an image with itself."""
    return ops.gather(blocks, arange(0, count * (count + 1), count + 1), 0)


def intersection_over_area(boxes, regions, *, box_offset: int = 0, plain: bool = False):
    """Largest fraction of each box's area that lies in one of the regions: (N, 4) and (B, G, 4) -> (B, N)."""
    b, g = regions.shape[:2]
    if plain:
        return share_by_image(ops.tile(boxes.expand_dims(0), (b, 1, 1)), regions, box_offset=box_offset, plain=True)
    flat = _pixel_counting(regions.reshape(b * g, 4), box_offset)
    share = ops.IOU(mode="iof")(flat, _pixel_counting(boxes, box_offset))  # (N, B * G)
    return share.reshape(-1, b, g).max(axis=2).transpose(1, 0)


def share_by_image(boxes, regions, *, box_offset: int = 0, plain: bool = False):
    """`intersection_over_area` within each image: (B, N, 4) and (B, G, 4) -> (B, N)."""
    if plain:
        share = shared_area(regions, boxes, box_offset) / ops.maximum(area(boxes, box_offset), 1e-12).expand_dims(1)
        return share.max(axis=1)
    b, n = boxes.shape[:2]
    share = intersection_over_area(boxes.reshape(b * n, 4), regions, box_offset=box_offset).reshape(b * b, n)
    return _diagonal(share, b)


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
