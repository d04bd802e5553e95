"""The probe: what a graph calculates from fixed inputs and fixed parameters, as a digest.

A cell's parameters are set to the fixed values, the graph runs once, and the outputs and all parameters afterwards are
digested. A training step thereby shows its losses, its gradients and its update. Then the parameters get their own
values back, bit by bit: weights, optimizer state, loss scale, accumulated gradients and running statistics.
"""
from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import mindspore as ms
import mindspore.nn as nn
import numpy as np
from mindspore import ops

from src.compile_cache import key as keys

NOISE = np.random.Generator(np.random.Philox(2010)).standard_normal(65537, np.float32)  # a prime length


class Blind(ValueError):
    """What a probe leads to is not finite, so that it would hide differences."""


def outcome(cell: nn.Cell, inputs: Sequence[np.ndarray]) -> str:
    """Digest of what `cell` makes of `inputs` and of the fixed parameters. Its parameters keep their values.

    A cell may have `probe_state`, {name: value}, for parameters that take one value each: integers that decide what a
    call does (others are 0), and numbers that must not be negative.

    Raises:
        Blind: outputs, or parameters afterwards, that are not finite.
    """
    with _fixed_parameters(cell) as parameters:
        found = list(_flat(cell(*map(ms.Tensor, inputs))))
        found += [parameter.asnumpy() for parameter in parameters]
        if not all(np.isfinite(array).all() for array in found if array.dtype.kind == "f"):
            raise Blind("not finite")
        return keys.digest(list(map(_digest, found)))


def stored_inputs(inputs: Sequence[np.ndarray]) -> list[np.ndarray | None]:
    """A batch as a probe's inputs: images are drawn again, so only the other columns are stored."""
    return [None if _is_image(array) else array for array in inputs]


def drawn_inputs(stored: Sequence[np.ndarray | None], inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """A probe's inputs: the stored ones, and noise in the shape of `inputs` for those that are None."""
    return [_noise(array.shape, array.dtype, number) if one is None else one
            for number, (one, array) in enumerate(zip(stored, inputs, strict=True))]


@contextmanager
def _fixed_parameters(cell: nn.Cell) -> Iterator[list[ms.Parameter]]:
    parameters = list(cell.get_parameters())
    before = [parameter.asnumpy().copy() for parameter in parameters]
    state = getattr(cell, "probe_state", {})
    try:
        for number, (parameter, own) in enumerate(zip(parameters, before)):
            _assign(parameter, _fixed(own, number, state.get(parameter.name)))
        yield parameters
    finally:
        for parameter, own in zip(parameters, before):
            _assign(parameter, own)


def _assign(parameter: ms.Parameter, value: np.ndarray) -> None:
    """Not by `set_data`: after a graph has run, its conditional branches go on with the memory from before."""
    ops.assign(parameter, ms.Tensor(value, parameter.dtype))


def _fixed(own: np.ndarray, number: int, asked: float | None) -> np.ndarray:
    """Weights that keep activations near 1, scales and variances of about 1, integers of 0; or what is asked for."""
    if asked is not None or own.dtype.kind != "f":
        return np.full_like(own, asked or 0)
    if own.ndim >= 2:
        return _noise(own.shape, own.dtype, number) / np.asarray(math.sqrt(math.prod(own.shape[1:])), own.dtype)
    return np.clip(1 + _noise(own.shape, own.dtype, number) / 4, 0.5, 1.5).astype(own.dtype)


def _noise(shape: tuple[int, ...], dtype: Any, number: int) -> np.ndarray:
    shifted = np.roll(NOISE, -7919 * (number + 1))
    return np.resize(shifted, shape).astype(dtype)


def _is_image(array: np.ndarray) -> bool:
    return array.ndim == 4 and array.dtype.kind == "f"


def _flat(outputs: Any) -> Iterator[np.ndarray]:
    if isinstance(outputs, Mapping):
        outputs = list(outputs.values())
    if isinstance(outputs, (list, tuple)):
        for output in outputs:
            yield from _flat(output)
    else:
        yield outputs.asnumpy() if isinstance(outputs, ms.Tensor) else np.asarray(outputs)


def _digest(array: np.ndarray) -> str:
    return f"{array.dtype} {array.shape} {zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8)):08x}"
