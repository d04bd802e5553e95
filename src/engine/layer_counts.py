"""What the layers of a network have and do: parameters, multiply-adds, bytes of their outputs.

The network runs once, without computing its convolutions, dense layers and normalisations: they return zeros of the
right shape. So counting takes seconds at any input size, and shapes are those that the network really has.

Multiply-adds are those of convolutions and matrix products of layers, as torchvision and its peers count them; biases,
normalisation, activations, resizing and suppression are left out. A layer that computes its product itself says how
many multiply-adds that is in a method `multiply_adds(*input_shapes)`.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import mindspore as ms
import mindspore.nn as nn
import numpy as np

FLOAT = 4  # bytes
_NORMS = (nn.BatchNorm2d, nn.GroupNorm)


@dataclass
class Layer:
    """A layer, or several that are summed up.

    Attributes:
        name: its place in the network.
        kind: its class.
        shape: of its output; of the first one where it is used several times.
        parameters: numbers that training learns, biases, scales and shifts included; running statistics do not count.
        multiply_adds: of all uses of the layer.
        activations: bytes of its outputs in float32.
        uses: how often the network calls it.
    """

    name: str
    kind: str
    shape: tuple[int, ...] = ()
    parameters: int = 0
    multiply_adds: int = 0
    activations: int = 0
    uses: int = 0


def count_layers(network: nn.Cell, inputs: Sequence[np.ndarray]) -> list[Layer]:
    """The layers that have parameters, in the order in which they run, those that do not run last.

    Args:
        network: in inference mode afterwards.
        inputs: its arguments, with the batch axis.
    """
    cells = {id(cell): Layer(name, type(cell).__name__, parameters=_parameters(cell))
             for name, cell in network.cells_and_names()}
    order: dict[int, Layer] = {}

    def note(cell: nn.Cell, shapes: list[tuple[int, ...]], output: tuple[int, ...]) -> None:
        layer = order.setdefault(id(cell), cells[id(cell)])
        layer.shape = layer.shape or output
        layer.uses += 1
        layer.activations += FLOAT * int(np.prod(output))
        layer.multiply_adds += _multiply_adds(cell, shapes, output)

    before = ms.get_context("mode")
    ms.set_context(mode=ms.PYNATIVE_MODE)
    try:
        with _only_shapes(network, note):
            network.set_train(False)(*map(ms.Tensor, inputs))
    finally:
        ms.set_context(mode=before)
    return [layer for layer in (*order.values(), *(c for c in cells.values() if not c.uses))
            if layer.parameters or layer.multiply_adds]


def summed(layers: Sequence[Layer], depth: int) -> list[Layer]:
    """Layers whose names begin alike, up to `depth` parts of them, as one; 0 leaves all as they are."""
    if not depth:
        return list(layers)
    groups: dict[str, Layer] = {}
    for layer in layers:
        name = ".".join(layer.name.split(".")[:depth])
        group = groups.setdefault(name, Layer(name, layer.kind if name == layer.name else ""))
        group.shape = layer.shape or group.shape  # of the last one
        for field in ("parameters", "multiply_adds", "activations"):
            setattr(group, field, getattr(group, field) + getattr(layer, field))
        group.uses = max(group.uses, layer.uses)
    return list(groups.values())


def _parameters(cell: nn.Cell) -> int:
    statistics = ("moving_mean", "moving_variance")
    return sum(p.size for key, p in cell.parameters_and_names(expand=False) if key.split(".")[-1] not in statistics)


def _multiply_adds(cell: nn.Cell, shapes: list[tuple[int, ...]], output: tuple[int, ...]) -> int:
    if hasattr(cell, "multiply_adds"):
        return int(cell.multiply_adds(*shapes))
    if isinstance(cell, (nn.Conv2d, nn.Dense)):
        return int(np.prod(output)) * int(np.prod(cell.weight.shape[1:]))
    return 0


@contextmanager
def _only_shapes(network: nn.Cell, note: Callable) -> Iterator[None]:
    """Within this context, layers note their shapes; convolutions, dense layers and norms do nothing else."""
    own = {type(cell) for _, cell in network.cells_and_names() if hasattr(cell, "multiply_adds")}
    replaced: dict[type, Callable] = {nn.Conv2d: _conv_shape, nn.Dense: _dense_shape, **dict.fromkeys(_NORMS, _same)}
    originals = {cls: cls.construct for cls in (*replaced, *own)}

    def noting(cls: type) -> Callable:
        def construct(self, *inputs):
            shapes = [tuple(x.shape) for x in inputs]
            if cls in replaced:
                output: Any = ms.ops.zeros(replaced[cls](self, shapes[0]), inputs[0].dtype)
            else:
                output = originals[cls](self, *inputs)
            note(self, shapes, tuple(output.shape))
            return output
        return construct

    inherited = {cls for cls in originals if "construct" not in vars(cls)}
    try:
        for cls in originals:
            cls.construct = noting(cls)
        yield
    finally:
        for cls, construct in originals.items():
            if cls in inherited:
                with suppress(AttributeError):
                    del cls.construct
            else:
                cls.construct = construct


def _conv_shape(cell: nn.Conv2d, shape: tuple[int, ...]) -> tuple[int, ...]:
    padding = cell.padding if isinstance(cell.padding, tuple) else (cell.padding,) * 4  # top, bottom, left, right
    size = []
    for axis in (0, 1):
        kernel = cell.dilation[axis] * (cell.kernel_size[axis] - 1) + 1
        length, stride = shape[2 + axis], cell.stride[axis]
        if cell.pad_mode == "same":
            size.append(-(-length // stride))
        else:
            size.append((length + padding[2 * axis] + padding[2 * axis + 1] - kernel) // stride + 1)
    return shape[0], cell.out_channels, *size


def _dense_shape(cell: nn.Dense, shape: tuple[int, ...]) -> tuple[int, ...]:
    return *shape[:-1], cell.out_channels


def _same(cell: nn.Cell, shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape
