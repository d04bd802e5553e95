"""A small DeepLabV3: ResNet-18, three classes, 33 pixels; real in every layer."""
from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from src.deeplabv3.config import DeepLabV3Config
from src.deeplabv3.task import DeepLabV3Task


def tiny_task(**values) -> DeepLabV3Task:
    return DeepLabV3Task(DeepLabV3Config(**{
        "device_target": "CPU", "backbone": "resnet18", "num_classes": 3, "crop_size": 33, "batch_size": 2,
        "epochs": 1, "loss_scale": 1.0, "base_lr": 0.01} | values))


def tiny_batch(count: int = 2, seed: int = 0) -> tuple[Tensor, ...]:
    """image, label (a row is ignored), sample_id, epoch."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, (count, 33, 33)).astype(np.int32)
    label[:, 0] = 255
    return (Tensor(rng.normal(size=(count, 3, 33, 33)).astype(np.float32)), Tensor(label),
            Tensor(np.arange(count, dtype=np.int32)), Tensor(np.zeros(count, np.int32)))


def statistics(network) -> dict[str, np.ndarray]:
    return {p.name: p.asnumpy().copy() for p in network.get_parameters() if "moving_" in p.name}


@pytest.fixture(autouse=True)
def compiled(graph_mode):
    """All tests of this folder but those that ask for `eager`."""


@pytest.fixture(scope="session")
def tiny():
    """(task, network) of output stride 16; tests leave its parameters as they are."""
    ms.set_seed(1)
    task = tiny_task()
    return task, task.network()
