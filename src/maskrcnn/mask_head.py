"""Mask head: one S x S mask for a RoI's class, and its training targets."""
from __future__ import annotations

import math
from itertools import pairwise

import mindspore as ms
import mindspore.nn as nn
from mindspore import Parameter, ops
from mindspore.common.initializer import HeNormal, initializer

from src.layers.constants import full, linspace
from src.layers.conv_norm import conv2d
from src.maskrcnn.boxes import split


class Deconv2x2(nn.Cell):
    """Transposed 2x2 convolution of stride 2 whose output pixels stay grouped by source pixel.

    Patches do not overlap, so it is one matrix product: (N, C, h, w) -> (N, h * w * 4, C_out), rows in the order (row,
    column, row in the 2x2 patch, column in it). `ungroup` restores the image order. On a CPU it takes a quarter of the
    transposed convolution's time.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        shape = (in_channels, out_channels, 2, 2)
        self.weight = Parameter(initializer(HeNormal(mode="fan_out", nonlinearity="relu"), shape), name="weight")
        self.bias = Parameter(initializer("zeros", (out_channels,)), name="bias")

    def multiply_adds(self, shape: tuple[int, ...]) -> int:
        """Of one use, for an input of this shape."""
        return math.prod(shape) * 4 * self.weight.shape[1]

    def construct(self, x):
        n, channels, h, w = x.shape
        x = x.transpose(0, 2, 3, 1).reshape(n * h * w, channels)
        # The bias is one more row of the weight: on a CPU a separate sum builds index tables of four times the result's
        # size, and its gradient takes ten times as long.
        x = ops.cat((x, full((n * h * w, 1), 1, x.dtype)), 1)
        weight = self.weight.transpose(0, 2, 3, 1).reshape(channels, -1)  # (C, 4 * C_out)
        bias = ops.cat((self.bias,) * 4).expand_dims(0)
        weight = ops.cat((weight.astype(x.dtype), bias.astype(x.dtype)), 0)  # Ascend concatenates equal types only
        return ops.matmul(x, weight).reshape(n, h * w * 4, -1)


def ungroup(x, h: int, w: int):
    """(N, h * w * 4), pixels grouped as `Deconv2x2` does -> (N, 2h, 2w)."""
    return x.reshape(-1, h, w, 2, 2).transpose(0, 1, 3, 2, 4).reshape(-1, 2 * h, 2 * w)


class MaskHead(nn.Cell):
    """Four 3x3 convolutions, upsampling by two, a predictor per class: (N, C, s, s), (N,) labels -> (N, 2s, 2s) logits.

    Only the predictor row of the RoI's label is applied: neither the loss nor inference uses the masks of other classes
    (He et al. 2017, section 3, decouples them).
    """

    def __init__(self, in_channels: int, num_classes: int, *, channels: int = 256, depth: int = 4):
        super().__init__()
        widths = [in_channels] + [channels] * depth
        self.convs = nn.CellList([conv2d(a, b, 3, bias=True) for a, b in pairwise(widths)])
        self.deconv = Deconv2x2(channels, channels)
        self.predict = conv2d(channels, num_classes, 1, bias=True)

    def multiply_adds(self, shape: tuple[int, ...], labels: tuple[int, ...]) -> int:
        """Of the predictor alone, of which a RoI uses one row; the other layers count their own."""
        return shape[0] * 4 * math.prod(shape[2:]) * self.predict.weight.shape[1]

    def construct(self, x, labels):
        """Return float32 logits of the mask of class `labels` (N,) int32."""
        for conv in self.convs:
            x = ops.relu(conv(x))
        h, w = x.shape[2:]
        x = ops.relu(self.deconv(x))  # (N, h * w * 4, C)
        weight = ops.gather(self.predict.weight.reshape(-1, x.shape[2]), labels, 0).astype(x.dtype)
        logits = ops.bmm(x, weight.expand_dims(2)).squeeze(2).astype(ms.float32)
        return ungroup(logits + ops.gather(self.predict.bias, labels, 0).expand_dims(1), h, w)


def mask_targets(crops, gt_boxes, boxes, size: int):
    """Masks of ground truths as seen through RoIs.

    Args:
        crops: (N, M, M) fraction of each cell that the object covers, 0..1, in the frame of its own box.
        gt_boxes: (N, 4) those boxes. boxes: (N, 4) the RoIs.
        size: side of the targets (S).

    Returns:
        (N, S, S) float32, 1 where the object covers at least half of the cell, else 0. The fraction is exact for the
        given crop: the overlap of two cells is the product of a vertical and a horizontal overlap.
    """
    side = crops.shape[-1]
    x1, y1, x2, y2 = split(boxes)
    u1, v1, u2, v2 = split(gt_boxes)
    rows = overlap_weights(y1, y2, v1, v2, side=side, size=size)
    columns = overlap_weights(x1, x2, u1, u2, side=side, size=size)
    share = ops.bmm(ops.bmm(rows, crops), columns.transpose(0, 2, 1))
    return (share >= 0.5).astype(ms.float32)


def overlap_weights(low, high, gt_low, gt_high, *, side: int, size: int):
    """Along one axis, the fraction of each of a RoI's `size` cells that each of the crop's `side` cells fills.

    (N,) edges -> (N, size, side). Target cells outside the ground truth's box have rows that sum to less than 1.
    """
    scale = (side / ops.maximum(gt_high - gt_low, 1e-3))[:, None]
    steps = linspace(0, 1, size + 1)
    edges = (low[:, None] + (high - low)[:, None] * steps - gt_low[:, None]) * scale  # in crop cells
    # How much of crop cell j lies before an edge; the difference between two edges is the part between them.
    before = ops.clamp(edges[..., None] - linspace(0, side - 1, side), 0.0, 1.0)
    length = ops.maximum((high - low)[:, None] * scale / size, 1e-6)
    return (before[:, 1:] - before[:, :-1]) / length[..., None]
