"""Feature pyramid network (Lin et al. 2017, arXiv:1612.03144): C2..C5 -> P2..P6."""
from __future__ import annotations

from collections.abc import Sequence

import mindspore.nn as nn
from mindspore import ops

from src.layers.conv_norm import conv2d
from src.layers.resize import bilinear_resize

UPSAMPLING = ("nearest", "asymmetric")


def add_upsampled(fine, coarse):
    """fine (B, C, 2h, 2w) + coarse (B, C, h, w), each coarse cell repeated over its four fine ones."""
    b, c, h, w = coarse.shape
    # Not a broadcast sum: on a CPU that builds index tables of four times the result's size.
    wide = ops.stack((coarse, coarse), -1).reshape(b, c, h, 1, 2 * w)
    return fine + ops.cat((wide, wide), 3).reshape(b, c, 2 * h, 2 * w)


class FPN(nn.Cell):
    """1x1 laterals, top-down sums, 3x3 outputs; index 0 of both lists is the finest level.

    Args:
        in_channels: channels of C2..C5.
        channels: channels of every output.
        upsample: "nearest", or "asymmetric" = bilinear with source = target / 2 (the model zoo).
    """

    def __init__(self, in_channels: Sequence[int], channels: int = 256, *, upsample: str = "nearest"):
        super().__init__()
        if upsample not in UPSAMPLING:
            raise ValueError(f"fpn_upsample={upsample!r}: expected one of {', '.join(UPSAMPLING)}")
        self.nearest = upsample == "nearest"
        self.lateral = nn.CellList([conv2d(c, channels, 1, bias=True, init="xavier") for c in in_channels])
        self.output = nn.CellList([conv2d(channels, channels, 3, bias=True, init="xavier") for _ in in_channels])
        # Not a strided slice: MindSpore 2.10 has no gradient for it on a CPU outside a graph.
        self.every_second = nn.MaxPool2d(kernel_size=1, stride=2, pad_mode="valid")

    def construct(self, features):
        """(C2, C3, C4, C5) -> (P2, P3, P4, P5, P6); each level has half the size of the one before, P6 rounded up."""
        top = self.lateral[3](features[3])
        p5 = self.output[3](top)
        outputs = (p5, self.every_second(p5))
        for level in (2, 1, 0):
            top = self.merge(self.lateral[level](features[level]), top)
            outputs = (self.output[level](top),) + outputs
        return outputs

    def merge(self, fine, coarse):
        if self.nearest:
            return add_upsampled(fine, coarse)
        return fine + bilinear_resize(coarse, fine.shape[2:], rule="asymmetric")
