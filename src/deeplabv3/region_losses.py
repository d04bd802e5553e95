"""Losses of whole regions, which count every class alike however few pixels it has: Dice and Lovász-softmax.

Both take the mean over the classes that are in the labels of the batch; it is 0 where no pixel counts.
"""
from __future__ import annotations

import numpy as np
from mindspore import Tensor, ops
from mindspore.common import dtype as mstype


def soft_dice(probabilities, label, ignore_label: int):
    """1 - 2 sum(p * y) / (sum(p) + sum(y)), by class over the batch's pixels (Sudre et al. 2017, arXiv:1707.03237).

    Args:
        probabilities: (B, K, H, W) float32.
        label: (B, H, W) int32, 0..K-1 or `ignore_label`, whose pixels do not count.
    """
    counts = label != ignore_label
    truth = _truth(label.expand_dims(1), counts.expand_dims(1), probabilities.shape[1], (1, -1, 1, 1))
    counted = probabilities * counts.astype(mstype.float32).expand_dims(1)
    pixels = truth.sum((0, 2, 3))
    overlap = (counted * truth).sum((0, 2, 3))
    dice = 2.0 * overlap / (counted.sum((0, 2, 3)) + ops.maximum(pixels, 1.0))
    return _mean_over_present(1.0 - dice, pixels)


def lovasz_softmax(probabilities, label, ignore_label: int):
    """The Lovász extension of 1 - IoU, by class over the batch's pixels (Berman et al. 2018, arXiv:1705.08790).

    Arguments as in `soft_dice`. Errors |y - p| are sorted, the largest first; each is weighted by what 1 - IoU grows by
    when its pixel is wrong too. With U the union and I the intersection after a pixel, that is 1 / U for a pixel of the
    class, and I / (U * (U - 1)) for another: exact where differences of IoUs near each other would cancel. Ignored
    pixels have the error 0: they come last, and their weights make no difference.
    """
    classes = probabilities.shape[1]
    counts = (label != ignore_label).reshape(1, -1)
    truth = _truth(label.reshape(1, -1), counts, classes, (-1, 1))  # (K, N), as everything below
    errors = ops.abs(truth - probabilities.transpose(1, 0, 2, 3).reshape(classes, -1))
    errors = errors * counts.astype(mstype.float32)
    order = ops.Sort(axis=-1, descending=True)(ops.stop_gradient(errors))[1]
    ours = ops.gather_elements(truth, 1, order)
    position = Tensor(np.arange(1, errors.shape[1] + 1, dtype=np.float32).reshape(1, -1))
    pixels = truth.sum(1)
    found = ops.cumsum(ours, 1)
    inner, union = pixels.expand_dims(1) - found, pixels.expand_dims(1) + position - found
    weights = ours / ops.maximum(union, 1.0) + (1.0 - ours) * inner / ops.maximum(union * (union - 1.0), 1.0)
    return _mean_over_present((ops.gather_elements(errors, 1, order) * ops.stop_gradient(weights)).sum(1), pixels)


def _truth(label, counts, classes: int, shape: tuple):
    """1.0 where a pixel is of a class, with the classes as the axis of `shape`; 0.0 for every class where ignored."""
    indices = Tensor(np.arange(classes, dtype=np.int32).reshape(shape))
    return ops.logical_and(label == indices, counts).astype(mstype.float32)


def _mean_over_present(losses, pixels):
    """Mean of (K,) losses over the classes with pixels."""
    present = (pixels > 0).astype(mstype.float32)
    return (losses * present).sum() / ops.maximum(present.sum(), 1.0)
