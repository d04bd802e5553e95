"""The moving average of weights against numpy, in the step, in checkpoints and in a run."""
import json

import mindspore as ms
import mindspore.nn as nn
import numpy as np
import pytest
from mindspore import Tensor

from src.engine import build, checkpoint, loop
from src.engine.averaging import WeightAverage
from src.engine.optim import momentum_optimizer
from src.engine.train_step import LossScale, TrainStep
from src.weights.load import load_weights, to_metadata
from tests.deeplabv3.conftest import tiny_task
from tests.engine.tiny_task import CPU, Linear, SquaredError, TinyTask, settings, weight

NAN = float("nan")
pytestmark = pytest.mark.usefixtures("graph_mode")


def decay(updates: int, limit: float) -> float:
    return min(limit, (1 + updates) / (10 + updates))


def make(limit: float, **options) -> TrainStep:
    network = Linear((1.0, 2.0))
    optimizer = momentum_optimizer(network.trainable_params(), np.full(99, 0.05, np.float32), momentum=0.9,
                                   weight_decay=0.0)
    average = WeightAverage(network, Linear((7.0, 7.0)), decay=limit)
    return TrainStep(SquaredError(network), optimizer, average=average, **options).set_train()


def run(step: TrainStep, x=((1, 1),), y=(1,)) -> tuple[np.ndarray, np.ndarray]:
    """Weights and averages after one step."""
    step(Tensor(np.array(x, np.float32)), Tensor(np.array(y, np.float32)))
    return step.weights[0].asnumpy().copy(), step.average.averages[0].asnumpy().copy()


@pytest.mark.parametrize("limit", [0.999, 0.25])
def test_the_average_follows_numpys_with_the_decay_in_warm_up_and_at_its_limit(limit):
    step, expected = make(limit), np.array([1.0, 2.0])
    for update in range(1, 6):
        trained, averaged = run(step)
        d = decay(update, limit)
        expected = d * expected + (1 - d) * trained
        np.testing.assert_allclose(averaged, expected, rtol=1e-6)
        assert not np.allclose(averaged, trained, rtol=1e-3)
    assert [round(decay(t, 0.25), 6) for t in (1, 2, 3)] == [0.181818, 0.25, 0.25]


def test_a_decay_near_1_keeps_its_digits():
    """In float32, 1 - 0.99999 is wrong by 0.2 %: the share is not formed there."""
    network, copy = Linear((1.0, 2.0)), Linear()
    average = WeightAverage(network, copy, decay=0.99999)
    network.weight.set_data(Tensor([1001.0, 2002.0], ms.float32))
    average(Tensor([10 ** 8], ms.int32))
    np.testing.assert_allclose(copy.weight.asnumpy() - [1, 2], [0.01, 0.02], rtol=2e-4)


def test_a_step_that_is_not_finite_leaves_the_average_alone():
    step = make(0.9, loss_scale=LossScale(4.0, dynamic=True))
    _, first = run(step)
    _, second = run(step, x=((NAN, 1),))
    assert first.tolist() == second.tolist()
    trained, third = run(step)
    np.testing.assert_allclose(third, 0.25 * first + 0.75 * trained, rtol=1e-6)  # update 2: d = 3 / 12


def test_accumulated_batches_are_one_update_of_the_average():
    step = make(0.9, accumulate_steps=3)
    averages = [run(step)[1].tolist() for _ in range(6)]
    assert averages[0] == averages[1] == [1, 2]
    assert averages[2] == averages[3] == averages[4] != averages[5]
    trained = step.weights[0].asnumpy()
    np.testing.assert_allclose(averages[5], 0.25 * np.array(averages[2]) + 0.75 * trained, rtol=1e-6)


class Normalised(nn.Cell):
    """A line through normalised points; the second layer is frozen."""

    def __init__(self):
        super().__init__()
        self.bn = nn.BatchNorm2d(2, momentum=0.5)
        self.frozen = nn.BatchNorm2d(2, use_batch_statistics=False)
        self.line = Linear()

    def construct(self, x):
        return self.line(self.frozen(self.bn(x.reshape((-1, 2, 1, 1)))).reshape((-1, 2)))


