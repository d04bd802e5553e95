"""Training in chunks, as on a device: the same weights, and everything that is due is done, at the end of its chunk."""
from types import SimpleNamespace

import numpy as np
import pytest
from mindspore import Tensor

from src.contract import InputError
from src.data import order
from src.engine import checkpoint, loop
from src.engine.callbacks import Checkpoints, Evaluation, Stopped
from src.engine.metrics_log import MetricsLog
from src.engine.position import Position, sink_chunks
from src.engine.runtime import Runtime
from src.engine.step_recorder import StepRecorder
from tests.engine.sink_model import SinkModel
from tests.engine.test_loop import lines
from tests.engine.tiny_task import CPU, Points, TinyTask, settings, weight


class SinkRuntime(Runtime):
    """A CPU that takes steps in chunks."""

    data_sink = True


@pytest.mark.parametrize(("steps", "sink_size", "accumulated", "expected"), [
    (12300, 100, 1, [(123, 100)]), (41, 100, 1, [(1, 41)]), (101, 100, 1, [(1, 100), (1, 1)]),
    (10007, 100, 1, [(100, 100), (1, 7)]), (7, 1, 1, [(7, 1)]), (250, 100, 3, [(2, 99), (1, 52)]),
    (20, 7, 8, [(2, 7), (1, 6)])])
def test_chunks_are_of_sink_size_and_the_last_one_is_what_is_left(steps, sink_size, accumulated, expected):
    chunks = sink_chunks(steps, sink_size, accumulated)
    assert chunks == expected
    assert sum(n * size for n, size in chunks) == steps


class Cell:
    accumulate_steps = 1
    dynamic = False


class Folder:
    """Notes what would be saved."""

    def __init__(self):
        self.steps = []

    def path(self, epoch, step):
        return epoch, step

    def save(self, cell, metadata, epoch, step):
        self.steps.append((epoch, step))


def drive(tmp_path, *, per_epoch, epochs, interval, sink_size, save_steps=10 ** 9, log_steps=0, start=0):
    """Run the real callbacks through a run without its arithmetic: (evaluated at, saved at, logged at) as steps."""
    position = Position(per_epoch, per_epoch * epochs, start)
    metrics = MetricsLog(tmp_path, start)
    metrics.write = lambda kind, position, numbers: None  # 12,300 lines are not what is tested
    logged, evaluated, folder = [], [], Folder()
    metrics.write_losses = lambda line: logged.append(position.step)
    recorder = StepRecorder(position, loss_names=("loss",), learning_rate=lambda: 0.1, metrics=metrics,
                            log_steps=log_steps)
    checkpoints = Checkpoints(folder, Cell(), position, save_steps=save_steps, describe=dict, machine=CPU)
    evaluation = Evaluation(lambda: evaluated.append(position.step) or {"score": -len(evaluated)}, checkpoints, metrics,
                            metric="score", interval=interval)
    evaluation.scores[0] = 0.0
    outputs = [Tensor(np.float32(v)) for v in (1, 1, 1, 1, 1)]
    for count, size in sink_chunks(per_epoch * epochs - start, sink_size):
        recorder.on_train_begin(None)
        for chunk in range(1, count + 1):
            arguments = SimpleNamespace(net_outputs=outputs, cur_step_num=chunk * size)
            context = SimpleNamespace(original_args=lambda arguments=arguments: arguments)
            recorder.on_train_step_begin(context)
            for callback in (recorder, checkpoints, evaluation):
                callback.on_train_step_end(context)
    metrics.close()
    saved = [(epoch - 1) * per_epoch + step for epoch, step in folder.steps]
    return evaluated, saved, logged


def chunk_ends(total, sink_size, start=0):
    return [*range(start + sink_size, total, sink_size), total]


def first_end_after(due, ends):
    return sorted({min(end for end in ends if end >= step) for step in due})


@pytest.mark.parametrize(("per_epoch", "epochs", "interval", "sink_size"), [
    (41, 300, 10, 100), (41, 300, 10, 41), (41, 300, 10, 1000), (41, 30, 1, 7), (5, 7, 2, 3), (5, 7, 3, 100),
    (1, 50, 4, 3), (97, 11, 5, 97), (97, 11, 5, 1), (10, 10, 3, 10), (3, 40, 1, 8)])
def test_nothing_that_is_due_is_lost_in_a_chunk(tmp_path, per_epoch, epochs, interval, sink_size):
    total = per_epoch * epochs
    ends = chunk_ends(total, sink_size)
    evaluated, saved, logged = drive(tmp_path, per_epoch=per_epoch, epochs=epochs, interval=interval,
                                     sink_size=sink_size, save_steps=13, log_steps=17)
    every = [*range(interval * per_epoch, total, interval * per_epoch), total]
    assert evaluated == first_end_after(every, ends)
    assert saved == first_end_after([*range(13, total, 13), total], ends)
    assert logged == first_end_after([*range(17, total, 17), *range(per_epoch, total + 1, per_epoch)], ends)


