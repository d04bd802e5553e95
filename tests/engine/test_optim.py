import mindspore.nn as nn
import numpy as np
import pytest
from mindspore import Parameter, Tensor, ops

from src.engine.optim import AdamW, momentum_optimizer, parameter_groups
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


# --- AdamW and rates by stage -----------------------------------------------------------------------------------------

class Staged(nn.Cell):
    """One weight in each stage of a backbone, and a layer behind it."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.CellDict({name: nn.Dense(1, 1, has_bias=False, weight_init="ones") for name in (
            "conv1", "layer1", "layer2", "layer3", "layer4")})
        self.head = nn.Dense(1, 1, weight_init="ones", bias_init="ones")


def numpys(weight, gradients, rates, *, decay=0.0, betas=(0.9, 0.999), eps=1e-8):
    """AdamW in float64, as PyTorch documents it."""
    mean = square = np.zeros_like(weight)
    for t, (gradient, rate) in enumerate(zip(gradients, rates), 1):
        weight = weight * (1 - rate * decay)
        mean = betas[0] * mean + (1 - betas[0]) * gradient
        square = betas[1] * square + (1 - betas[1]) * gradient ** 2
        weight = weight - rate * mean / (1 - betas[0] ** t) / (np.sqrt(square / (1 - betas[1] ** t)) + eps)
    return weight


@pytest.mark.usefixtures("graph_mode")
@pytest.mark.parametrize(("eps", "betas"), [(1e-8, (0.9, 0.999)), (0.5, (0.8, 0.9))])
def test_adamw_is_numpys_with_the_decay_of_each_group(eps, betas):
    rng = np.random.default_rng(0)
    weights = [Parameter(rng.normal(size=(4, 3)).astype(np.float32), name=f"head.{name}") for name in (
        "weight", "bias", "gamma")]
    before = [w.asnumpy().astype(np.float64) for w in weights]
    rates = np.array([0.1, 0.2, 0.05, 0.1], np.float32)
    gradients = rng.normal(size=(4, 3, 4, 3)).astype(np.float32)
    optimizer = AdamW(parameter_groups(weights, rates, weight_decay=0.3, bias_decay=False), rates, betas=betas, eps=eps)
    for step in gradients:
        optimizer(tuple(map(Tensor, step)))
    for k, (weight, decay) in enumerate(zip(weights, (0.3, 0, 0))):
        expected = numpys(before[k], gradients[:, k], rates, decay=decay, eps=eps, betas=betas)
        np.testing.assert_allclose(weight.asnumpy(), expected, rtol=2e-5, atol=2e-6)


def test_the_first_step_of_adamw_is_as_long_as_the_rate():
    weight = Parameter(np.array([1.0, 2.0, -3.0], np.float32), name="weight")
    rates = np.array([0.1], np.float32)
    AdamW(parameter_groups([weight], rates, weight_decay=0.0), rates)((Tensor(np.array([5, -1e-3, 2], np.float32)),))
    np.testing.assert_allclose(weight.asnumpy(), [0.9, 2.1, -3.1], rtol=1e-5)


@pytest.mark.parametrize("name", ["momentum", "adamw"])
def test_each_stage_learns_at_a_fraction_of_the_rate_of_the_next(name):
    network, rates = Staged(), np.array([0.1, 0.2], np.float32)
    parameters = network.trainable_params()
    if name == "adamw":
        optimizer = AdamW(parameter_groups(parameters, rates, weight_decay=0.0, layer_decay=0.5), rates)
    else:
        optimizer = momentum_optimizer(parameters, rates, momentum=0.9, weight_decay=0.0, layer_decay=0.5)
    optimizer(tuple(ops.ones_like(p) for p in parameters))
    moved = {p.name.removesuffix(".weight"): 1 - float(p.asnumpy().ravel()[0]) for p in parameters}
    scales = {"backbone.conv1": 1 / 32, "backbone.layer1": 1 / 16, "backbone.layer2": 1 / 8, "backbone.layer3": 1 / 4,
              "backbone.layer4": 1 / 2, "head": 1, "head.bias": 1}
    assert moved == pytest.approx({k: 0.1 * v for k, v in scales.items()}, rel=1e-4)


def test_all_rates_are_one_where_there_is_no_layer_decay():
    parameters = Staged().trainable_params()
    groups = parameter_groups(parameters, np.array([0.1], np.float32), weight_decay=0.5)
    assert [sorted(group) for group in groups] == [["params", "weight_decay"], ["order_params"]]
