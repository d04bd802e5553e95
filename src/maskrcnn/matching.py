"""Assign anchors and proposals to ground truths (Ren et al. 2015, section 3.1.2)."""
from __future__ import annotations

import mindspore as ms
from mindspore import ops

from src.layers.constants import constant

# Fraction of a box that must lie in a crowd region for the box to be ignored.
CROWD_SHARE = 0.5


def usable_boxes(gt_boxes, usable):
    """Replace the boxes of unusable slots with an empty box far outside the image, whose IoU with anything is 0.

    (B, G, 4) and (B, G) bool -> (B, G, 4).
    """
    nowhere = constant((-1e4, -1e4, -1e4 - 1, -1e4 - 1))
    return ops.where(usable[..., None], gt_boxes, nowhere)


def match(iou, *, negative_iou: float, positive_iou: float, best_iou: float | None = None):
    """Assign every box to its best ground truth by IoU.

    Args:
        iou: (B, G, N), 0 in the rows of unusable ground truths.
        negative_iou: boxes below it are negative.
        positive_iou: boxes at or above it are positive; those in between are neither.
        best_iou: the boxes with the highest IoU for a ground truth are positive too, if that is above 0 and at least
            this. They keep the ground truth that they overlap most. None = off.

    Returns:
        index (B, N) int32 of the best ground truth, positive (B, N) bool, negative (B, N) bool.
    """
    index, best = ops.ArgMaxWithValue(axis=1)(iou)
    positive, negative = best >= positive_iou, best < constant(negative_iou)
    if best_iou is not None:
        peak = iou.max(axis=2)
        peak = ops.where(ops.logical_and(peak >= best_iou, peak > 0), peak, 2.0)  # no IoU reaches 2
        # BiasAdd, because on a CPU a broadcast difference builds index tables of four times its size.
        above = ops.bias_add(iou.reshape(1, -1, iou.shape[2]), -peak.reshape(-1)).reshape(iou.shape)
        at_peak = above.max(axis=1) >= 0
        positive = ops.logical_or(positive, at_peak)
        negative = ops.logical_and(negative, ops.logical_not(at_peak))
    return index.astype(ms.int32), positive, negative
