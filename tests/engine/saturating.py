"""A device that saturates, made of CPU operators: gradients are cut off at `LARGEST`, and a register notes it."""
import mindspore as ms
import mindspore.nn as nn
import numpy as np
from mindspore import Parameter, Tensor, ops

from src.engine.optim import momentum_optimizer
from src.engine.train_step import TrainStep
from tests.engine.tiny_task import Linear, SquaredError

LARGEST = 1000.0


class Saturate(nn.Cell):
    """Passes x on; what flows back is cut off."""

    def construct(self, x):
        return x

    def bprop(self, x, out, dout):
        return (ops.clamp(dout, -LARGEST, LARGEST),)


class SaturatingLinear(Linear):
    def __init__(self, weight=(1.0, 2.0)):
        super().__init__(weight)
        self.saturate = Saturate()

    def construct(self, x):
        return (x * self.saturate(self.weight)).sum(-1)


class Register(nn.Cell):
    """Stands for `FloatStatus`: set by gradients that were cut off, until it is cleared."""

    def __init__(self):
        super().__init__(auto_prefix=False)
        self.value = Parameter(Tensor(np.array(1.0, np.float32)), name="register", requires_grad=False)

    def cleared(self, inputs):
        return ops.depend(inputs, ops.assign(self.value, Tensor(0.0, ms.float32)))

    def overflows(self, outputs):
        cut = (ops.abs(outputs[0]) >= LARGEST).any().astype(ms.float32)
        return ops.assign_add(self.value, cut)


def saturating_step(**options) -> TrainStep:
    """A step on a line with the weights (1, 2), learning rate 0.1 and no momentum."""
    network = SaturatingLinear()
    optimizer = momentum_optimizer(network.trainable_params(), np.full(20, 0.1, np.float32), momentum=0.0,
                                   weight_decay=0.0)
    return TrainStep(SquaredError(network), optimizer, float_status=Register(), **options).set_train()
