"""The table {MindSpore primitive: its translation to ONNX}: one small function each, `(builder, operation)`.

Shapes are static, so whatever depends on them is computed here and becomes a constant in the file. The last node that
a function adds makes `op.outputs[0]`, unless its docstring says otherwise.
"""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from src.exporting.graph import Operation, Ref
from src.exporting.onnx_builder import Builder, demand, element_type

TABLE: dict[str, Callable[[Builder, Operation], object]] = {}

_UNARY = {"ReLU": "Relu", "Sigmoid": "Sigmoid", "Exp": "Exp", "Sqrt": "Sqrt", "Floor": "Floor"}
_BINARY = {"Add": "Add", "Sub": "Sub", "Mul": "Mul", "Div": "Div", "Maximum": "Max", "Minimum": "Min", "Muls": "Mul",
           "Divs": "Div", "LogicalAnd": "And", "Greater": "Greater", "GreaterEqual": "GreaterOrEqual",
           "LessEqual": "LessOrEqual"}


def translates(*primitives: str):
    """Enter a function into the table."""
    def enter(function):
        TABLE.update(dict.fromkeys(primitives, function))
        return function

    return enter


# --- element by element -----------------------------------------------------------------------------------------------

@translates(*_UNARY)
def unary(b: Builder, op: Operation) -> None:
    b.add(_UNARY[op.primitive], [b.name(op.inputs[0])], op.outputs[0])


@translates(*_BINARY)
def binary(b: Builder, op: Operation) -> None:
    dtype = next(value.dtype for value in op.inputs if isinstance(value, Ref))
    b.add(_BINARY[op.primitive], [b.name(value, dtype) for value in op.inputs], op.outputs[0])


@translates("Log")
def log(b: Builder, op: Operation) -> None:
    a = op.attributes
    demand((a.get("base", -1.0), a.get("scale", 1.0), a.get("shift", 0.0)) == (-1.0, 1.0, 0.0), op, "no natural log")
    b.add("Log", [b.name(op.inputs[0])], op.outputs[0])


@translates("ClampScalar")
def clamp(b: Builder, op: Operation) -> None:
    x, low, high = op.inputs
    b.add("Clip", [b.name(x), b.name(low, x.dtype), b.name(high, x.dtype)], op.outputs[0])


@translates("Cast")
def cast(b: Builder, op: Operation) -> None:
    b.add("Cast", [b.name(op.inputs[0])], op.outputs[0], to=element_type(op.outputs[0].dtype))


@translates("Select")
def select(b: Builder, op: Operation) -> None:
    dtype = op.outputs[0].dtype
    b.add("Where", [b.name(op.inputs[0]), b.name(op.inputs[1], dtype), b.name(op.inputs[2], dtype)], op.outputs[0])


# --- layers -----------------------------------------------------------------------------------------------------------

@translates("Conv2D")
def conv2d(b: Builder, op: Operation) -> None:
    a = op.attributes
    demand(a["format"] == "NCHW" and a["mode"] == 1, op, "no plain NCHW convolution")
    top, bottom, left, right = a["pad_list"]
    b.add("Conv", [b.name(value) for value in op.inputs], op.outputs[0], kernel_shape=list(a["kernel_size"]),
          strides=list(a["stride"][2:]), dilations=list(a["dilation"][2:]), pads=[top, left, bottom, right],
          group=a["group"])


@translates("BiasAdd")
def bias_add(b: Builder, op: Operation) -> None:
    """Goes into the convolution or product before it."""
    x, bias = op.inputs[:2]
    if not b.absorb(x, ("Conv", "Gemm"), b.name(bias), op.outputs[0]):
        b.add("Add", [b.name(x), b.reshaped(bias, (-1, *[1] * (len(x.shape) - 2)))], op.outputs[0])


@translates("BatchNorm")
def batch_norm(b: Builder, op: Operation) -> None:
    demand(not op.inputs[5], op, "batch norm in training mode")
    b.add("BatchNormalization", [b.name(value) for value in op.inputs[:5]], op.outputs[0], epsilon=op.inputs[6])


