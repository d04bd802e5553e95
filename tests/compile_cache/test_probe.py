"""The probe tells graphs apart, and a training step keeps its whole state, bit by bit."""
import mindspore as ms
import mindspore.nn as nn
import numpy as np
import pytest

from src.compile_cache import probe
from src.engine.optim import AdamW, momentum_optimizer, parameter_groups
from src.engine.train_step import LossScale, TrainStep
from tests.engine.tiny_task import Linear, SquaredError

BATCH = (np.array([[1.0, 2.0], [3.0, -1.0]], np.float32), np.array([0.5, 1.5], np.float32))


def step(**options) -> TrainStep:
    network = Linear()
    optimizer = momentum_optimizer(network.trainable_params(), np.full(5, 0.1, np.float32), momentum=0.9,
                                   weight_decay=options.pop("weight_decay", 1e-4))
    return TrainStep(SquaredError(network), optimizer, **options).set_train()


def state(cell) -> dict:
    return {parameter.name: parameter.asnumpy().copy() for parameter in cell.get_parameters()}


def run(cell) -> None:
    cell(*map(ms.Tensor, BATCH))


@pytest.mark.parametrize("options", [
    {}, {"accumulate_steps": 2, "loss_scale": LossScale(8.0, dynamic=True, window=2), "clip_norm": 0.1}])
def test_a_probe_leaves_the_run_as_it_would_have_been(options):
    probed, left_alone = step(**options), step(**options)
    outcomes = []
    for _ in range(4):
        outcomes.append(probe.outcome(probed, BATCH))  # before the first step, which compiles, and between steps
        run(probed)
        run(left_alone)
    found, expected = state(probed), state(left_alone)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    assert len(set(outcomes)) == 1, "the probe depends on where the run is"


@pytest.mark.parametrize("options", [{"clip_norm": 0.1}, {"weight_decay": 0.01}, {"accumulate_steps": 2},
                                     {"loss_scale": LossScale(2.0, dynamic=True)}])
def test_another_step_has_another_outcome(options):
    assert probe.outcome(step(**options), BATCH) != probe.outcome(step(), BATCH)


def test_other_inputs_have_another_outcome():
    cell = step()
    assert probe.outcome(cell, BATCH) != probe.outcome(cell, (BATCH[0], BATCH[1] + 1))


def test_outputs_that_are_not_finite_are_no_probe():
    cell, before = step(), state(step())
    with pytest.raises(probe.Blind):
        probe.outcome(cell, (BATCH[0] * np.inf, BATCH[1]))
    for name, value in before.items():
        np.testing.assert_array_equal(state(cell)[name], value)


class Root(nn.Cell):
    """The root of a weight, which is kept where it is positive, and made NaN where it is not."""

    def __init__(self):
        super().__init__()
        self.weight = ms.Parameter(ms.Tensor(np.ones((4, 8), np.float32)), name="weight")

    def construct(self, x):
        ms.ops.assign(self.weight, ms.ops.sqrt(self.weight))
        return x


def test_state_that_is_no_longer_finite_is_no_probe():
    with pytest.raises(probe.Blind):
        probe.outcome(Root(), BATCH[:1])


def test_the_probe_of_adamw_has_squares_that_it_can_take_the_root_of():
    network = nn.Dense(2, 3, weight_init="ones")  # weights of two axes are drawn with both signs
    rates = np.full(5, 0.1, np.float32)
    outcomes = []
    for eps in (1e-8, 0.1):
        optimizer = AdamW(parameter_groups(network.trainable_params(), rates, weight_decay=0.1), rates, eps=eps)
        outcomes.append(probe.outcome(TrainStep(Spread(network), optimizer).set_train(), BATCH[:1]))
    assert outcomes[0] != outcomes[1]


class Spread(nn.Cell):
    def __init__(self, network):
        super().__init__(auto_prefix=False)
        self.network = network

    def construct(self, x):
        return ((self.network(x) ** 2).sum(),)


def test_images_are_drawn_and_not_stored():
    image, label = np.ones((2, 3, 8, 8), np.float32), np.ones((2, 8, 8), np.int32)
    stored = probe.stored_inputs([image, label])
    assert stored[0] is None
    np.testing.assert_array_equal(stored[1], label)
    drawn = probe.drawn_inputs(stored, [image, label])
    assert (drawn[0].shape, drawn[0].dtype) == (image.shape, image.dtype)
    assert 0.9 < drawn[0].std() < 1.1
    np.testing.assert_array_equal(drawn[0], probe.drawn_inputs(stored, [image * 5, label * 0])[0])