def test_running_statistics_are_averaged_and_frozen_ones_are_copied():
    network, copy = Normalised(), Normalised()
    network.frozen.moving_mean.set_data(Tensor([0.5, 0.25], ms.float32))
    statistics = build.moving_statistics(network)
    assert statistics == [network.bn.moving_mean, network.bn.moving_variance]
    average = WeightAverage(network, copy, decay=0.9, statistics=statistics)
    optimizer = momentum_optimizer(network.trainable_params(), np.full(9, 0.1, np.float32), momentum=0.9,
                                   weight_decay=0.0)
    step = TrainStep(SquaredError(network), optimizer, average=average).set_train()
    x, expected = np.array([[2, 4], [4, 8], [3, 9]], np.float32), np.zeros(2)
    for update in (1, 2):
        step(Tensor(x), Tensor(np.ones(3, np.float32)))
        running = network.bn.moving_mean.asnumpy()
        np.testing.assert_allclose(running, (1 - 0.5 ** update) * x.mean(0), rtol=1e-6)
        expected = decay(update, 0.9) * expected + (1 - decay(update, 0.9)) * running
        np.testing.assert_allclose(copy.bn.moving_mean.asnumpy(), expected, rtol=1e-6)
    assert copy.frozen.moving_mean.asnumpy().tolist() == [0.5, 0.25]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of 10 steps with evaluations: its folder, its last checkpoint, and another run without the average."""
    from tests.conftest import running_mode

    folder, plain = tmp_path_factory.mktemp("averaged"), tmp_path_factory.mktemp("plain")
    with running_mode("GRAPH"):
        last = loop.train(TinyTask(), settings(folder, ema_decay=0.8, eval_interval=1), CPU)
        raw = loop.train(TinyTask(), settings(plain, eval_interval=1), CPU)
    return folder, last, raw


def test_training_itself_is_that_of_a_run_without_the_average(finished):
    _, last, raw = finished
    values = checkpoint.load(last)[0]
    assert values["state.raw.weight"].asnumpy().tolist() == weight(raw)
    assert weight(last) != weight(raw)
    metrics = [[json.loads(line) for line in (path.parent / "metrics.jsonl").read_text().splitlines()]
               for path in (last, raw)]
    assert [line["squared"] for line in metrics[0] if line["kind"] == "train"] == [
        line["squared"] for line in metrics[1] if line["kind"] == "train"]


def test_evaluation_and_whoever_reads_the_checkpoint_have_the_averages(finished):
    folder, last, _ = finished
    (*_, line) = [json.loads(text) for text in (folder / "metrics.jsonl").read_text().splitlines()]
    task, network = TinyTask(), Linear(weight(last))
    score = loop.evaluate_split(task, network, task.dataset("val"), CPU).compute()["score"]
    assert line["score"] == pytest.approx(score, rel=1e-6)


def test_a_resumed_run_ends_with_the_bits_of_the_undisturbed_one(finished, tmp_path):
    folder, last, _ = finished
    (tmp_path / "line-1_3.ckpt").write_bytes((folder / "line-1_3.ckpt").read_bytes())
    again = loop.train(TinyTask(), settings(tmp_path, ema_decay=0.8, eval_interval=1, resume=True), CPU)
    ours, theirs = (checkpoint.load(path)[0] for path in (again, last))
    assert ours.keys() == theirs.keys() >= {"weight", "state.raw.weight", "moments.weight"}
    for name, value in ours.items():
        np.testing.assert_array_equal(value.asnumpy(), theirs[name].asnumpy(), err_msg=name)


def test_weights_of_a_checkpoint_are_the_averages_for_whoever_loads_them(tmp_path):
    """eval.py, export.py, predict.py, report.py and runs that start from it all read with `load_weights`."""
    task, path = tiny_task(ema_decay=0.9), tmp_path / "averaged.ckpt"
    network = task.network()
    step = loop.build_step(task, task.config, CPU, network, 1)
    names = ("classifier.bias", "backbone.bn1.moving_mean")
    for number, name in enumerate(names):
        average = step.average.network.parameters_dict()["state.average." + name]
        average.set_data(Tensor(np.full(average.shape, 3 + number, np.float32)))
    checkpoint.save(path, step, to_metadata("mindseg", task.config.conventions()))
    loaded = task.network()
    report = load_weights(loaded, path)
    assert [loaded.parameters_dict()[name].asnumpy().max() for name in names] == [3, 4]
    assert {f"state.raw.{name}" for name in names} <= set(report.ignored)
    checkpoint.restore(step, checkpoint.load(path)[0], path)
    assert network.parameters_dict()["classifier.bias"].asnumpy().max() == 0
