"""Optimizers: Momentum and AdamW, with weight decay and learning rates by groups of parameters."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import mindspore as ms
import mindspore.nn as nn
import numpy as np
from mindspore import Parameter, ops

from src.layers.stages import stages_behind

NORMALISATION = ("gamma", "beta")  # last parts of the names of scales and shifts


def parameter_groups(parameters: Sequence[Parameter], learning_rates: np.ndarray, *, weight_decay: float,
                     layer_decay: float = 1.0, bias_decay: bool = True) -> list[dict[str, Any]]:
    """Groups of parameters with their weight decay and, under a layer decay, their learning rates.

    The scales and shifts of normalisation layers have no weight decay, as in the model zoo.

    Args:
        parameters: the trainable ones.
        learning_rates: (updates,) float32, one per optimizer update.
        layer_decay: each stage of the backbone learns at this fraction of the rate of the stage behind it (Clark et
            al. 2020, ELECTRA; by stage as torchvision names them), the last one at this fraction of `learning_rates`.
        bias_decay: whether biases have weight decay.
    """
    spared = NORMALISATION if bias_decay else (*NORMALISATION, "bias")
    groups: dict[tuple[float, float], list[Parameter]] = {}
    for parameter in parameters:
        decay = 0.0 if parameter.name.rsplit(".", 1)[-1] in spared else weight_decay
        groups.setdefault((layer_decay ** stages_behind(parameter.name), decay), []).append(parameter)
    rates = {scale: {"lr": (learning_rates * scale).tolist()} if layer_decay < 1 else {} for scale, _ in groups}
    return [{"params": members, "weight_decay": decay, **rates[scale]} for (scale, decay), members in groups.items()
            ] + [{"order_params": list(parameters)}]


def momentum_optimizer(parameters: Sequence[Parameter], learning_rates: np.ndarray, *, momentum: float,
                       weight_decay: float, layer_decay: float = 1.0, bias_decay: bool = True) -> nn.Momentum:
    """nn.Momentum; see `parameter_groups` for the arguments."""
    groups = parameter_groups(parameters, learning_rates, weight_decay=weight_decay, layer_decay=layer_decay,
                              bias_decay=bias_decay)
    return nn.Momentum(groups, learning_rate=learning_rates.tolist(), momentum=momentum)


class AdamW(nn.Optimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019), bias-corrected; the formula is PyTorch's.

    With c = 1 - beta^t at update t:

        weight *= 1 - rate * decay
        weight -= rate * (m / c1) / (sqrt(v / c2) + eps)

    MindSpore's `nn.AdamWeightDecay` leaves the bias uncorrected. The operator `Adam` has its epsilon inside, beside
    sqrt(v), so it is given rate * sqrt(c2) / c1 and eps * sqrt(c2).

    Args:
        groups: see `parameter_groups`.
        learning_rates: (updates,) float32.
        betas: decay of the mean m of the gradients and of the mean v of their squares.
        eps: added to sqrt(v / c2).
    """

    def __init__(self, groups: list[dict[str, Any]], learning_rates: np.ndarray, *,
                 betas: Sequence[float] = (0.9, 0.999), eps: float = 1e-8):
        super().__init__(learning_rates.tolist(), groups)
        self.betas = tuple(betas)
        self.log_betas = tuple(math.log(beta) for beta in betas)
        self.eps = eps
        self.means = self._parameters.clone(prefix="state.mean", init="zeros")
        self.squares = self._parameters.clone(prefix="state.square", init="zeros")
        self.count = len(self._parameters)

    @property
    def probe_state(self) -> dict[str, float]:
        """Squares whose roots can be taken, see `src/compile_cache/probe.py`."""
        return {square.name: 1.0 for square in self.squares}

    def construct(self, gradients):
        rates, decays = self.get_lr(), self.get_weight_decay()
        if not self.is_group_lr:
            rates = (rates,) * self.count
        updates = ops.assign_add(self.global_step, self.global_step_increase_tensor).astype(ms.float32).reshape(())
        mean_correction = -ops.expm1(updates * self.log_betas[0])
        root = ops.sqrt(-ops.expm1(updates * self.log_betas[1]))
        update = ops.partial(_update, self.betas, root / mean_correction, self.eps * root)
        return self.hyper_map(update, rates, decays, self.decay_flags, self._parameters, self.means, self.squares,
                              gradients)


_update = ops.MultitypeFuncGraph("adamw")


@_update.register("Tuple", "Tensor", "Tensor", "Tensor", "Tensor", "Bool", "Tensor", "Tensor", "Tensor", "Tensor")
def _update_tensor(betas, factor, eps, rate, decay, decays, weight, mean, square, gradient):
    if decays:
        gradient = ops.depend(gradient, ops.assign(weight, weight * (1.0 - rate * decay)))
    return ops.Adam()(weight, mean, square, 0.0, 0.0, rate * factor, betas[0], betas[1], eps, gradient)
