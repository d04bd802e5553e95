"""What ATC would make of an ONNX file: its operators by the vendor's tables, and known traps. No device is needed."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import TensorProto, helper, shape_inference

from src.contract import InputError
from src.exporting import ascend
from src.exporting.calls import Call, TensorType

ALL_INPUTS = {"NonMaxSuppression": 5}
CONTROL_FLOW = {"If", "Loop", "Scan"}
STANDARD = ("", "ai.onnx")  # domains of ONNX's own operators


@dataclass(frozen=True)
class Result:
    """The verdicts on a file's operators, and its traps: a sentence each, with the node and the way out."""

    chip: str
    rows: list[ascend.Row]
    traps: list[str]

    @property
    def is_problem(self) -> bool:
        return bool(self.traps) or any(row.is_problem for row in self.rows)


def check(path: Path, chip: str) -> Result:
    """Check an ONNX file against a chip of `ascend.CHIPS`.

    Raises:
        InputError: not an ONNX file, or an operator that the table does not know.
    """
    model = read(path)
    traps = [*_input_traps(model), *_node_traps(model)]
    if any(node.op_type in CONTROL_FLOW for node in model.graph.node):
        return Result(chip, [], traps)
    return Result(chip, ascend.rows(calls(model), chip, graph_engine=True, onnx=True), traps)


def read(path: Path) -> onnx.ModelProto:
    """The model with the types of all its tensors."""
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
        return shape_inference.infer_shapes(model, strict_mode=True)
    except Exception as error:  # protobuf's and onnx's own classes, all of them below Exception
        raise InputError(f"{path}: not a valid ONNX file ({str(error).strip().splitlines()[0]})") from error


def calls(model: onnx.ModelProto) -> list[Call]:
    """The nodes of ONNX's own operators as calls. A shape that is known only when the model runs counts as empty."""
    types = {t.name: TensorType(_dtype(t.data_type), tuple(t.dims)) for t in model.graph.initializer}
    for value in (*model.graph.input, *model.graph.value_info, *model.graph.output):
        tensor = value.type.tensor_type
        types.setdefault(value.name, TensorType(_dtype(tensor.elem_type),
                                                tuple(d.dim_value for d in tensor.shape.dim)))
    return [Call(node.op_type, tuple(types.get(name) for name in node.input),
                 tuple(types[name] for name in node.output if name in types), node.name or node.output[0])
            for node in model.graph.node if node.domain in STANDARD]


def _dtype(number: int) -> str:
    return "bfloat16" if number == TensorProto.BFLOAT16 else helper.tensor_dtype_to_np_dtype(number).name


def _input_traps(model: onnx.ModelProto) -> list[str]:
    constants = {t.name for t in model.graph.initializer}
    return [f"input {value.name} leaves sides of its shape open: give atc --input_shape, or export with fixed sizes"
            for value in model.graph.input if value.name not in constants
            and any(not d.dim_value for d in value.type.tensor_type.shape.dim)]


def _node_traps(model: onnx.ModelProto) -> list[str]:
    found = []
    for node in model.graph.node:
        name, given = node.name or node.output[0], sum(bool(i) for i in node.input)
        if given < ALL_INPUTS.get(node.op_type, 0):
            found.append(f"{node.op_type} {name} has {given} of {ALL_INPUTS[node.op_type]} inputs: ATC ends with a "
                         "segmentation fault where score_threshold is missing; export the model again")
        if node.op_type in CONTROL_FLOW:
            found.append(f"{node.op_type} {name}: control flow, which this check does not follow; export without it")
        if node.domain not in STANDARD:
            found.append(f"{node.op_type} {name} is of the domain {node.domain}, which ATC has no parser for")
    return found


def report(result: Result) -> str:
    """For people: the table and the traps."""
    lines = [ascend.report(result.rows, result.chip)] if result.rows else []
    return "\n".join([*lines, *(f"trap: {trap}" for trap in result.traps)])

