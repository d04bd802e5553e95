"""Random numbers in a graph as a pure function of a key.

MindSpore's random primitives restart their stream in a new process and ignore the seed in places, so a resumed run
would draw other numbers. A hash of (seed, epoch, sample id, position) draws the same ones on any rank, in any process.

There are two versions of the hash: 2 (`product_noise`), and 1 (`shift_noise`) for runs that began with it.
"""
from __future__ import annotations

import mindspore.nn as nn

from src.layers import product_noise, shift_noise

NEWEST = 2


def sample_key(seed: int, epoch, sample_id, *, noise: int = NEWEST):
    """Key of each sample in this epoch, from (B,) int32 `epoch` and `sample_id`; its form depends on the version."""
    if noise == 1:
        return shift_noise.sample_key(seed, epoch, sample_id)
    return product_noise.sample_key(seed, epoch, sample_id)


def hash_uniform(key, count: int, *, stream: int = 0, noise: int = NEWEST):
    """Keys of B samples -> (B, count) float32, uniform in [0, 1), multiples of 2^-24.

    `stream` separates several uses of one key in one graph.
    """
    if noise == 1:
        return shift_noise.uniform(key, count, stream)
    return product_noise.uniform(key, count, stream)


def sampling_priority(key, count: int, *, stream: int, noise: int = NEWEST):
    """Keys of B samples -> (B, count) float32 in [0, 1] for `sampling.balanced_sample`: uniform, the smallest go first.

    Version 1 took the largest numbers first; the complements are exact and keep that order.
    """
    values = hash_uniform(key, count, stream=stream, noise=noise)
    return 1.0 - values if noise == 1 else values


def keep_mask(key, count: int, rate: float, *, noise: int = NEWEST):
    """Keys of B samples -> (B, count) bool, false with probability `rate`."""
    if noise == 1:
        return shift_noise.uniform(key, count) >= rate
    return product_noise.keep(key, count, rate)


class SampleDropout(nn.Cell):
    """Dropout of (B, C, h, w) with a mask that depends only on (seed, epoch, sample id).

    Args:
        rate: probability that a feature is dropped; the others are scaled by 1 / (1 - rate).
        seed: of the masks.
        noise: version of the hash.
    """

    def __init__(self, rate: float, *, seed: int = 1, noise: int = NEWEST):
        super().__init__()
        self.rate = rate
        self.seed = seed
        self.noise = noise

    def construct(self, x, sample_id, epoch):
        if self.rate == 0:
            return x
        key = sample_key(self.seed, epoch, sample_id, noise=self.noise)
        keep = keep_mask(key, x.shape[1] * x.shape[2] * x.shape[3], self.rate, noise=self.noise)
        return x * (keep.astype(x.dtype) * (1.0 / (1.0 - self.rate))).reshape(x.shape)
