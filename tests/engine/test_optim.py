import mindspore.nn as nn
import numpy as np
import pytest
from mindspore import Tensor, ops

from src.engine.optim import momentum_optimizer
from tests.conftest import running_mode


class Layers(nn.Cell):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 1, has_bias=True, bias_init="ones", weight_init="ones")
        self.bn = nn.BatchNorm2d(3)
        self.gamma_like = nn.Dense(2, 2, weight_init="ones", bias_init="ones")  # a layer's name decides nothing
        for parameter in self.trainable_params():
            parameter.set_data(ops.ones_like(parameter))


@pytest.fixture(scope="module")
def decayed():
    """Parameters, all ones before, after one update without gradients, rate 0.1, decay 0.5."""
    layers = Layers()
    parameters = layers.trainable_params()
    optimizer = momentum_optimizer(parameters, np.array([0.1, 0.2], np.float32), momentum=0.9, weight_decay=0.5)
    with running_mode("GRAPH"):
        optimizer(tuple(ops.zeros_like(p) for p in parameters))
    return {p.name: p.asnumpy() for p in parameters}, optimizer, parameters


def test_scale_and_shift_of_normalisation_are_not_decayed_and_biases_are(decayed):
    values = {name: float(array.max()) for name, array in decayed[0].items()}
    assert {name: round(value, 6) for name, value in values.items()} == {
        "conv.weight": 0.95, "conv.bias": 0.95, "bn.gamma": 1.0, "bn.beta": 1.0, "gamma_like.weight": 0.95,
        "gamma_like.bias": 0.95}


def test_the_optimizer_keeps_the_order_of_the_parameters(decayed):
    _, optimizer, parameters = decayed
    assert [p.name for p in optimizer.parameters] == [p.name for p in parameters]


def test_normalisation_alone_and_none_at_all_are_fine():
    for cell in (nn.BatchNorm2d(2), nn.Dense(2, 2, has_bias=False)):
        parameters = cell.trainable_params()
        optimizer = momentum_optimizer(parameters, np.array([0.5], np.float32), momentum=0.0, weight_decay=0.0)
        before = [p.asnumpy().copy() for p in parameters]
        optimizer(tuple(Tensor(np.ones(p.shape, np.float32)) for p in parameters))
        for p, old in zip(parameters, before):
            np.testing.assert_allclose(p.asnumpy(), old - 0.5, rtol=1e-6)
