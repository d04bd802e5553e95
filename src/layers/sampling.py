"""Random choice of rows in a graph, as a function of given random numbers, and taking the chosen rows."""
from __future__ import annotations

import mindspore as ms
from mindspore import ops

from src.layers.constants import arange


def batched_gather(values, index):
    """values (B, N, ...) and index (B, k) int32 -> (B, k, ...): row index[b, i] of values[b]."""
    b, n = values.shape[:2]
    rows = index + arange(0, b * n, n)[:, None]
    flat = ops.gather(values.reshape((b * n,) + values.shape[2:]), rows.reshape(-1), 0)
    return flat.reshape(index.shape + values.shape[2:])


def balanced_sample(positive, negative, priority, *, max_positive: int, total: int):
    """Choose up to `max_positive` positives, then negatives, until `total` rows are chosen.

    Args:
        positive, negative: (B, N) bool, disjoint candidates.
        priority: (B, N) float32 in [0, 1); the largest are chosen, so uniform noise makes a uniform choice.
        max_positive: at most this many positives an image.
        total: rows chosen an image; N where that is less.

    Returns:
        index (B, total) int32, is_positive (B, total) bool, is_chosen (B, total) bool: false in slots that stay empty
        because there are too few candidates. Positives come first, so they stand in the first `max_positive` slots.
    """
    rows = priority.shape[1]
    wanted = ops.topk(ops.where(positive, priority, -1.0), min(max_positive, rows))[0]
    least = wanted[:, -1:]  # below 0 when all positives fit
    chosen_positive = ops.logical_and(positive, priority >= least)
    order = ops.where(chosen_positive, 1.0 + priority, ops.where(negative, priority, -1.0))
    key, index = ops.topk(order, min(total, rows))
    return index.astype(ms.int32), key >= 1.0, key >= 0.0
