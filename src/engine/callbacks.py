"""Callbacks of the training loop of `mindspore.train.Model`: logs, checkpoints, evaluation, stopping.

On a device a "step" of these callbacks is a chunk of several. Order matters: `StepRecorder` first (it counts),
`StopOnNonFinite` before `Checkpoints`, `RestartClock` last.
"""
from __future__ import annotations

import logging
import math
import signal
import time
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import mindspore.nn as nn
import numpy as np
from mindspore.train import Callback

from src.contract import InputError
from src.engine import checkpoint
from src.engine.metrics_log import MetricsLog
from src.engine.position import Position
from src.engine.runtime import Runtime
from src.engine.step_recorder import StepRecorder
from src.launch.progress import warn_of_grace

log = logging.getLogger(__name__)


class Stopped(Exception):
    """A signal ended the run before its last step, after a checkpoint was written.

    Attributes:
        signal: its number.
        checkpoint: path of the checkpoint.
    """

    def __init__(self, number: int, path: Path | None):
        super().__init__(f"stopped by signal {number}")
        self.signal = number
        self.checkpoint = path


class RestartClock(Callback):
    """The last callback: excludes the time of checkpoints and evaluation from the step times and the data wait."""

    def __init__(self, recorder: StepRecorder):
        super().__init__()
        self.recorder = recorder

    def on_train_step_end(self, run_context) -> None:
        recorder, now = self.recorder, time.monotonic()
        pause = now - recorder.mark
        recorder.mark = now
        recorder.epoch_mark += pause
        recorder.position.started += pause


class StopOnNonFinite(Callback):
    """Stop when the loss or, under a fixed loss scale, a gradient is not finite; write a file to repeat the step from.

    A dynamic loss scale normally skips steps with overflowing gradients. It cannot help if the loss is not finite, or
    if gradients still overflow after it has shrunk to 1: then the run stops too.

    Args:
        recorder, step_cell: of the run.
        folder: where the file goes.
        describe: returns metadata for a checkpoint written now.
        sample_ids: returns those of the last batch.
    """

    def __init__(self, recorder: StepRecorder, step_cell: nn.Cell, folder: Path, *, describe: Callable[[], Mapping],
                 sample_ids: Callable[[], list[int]]):
        super().__init__()
        self.recorder = recorder
        self.cell = step_cell
        self.folder = folder
        self.describe = describe
        self.sample_ids = sample_ids

    def on_train_step_end(self, run_context) -> None:
        last, names = self.recorder.last, self.recorder.loss_names
        losses_finite = all(np.isfinite(last[n]) for n in names)
        rescued = self.cell.dynamic and last["loss_scale"] > 1
        if losses_finite and (last["finite"] or rescued):
            return
        position = self.recorder.position
        sample_ids = self.sample_ids()
        path = self.folder / f"replay-{position.step}.ckpt"
        checkpoint.save(path, self.cell, dict(self.describe()) | {
            "replay": {"sample_ids": sample_ids, "epoch": position.epoch - 1, "step": position.step}})
        what = "loss" if not losses_finite else "gradient"
        steps = position.step - position.previous
        where = (f"step {position.step} (epoch {position.epoch}, step {position.step_in_epoch})" if steps == 1 else
                 f"one of the {steps} steps up to {position.step}, where the last one has")
        register = (", by the device's overflow register (--overflow_check=finite looks at the numbers instead)"
                    if losses_finite and self.cell.float_status else "")
        repeat = (f"The weights before this step are in {path}; repeat it with `python train.py --replay {path}`"
                  if steps == 1 else f"The weights after it are in {path}; repeat the steps one by one from the last "
                  "checkpoint with --resume --sink_size=1, which stops at the first such step")
        raise InputError(
            f"the {what} is not finite{register} at {where}: "
            + ", ".join(f"{n}={last[n]:.6g}" for n in names)
            + f", learning_rate={self.recorder.learning_rate():.6g}, loss_scale={last['loss_scale']:.6g}, "
            f"sample ids {sample_ids}. {repeat}. Often a lower --base_lr, --warmup_steps or --clip_norm helps")


