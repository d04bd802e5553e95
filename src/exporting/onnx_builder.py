"""Build an ONNX graph: collect its nodes and constants while operations are translated."""
from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from src.exporting.graph import Graph, Operation, Ref

OPSET = 17
IR_VERSION = 8  # of ONNX 1.12, the first with opset 17


class Builder:
    """An ONNX graph under construction.

    Args:
        graph: what is translated.
        outputs: names for its results.
    """

    def __init__(self, graph: Graph, outputs: Sequence[str]):
        self.graph = graph
        self.outputs = tuple(outputs)
        self.nodes: list[onnx.NodeProto] = []
        self.made_by: dict[str, onnx.NodeProto] = {}
        self.constants: dict[Any, onnx.TensorProto] = {}
        self.names = {ref.name: ref.name for ref in (*graph.inputs, *graph.weights)}
        self.names |= {ref.name: name for ref, name in zip(graph.outputs, self.outputs)}
        self.uses = Counter(name for op in graph.operations for name in refs(op.inputs))
        self.uses.update(ref.name for ref in graph.outputs)

    def name(self, value: Any, dtype: Any = None) -> str:
        """The ONNX name of an operation's input; constants become initializers of type `dtype`, or their own."""
        if isinstance(value, Ref):
            return self.names.setdefault(value.name, f"t{len(self.names)}")
        return self.constant(np.asarray(value, dtype))

    def constant(self, array: np.ndarray) -> str:
        """The name of an initializer; equal small ones are one, as are weights that several operations read."""
        key = (array.dtype.str, array.shape, array.tobytes() if array.size < 64 else id(array))
        if key not in self.constants:
            self.constants[key] = numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape),
                                                          f"c{len(self.constants)}")
        return self.constants[key].name

    def reshaped(self, value: Ref | np.ndarray, shape: Sequence[int]) -> str:
        """The name of a weight in another shape."""
        if isinstance(value, Ref):
            return self.add("Reshape", [self.name(value), self.ints(shape)])
        return self.constant(value.reshape(shape))

    def ints(self, values: Sequence[int] | int) -> str:
        """An int64 constant: axes, shapes, positions."""
        return self.constant(np.asarray(values, np.int64))

    def add(self, op_type: str, inputs: Sequence[str], makes: Ref | None = None, **attributes: Any) -> str:
        """Add a node and return its output's name: that of `makes`, or a new one for a step in between."""
        output = self.name(makes) if makes else self.step()
        node = helper.make_node(op_type, list(inputs), [output], **attributes)
        self.nodes.append(node)
        self.made_by[output] = node
        return output

    def step(self) -> str:
        """A new name."""
        self.names[f"step{len(self.names)}"] = name = f"t{len(self.names)}"
        return name

    def absorb(self, value: Ref, op_types: Sequence[str], extra: str, makes: Ref) -> bool:
        """Give `extra` to the node that makes `value`, as a third input, and let it make `makes` instead.

        False, and nothing done, where that node is of another type, has three inputs, or has another reader.
        """
        node = self.made_by.get(self.name(value))
        if node is None or node.op_type not in op_types or len(node.input) > 2 or self.uses[value.name] > 1:
            return False
        node.input.append(extra)
        node.output[0] = self.name(makes)
        self.made_by[node.output[0]] = node
        return True

    def model(self) -> onnx.ModelProto:
        """The finished model."""
        inputs = [_info(ref.name, ref) for ref in (*self.graph.inputs, *self.graph.weights)]
        outputs = [_info(name, ref) for name, ref in zip(self.outputs, self.graph.outputs)]
        graph = helper.make_graph(self.nodes, "MindSeg", inputs, outputs, list(self.constants.values()))
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION,
                                 producer_name="MindSeg")


def refs(values: Any) -> list[str]:
    """Names of the tensors in an operation's inputs."""
    if isinstance(values, Ref):
        return [values.name]
    return [name for value in values for name in refs(value)] if isinstance(values, tuple) else []


def element_type(dtype: Any) -> int:
    """ONNX's number of a numpy type."""
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


def _info(name: str, ref: Ref) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element_type(ref.dtype), list(ref.shape))


class Untranslatable(Exception):
    """An operation with options that have no translation; the text says which."""


def demand(true: bool, op: Operation, what: str) -> None:
    """Raise `Untranslatable` unless the operation is as its translation expects it."""
    if not true:
        raise Untranslatable(f"{what} (inputs {[i for i in op.inputs if not isinstance(i, (Ref, np.ndarray))]}, "
                             f"attributes {op.attributes})")
