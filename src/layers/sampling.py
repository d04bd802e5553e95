"""Random choice of rows in a graph, as a function of given random numbers, and gathering of the chosen rows."""
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
        priority: (B, N) float32 in [0, 1]; the smallest are chosen first, so uniform noise makes a uniform choice.
            Small numbers also stay distinct where TopK computes in float16, whose steps are relative (2^-11).
        max_positive: positives per image, at most.
        total: rows chosen per image; N if that is less.

    Returns:
        index (B, total) int32, is_positive (B, total) bool, is_chosen (B, total) bool: false in slots that stay empty
        because there are too few candidates. Positives come first, in the first `max_positive` slots.
    """
    total = min(total, priority.shape[1])
    most = min(max_positive, total)
    index, is_found = first_rows(positive, priority, most)
    other_index, is_other = first_rows(negative, priority, total)
    found = is_found.astype(ms.int32).sum(axis=1, keepdims=True, dtype=ms.int32)  # int64 is not for Ascend 910
    slot = arange(0, total)[None, :]
    is_positive = slot < found
    # Slots from `found` on take the negatives from their first: the two lists, laid end to end, are read with a gap.
    place = ops.where(is_positive, slot, slot - found + most)
    index = batched_gather(ops.cat((index, other_index), 1), place)
    return index, is_positive, batched_gather(ops.cat((is_found, is_other), 1), place)


def first_rows(candidates, priority, count: int):
    """The `count` of (B, N) bool candidates with the smallest priority: index int32 and whether it is a candidate.

    Both (B, count). What is no candidate has priority 2, further from every other than float16 rounds.
    """
    key, index = ops.topk(ops.where(candidates, -priority, -2.0), count)
    return index.astype(ms.int32), key > -1.5
