"""One step of a normalisation layer on a fixed batch: output, gradients and running statistics."""
import mindspore.nn as nn
import numpy as np
from mindspore import Tensor, ops

RNG = np.random.default_rng(0)
X = (RNG.normal(size=(4, 3, 2, 5)) * 2 + 3).astype(np.float32)
WEIGHT = RNG.normal(size=X.shape).astype(np.float32)  # of the loss, sum(weight * normalised)


class Loss(nn.Cell):
    def __init__(self, norm: nn.Cell):
        super().__init__()
        self.norm = norm

    def construct(self, x, weight):
        y = self.norm(x)
        return (y * weight).sum(), y


def run(norm: nn.Cell, part: slice = slice(None)) -> dict[str, np.ndarray]:
    norm.gamma.set_data(Tensor(np.array([1.0, 2.0, 0.5], np.float32)))
    norm.beta.set_data(Tensor(np.array([0.0, 1.0, -1.0], np.float32)))
    gradient = ops.value_and_grad(Loss(norm).set_train(), 0, norm.trainable_params(), has_aux=True)
    (_, y), (dx, (dgamma, dbeta)) = gradient(Tensor(X[part]), Tensor(WEIGHT[part]))
    values = {"y": y, "dx": dx, "dgamma": dgamma, "dbeta": dbeta, "moving_mean": norm.moving_mean,
              "moving_variance": norm.moving_variance}
    return {name: value.asnumpy() for name, value in values.items()}