def test_the_zoos_41_steps_and_300_epochs_get_all_30_evaluations(tmp_path):
    evaluated, *_ = drive(tmp_path, per_epoch=41, epochs=300, interval=10, sink_size=100)
    assert len(evaluated) == 30
    assert all(0 <= step - 410 * k < 100 for k, step in enumerate(evaluated, 1))


@pytest.fixture
def sinking(monkeypatch, graph_mode):
    monkeypatch.setattr(loop, "Model", SinkModel)
    monkeypatch.setattr(SinkModel, "calls", [])
    return SinkRuntime("CPU")


@pytest.fixture(scope="module")
def stepwise(tmp_path_factory):
    """The weights after a run of ten steps with the host at every step."""
    from tests.conftest import running_mode

    folder = tmp_path_factory.mktemp("stepwise")
    with running_mode("GRAPH"):
        return weight(loop.train(TinyTask(), settings(folder), CPU))


def test_a_run_in_chunks_ends_with_the_same_bits(sinking, stepwise, tmp_path):
    last = loop.train(TinyTask(), settings(tmp_path, sink_size=3, save_steps=5, eval_interval=1), sinking)
    assert SinkModel.calls == [(3, 3), (1, 1)]
    assert weight(last) == stepwise
    assert [line["step"] for line in lines(tmp_path)] == [3, 6, 9, 10]
    assert [line["step"] for line in lines(tmp_path, "eval")] == [6, 10]
    assert sorted(p.name for p in tmp_path.glob("line-*.ckpt")) == ["line-2_1.ckpt", "line-2_5.ckpt"]


def test_a_run_in_chunks_is_resumed_with_another_size_and_catches_its_evaluation_up(sinking, stepwise, tmp_path):
    loop.train(TinyTask(), settings(tmp_path, sink_size=3, save_steps=5, eval_interval=1), sinking)
    (tmp_path / "line-2_5.ckpt").unlink()
    kept = [line for line in (tmp_path / "metrics.jsonl").read_text().splitlines(True) if '"eval"' not in line]
    (tmp_path / "metrics.jsonl").write_text("".join(kept))  # killed in the evaluation after step 6, of epoch 1
    assert checkpoint.load(tmp_path / "line-2_1.ckpt")[1]["previous_step"] == 3
    last = loop.train(TinyTask(), settings(tmp_path, sink_size=2, save_steps=5, eval_interval=1, resume=True), sinking)
    assert weight(last) == stepwise
    assert [line["step"] for line in lines(tmp_path, "eval")] == [6, 10]


def test_a_signal_in_the_first_of_two_calls_of_model_ends_the_run(sinking, tmp_path, monkeypatch):
    monkeypatch.setattr(Runtime, "any", lambda self, flag: True)
    with pytest.raises(Stopped) as stopped:
        loop.train(TinyTask(), settings(tmp_path, sink_size=4), sinking)
    assert SinkModel.calls == [(2, 4)]
    assert stopped.value.checkpoint == tmp_path / "line-1_4.ckpt"


def test_a_gradient_that_is_not_finite_inside_a_chunk_ends_the_run(sinking, tmp_path):
    """Point 4 is not in the batch that ends the chunk: the losses that the host sees are fine."""
    task = TinyTask(Points(bad=4))
    bad_step = next(step for step in range(1, 6) if 4 in order.rank_order(
        10, seed=1, epoch=0, batch_size=2)[2 * step - 2:2 * step])
    assert bad_step < 5
    message = (r"the gradient is not finite at one of the 5 steps up to 5, where the last one has: squared=\d.*"
               "replay-5.ckpt; repeat the steps one by one from the last checkpoint with --resume --sink_size=1")
    with pytest.raises(InputError, match=message):
        loop.train(task, settings(tmp_path, sink_size=5), sinking)
    with pytest.raises(InputError, match=f"the loss is not finite at step {bad_step} "):
        loop.train(task, settings(tmp_path, sink_size=1, resume=True), sinking)


def test_steps_that_a_dynamic_scale_skips_inside_chunks_are_counted(sinking, tmp_path):
    options = {"loss_scale": 2.0 ** 126, "dynamic_loss_scale": True}
    loop.train(TinyTask(Points(bad=4, value=30.0)), settings(tmp_path / "chunks", sink_size=5, **options), sinking)
    loop.train(TinyTask(Points(bad=4, value=30.0)), settings(tmp_path / "steps", sink_size=1, **options), sinking)
    chunks, steps = lines(tmp_path / "chunks"), lines(tmp_path / "steps")
    assert [line["skipped_steps"] for line in chunks] == [steps[4]["skipped_steps"], steps[9]["skipped_steps"]]
    assert chunks[-1]["skipped_steps"] > 0
    assert chunks[-1]["loss_scale"] == steps[-1]["loss_scale"]
