"""The training step on a line with two weights, against numbers computed by hand."""
import numpy as np
import pytest
from mindspore import Tensor

from src.engine.optim import momentum_optimizer
from src.engine.train_step import LossScale, TrainStep
from tests.engine.tiny_task import Linear, SquaredError

NAN = float("nan")
pytestmark = pytest.mark.usefixtures("graph_mode")


def make(weight=(1.0, 2.0), *, rates=(0.1,) * 20, momentum=0.9, weight_decay=0.0, **options) -> TrainStep:
    network = Linear(weight)
    optimizer = momentum_optimizer(network.trainable_params(), np.array(rates, np.float32), momentum=momentum,
                                   weight_decay=weight_decay)
    return TrainStep(SquaredError(network), optimizer, **options).set_train()


def run(step: TrainStep, x, y) -> dict[str, float]:
    names = ("squared", "absolute", "applied", "finite", "loss_scale", "grad_norm")
    values = step(Tensor(np.array(x, np.float32)), Tensor(np.array(y, np.float32)))
    return dict(zip(names, (float(v.asnumpy()) for v in values), strict=True))


def weights(step: TrainStep) -> list[float]:
    return step.weights[0].asnumpy().tolist()


def state(step: TrainStep) -> dict:
    return {p.name: p.asnumpy().tolist() for p in step.get_parameters()}


@pytest.fixture(scope="module")
def dynamic():
    """Scale 4, doubled after two good steps; compiled once for several tests, which set its state."""
    return make(loss_scale=LossScale(4.0, dynamic=True, window=2), momentum=0.0)


def reset(step: TrainStep, scale: float) -> None:
    step.weights[0].set_data(Tensor(np.array([1.0, 2.0], np.float32)))
    step.loss_scale.set_data(Tensor(np.array(scale, np.float32)))
    step.good_steps.set_data(Tensor(np.array(0, np.int32)))


def test_two_updates_with_momentum_and_decay():
    step = make(weight_decay=0.5, rates=(0.1, 0.2))
    # prediction 3, error 2: gradient 2 * 2 * (1, 1), with decay (4.5, 5)
    assert run(step, [[1, 1]], [1]) == pytest.approx(
        {"squared": 4, "absolute": 2, "applied": 1, "finite": 1, "loss_scale": 1, "grad_norm": 32 ** 0.5})
    assert weights(step) == pytest.approx([0.55, 1.5])
    # prediction 2.05, error 1.05: (2.1 + 0.275, 2.1 + 0.75); velocity 0.9 * (4.5, 5) + that, at rate 0.2
    assert run(step, [[1, 1]], [1])["squared"] == pytest.approx(1.1025)
    assert weights(step) == pytest.approx([0.55 - 0.2 * 6.425, 1.5 - 0.2 * 7.35])


def test_the_scale_cancels_exactly():
    results = []
    for scale in (1.0, 1024.0, 2.0 ** 100):
        step = make(loss_scale=LossScale(scale))
        outcome = [run(step, [[1, 1], [0.3, -2]], [1, 0.7]) for _ in range(2)]
        results.append((weights(step), [o["squared"] for o in outcome], [o["grad_norm"] for o in outcome]))
        assert outcome[1]["loss_scale"] == scale
    assert results[0] == results[1] == results[2]


def test_a_dynamic_scale_doubles_after_each_window_of_good_steps(dynamic):
    reset(dynamic, 4.0)
    assert [run(dynamic, [[1e-3, 1e-3]], [0])["loss_scale"] for _ in range(5)] == [4, 4, 8, 8, 16]


def test_overflow_halves_the_scale_skips_the_step_and_starts_the_window_again(dynamic):
    reset(dynamic, 2.0 ** 127)
    updates = int(dynamic.optimizer.global_step.asnumpy()[0])
    first, second = (run(dynamic, [[1, 1]], [1]) for _ in range(2))  # 4 * 2^127 and 4 * 2^126 are beyond float32
    assert (first["finite"], first["applied"], first["loss_scale"], first["squared"]) == (0, 0, 2.0 ** 127, 4)
    assert (second["finite"], second["loss_scale"]) == (0, 2.0 ** 126)
    assert weights(dynamic) == [1, 2]
    assert int(dynamic.optimizer.global_step.asnumpy()[0]) == updates
    third = run(dynamic, [[1, 1]], [1])
    assert (third["finite"], third["applied"], third["loss_scale"]) == (1, 1, 2.0 ** 125)
    assert weights(dynamic) == pytest.approx([0.6, 1.6])
    assert int(dynamic.optimizer.global_step.asnumpy()[0]) == updates + 1

    reset(dynamic, 4.0)
    samples = [[[1e-3, 0]], [[NAN, 0]], [[1e-3, 0]], [[1e-3, 0]], [[1e-3, 0]]]
    assert [run(dynamic, x, [0])["loss_scale"] for x in samples] == [4, 4, 2, 2, 4]


def test_a_dynamic_scale_stays_at_1_and_does_not_grow_beyond_its_limit(dynamic):
    reset(dynamic, 1.5)
    assert [run(dynamic, [[NAN, 0]], [0])["loss_scale"] for _ in range(3)] == [1.5, 1, 1]
    reset(dynamic, 2.0 ** 32)
    assert [run(dynamic, [[1e-3, 0]], [0])["loss_scale"] for _ in range(3)] == [2.0 ** 32] * 3


@pytest.mark.parametrize("options", [{}, {"clip_norm": 1.0}, {"loss_scale": LossScale(2.0 ** 127)}])
def test_nothing_changes_when_a_gradient_is_not_finite(options):
    step = make(**options)
    before = state(step)
    x = [[1, 1]] if "loss_scale" in options else [[NAN, 1]]
    assert run(step, x, [1])["finite"] == 0
    assert state(step) == before


def test_accumulation_equals_one_update_with_the_mean_gradient():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 3, 2)).tolist(), rng.normal(size=(6, 3)).tolist()
    plain, accumulated = make(), make(accumulate_steps=3, loss_scale=LossScale(64.0))
    applied = [run(accumulated, *batch)["applied"] for batch in zip(x, y)]
    assert applied == [0, 0, 1, 0, 0, 1]
    for half in (slice(0, 3), slice(3, 6)):
        run(plain, np.concatenate(x[half]), np.concatenate(y[half]))
    assert weights(accumulated) == pytest.approx(weights(plain), rel=1e-5)


def test_an_overflow_between_two_updates_spoils_that_update_alone():
    step = make(accumulate_steps=2, loss_scale=LossScale(8.0, dynamic=True))
    assert run(step, [[NAN, 1]], [1])["applied"] == 0
    spoilt = run(step, [[1, 1]], [1])
    assert (spoilt["finite"], spoilt["applied"]) == (0, 0)
    assert weights(step) == [1, 2]
    assert run(step, [[1, 1]], [1])["loss_scale"] == 4
    assert run(step, [[1, 1]], [1])["applied"] == 1
    assert weights(step) == pytest.approx([0.6, 1.6])


def test_a_long_gradient_is_shortened_to_the_limit_and_a_short_one_is_kept():
    step = make(clip_norm=1.0, momentum=0.0)
    assert run(step, [[1, 1]], [1])["grad_norm"] == pytest.approx(32 ** 0.5)
    assert weights(step) == pytest.approx([1 - 0.1 / 2 ** 0.5, 2 - 0.1 / 2 ** 0.5])
    before = weights(step)
    assert run(step, [[0.1, 0]], [0.0])["grad_norm"] == pytest.approx(0.02 * before[0])
    assert weights(step) == pytest.approx([before[0] * (1 - 0.1 * 0.02), before[1]])
