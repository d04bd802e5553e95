"""Every call of a primitive in a compiled cell, with types and shapes of its tensors: what the Ascend lint reads.

The graph is the one that MindSpore's front end leaves after its optimisation, written as MindIR: the last form that
does not depend on the device. What a backend does to it later (fusion, format conversion) needs the device's libraries.
"""
from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import mindspore.nn as nn

from src.contract import InputError

# They order side effects, build tuples and choose branches, and are no kernels of a device.
COMPILER = {"Depend", "Load", "MakeTuple", "Partial", "Return", "Switch", "TupleGetItem", "UpdateState"}
DTYPES = {1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool",
          10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 16: "bfloat16", 17: "float64"}


@dataclass(frozen=True)
class TensorType:
    """Type and shape of a tensor; `size` is the number of its elements."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Call:
    """One call of a primitive.

    Attributes:
        primitive: its name, as in `mindspore.ops.operations`.
        inputs: one entry an input; None for what is no tensor (numbers, axes, strings).
        outputs: of the tensors that it returns.
        place: the cells that it comes from.
    """

    primitive: str
    inputs: tuple[TensorType | None, ...]
    outputs: tuple[TensorType, ...]
    place: str

    @property
    def size(self) -> int:
        """Elements of its largest tensor."""
        return max((t.size for t in (*self.inputs, *self.outputs) if t is not None), default=0)


def of_cell(cell: nn.Cell, inputs: Sequence[np.ndarray]) -> list[Call]:
    """Compile a cell for inputs of these shapes, in graph mode, and list the calls of its final graph."""
    import mindspore as ms

    with tempfile.TemporaryDirectory(prefix="mindseg-graph-") as folder:
        path = Path(folder) / "graph.mindir"
        ms.export(cell, *map(ms.Tensor, inputs), file_name=str(path.with_suffix("")), file_format="MINDIR")
        return of_mindir(path)


def of_mindir(path: Path) -> list[Call]:
    """The calls of a MindIR file, those of the graphs that it calls included.

    Raises:
        InputError: not a MindIR file.
    """
    from google.protobuf.message import DecodeError
    from mindspore.train.mind_ir_pb2 import ModelProto

    try:
        model = ModelProto.FromString(path.read_bytes())
    except DecodeError as error:
        raise InputError(f"{path}: not a MindIR file ({error})") from error
    return list(_Walk(model).calls())


class _Walk:
    """Names are unique over all graphs of a file, so one table has the type of every value."""

    def __init__(self, model: Any):
        self.graphs = [model.graph, *model.functions]
        self.names = {f"REF::{p.name}": p.op_type for p in model.primitives}
        self.types: dict[str, TensorType | tuple | None] = {}

    def calls(self) -> Iterator[Call]:
        for graph in self.graphs:
            for parameter in graph.parameter:
                self.types[parameter.name] = _tensor(parameter)
            for entry in graph.input:
                self.types[entry.name] = _tensor(entry.tensor[0]) if entry.tensor else None
        for graph in self.graphs:
            for node in graph.node:
                call = self._call(node)
                if call is not None:
                    yield call

    def _call(self, node: Any) -> Call | None:
        name, output = self.names.get(node.op_type, node.op_type), node.output[0]
        inputs = tuple(self.types.get(i) for i in node.input)
        if name == "Constant":
            attribute = node.attribute[0]
            self.types[output] = _tensor(attribute.tensors[0]) if attribute.tensors else (
                _tensor(attribute.t) if attribute.HasField("t") else None)
            return None
        if name == "MakeTuple":
            self.types[output] = inputs
            return None
        found = tuple(t for a in node.attribute if a.name == "shape" for t in _outputs(a))
        self.types[output] = found if len(found) > 1 else next(iter(found), None)
        if name in COMPILER or (node.op_type.startswith("REF::") and node.op_type not in self.names):
            return None
        flat = tuple(t for i in inputs for t in (i if isinstance(i, tuple) else (i,)))
        return Call(name, flat, found, node.domain or node.name)


def _outputs(attribute: Any) -> list[TensorType]:
    if attribute.tensors:
        return [_tensor(attribute.tensors[0])]
    return [_tensor(value.tensors[0]) for value in attribute.values if value.tensors]


def _tensor(tensor: Any) -> TensorType:
    return TensorType(DTYPES.get(tensor.data_type, f"type {tensor.data_type}"), tuple(tensor.dims))
