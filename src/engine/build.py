"""The training step of a configuration: network, optimizer, learning rates, loss scale and average put together."""
from __future__ import annotations

import logging

import mindspore as ms
import mindspore.nn as nn
import numpy as np

from src.contract import Task
from src.engine import runtime
from src.engine.averaging import WeightAverage
from src.engine.float_status import overflow_register
from src.engine.optim import AdamW, momentum_optimizer, parameter_groups
from src.engine.precision import apply_amp, resolved_level
from src.engine.schedules import learning_rates
from src.engine.settings import Settings
from src.engine.train_step import LossScale, TrainStep

log = logging.getLogger(__name__)


def build_step(task: Task, settings: Settings, machine: runtime.Runtime, network: nn.Cell, per_epoch: int) -> TrainStep:
    """The training step of a run, ready for batches."""
    level = resolved_level(settings.amp_level, machine.device_target)
    apply_amp(network, level, machine.device_target)
    rates = update_rates(settings, per_epoch, machine.world_size)
    optimizer = make_optimizer(settings, network, rates)
    average = None
    if settings.ema_decay:
        copy = task.network()
        apply_amp(copy, level, machine.device_target)
        average = WeightAverage(network, copy, decay=settings.ema_decay, statistics=moving_statistics(network))
    # Float32 needs no fixed scale: left out, it costs no pass over the gradients.
    factor = settings.loss_scale if level != "O0" or settings.dynamic_loss_scale else 1.0
    scale = LossScale(factor, settings.dynamic_loss_scale, settings.loss_scale_window)
    step = TrainStep(task.training_cell(network), optimizer, loss_scale=scale, clip_norm=settings.clip_norm,
                     accumulate_steps=settings.accumulate_steps, world_size=machine.world_size,
                     statistics=moving_statistics(network, nn.BatchNorm2d), average=average,
                     float_status=overflow_register(settings.overflow_check, machine.device_target),
                     in_chunks=machine.data_sink, log_grad_norms=settings.log_grad_norms)
    step.rates = rates
    return step.set_train()


def make_optimizer(settings: Settings, network: nn.Cell, rates: np.ndarray) -> nn.Optimizer:
    """The optimizer of what is not frozen; `rates` has one learning rate per update."""
    groups = {"weight_decay": settings.weight_decay, "layer_decay": settings.layer_decay,
              "bias_decay": settings.bias_decay}
    parameters = network.trainable_params()
    if settings.optimizer == "adamw":
        return AdamW(parameter_groups(parameters, rates, **groups), rates, betas=settings.adam_betas,
                     eps=settings.adam_eps)
    return momentum_optimizer(parameters, rates, momentum=settings.momentum, **groups)


def update_rates(settings: Settings, per_epoch: int, world_size: int) -> np.ndarray:
    """(updates,) float32 learning rate of every update of a run, for epochs of `per_epoch` batches."""
    base_lr, accumulated = settings.base_lr, settings.accumulate_steps
    if settings.scale_lr:
        base_lr *= world_size * accumulated
        log.info("learning rate %g: base_lr %g x %d processes x %d accumulated batches", base_lr, settings.base_lr,
                 world_size, accumulated)
    updates = max(per_epoch * settings.epochs // accumulated, 1)
    decaying = settings.lr_epochs and per_epoch * settings.lr_epochs // accumulated + settings.warmup_steps
    return learning_rates(settings.lr_type, base_lr=base_lr, total_steps=decaying or updates,
                          warmup_steps=settings.warmup_steps, warmup_ratio=settings.warmup_ratio,
                          decay_steps=settings.lr_decay_step, decay_rate=settings.lr_decay_rate,
                          milestones=tuple(m * per_epoch // accumulated for m in settings.lr_milestones))[:updates]


def moving_statistics(network: nn.Cell, kind: type[nn.Cell] = nn.Cell) -> list[ms.Parameter]:
    """The running statistics that training updates, those of normalisation layers of this kind that are not frozen."""
    return [statistic for _, cell in network.cells_and_names() if isinstance(cell, kind)
            and hasattr(cell, "moving_mean") and getattr(cell, "use_batch_statistics", None) is not False
            for statistic in (cell.moving_mean, cell.moving_variance)]
