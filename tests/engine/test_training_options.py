"""Options of training in whole runs: bits of resumed runs, and what is refused."""
import json
import logging

import mindspore.nn as nn
import numpy as np
import pytest
from mindspore import Tensor

from src.config import build
from src.contract import InputError
from src.engine import checkpoint, loop
from src.engine.optim import momentum_optimizer
from src.engine.settings import Settings
from src.engine.step_recorder import numbers_of
from src.engine.train_step import TrainStep
from tests.engine.tiny_task import CPU, Linear, TinyTask, settings

pytestmark = pytest.mark.usefixtures("graph_mode")
ADAMW = {"optimizer": "adamw", "base_lr": 0.01, "layer_decay": 0.5, "weight_decay": 0.1, "clip_norm": 1.0,
         "dynamic_loss_scale": True, "loss_scale": 1024.0}
STATE = {"weight", "state.mean.weight", "state.square.weight", "global_step", "state.loss_scale"}


@pytest.mark.parametrize(("options", "state"), [
    (ADAMW, STATE),
    (ADAMW | {"accumulate_steps": 3, "ema_decay": 0.9}, STATE | {"state.raw.weight", "state.accumulated.weight"})])
def test_a_resumed_run_ends_with_the_bits_of_the_undisturbed_one(options, state, tmp_path):
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    last = loop.train(TinyTask(), settings(whole, **options), CPU)
    torn.mkdir()
    (torn / "line-1_3.ckpt").write_bytes((whole / "line-1_3.ckpt").read_bytes())
    again = loop.train(TinyTask(), settings(torn, resume=True, **options), CPU)
    ours, theirs = (checkpoint.load(path)[0] for path in (again, last))
    assert ours.keys() == theirs.keys() >= state
    assert [name for name, value in ours.items() if value.asnumpy().tobytes() != theirs[name].asnumpy().tobytes()] == []


@pytest.mark.parametrize(("values", "message"), [
    ({"ema_decay": 1.0}, "--ema_decay=1.0: .*less than 1"),
    ({"ema_decay": -0.1}, "--ema_decay=-0.1: .*greater than or equal to 0"),
    ({"layer_decay": 0.0}, "--layer_decay=0.0: .*greater than 0"),
    ({"layer_decay": 1.5}, "--layer_decay=1.5: .*less than or equal to 1"),
    ({"optimizer": "adam"}, "--optimizer='adam': .*'momentum' or 'adamw'"),
    ({"optimizer": "adamw"}, "optimizer=adamw: base_lr=0.015, the default, is of momentum; .* Give --base_lr=0.0001"),
    ({"adam_betas": (0.9, 1.0), "optimizer": "adamw", "base_lr": 1e-3}, "--adam_betas.*less than 1"),
    ({"adam_betas": (0.5, 0.9)}, r"adam_betas=\(0.5, 0.9\) has no effect without optimizer=adamw; give"),
    ({"early_stop_patience": -1}, "--early_stop_patience=-1: .*greater than or equal to 0"),
    ({"early_stop_patience": 2}, "early_stop_patience=2 counts evaluations .* give --eval_interval=1 too"),
    ({"adam_eps": 0.1}, "adam_eps=0.1 has no effect without optimizer=adamw; give --optimizer=adamw too"),
])
def test_values_that_cannot_work_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        build(Settings, values, {name: f"--{name}" for name in values})


def test_the_compile_cache_tells_options_apart_that_shape_the_graph():
    shaping = Settings().shaping().keys()
    assert {"ema_decay", "optimizer", "adam_betas", "adam_eps", "layer_decay", "bias_decay", "freeze_at",
            "log_grad_norms"} <= shaping
    assert "profile" not in shaping


# --- early stopping ---------------------------------------------------------------------------------------------------

class Scores:
    """An evaluator that returns given scores one after the other, whatever is predicted."""

    def __init__(self, scores):
        self.scores = scores

    def update(self, prediction, target):
        pass

    def compute(self):
        return {"score": self.scores.pop(0)}


class Scored(TinyTask):
    def __init__(self, *scores: float):
        super().__init__()
        self.scores = list(scores)

    def evaluator(self):
        return Scores(self.scores)


def stopping(folder, **values):
    return settings(folder, **{"epochs": 6, "eval_interval": 1, "early_stop_patience": 2, "save_steps": 5} | values)


def evaluations(folder) -> list[float]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line["score"] for line in lines if line["kind"] == "eval"]


