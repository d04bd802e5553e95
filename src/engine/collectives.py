"""Exchange of flags, settings and results between ranks, outside the training graph, by MindSpore's collectives.

One cell per kind of collective and process: a new cell would be compiled again in every call. Lengths are rounded up to
powers of two, so that few shapes are ever compiled.
"""
from __future__ import annotations

from collections.abc import Callable
from functools import cache

import mindspore as ms
import mindspore.nn as nn
import numpy as np
from mindspore import ops

ROUND_BYTES = 64 << 20  # that all ranks together exchange at a time: what a rank needs to have free
SMALLEST_ROUND = 256  # int32 words of a rank

Exchange = Callable[[np.ndarray], np.ndarray]  # (n,) int32 of this rank -> (ranks, n) int32 of all


class _AllReduce(nn.Cell):
    def __init__(self):
        super().__init__()
        self.all_reduce = ops.AllReduce()

    def construct(self, x):
        return self.all_reduce(x)


class _AllGather(nn.Cell):
    def __init__(self):
        super().__init__()
        self.all_gather = ops.AllGather()

    def construct(self, x):
        return self.all_gather(x)


_cell = cache(lambda kind: kind())


def all_sum(values: np.ndarray) -> np.ndarray:
    """Sum over the ranks, float32 (a CPU adds up nothing else). Whole numbers are exact below 2^24."""
    return _cell(_AllReduce)(ms.Tensor(values.astype(np.float32, copy=False))).asnumpy()


def all_gather(words: np.ndarray) -> np.ndarray:
    """(n,) int32, of one length on all ranks -> (ranks, n) int32. Bits arrive as they are sent."""
    return _cell(_AllGather)(ms.Tensor(words)).asnumpy().reshape(-1, len(words))


def gather_bytes(data: bytes, exchange: Exchange = all_gather, *, keep: bool = True) -> list[bytearray]:
    """The `data` of every rank, in the order of the ranks; an empty list without `keep`.

    Data travels in rounds of at most `ROUND_BYTES`, so that no rank ever holds more than it keeps and one round.
    """
    sizes = exchange(np.array([len(data)], np.int64).view(np.int32)).view(np.int64)[:, 0]
    longest = -(-int(sizes.max()) // 4)
    length = round_length(longest, len(sizes))
    words = np.zeros(-(-longest // length) * length, np.int32)
    words.view(np.uint8)[:len(data)] = np.frombuffer(data, np.uint8)
    parts = [bytearray() for _ in sizes]
    for start in range(0, len(words), length):
        rows = exchange(words[start:start + length])
        if keep:
            for part, row, size in zip(parts, rows, sizes):
                part += row.tobytes()[:size - len(part)]
    return parts if keep else []


def round_length(longest: int, world_size: int) -> int:
    """int32 words that a rank sends in one round, when the longest message of all has `longest`."""
    most = max(ROUND_BYTES // 4 // world_size, SMALLEST_ROUND)
    length = SMALLEST_ROUND
    while length < min(longest, most):
        length *= 2
    return min(length, most)
