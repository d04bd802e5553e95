"""Batch normalisation whose statistics come from the batches of all ranks.

MindSpore's own `nn.SyncBatchNorm` exists only on Ascend. This one is built from operators that every device has, with
the same parameter names as `nn.BatchNorm2d`; on one rank the two compute the same.
"""
from __future__ import annotations

import mindspore as ms
import mindspore.nn as nn
from mindspore import Parameter, ops
from mindspore.communication import GlobalComm, get_group_size


class SyncBatchNorm(nn.Cell):
    """Normalise (B, C, H, W) of any float type over B, H, W and all ranks, whose batches have equal shapes.

    Each direction needs one collective, because the means of x and of x squared are sent together. Both are taken of x
    minus the running mean, which is close to the mean, so that no digits are lost to cancellation.

    Args:
        channels: C.
        eps: added to the variance.
        momentum: weight of the old running value in each step.
        world_size: number of ranks; 0 for all that communication was initialised with (1 if it was not).
    """

    def __init__(self, channels: int, *, eps: float = 1e-5, momentum: float = 0.9, world_size: int = 0):
        super().__init__()
        self.eps = eps
        self.momentum = momentum
        self.world_size = world_size or (get_group_size() if GlobalComm.INITED else 1)
        self.gamma = Parameter(ops.ones(channels), name="gamma")
        self.beta = Parameter(ops.zeros(channels), name="beta")
        self.moving_mean = Parameter(ops.zeros(channels), name="moving_mean", requires_grad=False)
        self.moving_variance = Parameter(ops.ones(channels), name="moving_variance", requires_grad=False)
        self.use_batch_statistics: bool | None = None  # as of nn.BatchNorm2d: None: in training; False: never
        self.add_ranks = ops.AllReduce() if self.world_size > 1 else nn.Identity()

    def construct(self, x):
        if not self.training or self.use_batch_statistics is False:
            return ops.batch_norm(x, self.moving_mean, self.moving_variance, self.gamma, self.beta, training=False,
                                  eps=self.eps)
        running = self.moving_mean.value()
        shifted = x.astype(ms.float32) - _per_channel(running)
        moments = ops.stack((shifted.mean((0, 2, 3)), ops.square(shifted).mean((0, 2, 3))))
        mean, square = ops.unstack(self.add_ranks(moments) / self.world_size)
        variance = ops.relu(square - ops.square(mean))
        factor = self.gamma * ops.rsqrt(variance + self.eps)
        y = (shifted - _per_channel(mean)) * _per_channel(factor) + _per_channel(self.beta)
        count = x.size // x.shape[1] * self.world_size
        return ops.depend(y.astype(x.dtype), self.remember(running + mean, variance * (count / max(count - 1, 1))))

    def remember(self, mean, unbiased_variance):
        """Move the running statistics towards those of this batch."""
        share = 1.0 - self.momentum
        old = self.moving_variance.value()
        return (ops.assign_add(self.moving_mean, share * (mean - self.moving_mean.value())),
                ops.assign_add(self.moving_variance, share * (unbiased_variance - old)))


def _per_channel(values):
    return values.reshape((1, -1, 1, 1))
