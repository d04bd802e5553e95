"""Momentum with grouped weight decay."""
from __future__ import annotations

from collections.abc import Sequence

import mindspore.nn as nn
import numpy as np
from mindspore import Parameter

NO_DECAY = ("gamma", "beta")


def momentum_optimizer(parameters: Sequence[Parameter], learning_rates: np.ndarray, *, momentum: float,
                       weight_decay: float) -> nn.Momentum:
    """nn.Momentum without weight decay on the scales and shifts of normalisation layers, as in the model zoo.

    Args:
        parameters: the trainable ones.
        learning_rates: (updates,) float32, one per optimizer update.
    """
    spared = [p for p in parameters if p.name.rsplit(".", 1)[-1] in NO_DECAY]
    decayed = [p for p in parameters if p.name.rsplit(".", 1)[-1] not in NO_DECAY]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": spared, "weight_decay": 0.0}]
    groups = [g for g in groups if g["params"]] + [{"order_params": list(parameters)}]
    return nn.Momentum(groups, learning_rate=learning_rates.tolist(), momentum=momentum)
