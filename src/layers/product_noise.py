"""Noise of version 2: a hash made of products, sums and bitwise operations, which every core of every device has.

A product modulo 2^32 carries information only upwards: its high bits depend on all bits of the factors, its low bits
only on low ones. So the hash starts from a table of well-mixed words, one per position, which NumPy computes once, and
only the 12 highest bits are used. With a key (a, c) of the sample, a odd,

    x = table * a + c,    bits = x + (x^2 | 5)

where the second step is a permutation of the 32-bit words (Klimov and Shamir 2003, "A new class of invertible
mappings"), so the result is as uniform as x. Signs do not matter: two's complement sums and products wrap alike.

All functions except `uniform` and `keep` take NumPy arrays as well as tensors, so that `check_device` can compare them.
"""
from __future__ import annotations

from collections.abc import Callable

import mindspore as ms
import mindspore.nn as nn
import numpy as np
from mindspore import Tensor, ops

from src.contract import InputError

_M1, _M2 = 0x7FEB352D, 0x846CA68B - (1 << 32)  # multipliers of "lowbias32" (C. Wellons, hash-prospector), as int32
_GOLDEN, _STREAM_STEP = 0x9E3779B9, 0x85EBCA6B
_WORDS = ((0x2545F491, 0x9E3779B9), (0x27D4EB2F, 0x165667B1))  # of each word of a key: the seed's step, a last addend
_HIGH_HALF, _HIGH_12 = -(1 << 16), -(1 << 20)  # masks


def _int32(value: int) -> int:
    return (value + (1 << 31)) % (1 << 32) - (1 << 31)


def _high_half(x):
    """The high 16 bits of int32 values as 0..65535. Through float32, which is exact here: 16 bits and a power of 2."""
    high = ((x & _HIGH_HALF).astype(np.float32) * (1.0 / (1 << 16))).astype(np.int32)
    return high & 0xFFFF


def mix(x):
    """Hash int32 values to int32 values, one to one."""
    x = (x ^ _high_half(x)) * _M1
    x = (x ^ _high_half(x)) * _M2
    return x ^ _high_half(x)


def sample_key(seed: int, epoch, sample_id):
    """Key of each sample in this epoch, two (B,) int32 words (a, c), from (B,) int32 `epoch` and `sample_id`."""
    words = ()
    for step, last in _WORDS:
        words += (mix(mix(mix(sample_id + _int32(seed * step)) + epoch) + _int32(last)),)
    return words[0] | 1, words[1]


def bits(table, key):
    """(count,) int32 words of the positions and the keys of B samples -> (B, count) int32; the high bits are noise."""
    a, c = key
    x = table[None, :] * a[:, None] + c[:, None]
    return x + (x * x | 5)


def to_uniform(first, second):
    """Two int32 words -> float32 in [0, 1), a multiple of 2^-24 from 12 bits of each; every step is exact."""
    high = (first & _HIGH_12).astype(np.float32) * 2.0 ** -32
    return high + (second & _HIGH_12).astype(np.float32) * 2.0 ** -44 + (0.5 + 2.0 ** -13)


def to_keep(values, rate: float):
    """int32 words -> bool, false with probability `rate`."""
    return values >= round(rate * (1 << 32)) - (1 << 31)


def position_words(count: int, stream: int) -> np.ndarray:
    """(count,) int32 word of each position: "lowbias32" of the multiples of an odd constant, all different."""
    x = (np.arange(count, dtype=np.int64) * _GOLDEN + stream * _STREAM_STEP).astype(np.uint32)
    x = (x ^ x >> 16) * np.uint32(_M1)
    x = (x ^ x >> 15) * np.uint32(_M2 % (1 << 32))
    return (x ^ x >> 16).view(np.int32)


@ops.constexpr
def _table(count, stream):
    return Tensor(position_words(count, stream))


def uniform(key, count: int, stream: int = 0):
    """Keys of B samples -> (B, count) float32, uniform in [0, 1), multiples of 2^-24."""
    return to_uniform(bits(_table(count, 2 * stream), key), bits(_table(count, 2 * stream + 1), key))


def keep(key, count: int, rate: float):
    """Keys of B samples -> (B, count) bool, false with probability `rate`."""
    return to_keep(bits(_table(count, 0), key), rate)


class _Probe(nn.Cell):
    """All that the noise is made of, on the device."""

    def construct(self, epoch, sample_id):
        key = sample_key(_PROBE_SEED, epoch, sample_id)
        return probe_results(bits(_table(_PROBE_COUNT, 0), key), bits(_table(_PROBE_COUNT, 1), key))


_PROBE_SEED, _PROBE_COUNT = 3, 1 << 12


def probe_results(first, second):
    """The computations on two arrays of words whose results must be the same on every device."""
    return first, to_uniform(first, second), to_keep(first, 0.1)


def check_device(probe: Callable | None = None) -> None:
    """Compare the device's noise with NumPy's, bit by bit: int32 products must wrap, which no vendor guarantees.

    Args:
        probe: computes the noise instead of the device.

    Raises:
        InputError: they differ, so a run could not be resumed on another device, and its noise might be poor.
    """
    epoch, sample_id = np.array([0, 1, 299], np.int32), np.array([0, 118286, 7], np.int32)
    key = sample_key(_PROBE_SEED, epoch, sample_id)
    expected = probe_results(bits(position_words(_PROBE_COUNT, 0), key), bits(position_words(_PROBE_COUNT, 1), key))
    found = (probe or _Probe())(Tensor(epoch), Tensor(sample_id))
    for name, a, b in zip(("int32 words", "uniform numbers", "dropout masks"), expected, found):
        wrong = np.count_nonzero(a != b.asnumpy())
        if wrong:
            device = ms.get_context("device_target")
            raise InputError(f"noise: {wrong} of {a.size} {name} that {device} computes are not NumPy's (its int32 "
                             "products do not wrap, or its casts round); train with --noise=1, which uses shifts")
