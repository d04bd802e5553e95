"""Noise of version 1: a hash with shifts, kept for runs that began with it. On Ascend only the AI CPU can shift."""
from __future__ import annotations

import numpy as np
from mindspore import Tensor, ops

# Multipliers of the 32-bit finaliser "lowbias32" (C. Wellons, hash-prospector), as int32; products wrap modulo 2^32.
_M1, _M2 = 0x7FEB352D, 0x846CA68B - (1 << 32)
_SEED_STEP, _GOLDEN, _STREAM_STEP = 0x2545F491, 0x9E3779B9, 0x85EBCA6B  # odd constants that spread neighbouring keys


def mix(x):
    """Hash int32 values of any shape to int32 values, elementwise."""
    x = ops.bitwise_xor(x, _shift_right(x, 16)) * _M1
    x = ops.bitwise_xor(x, _shift_right(x, 15)) * _M2
    return ops.bitwise_xor(x, _shift_right(x, 16))


def _shift_right(x, bits: int):
    """Logical shift: int32's own shift copies the sign bit, so the copies are masked away."""
    return ops.bitwise_and(ops.bitwise_right_shift(x, bits), (1 << (32 - bits)) - 1)


def _int32(value: int) -> int:
    return (value + (1 << 31)) % (1 << 32) - (1 << 31)


def sample_key(seed: int, epoch, sample_id):
    """(B,) int32 key of each sample in this epoch, from (B,) int32 `epoch` and `sample_id`."""
    return mix(mix(mix(sample_id + _int32(seed * _SEED_STEP)) + epoch) + _int32(_GOLDEN))


def uniform(key, count: int, stream: int = 0):
    """(B,) int32 keys -> (B, count) float32, uniform in [0, 1), multiples of 2^-24."""
    bits = mix(mix(_offsets(count, stream))[None, :] + key[:, None])
    return _shift_right(bits, 8).astype(np.float32) * (1.0 / (1 << 24))


@ops.constexpr
def _offsets(count, stream):
    offsets = np.arange(count, dtype=np.int64) * _GOLDEN + stream * _STREAM_STEP
    return Tensor(offsets.astype(np.uint32).view(np.int32))
