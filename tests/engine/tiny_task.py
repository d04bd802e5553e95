"""The smallest task: a line through points, so that training runs take a second. `src/engine` knows no model."""
from __future__ import annotations

import json

import mindspore as ms
import mindspore.nn as nn
import numpy as np
from mindspore import Parameter, Tensor, ops

from src.contract import Record
from src.engine.runtime import Runtime
from src.engine.settings import Settings

CPU = Runtime("CPU")


class Points:
    """Dataset of `count` points (x0, x1) -> y as JSON bytes; point `bad` is (3, 3) -> `value`."""

    name = "points"

    def __init__(self, count: int = 10, bad: int = -1, value: float = float("nan")):
        rng = np.random.default_rng(0)
        self.x = rng.normal(size=(count, 2)).round(3)
        self.y = (self.x @ [1.0, -2.0]).round(3)
        if bad >= 0:
            self.x[bad], self.y[bad] = 3.0, value

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, sample_ids):
        for i in map(int, sample_ids):
            yield Record(i, f"point{i}", json.dumps(self.x[i].tolist()).encode(), json.dumps(self.y[i]).encode(),
                         f"points:{i}")


def jitter(image: bytes, target: bytes, rng: np.random.Generator) -> tuple:
    x = np.array(json.loads(image), np.float32)
    return (x + rng.normal(0, 0.01, 2)).astype(np.float32), np.float32(json.loads(target))


class Linear(nn.Cell):
    def __init__(self, weight=(0.5, 0.5)):
        super().__init__()
        self.weight = Parameter(Tensor(np.array(weight, np.float32)), name="weight")

    def construct(self, x):
        return (x * self.weight).sum(-1)


class SquaredError(nn.Cell):
    """(x, y, ...) -> (mean squared error, mean absolute error)."""

    def __init__(self, network):
        super().__init__(auto_prefix=False)
        self.network = network

    def construct(self, x, y, *rest):
        error = self.network(x) - y
        return ops.square(error).mean(), ops.abs(error).mean()


class NegativeError:
    """Evaluator of numbers: `score` is minus the mean absolute error."""

    def __init__(self):
        self.errors = []

    def update(self, prediction, target):
        self.errors.append(abs(prediction - json.loads(target)))

    def compute(self):
        return {"score": -float(np.mean(self.errors)), "images": len(self.errors), "list": self.errors}


class TinyTask:
    columns = ("x", "y", "sample_id", "epoch")
    loss_names = ("squared", "absolute")
    metric = "score"
    class_names = ("line",)
    classifier = ()
    may_be_missing = ()

    def __init__(self, train: Points | None = None):
        self.train = train or Points()

    def dataset(self, split):
        return self.train

    def train_augmentation(self):
        return jitter

    def network(self):
        return Linear()

    def training_cell(self, network):
        return SquaredError(network)

    def predictor(self, network):
        return lambda records: (float(network(Tensor(np.array([json.loads(r.image)], np.float32))).asnumpy()[0])
                                for r in records)

    def evaluator(self):
        return NegativeError()

    def activation_bytes(self):
        return 1000

    def memory_flags(self):
        return "--batch_size"


def settings(folder, **values) -> Settings:
    """Two samples a batch, five steps an epoch, no weight decay."""
    return Settings(**{"model": "line", "device_target": "CPU", "batch_size": 2, "epochs": 2, "base_lr": 0.05,
                       "loss_scale": 1.0, "weight_decay": 0.0, "save_steps": 3, "output_dir": str(folder)} | values)


def weight(checkpoint_file) -> list[float]:
    return ms.load_checkpoint(str(checkpoint_file))["weight"].asnumpy().tolist()