class Checkpoints(Callback):
    """Save every `save_steps` steps, at the end, and when a rank is asked to stop (SIGTERM, Ctrl-C).

    A checkpoint that is due during an accumulation waits for its update: until then the ranks hold different gradients.
    Rank 0 writes; all ranks take part, so that they stop at the same step.
    """

    def __init__(self, folder: checkpoint.CheckpointFolder, step_cell: nn.Cell, position: Position, *, save_steps: int,
                 describe: Callable[[], Mapping], machine: Runtime):
        super().__init__()
        self.folder = folder
        self.cell = step_cell
        self.position = position
        self.machine = machine
        self.save_steps = save_steps
        self.describe = describe
        self.due = False
        self.signal = 0  # number of the signal that asked this process to stop
        self.stopped = False
        self.saved: Path | None = None
        self.step_end: float | None = None  # when the last step, or chunk of steps, ended
        self.warned = False

    @contextmanager
    def heeding_signals(self) -> Iterator[None]:
        """Within this context, SIGTERM and SIGINT end the run with a checkpoint after the current step."""
        handlers = {n: signal.signal(n, self._terminate) for n in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _terminate(self, number: int, _) -> None:
        """Stop after the current step; a second signal ends the process at once."""
        self.signal = number
        signal.signal(number, signal.SIG_DFL)

    def on_train_step_end(self, run_context) -> None:
        last, self.step_end = self.step_end, time.monotonic()
        stop = self.machine.any(bool(self.signal))
        self.due |= stop or self.position.finished or self.position.crossed(self.save_steps)
        if not self.due or (self.position.step % self.cell.accumulate_steps and not self.position.finished):
            return
        self.due = False
        self.save()
        saving = time.monotonic() - self.step_end
        self.warned = warn_of_grace(saving, self.step_end - (last or self.step_end), warned=self.warned)
        self.step_end += saving
        if stop:
            log.info("asked to stop: checkpoint %s is written; --resume goes on from it", self.saved)
            self.stopped = True
            run_context.request_stop()

    def save(self) -> Path:
        """Write a checkpoint of the current step, unless there is one, and return its path."""
        place = self.position.epoch, self.position.step_in_epoch
        if self.folder.path(*place) != self.saved and self.machine.rank == 0:
            self.folder.save(self.cell, self.describe(), *place)
        self.saved = self.folder.path(*place)
        return self.saved


def _numbers(values: Mapping, prefix: str = "") -> dict[str, float]:
    return {f"{prefix}{name}": value for name, value in values.items() if isinstance(value, (int, float))}


class Evaluation(Callback):
    """Evaluate every `interval` epochs and at the end; keep the checkpoint with the best metric beside the others.

    With `patience`, the run ends when that many evaluations in a row have not raised the metric.
    """

    def __init__(self, evaluate: Callable[[], Mapping], checkpoints: Checkpoints, metrics: MetricsLog, *, metric: str,
                 interval: int, patience: int = 0):
        super().__init__()
        self.evaluate = evaluate
        self.checkpoints = checkpoints
        self.metrics = metrics
        self.metric = metric
        self.interval = interval
        self.patience = patience
        self.scores = checkpoints.position.scores
        self.scores |= metrics.scores(metric)

    @property
    def best_step(self) -> int | None:
        """The first step with the highest metric; None before there is a number."""
        numbers = {step: score for step, score in self.scores.items() if math.isfinite(score)}
        return max(numbers, key=lambda step: (numbers[step], -step)) if numbers else None

    def on_train_step_end(self, run_context) -> None:
        if self._due():
            self._run()
            if self._stops_early():
                run_context.request_stop()

    def catch_up(self) -> None:
        """Repeat an evaluation in which a run was killed, when it resumes from the checkpoint of that step."""
        if not self._due():
            return
        step = self.checkpoints.position.step
        done = any(line["step"] == step for line in self.metrics.lines)
        if self.checkpoints.machine.any(not done):  # a rank may have been killed between the others' notes and its own
            self._run()
        self._stops_early()

    def _due(self) -> bool:
        position = self.checkpoints.position
        return position.crossed(self.interval * position.steps_per_epoch) or position.finished

    def _run(self) -> None:
        position = self.checkpoints.position
        started = time.monotonic()
        try:
            found = dict(self.evaluate())
        except InputError as error:
            raise InputError(f"{error}\nThe training so far is in {self.checkpoints.save()}; go on with --resume when "
                             "the val data is in order, or without --eval_interval") from error
        numbers = _numbers(found) | {"seconds": time.monotonic() - started}
        parts = [_numbers(part, f"{name}_") for name, part in found.items() if isinstance(part, Mapping)]
        self.metrics.write("eval", position, dict(ChainMap(numbers, *parts)))
        log.info("evaluation after epoch %d: %s", position.epochs_done,
                 ", ".join(f"{k} {v:.4f}" for k, v in numbers.items() if isinstance(v, float)))
        self.scores[position.step] = numbers[self.metric]
        if self.best_step == position.step:
            path = self.checkpoints.save()
            if self.checkpoints.machine.rank == 0:
                checkpoint.copy(path, self.checkpoints.folder.best)

    def _stops_early(self) -> bool:
        """End the run if the last `patience` evaluations have not raised the metric, and say so."""
        position, best = self.checkpoints.position, self.best_step
        waited = sum(step > (best or 0) for step in self.scores)
        if not self.patience or waited < self.patience or position.finished:
            return False
        what = f"{self.metric} {self.scores[best]:.4f} of step {best}" if best else f"a {self.metric} that is a number"
        log.info("early stop after epoch %d, step %d: %d evaluations have not raised %s; its checkpoint is %s",
                 position.epochs_done, position.step, waited, what, self.checkpoints.folder.best.name)
        self.checkpoints.save()
        position.end()
        return True
