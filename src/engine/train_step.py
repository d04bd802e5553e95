"""One training step as a cell: losses, scaled gradients, accumulation, overflow check, Momentum update.

`mindspore.train.Model` calls it with the columns of a batch; the callbacks read what it returns.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mindspore as ms
import mindspore.nn as nn
import numpy as np
from mindspore import Parameter, Tensor, ops

from src.engine.averaging import WeightAverage
from src.layers.stages import stage_of

STATE_PREFIX = "state."  # of the parameters that belong to the training state, not to the network
LARGEST_GROWN_SCALE = 2.0 ** 32  # growth stops here; float16 gradients overflow long before
RESULTS = ("applied", "finite", "loss_scale", "grad_norm")  # what a step returns after the losses


@dataclass(frozen=True)
class LossScale:
    """How the loss is scaled before the backward pass, so that small float16 gradients survive.

    Attributes:
        value: the factor, at the start.
        dynamic: halve it when gradients overflow (the step is skipped), double it after `window` good steps in a row.
    """

    value: float = 1.0
    dynamic: bool = False
    window: int = 1000


class TrainStep(nn.Cell):
    """Batch columns -> (*losses, applied, finite, loss_scale, grad_norm), all scalars but, where asked for, grad_norm.

    Weights change only when every gradient is `finite`; `applied` says whether they did (it is also False in the steps
    between two updates of an accumulation). `grad_norm` is the norm of the averaged gradients before clipping; 0 where
    no update was due.

    Args:
        losses: cell, batch columns -> tuple of float32 scalars; the first is minimised.
        optimizer: updates `optimizer.parameters`.
        loss_scale: see `LossScale`.
        accumulate_steps: batches whose gradients are averaged for one update.
        clip_norm: largest global norm of the gradients, 0 for none.
        world_size: number of ranks. Gradients are averaged over them; an overflow on one of them skips the step on all.
        statistics: running statistics of normalisation layers, averaged over the ranks after every step, so that all
            ranks hold the same network whenever it is saved or evaluated.
        float_status: where overflows leave no Inf and NaN in the gradients, the register that shows them (see
            `src/engine/float_status.py`); "finite" is then what the registers of all ranks say.
        in_chunks: the host sees only the last step of several, so `skipped` counts on the device those that were not
            finite.
        average: of the weights, moved after every update.
        log_grad_norms: grad_norm is (1 + S,): the norm of all gradients, and those of the S parts of the network that
            `stages` names.

    Attributes:
        stages: see `log_grad_norms`; else empty.
    """

    def __init__(self, losses: nn.Cell, optimizer: nn.Optimizer, *, loss_scale: LossScale = LossScale(),
                 accumulate_steps: int = 1, clip_norm: float = 0.0, world_size: int = 1,
                 statistics: Sequence[Parameter] = (), float_status: nn.Cell | None = None,
                 in_chunks: bool = False, average: WeightAverage | None = None,
                 log_grad_norms: bool = False):
        super().__init__(auto_prefix=False)
        self.losses = losses
        self.optimizer = optimizer
        self.weights = optimizer.parameters
        self.dynamic = loss_scale.dynamic
        self.window = loss_scale.window
        self.scaled = loss_scale.dynamic or loss_scale.value != 1.0
        self.accumulate_steps = accumulate_steps
        self.clip_norm = clip_norm
        self.float_status = float_status
        self.average = average
        places = [stage_of(weight.name) for weight in self.weights]
        self.stages = tuple(dict.fromkeys(places)) if log_grad_norms else ()
        self.members = tuple(tuple(i for i, place in enumerate(places) if place == stage) for stage in self.stages)
        self.no_norm = Tensor(np.zeros(1 + len(self.stages) if self.stages else (), np.float32))
        self.loss_scale = _state("loss_scale", loss_scale.value, np.float32)
        self.good_steps = _state("good_steps", 0, np.int32)
        self.skipped = _state("skipped", 0, np.int32) if in_chunks else None
        self.gradient = ops.value_and_grad(self.scaled_losses, None, self.weights, has_aux=True)
        self.reducer = nn.DistributedGradReducer(self.weights, mean=True,
                                                 degree=world_size) if world_size > 1 else nn.Identity()
        if accumulate_steps > 1:
            self.micro_step = _state("micro_step", 0, np.int32)
            self.accumulated = self.weights.clone(prefix=STATE_PREFIX + "accumulated", init="zeros")
            self.overflows_seen = _state("overflows_seen", 0, np.float32) if float_status else None
        self.hyper_map = ops.HyperMap()
        self.world_size = world_size
        self.statistics = ms.ParameterTuple(statistics) if world_size > 1 else ()
        self.add_ranks = ops.AllReduce() if world_size > 1 else None

    @property
    def probe_state(self) -> dict[str, float]:
        """State with which a call updates the weights, see `src/compile_cache/probe.py`."""
        return {STATE_PREFIX + "micro_step": self.accumulate_steps - 1, **getattr(self.optimizer, "probe_state", {})}

    @property
    def result_names(self) -> tuple[str, ...]:
        """Of the numbers that a step returns after the losses."""
        return (*RESULTS, *(f"{RESULTS[-1]}_{stage}" for stage in self.stages))

    def scaled_losses(self, *batch):
        losses = self.losses(*batch)
        return losses[0] * self.loss_scale, losses

    def construct(self, *batch):
        if self.float_status is not None:
            batch = self.float_status.cleared(batch)
        (_, losses), gradients = self.gradient(*batch)
        overflows = Tensor(0.0, ms.float32)
        if self.float_status is not None:
            overflows = self.overflows_of_all_ranks(gradients + losses)
            gradients = ops.depend(gradients, overflows)  # what comes below is no part of the check
        finite, applied, norm = self.use(gradients, overflows)
        if self.statistics:
            norm = ops.depend(norm, self.agree_on_statistics())
        if self.average is not None:  # the statistics that it takes in are those of all ranks
            norm = self.move_average(applied, norm)
        scale = self.loss_scale.value()
        if self.dynamic:
            scale = ops.depend(scale, self.adapt_scale(finite))
        if self.skipped is not None:
            scale = ops.depend(scale, ops.assign_add(self.skipped, ops.logical_not(finite).astype(ms.int32)))
        return losses + (applied, finite, scale, norm)

    def use(self, gradients, overflows):
        """Update the weights, now or when enough batches are accumulated: (finite, applied, norm)."""
        if self.accumulate_steps == 1:
            return self.update(self.unscaled(gradients, 1.0), overflows)
        added = self.hyper_map(_add_to, self.accumulated, self.unscaled(gradients, 1.0 / self.accumulate_steps))
        if self.float_status is not None:
            overflows = ops.assign_add(self.overflows_seen, overflows)
        step = ops.depend(self.micro_step.value(), added) + 1
        finite, applied, norm = Tensor(True), Tensor(False), self.no_norm
        if step >= self.accumulate_steps:
            finite, applied, norm = self.update(self.accumulated, overflows)
            step = ops.depend(step * 0, (finite, applied))
            ops.depend(self.hyper_map(_clear, self.accumulated), step)
            if self.float_status is not None:
                ops.assign(self.overflows_seen, ops.depend(Tensor(0.0, ms.float32), step))
        ops.assign(self.micro_step, step)
        return finite, applied, norm

    def overflows_of_all_ranks(self, outputs):
        """How many ranks computed `outputs` with an overflow, float32 scalar."""
        overflows = self.float_status.overflows(outputs)
        if self.world_size > 1:
            overflows = self.add_ranks(overflows.reshape(1)).reshape(())
        return overflows

    def unscaled(self, gradients, factor):
        if factor == 1.0 and not self.scaled:
            return gradients
        return self.hyper_map(ops.partial(_divide, self.loss_scale.value() / factor), gradients)

    def update(self, gradients, overflows):
        gradients = self.reducer(gradients)
        halves = self.hyper_map(_half_square_sum, gradients)
        norm = ops.sqrt(2.0 * ops.addn(halves))
        finite = ops.isfinite(norm)
        if self.float_status is not None:
            finite = ops.logical_and(finite, ops.equal(overflows, Tensor(0.0, ms.float32)))
        if self.clip_norm > 0:
            factor = ops.minimum(self.clip_norm / ops.maximum(norm, 1e-12), 1.0)
            gradients = self.hyper_map(ops.partial(_multiply, factor), gradients)
        if finite:
            norm = ops.depend(norm, self.optimizer(gradients))
        return finite, finite, self.with_norms_of_stages(norm, halves)

    def with_norms_of_stages(self, norm, halves):
        """The global norm and, where they are asked for, those of the stages, from halves of their squared parts."""
        if not self.stages:
            return norm
        norms = (norm.reshape(1),)
        for members in self.members:
            own = ()
            for i in members:
                own += (halves[i],)
            norms += (ops.sqrt(2.0 * ops.addn(own)).reshape(1),)
        return ops.concat(norms)

    def move_average(self, applied, norm):
        """`norm`, to be had once the average has followed an update; in other steps it stays."""
        if applied:
            norm = ops.depend(norm, self.average(self.optimizer.global_step.value()))
        return norm

    def agree_on_statistics(self):
        """Average the running statistics over the ranks, in one collective."""
        parts, sizes = (), ()
        for statistic in self.statistics:
            parts += (statistic.value(),)
            sizes += (statistic.size,)
        means, done = ops.split(self.add_ranks(ops.concat(parts)) / self.world_size, sizes), ()
        for statistic, mean in zip(self.statistics, means):
            done += (ops.assign(statistic, mean),)
        return done

    def adapt_scale(self, finite):
        good = ops.select(finite, self.good_steps.value() + 1, self.good_steps.value() * 0)
        grow = good >= self.window
        scale = self.loss_scale.value()
        doubled = ops.maximum(scale, ops.minimum(scale * 2, LARGEST_GROWN_SCALE))
        scale = ops.select(finite, ops.select(grow, doubled, scale), ops.maximum(scale / 2, 1.0))
        return ops.assign(self.loss_scale, scale), ops.assign(self.good_steps, ops.select(grow, good * 0, good))


_multiply = ops.MultitypeFuncGraph("multiply")
_divide = ops.MultitypeFuncGraph("divide")
_half_square_sum = ops.MultitypeFuncGraph("half_square_sum")
_add_to = ops.MultitypeFuncGraph("add_to")
_clear = ops.MultitypeFuncGraph("clear")


@_multiply.register("Tensor", "Tensor")
def _multiply_tensor(factor, gradient):
    return gradient * factor.astype(gradient.dtype)


@_divide.register("Tensor", "Tensor")
def _divide_tensor(divisor, gradient):  # not a product with 1 / divisor, which is 0 for the largest scales
    return gradient / divisor.astype(gradient.dtype)


@_half_square_sum.register("Tensor")
def _half_square_sum_tensor(gradient):
    return ops.L2Loss()(gradient.astype(ms.float32))  # one pass without a copy of the squares


@_add_to.register("Tensor", "Tensor")
def _add_to_tensor(total, gradient):
    return ops.assign_add(total, gradient)


@_clear.register("Tensor")
def _clear_tensor(total):
    return ops.assign(total, ops.zeros_like(total))


def _state(name: str, value: float, dtype: type) -> Parameter:
    return Parameter(Tensor(np.array(value, dtype)), name=STATE_PREFIX + name, requires_grad=False)
