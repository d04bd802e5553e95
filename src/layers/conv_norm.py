"""Convolution, normalisation and activation with explicit initialisers."""
from __future__ import annotations

from collections.abc import Callable

import mindspore.nn as nn
import numpy as np
from mindspore import ops
from mindspore.common.initializer import HeNormal, XavierUniform

NormFactory = Callable[[int], nn.Cell]
NORMS = ("batch", "frozen", "group", "sync")
# MindSpore refuses an epsilon of 0, which published Mask R-CNN weights need. Next to a variance this one vanishes.
LEAST_EPS = float(np.finfo(np.float32).tiny)


def norm_factory(kind: str, *, eps: float = 1e-5, momentum: float = 0.9, groups: int = 32) -> NormFactory:
    """Return `channels -> normalisation cell` for one of `NORMS`.

    - batch: batch statistics in training, running statistics otherwise. `momentum` is the weight of the old running
      value (MindSpore's convention; 0.9 here is 0.1 in PyTorch).
    - frozen: always the running statistics, never updated; scale and shift stay trainable (`freeze_bn`).
    - group: group normalisation, independent of the batch.
    - sync: batch statistics over the batches of all ranks.

    `eps` is added to the variance; 0 becomes the smallest float32.
    """
    eps = max(eps, LEAST_EPS)
    if kind == "group":
        return lambda channels: nn.GroupNorm(groups, channels, eps=eps, gamma_init="ones", beta_init="zeros")
    if kind == "sync":
        from src.layers.sync_norm import SyncBatchNorm

        return lambda channels: SyncBatchNorm(channels, eps=eps, momentum=momentum)
    if kind not in NORMS:
        raise ValueError(f"norm={kind!r}: expected one of {', '.join(NORMS)}")
    use_batch_statistics = False if kind == "frozen" else None
    return lambda channels: nn.BatchNorm2d(
        channels, eps=eps, momentum=momentum, use_batch_statistics=use_batch_statistics, gamma_init="ones",
        beta_init="zeros", moving_mean_init="zeros", moving_var_init="ones")


def conv2d(in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, dilation: int = 1, bias: bool = False,
           init: str = "he") -> nn.Conv2d:
    """A convolution that keeps the size at stride 1: padding is dilation * (kernel - 1) / 2 on every side.

    `init` is "he" (normal, fan-out, for layers before a ReLU) or "xavier" (uniform); biases start at 0.
    """
    padding = dilation * (kernel - 1) // 2
    weight = HeNormal(mode="fan_out", nonlinearity="relu") if init == "he" else XavierUniform()
    return nn.Conv2d(in_channels, out_channels, kernel, stride=stride, dilation=dilation, has_bias=bias,
                     pad_mode="pad" if padding else "valid", padding=padding, weight_init=weight, bias_init="zeros")


class ConvNormAct(nn.Cell):
    """Convolution without bias -> normalisation -> ReLU: (B, C_in, H, W) -> (B, C_out, H / stride, W / stride)."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, *, norm: NormFactory, stride: int = 1,
                 dilation: int = 1):
        super().__init__()
        self.conv = conv2d(in_channels, out_channels, kernel, stride=stride, dilation=dilation)
        self.bn = norm(out_channels)

    def construct(self, x):
        return ops.relu(self.bn(self.conv(x)))
