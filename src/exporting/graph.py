"""A MindIR file as a plain list of operations with names, attributes, constants and shapes.

MindIR wraps each operation in what orders side effects (Load, UpdateState, Depend) and in tuples. Reading resolves
both, so that every input of an operation is a value: a tensor by name, or a constant.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from src.contract import InputError

DTYPES = {1: np.float32, 2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16, 6: np.int32, 7: np.int64, 9: np.bool_,
          10: np.float16, 11: np.float64, 12: np.uint32, 13: np.uint64, 17: np.float64}
MAX_BYTES = 2 << 30  # of a protocol buffer


@dataclass(frozen=True)
class Ref:
    """A tensor that an operation makes, or an input of the graph."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype


@dataclass(frozen=True)
class Operation:
    """One call of a primitive.

    Attributes:
        primitive: its name, as in `mindspore.ops.operations`.
        inputs: `Ref`s, numpy arrays, Python numbers, strings, and tuples of these.
        outputs: one `Ref` for each tensor that it returns.
        attributes: of the primitive.
        place: the cells that it comes from ("Default/backbone-ResNet/conv1-Conv2d/Conv2D-op0").
    """

    primitive: str
    inputs: tuple[Any, ...]
    outputs: tuple[Ref, ...]
    attributes: dict[str, Any]
    place: str


@dataclass
class Graph:
    """Operations in an order in which they can run.

    Attributes:
        weights: parameters that the graph takes as inputs; empty where their values are in the operations.
    """

    inputs: list[Ref]
    weights: list[Ref] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)


def read(path: Path, *, without_weights: bool = False) -> Graph:
    """Read a MindIR file.

    Args:
        without_weights: parameters become `Graph.weights`, with the names that they have in their network; otherwise
            operations hold their values.

    Raises:
        InputError: missing, not MindIR, or with control flow, which our networks have none of.
    """
    from google.protobuf.message import DecodeError
    from mindspore.train.mind_ir_pb2 import ModelProto

    model = ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise InputError(f"{path}: not a MindIR file ({error})") from error
    if model.functions:
        raise InputError(f"{path}: its graph calls other graphs ({model.functions[0].name}, ...), which has no "
                         "translation")
    return _Reader(model).graph(without_weights)


class _Reader:
    """Walks a model's nodes once; `values` holds what each name stands for."""

    def __init__(self, model: Any):
        self.proto = model.graph
        self.primitives = {p.name: p for p in model.primitives}
        self.values: dict[str, Any] = {}

    def graph(self, without_weights: bool) -> Graph:
        graph = Graph([])
        for parameter in self.proto.parameter:
            if without_weights:
                graph.weights.append(Ref(parameter.name.split(":")[-1], *_type(parameter)))
                self.values[parameter.name] = graph.weights[-1]
            else:
                self.values[parameter.name] = _array(parameter)
        for entry in self.proto.input:
            ref = Ref(entry.name.split(":")[-1], *_type(entry.tensor[0]))
            graph.inputs.append(ref)
            self.values[entry.name] = ref
        for node in self.proto.node:
            if node.op_type == "Constant":
                self.values[node.output[0]] = _attribute(node.attribute[0])
            else:
                self._add(node, graph)
        result = self.values[self.proto.output[0].name]
        graph.outputs = list(result) if isinstance(result, tuple) else [result]
        return graph

    def _add(self, node: Any, graph: Graph) -> None:
        primitive = self.primitives[node.op_type.removeprefix("REF::")] if node.op_type.startswith("REF::") else None
        name = primitive.op_type if primitive else node.op_type
        inputs = tuple(self.values[i] for i in node.input)
        if name in ("Load", "Depend"):
            result = inputs[0]
        elif name == "UpdateState":
            result = None
        elif name == "MakeTuple":
            result = inputs
        elif name == "TupleGetItem":
            result = inputs[0][inputs[1]]
        else:
            shapes = next((_types(a) for a in node.attribute if a.name == "shape"), [])
            refs = tuple(Ref(f"{node.name.split(':', 1)[-1]}.{i}", *shape) for i, shape in enumerate(shapes))
            attributes = {a.name: _attribute(a) for a in primitive.attribute} if primitive else {}
            graph.operations.append(Operation(name, inputs, refs, attributes, node.domain or node.name))
            result = refs if len(refs) > 1 else refs[0]
        self.values[node.output[0]] = result


def _type(tensor: Any) -> tuple[tuple[int, ...], np.dtype]:
    return tuple(tensor.dims), np.dtype(DTYPES[tensor.data_type])


def _types(attribute: Any) -> list[tuple[tuple[int, ...], np.dtype]]:
    """Shape and type of each tensor that a node returns."""
    if attribute.tensors:
        return [_type(attribute.tensors[0])]
    return [_type(value.tensors[0]) for value in attribute.values if value.tensors]


def _array(tensor: Any) -> np.ndarray:
    shape, dtype = _type(tensor)
    return np.frombuffer(tensor.raw_data, dtype).reshape(shape)


def _attribute(a: Any) -> Any:
    """An attribute's value as a Python object or an array."""
    kind = a.AttributeType.Name(a.type)
    if kind in ("TUPLE", "LIST"):
        return tuple(_attribute(v) for v in a.values)
    if kind in ("TENSOR", "TENSORS"):
        return _array(a.t) if a.HasField("t") else _array(a.tensors[0])
    if kind == "STRING":
        return (a.s or b"".join(a.strings)).decode()
    if kind == "FLOAT":
        return float(a.floats[0] if a.floats else a.f)
    if kind == "DOUBLE":
        return float(a.doubles[0] if a.doubles else a.d)
    if kind == "BOOL":
        return bool(a.ints[0] if a.ints else a.i)
    if kind.startswith(("INT", "UINT")):
        return int(a.ints[0] if a.ints else a.i)
    return None