def test_a_run_ends_after_as_many_evaluations_without_a_better_score(tmp_path, caplog):
    caplog.set_level(logging.INFO, "src")
    last = loop.train(Scored(0.1, 0.5, 0.5, float("nan"), 0.9), stopping(tmp_path), CPU)
    assert last == tmp_path / "line-4_5.ckpt"
    assert ("early stop after epoch 4, step 20: 2 evaluations have not raised score 0.5000 of step 10; its checkpoint "
            "is line_best.ckpt") in caplog.text
    assert checkpoint.load(tmp_path / "line_best.ckpt")[1]["step"] == 10
    assert loop.train(Scored(), stopping(tmp_path, resume=True), CPU) == last
    further = loop.train(Scored(0.6, 0.4), stopping(tmp_path, resume=True, early_stop_patience=3), CPU)
    assert further == tmp_path / "line-6_5.ckpt"
    assert checkpoint.load(tmp_path / "line_best.ckpt")[1]["step"] == 25


def test_better_scores_start_the_count_again(tmp_path):
    assert loop.train(Scored(0.5, 0.4, 0.6, 0.5, 0.7, 0.1), stopping(tmp_path), CPU).name == "line-6_5.ckpt"


@pytest.mark.parametrize("log_is_kept", [True, False])
def test_a_resumed_run_stops_where_the_undisturbed_one_did(log_is_kept, tmp_path):
    """The checkpoint of step 15 was written before the evaluation of that step, whose line is kept or lost."""
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    scores = (0.5, 0.4, 0.3, 0.9)
    assert loop.train(Scored(*scores), stopping(whole), CPU).name == "line-3_5.ckpt"
    for step, left in ((10, scores[1:]), (15, scores[2:])):
        folder = torn / str(step)
        folder.mkdir(parents=True)
        name = f"line-{step // 5}_5.ckpt"
        (folder / name).write_bytes((whole / name).read_bytes())
        if log_is_kept:
            (folder / "metrics.jsonl").write_text((whole / "metrics.jsonl").read_text())
            left = left[1:]
        assert loop.train(Scored(*left), stopping(folder, resume=True), CPU).name == "line-3_5.ckpt"
        assert evaluations(folder)[-1] == 0.3


# --- norms of gradients -----------------------------------------------------------------------------------------------

class Backbone(nn.Cell):
    def __init__(self):
        super().__init__()
        self.conv1, self.layer2 = Linear((1.0, 2.0)), Linear((0.5, 0.5))


class Parts(nn.Cell):
    """A sum of three parts, whose gradients are x, 2 x and 3 x."""

    def __init__(self):
        super().__init__()
        self.backbone, self.head = Backbone(), Linear((3.0, 4.0))

    def construct(self, x):
        backbone = self.backbone
        return (backbone.conv1(x) + 2 * backbone.layer2(x) + 3 * self.head(x)).sum(), x.sum()


def test_norms_of_gradients_are_those_of_each_part_and_change_nothing_else():
    network = Parts()
    weights, results = network.trainable_params(), []
    before = [w.asnumpy().copy() for w in weights]
    for logged in (False, True):
        for parameter, value in zip(weights, before):
            parameter.set_data(Tensor(value))
        optimizer = momentum_optimizer(weights, np.full(9, 0.1, np.float32), momentum=0.9, weight_decay=0.0)
        step = TrainStep(network, optimizer, clip_norm=1.0, accumulate_steps=2, log_grad_norms=logged).set_train()
        outputs = [numbers_of(step(Tensor(np.array([[3.0, 4.0]], np.float32)))) for _ in range(2)]
        results.append([w.asnumpy().tobytes() for w in weights])
    assert step.result_names[3:] == ("grad_norm", "grad_norm_stem", "grad_norm_layer2", "grad_norm_head")
    assert outputs[0][5:] == [0, 0, 0, 0]
    assert outputs[1][5:] == pytest.approx([5 * 14 ** 0.5, 5, 10, 15])
    assert results[0] == results[1]


def test_norms_of_gradients_are_in_the_log_and_in_tensorboard(tmp_path):
    loop.train(TinyTask(), settings(tmp_path, log_grad_norms=True), CPU)
    (line, *_) = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert line["grad_norm_weight"] == pytest.approx(line["grad_norm"]) != 0
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"train/grad_norm_weight" in events.read_bytes()
