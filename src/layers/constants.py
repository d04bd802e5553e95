"""Constants of a graph, as functions that are evaluated once while the graph is compiled. Arguments are positional.

NumPy inside `construct` looks simpler, but MindSpore 2.10's compiler compares such arrays by `==`, and two long arrays
of different shapes broadcast to gigabytes: Mask R-CNN at 768 x 1280 took nine times as long to compile, with more
memory than a training step.
"""
from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Tensor, ops


@ops.constexpr
def constant(values, dtype=ms.float32):
    """A tensor of a number or of nested tuples of numbers."""
    return Tensor(values, dtype)


@ops.constexpr
def full(shape, value, dtype=ms.float32):
    return Tensor(np.full(shape, value), dtype)


@ops.constexpr
def arange(start, stop, step=1):
    """start, start + step, ... before `stop`; int32."""
    return Tensor(np.arange(start, stop, step), ms.int32)


@ops.constexpr
def repeated(start, stop, times):
    """start, start, ..., start + 1, start + 1, ... before `stop`; int32."""
    return Tensor(np.arange(start, stop).repeat(times), ms.int32)


@ops.constexpr
def tiled(start, stop, times):
    """start, start + 1, ..., start, start + 1, ... before `stop`; int32."""
    return Tensor(np.tile(np.arange(start, stop), times), ms.int32)


@ops.constexpr
def linspace(start, stop, count):
    """`count` numbers from `start` to `stop`, both included; float32."""
    return Tensor(np.linspace(start, stop, count), ms.float32)
