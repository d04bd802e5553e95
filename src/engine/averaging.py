"""Exponential moving average of a network's weights, as a second network that is evaluated instead of the first."""
from __future__ import annotations

from collections.abc import Sequence

import mindspore as ms
import mindspore.nn as nn
from mindspore import Parameter, Tensor, ops

PREFIX = "state.average."  # of the names of the averages, while a run holds them beside the weights


class WeightAverage(nn.Cell):
    """Moves the averages after an optimizer update: average += (1 - d) * (weight - average).

    The decay warms up, as TensorFlow's `ExponentialMovingAverage` does with `num_updates`: after update number t it is
    d = min(decay, (1 + t) / (10 + t)), so that the initial weights are soon forgotten. The running statistics of
    normalisation layers are averaged like the weights they belong to (timm's `ModelEmaV3`, and torchvision's training
    scripts, `use_buffers=True`). What is frozen is copied once.

    Args:
        network: the one that is trained, with its initial weights.
        copy: a network of the same layers; its parameters become the averages and get names with `PREFIX`.
        decay: largest d, in (0, 1).
        statistics: the running statistics of `network` that training updates.

    Attributes:
        network: `copy`, with the averages as its weights.
    """

    def __init__(self, network: nn.Cell, copy: nn.Cell, *, decay: float, statistics: Sequence[Parameter] = ()):
        super().__init__(auto_prefix=False)
        self.network = copy
        self.least_share = 1.0 - decay
        averages = {parameter.name: parameter for parameter in copy.get_parameters()}
        for parameter in network.get_parameters():
            averages[parameter.name].set_data(Tensor(parameter.asnumpy(), parameter.dtype))
        sources = [*network.trainable_params(), *statistics]
        self.sources = ms.ParameterTuple(sources)
        self.averages = ms.ParameterTuple([averages[source.name] for source in sources])
        for name, average in averages.items():
            average.name = PREFIX + name
            average.requires_grad = False
        self.hyper_map = ops.HyperMap()

    def construct(self, updates):
        """Args: updates: (1,) int32, number of optimizer updates so far, the last one included."""
        share = ops.maximum(9.0 / (10.0 + updates.astype(ms.float32)), self.least_share)
        return self.hyper_map(ops.partial(_move, share), self.averages, self.sources)


_move = ops.MultitypeFuncGraph("move")


@_move.register("Tensor", "Tensor", "Tensor")
def _move_tensor(share, average, source):
    return ops.assign_add(average, (source - average) * share)
