"""Losses as functions of logits or deltas, targets and weights; each returns a float32 scalar."""
from __future__ import annotations

from mindspore import ops

from src.layers.constants import constant


def weighted_mean(values, weights):
    """Sum of values * weights / sum of weights, over all elements; 0 if all weights are 0."""
    return (values * weights).sum() / ops.maximum(weights.sum(), 1.0)


def binary_cross_entropy(logits, targets):
    """Elementwise cross entropy of sigmoid(logits) against targets in [0, 1], without overflow."""
    return ops.SigmoidCrossEntropyWithLogits()(logits, targets)


def smooth_l1(difference, beta: float):
    """Elementwise 0.5 x^2 / beta below beta, |x| - beta / 2 above (Girshick 2015, equation 3)."""
    size = ops.abs(difference)
    # Compared with a tensor: comparisons with a number are not built for Ascend's graph engine.
    return ops.where(size < constant(beta), (0.5 / beta) * difference * difference, size - 0.5 * beta)


def objectness_loss(logits, is_positive, is_chosen):
    """Mean cross entropy over the chosen anchors; (B, R) logits, bool, bool."""
    values = binary_cross_entropy(logits, is_positive.astype(logits.dtype))
    return weighted_mean(values, is_chosen.astype(logits.dtype))


def delta_loss(deltas, targets, is_positive, is_chosen, *, beta: float):
    """Smooth L1 of the positives, summed over the four deltas, divided by the number of chosen boxes.

    Dividing by all chosen boxes makes the weight of a positive independent of their number (Ren et al. 2015).
    """
    values = smooth_l1(deltas - targets, beta).sum(-1) * is_positive.astype(deltas.dtype)
    return values.sum() / ops.maximum(is_chosen.astype(deltas.dtype).sum(), 1.0)


def class_loss(logits, labels, is_chosen):
    """Mean softmax cross entropy over the chosen RoIs; logits (N, K), labels (N,) int32, is_chosen (N,) bool."""
    one_hot = ops.one_hot(labels, logits.shape[1], 1.0, 0.0).astype(logits.dtype)
    values, _ = ops.SoftmaxCrossEntropyWithLogits()(logits, one_hot)
    return weighted_mean(values, is_chosen.astype(logits.dtype))


def mask_loss(logits, targets, counts):
    """Mean cross entropy of masks: logits and targets (N, S, S), averaged over the masks with `counts` (N,) bool."""
    return weighted_mean(binary_cross_entropy(logits, targets).mean((1, 2)), counts.astype(logits.dtype))
