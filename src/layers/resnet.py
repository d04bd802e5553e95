"""ResNet 18/34/50/101 as a feature extractor, with dilation (He et al. 2016; v1.5: the stride sits on the 3x3).

The dilation of the last stages follows one of two published schemes (`dilation_plan`). Parameter names are public:
`conv1`, `bn1`, `layer{1..4}.{block}.{conv,bn}{1..3}`, `layer{L}.0.downsample.{0,1}`.
"""
from __future__ import annotations

import mindspore.nn as nn
from mindspore import ops

from src.layers.constants import full
from src.layers.conv_norm import NormFactory, conv2d

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
WIDTHS = (64, 128, 256, 512)


def out_channels(depth: int) -> tuple[int, ...]:
    """Channels of C2, C3, C4, C5."""
    return tuple(w * (4 if depth >= 50 else 1) for w in WIDTHS)


def dilation_plan(blocks: tuple[int, ...], output_stride: int, scheme: str,
                  multi_grid: tuple[int, ...] = (1, 2, 4)) -> list[tuple[int, list[int]]]:
    """Return (stride of the first block, dilation of each block) for the four stages.

    Args:
        blocks: number of blocks in each stage.
        output_stride: input size / size of C5: 8, 16 or 32.
        scheme: "multi_grid": every block of a dilated stage has the stage's rate, the last stage's blocks times
            `multi_grid` (Chen et al. 2017, section 3.1; the model zoo). "previous": the first block of a dilated
            stage keeps the rate of the stage before it and there is no multi-grid (torchvision).
    """
    if output_stride not in (8, 16, 32):
        raise ValueError(f"output_stride={output_stride}: expected 8, 16 or 32")
    if scheme not in ("multi_grid", "previous"):
        raise ValueError(f"dilation={scheme!r}: expected multi_grid or previous")
    plan, stride, rate = [], 4, 1
    for stage, count in enumerate(blocks):
        step, before = (1 if stage == 0 else 2), rate
        if stride * step > output_stride:
            step, rate = 1, rate * 2
        stride *= step
        rates = [rate] * count
        if scheme == "previous" and rate != before:
            rates[0] = before
        if scheme == "multi_grid" and stage == 3 and output_stride < 32:
            rates = [rate * multi_grid[i % len(multi_grid)] for i in range(count)]
        plan.append((step, rates))
    return plan


class BasicBlock(nn.Cell):
    """Two 3x3 convolutions around a shortcut: (B, C_in, H, W) -> (B, width, H / stride, W / stride)."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, *, norm: NormFactory, stride: int = 1, dilation: int = 1):
        super().__init__()
        self.conv1 = conv2d(in_channels, width, 3, stride=stride, dilation=dilation)
        self.bn1 = norm(width)
        self.conv2 = conv2d(width, width, 3, dilation=dilation)
        self.bn2 = norm(width)
        self.downsample = _shortcut(in_channels, width, stride, norm)

    def construct(self, x):
        y = ops.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return ops.relu(y + self.downsample(x))


class Bottleneck(nn.Cell):
    """1x1, 3x3, 1x1 around a shortcut: (B, C_in, H, W) -> (B, 4 * width, H / stride, W / stride)."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, *, norm: NormFactory, stride: int = 1, dilation: int = 1):
        super().__init__()
        self.conv1 = conv2d(in_channels, width, 1)
        self.bn1 = norm(width)
        self.conv2 = conv2d(width, width, 3, stride=stride, dilation=dilation)
        self.bn2 = norm(width)
        self.conv3 = conv2d(width, 4 * width, 1)
        self.bn3 = norm(4 * width)
        self.downsample = _shortcut(in_channels, 4 * width, stride, norm)

    def construct(self, x):
        y = ops.relu(self.bn1(self.conv1(x)))
        y = ops.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return ops.relu(y + self.downsample(x))


def _shortcut(in_channels: int, channels: int, stride: int, norm: NormFactory) -> nn.Cell:
    if stride == 1 and in_channels == channels:
        return nn.Identity()
    return nn.SequentialCell([conv2d(in_channels, channels, 1, stride=stride), norm(channels)])


class ZeroBorder(nn.Cell):
    """Pad with one row and column of zeros on every side: (B, C, H, W) -> (B, C, H + 2, W + 2).

    It concatenates: on a CPU, MindSpore 2.10's `Pad` takes twenty times as long, and the gradient of `ops.pad` is wrong
    from its second call on and then hangs.
    """

    def construct(self, x):
        b, c, h, w = x.shape
        row, column = full((b, c, 1, w), 0, x.dtype), full((b, c, h + 2, 1), 0, x.dtype)
        return ops.cat((column, ops.cat((row, x, row), 2), column), 3)


class ResNet(nn.Cell):
    """Feature extractor: image (B, 3, H, W) -> (C2, C3, C4, C5), at strides 4, 8, 16, 32 unless dilated.

    Args:
        depth: 18, 34, 50 or 101.
        norm: `channels -> cell`, see `conv_norm.norm_factory`.
        output_stride: stride of C5; 16 and 8 dilate the last stages.
        dilation: scheme of `dilation_plan`.
        stem_pool: "same" pads the 3x3 max pool at the bottom and right only for even sizes (the model zoo), "pad" by
            one on every side (torchvision).
    """

    def __init__(self, depth: int, *, norm: NormFactory, output_stride: int = 32, dilation: str = "multi_grid",
                 stem_pool: str = "same"):
        super().__init__()
        if depth not in BLOCKS:
            raise ValueError(f"depth={depth}: expected one of {sorted(BLOCKS)}")
        if stem_pool not in ("same", "pad"):
            raise ValueError(f"stem_pool={stem_pool!r}: expected same or pad")
        self.out_channels = out_channels(depth)
        self.conv1 = conv2d(3, 64, 7, stride=2)
        self.bn1 = norm(64)
        # After a ReLU a border of zeros never wins over a pixel, so it equals one of -inf.
        self.border = ZeroBorder() if stem_pool == "pad" else nn.Identity()
        self.pool = nn.MaxPool2d(kernel_size=3, stride=2, pad_mode="valid" if stem_pool == "pad" else "same")
        block = Bottleneck if depth >= 50 else BasicBlock
        stages, channels = [], 64
        for width, (stride, rates) in zip(WIDTHS, dilation_plan(BLOCKS[depth], output_stride, dilation)):
            cells = []
            for i, rate in enumerate(rates):
                cells.append(block(channels, width, norm=norm, stride=stride if i == 0 else 1, dilation=rate))
                channels = width * block.expansion
            stages.append(nn.SequentialCell(cells))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages

    def construct(self, x):
        c2 = self.layer1(self.pool(self.border(ops.relu(self.bn1(self.conv1(x))))))
        c3 = self.layer2(c2)
        c4 = self.layer3(c3)
        return c2, c3, c4, self.layer4(c4)
