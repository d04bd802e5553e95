"""Bilinear resizing as two small matrix products.

One matrix mixes rows, another columns. MindSpore's own operator does not export to ONNX; matrix products exist in every
runtime, give the same numbers up to float rounding, and have a faster gradient on a CPU.
"""
from __future__ import annotations

import numpy as np
from mindspore import Tensor, ops

RULES = ("align_corners", "half_pixel", "asymmetric")


def bilinear_matrix(size_in: int, size_out: int, rule: str) -> np.ndarray:
    """(size_out, size_in) float32: row i holds the weights of the input pixels that make output pixel i.

    The source coordinate of output pixel i is, by rule: align_corners i * (in - 1) / (out - 1); half_pixel
    (i + 0.5) * in / out - 0.5, not below 0; asymmetric i * in / out.
    """
    i = np.arange(size_out, dtype=np.float64)
    if rule == "align_corners":
        source = i * (size_in - 1) / max(size_out - 1, 1)
    elif rule == "half_pixel":
        source = np.maximum((i + 0.5) * size_in / size_out - 0.5, 0)
    elif rule == "asymmetric":
        source = i * size_in / size_out
    else:
        raise ValueError(f"rule={rule!r}: expected one of {', '.join(RULES)}")
    low = np.minimum(np.floor(source).astype(int), size_in - 1)
    high = np.minimum(low + 1, size_in - 1)
    matrix = np.zeros((size_out, size_in))
    rows = np.arange(size_out)
    np.add.at(matrix, (rows, low), 1 - (source - low))
    np.add.at(matrix, (rows, high), source - low)
    return matrix.astype(np.float32)


def bilinear_resize(x, size: tuple[int, int], *, rule: str):
    """(B, C, h, w) -> (B, C, *size); the sizes are constants of the graph."""
    height, width = x.shape[2:]
    if (height, width) == tuple(size):
        return x
    rows, columns = _matrix(height, size[0], rule, x.dtype), _matrix(width, size[1], rule, x.dtype)
    return ops.matmul(ops.matmul(rows, x), columns.transpose(1, 0))


@ops.constexpr
def _matrix(size_in, size_out, rule, dtype):
    return Tensor(bilinear_matrix(size_in, size_out, rule), dtype)
