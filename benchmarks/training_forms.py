"""Other ways to calculate parts of a training step on a CPU, against the ways that the networks use.

    python benchmarks/training_forms.py [--rounds=20]

1x1 convolutions of ResNet-101, forward and backward, as products of matrices; a gradient's norm as a product with
itself; weight decay and momentum in one operator, `SGD`. The forms take turns in one process. A ratio below 1 means
that the other form is faster; the ratio of CPU times says more where other programs use the cores.
"""
from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
import src  # noqa: F401  the CPU switch
import mindspore as ms
from mindspore import Parameter, nn, ops

from src.engine.optim import momentum_optimizer

CONVOLUTIONS = ((256, 1024, 21), (1024, 256, 21), (512, 2048, 21), (64, 256, 81))  # channels in, out, side
BATCH = 2
WEIGHTS = [(512, 512, 3, 3)] * 4 + [(256, 256, 3, 3)] * 6 + [(128, 128, 3, 3)] * 6 + [(512,)] * 30
RATE, MOMENTUM, DECAY = 0.01, 0.9, 1e-4


class Product(nn.Cell):
    """A 1x1 convolution as a product of matrices for each image."""

    def __init__(self, c_in: int, c_out: int):
        super().__init__()
        self.weight = Parameter(ms.Tensor(0.05 * np.random.randn(c_out, c_in), ms.float32))

    def construct(self, x):
        b, c, h, w = x.shape
        weight = ops.broadcast_to(self.weight[None], (b, *self.weight.shape))
        return ops.bmm(weight, x.reshape(b, c, h * w)).reshape(b, -1, h, w)


class Gradients(nn.Cell):
    """Gradients of a layer's input and weights."""

    def __init__(self, layer: nn.Cell):
        super().__init__()
        self.layer = layer
        self.weights = ms.ParameterTuple(layer.trainable_params())
        self.gradients = ops.GradOperation(get_all=True, get_by_list=True, sens_param=True)

    def construct(self, x, gradient):
        return self.gradients(self.layer, self.weights)(x, gradient)


class HalfSquareSum(nn.Cell):
    def construct(self, x):
        return ops.L2Loss()(x)


class ProductWithItself(nn.Cell):
    def construct(self, x):
        row = x.reshape(1, -1)
        return ops.MatMul(False, True)(row, row)


class Update(nn.Cell):
    """Momentum as training uses it."""

    def __init__(self, weights: list[Parameter]):
        super().__init__(auto_prefix=False)
        self.optimizer = momentum_optimizer(weights, np.full(1000, RATE, np.float32), momentum=MOMENTUM,
                                            weight_decay=DECAY)

    def construct(self, *gradients):
        return self.optimizer(gradients)


class FusedUpdate(nn.Cell):
    """Weight decay and momentum in one operator a weight."""

    def __init__(self, weights: list[Parameter]):
        super().__init__(auto_prefix=False)
        self.weights = ms.ParameterTuple(weights)
        self.moments = self.weights.clone("moments", init="zeros")
        self.begun = self.weights.clone("begun", init="zeros")  # SGD's state: 0 after its first step
        self.rate, self.momentum = ms.Tensor(RATE, ms.float32), ms.Tensor(MOMENTUM, ms.float32)
        self.sgd = ops.SGD(0.0, DECAY, False)

    def construct(self, *gradients):
        done = ()
        for i in range(len(self.weights)):
            done += (self.sgd(self.weights[i], gradients[i], self.rate, self.moments[i], self.momentum,
                              self.begun[i]),)
        return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device("CPU")
    for c_in, c_out, side in CONVOLUTIONS:
        inputs = noise(BATCH, c_in, side, side), noise(BATCH, c_out, side, side)
        compare(f"1x1 {c_in} -> {c_out} at {BATCH} x {side}x{side}: convolution, product",
                (Gradients(nn.Conv2d(c_in, c_out, 1)), Gradients(Product(c_in, c_out))), inputs, rounds)
    compare("norm of 2.4 million values: L2Loss, product with itself", (HalfSquareSum(), ProductWithItself()),
            (noise(512, 512, 3, 3),), rounds)
    updates = Update(weights()), FusedUpdate(weights())
    compare("update of 14 million weights: Momentum, SGD", updates, [noise(*shape) for shape in WEIGHTS], rounds)


def noise(*shape: int) -> ms.Tensor:
    return ms.Tensor(np.random.randn(*shape), ms.float32)


def weights() -> list[Parameter]:
    return [Parameter(noise(*shape), name=f"layer{i}.weight") for i, shape in enumerate(WEIGHTS)]


def compare(title: str, forms: tuple[nn.Cell, nn.Cell], inputs, rounds: int) -> None:
    """Print the medians of both forms and the ratio of the second to the first; three calls are not counted."""
    wall, cpu = ([], []), ([], [])
    for i in range(rounds + 3):
        for k, form in enumerate(forms):
            started, used = time.perf_counter(), time.process_time()
            form(*inputs)
            ms.runtime.synchronize()
            if i >= 3:
                wall[k].append(time.perf_counter() - started)
                cpu[k].append(time.process_time() - used)
    ratios = [[b / a for a, b in zip(*times)] for times in (wall, cpu)]
    medians = " and ".join(f"{1e3 * statistics.median(times):.1f}" for times in wall)
    print(f"{title}: {medians} ms, ratio " + ", of CPU time ".join(
        f"{statistics.median(ratio):.2f} ({min(ratio):.2f} to {max(ratio):.2f})" for ratio in ratios), flush=True)


if __name__ == "__main__":
    main()