@translates("GroupNorm")
def group_norm(b: Builder, op: Operation) -> None:
    """A group is an instance with one channel; scale and shift by channel come after it."""
    x, groups, gamma, beta, eps = op.inputs
    one, zero = np.ones(groups, x.dtype), np.zeros(groups, x.dtype)
    rows = b.add("Reshape", [b.name(x), b.ints([x.shape[0], groups, -1])])
    rows = b.add("InstanceNormalization", [rows, b.constant(one), b.constant(zero)], epsilon=eps)
    rows = b.add("Reshape", [rows, b.ints(x.shape)])
    scaled = b.add("Mul", [rows, b.reshaped(gamma, (1, -1, 1, 1))])
    b.add("Add", [scaled, b.reshaped(beta, (1, -1, 1, 1))], op.outputs[0])


@translates("MaxPool")
def max_pool(b: Builder, op: Operation) -> None:
    a = op.attributes
    demand(a["format"] == "NCHW" and a["pad_mode"] in ("SAME", "VALID"), op, "no NCHW pooling with SAME or VALID")
    kernel, strides, before, after = a["kernel_size"][2:], a["strides"][2:], [0, 0], [0, 0]
    if a["pad_mode"] == "SAME":
        for i, (size, k, step) in enumerate(zip(op.inputs[0].shape[2:], kernel, strides)):
            missing = max((-(-size // step) - 1) * step + k - size, 0)
            before[i], after[i] = missing // 2, missing - missing // 2
    b.add("MaxPool", [b.name(op.inputs[0])], op.outputs[0], kernel_shape=list(kernel), strides=list(strides),
          pads=before + after)


@translates("Pad")
def pad(b: Builder, op: Operation) -> None:
    before, after = zip(*op.attributes["paddings"])
    b.add("Pad", [b.name(op.inputs[0]), b.ints([*before, *after])], op.outputs[0])


@translates("MatMul", "BatchMatMul", "MatMulExt")
def matmul(b: Builder, op: Operation) -> None:
    x, y, *transposed = op.inputs
    if any(transposed):
        demand(len(np.shape(x)) == len(np.shape(y)) == 2, op, "a batched product of transposed matrices")
        b.add("Gemm", [b.name(x), b.name(y)], op.outputs[0], transA=int(transposed[0]), transB=int(transposed[1]))
    else:
        b.add("MatMul", [b.name(x), b.name(y)], op.outputs[0])


@translates("Softmax")
def softmax(b: Builder, op: Operation) -> None:
    demand(len(op.inputs[1]) == 1, op, "softmax over several axes")
    b.add("Softmax", [b.name(op.inputs[0])], op.outputs[0], axis=op.inputs[1][0])


@translates("ReduceMean")
def reduce_mean(b: Builder, op: Operation) -> None:
    b.add("ReduceMean", [b.name(op.inputs[0])], op.outputs[0], axes=list(op.inputs[1]), keepdims=int(op.inputs[2]))


# --- shapes and places ------------------------------------------------------------------------------------------------

@translates("Reshape")
def reshape(b: Builder, op: Operation) -> None:
    b.add("Reshape", [b.name(op.inputs[0]), b.ints(op.outputs[0].shape)], op.outputs[0])


@translates("Transpose")
def transpose(b: Builder, op: Operation) -> None:
    b.add("Transpose", [b.name(op.inputs[0])], op.outputs[0], perm=list(op.inputs[1]))


@translates("Squeeze", "ExpandDims")
def change_rank(b: Builder, op: Operation) -> None:
    axes = op.inputs[1] if isinstance(op.inputs[1], tuple) else (op.inputs[1],)
    b.add("Squeeze" if op.primitive == "Squeeze" else "Unsqueeze", [b.name(op.inputs[0]), b.ints(axes)], op.outputs[0])


@translates("BroadcastTo")
def broadcast(b: Builder, op: Operation) -> None:
    b.add("Expand", [b.name(op.inputs[0]), b.ints(op.outputs[0].shape)], op.outputs[0])


@translates("Concat")
def concat(b: Builder, op: Operation) -> None:
    b.add("Concat", [b.name(value) for value in op.inputs[0]], op.outputs[0], axis=op.inputs[1])


@translates("Stack")
def stack(b: Builder, op: Operation) -> None:
    axis, values = op.attributes["axis"], op.inputs[0]
    if len(values) == 1:
        b.add("Unsqueeze", [b.name(values[0]), b.ints([axis])], op.outputs[0])
        return
    raised = {id(value): b.add("Unsqueeze", [b.name(value), b.ints([axis])]) for value in values}
    b.add("Concat", [raised[id(value)] for value in values], op.outputs[0], axis=axis)


@translates("StridedSlice")
def strided_slice(b: Builder, op: Operation) -> None:
    """Axes that lose their rank become a Gather each, the others one Slice where it leaves something out."""
    x, begin, end, step, begin_mask, end_mask, ellipsis_mask, new_mask, shrink_mask = op.inputs
    demand(not ellipsis_mask and not new_mask, op, "a slice with an ellipsis or a new axis")
    cuts, single = [], []
    for axis, (low, high, by) in enumerate(zip(begin, end, step)):
        size = x.shape[axis]
        low, high = 0 if begin_mask >> axis & 1 else low, size if end_mask >> axis & 1 else high
        if shrink_mask >> axis & 1:
            single.append((axis, low))
        elif (low, by) != (0, 1) or high < size:
            cuts.append((low, high, axis, by))
    name, target = b.name(x), op.outputs[0]
    if cuts:
        name = b.add("Slice", [name, *(b.ints(column) for column in zip(*cuts))], None if single else target)
    for axis, position in reversed(single):
        name = b.add("Gather", [name, b.ints(position)], target if axis == single[0][0] else None, axis=axis)
    if not cuts and not single:
        b.add("Identity", [name], target)


@translates("Gather")
def gather(b: Builder, op: Operation) -> None:
    x, index, axis, batch_axes = op.inputs
    demand(batch_axes == 0, op, "a gather with batch axes")
    b.add("Gather", [b.name(x), b.name(index)], op.outputs[0], axis=axis)


# --- ranking ----------------------------------------------------------------------------------------------------------

@translates("TopK")
def top_k(b: Builder, op: Operation) -> None:
    """ONNX counts in int64."""
    values, indices = op.outputs
    wide = b.step()
    b.add("TopK", [b.name(op.inputs[0]), b.ints([op.inputs[1]])], values, sorted=int(op.attributes["sorted"]))
    b.nodes[-1].output.append(wide)
    if b.uses[indices.name]:
        b.add("Cast", [wide], indices, to=element_type(indices.dtype))


@translates("Argmax")
def arg_max(b: Builder, op: Operation) -> None:
    best = b.add("ArgMax", [b.name(op.inputs[0])], axis=op.inputs[1], keepdims=0)
    b.add("Cast", [best], op.outputs[0], to=element_type(op.outputs[0].dtype))


@translates("NMSWithMask")
def nms_with_mask(b: Builder, op: Operation) -> None:
    """Rows (x1, y1, x2, y2, score), best first -> which are kept, the primitive's third result.

    ONNX returns the positions that are kept, as many as there are: the only shape that is not static, and only here.
    Boxes that overlap by exactly the limit stay; OpenVINO drops them, so its limit is the next number above.
    All five inputs are written, though no score is below the fifth: ATC for Ascend 310P ends with a segmentation fault
    when the optional score_threshold is missing (github.com/ultralytics/ultralytics, pull request 25436).
    """
    (x,), (boxes_out, index_out, kept) = op.inputs, op.outputs
    demand(not b.uses[boxes_out.name] and not b.uses[index_out.name], op, "boxes or positions from NMSWithMask")
    count = x.shape[0]
    boxes = b.add("Slice", [b.name(x), b.ints([0]), b.ints([4]), b.ints([1])])
    scores = b.add("Slice", [b.name(x), b.ints([4]), b.ints([5]), b.ints([1])])
    chosen = b.add("NonMaxSuppression", [
        b.add("Unsqueeze", [boxes, b.ints([0])]), b.add("Reshape", [scores, b.ints([1, 1, count])]), b.ints([count]),
        b.constant(np.nextafter(np.asarray([op.attributes["iou_threshold"]], np.float32), np.float32(2))),
        b.constant(np.asarray([np.finfo(np.float32).min]))])
    places = b.add("Gather", [chosen, b.ints(2)], axis=1)
    ones = b.add("Cast", [b.add("GreaterOrEqual", [places, b.ints(0)])], to=element_type(np.int32))
    marks = b.add("ScatterElements", [b.constant(np.zeros(count, np.int32)), places, ones])
    b.add("Cast", [marks], kept, to=element_type(np.bool_))
