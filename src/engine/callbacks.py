"""What happens around the steps that `mindspore.train.Model` drives: logs, checkpoints, evaluation, stopping.

Order matters: `StepRecorder` first (it counts), `StopOnNonFinite` before `Checkpoints`, `RestartClock` last.
"""
from __future__ import annotations

import logging
import signal
import sys
import time
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import mindspore.nn as nn
import numpy as np
from mindspore.train import Callback

from src.contract import InputError
from src.engine import checkpoint
from src.engine.metrics_log import MetricsLog
from src.engine.position import Position, clock
from src.engine.runtime import Runtime
from src.engine.train_step import RESULTS

log = logging.getLogger(__name__)
DATA_WAIT_WARNING = 0.2  # share of an epoch's time spent waiting for batches above which the log says so
INTERVAL = 5.0 if sys.stdout.isatty() else 30.0  # seconds between two progress lines


class Stopped(Exception):
    """A signal ended the run before its last step; its checkpoint is written.

    Attributes:
        signal: its number. checkpoint: path of what was saved.
    """

    def __init__(self, number: int, path: Path | None):
        super().__init__(f"stopped by signal {number}")
        self.signal, self.checkpoint = number, path


class StepRecorder(Callback):
    """Counts steps, measures time and data wait, writes the log lines and the metrics file.

    Args:
        position: advanced here, read by the other callbacks.
        loss_names: of the first scalars that a step returns.
        learning_rate: returns the rate of the step just done.
        metrics: where every step goes.
        log_steps: steps between two lines, 0 for one an epoch.
    """

    def __init__(self, position: Position, *, loss_names: Sequence[str], learning_rate: Callable[[], float],
                 metrics: MetricsLog, log_steps: int):
        super().__init__()
        self.position, self.names = position, (*loss_names, *RESULTS)
        self.loss_names, self.learning_rate = loss_names, learning_rate
        self.metrics, self.log_steps = metrics, log_steps
        self.last: dict[str, float] = {}
        self.skipped, self.seen = metrics.skipped_steps, 0
        self.wait = self.busy = self.step_wait = 0.0
        self.mark = self.epoch_mark = self.spoken = time.monotonic()

    def on_train_step_begin(self, run_context) -> None:
        now = time.monotonic()
        self.step_wait, self.mark = now - self.mark, now
        self.wait += self.step_wait

    def on_train_step_end(self, run_context) -> None:
        context = run_context.original_args()
        values = [float(np.max(v.asnumpy())) for v in context.net_outputs]
        self.busy += (seconds := time.monotonic() - self.mark)
        self.position.advance(context.cur_step_num - self.seen)
        self.seen = context.cur_step_num
        self.last = dict(zip(self.names, values))
        self.skipped += not self.last["finite"]
        self.metrics.write("train", self.position, self.last | {
            "learning_rate": self.learning_rate(), "seconds": seconds,
            "data_wait": self.step_wait / max(self.step_wait + seconds, 1e-9),
            "skipped_steps": self.skipped})
        self._say()
        self.mark = time.monotonic()

    def _wait_share(self) -> float:
        return self.wait / max(self.wait + self.busy, 1e-9)

    def _say(self) -> None:
        position, now = self.position, time.monotonic()
        if position.epoch_ends or (self.log_steps and position.crossed(self.log_steps)):
            log.info(line := self._loss_line())
            self.metrics.write_losses(line)
        if position.epoch_ends:
            self._end_epoch(now)
        elif now - self.spoken > INTERVAL:
            self.spoken = now
            log.info("  step %d of %d, %.3f s per step, waiting for data %.0f %%, ETA %s", position.step,
                     position.total_steps, (now - position.started) / (position.step - position.first_step),
                     100 * self._wait_share(), clock(position.remaining()))

    def _loss_line(self) -> str:
        """The published lines of the two kinds of models: one loss, or several with their total at the end."""
        epoch, step = self.position.epoch, self.position.step_in_epoch
        total, *parts = self.loss_names
        if not parts:
            return f"epoch: {epoch} step: {step}, loss is {self.last[total]:.7g}"
        return f"epoch:{epoch} step:{step} ," + ", ".join(f"{n}:{self.last[n]:.5f}" for n in (*parts, total))

    def _end_epoch(self, now: float) -> None:
        elapsed = (now - self.epoch_mark) * 1000
        steps = min(self.position.steps_per_epoch, self.position.step - self.position.first_step)
        share = self._wait_share()
        log.info("Epoch time: %.3f, per step time: %.3f, waiting for data: %.0f %%, skipped steps: %d, ETA %s", elapsed,
                 elapsed / steps, 100 * share, self.skipped, clock(self.position.remaining()))
        if share > DATA_WAIT_WARNING and self.position.epoch > 1:
            log.warning("data is the bottleneck: %.0f %% of the time is spent waiting for batches; raise --workers or "
                        "train from records", 100 * share)
        self.wait = self.busy = 0.0
        self.spoken = self.epoch_mark = time.monotonic()


class RestartClock(Callback):
    """The last callback: the time that checkpoints and evaluation took is no waiting for data, and no step's time."""

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
    """Stop when the loss, or a gradient under a fixed loss scale, is not finite; leave a file that repeats the step.

    A dynamic loss scale skips steps with overflowing gradients as part of its work; a loss that is not finite, or a
    scale that has shrunk to 1 and still overflows, stops the run all the same.

    Args:
        recorder, step_cell: of the run.
        folder: where the file goes.
        describe: metadata of a checkpoint of now.
        sample_ids: of the last step's batch.
    """

    def __init__(self, recorder: StepRecorder, step_cell: nn.Cell, folder: Path, *, describe: Callable[[], Mapping],
                 sample_ids: Callable[[], list[int]]):
        super().__init__()
        self.recorder, self.cell, self.folder, self.describe = recorder, step_cell, folder, describe
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
        raise InputError(
            f"the {what} is not finite at step {position.step} (epoch {position.epoch}, "
            f"step {position.step_in_epoch}): "
            + ", ".join(f"{n}={last[n]:.6g}" for n in names)
            + f", learning_rate={self.recorder.learning_rate():.6g}, loss_scale={last['loss_scale']:.6g}, "
            f"sample ids {sample_ids}. The weights before this step are in {path}; repeat it with "
            f"`python train.py --replay {path}`. Often a lower --base_lr, --warmup_steps or --clip_norm helps")


class Checkpoints(Callback):
    """Save every `save_steps` steps, at the end, and when a rank is asked to stop (SIGTERM, Ctrl-C).

    A checkpoint that is due amid an accumulation waits for its update: until then the ranks hold different gradients.
    Rank 0 writes; all ranks take part, so that they stop at the same step.
    """

    def __init__(self, folder: checkpoint.CheckpointFolder, step_cell: nn.Cell, position: Position, *, save_steps: int,
                 describe: Callable[[], Mapping], machine: Runtime):
        super().__init__()
        self.folder, self.cell, self.position, self.machine = folder, step_cell, position, machine
        self.save_steps, self.describe = save_steps, describe
        self.due = False
        self.signal = 0  # that asked this process to stop
        self.saved: Path | None = None
        self.handlers = {n: signal.signal(n, self._terminate) for n in (signal.SIGTERM, signal.SIGINT)}

    def _terminate(self, number: int, _) -> None:
        """Stop after the step that is running; a second signal ends the process as signals do."""
        self.signal = number
        signal.signal(number, signal.SIG_DFL)

    def on_train_step_end(self, run_context) -> None:
        stop = self.machine.any(bool(self.signal))
        self.due |= stop or self.position.finished or self.position.crossed(self.save_steps)
        if not self.due or (self.position.step % self.cell.accumulate_steps and not self.position.finished):
            return
        self.due = False
        self.save()
        if stop:
            log.info("asked to stop: checkpoint %s is written; --resume goes on from it", self.saved)
            run_context.request_stop()

    def on_train_end(self, run_context) -> None:
        for number, handler in self.handlers.items():
            signal.signal(number, handler)

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
    """Evaluate every `interval` epochs and at the end; keep the checkpoint with the best metric beside the others."""

    def __init__(self, evaluate: Callable[[], Mapping], checkpoints: Checkpoints, metrics: MetricsLog, *, metric: str,
                 interval: int):
        super().__init__()
        self.evaluate, self.checkpoints, self.metrics = evaluate, checkpoints, metrics
        self.metric, self.interval = metric, interval
        self.best = metrics.best("eval", metric)

    def on_train_step_end(self, run_context) -> None:
        if self.checkpoints.position.epoch_ends and self._wanted():
            self._run()

    def catch_up(self) -> None:
        """Make up for the evaluation that a run was killed in, when it goes on from the checkpoint of that step."""
        position = self.checkpoints.position
        if not (position.step and position.step % position.steps_per_epoch == 0 and self._wanted()):
            return
        done = any(line["step"] == position.step for line in self.metrics.lines)
        if self.checkpoints.machine.any(not done):  # a rank may have been killed between the others' notes and its own
            self._run()

    def _wanted(self) -> bool:
        position = self.checkpoints.position
        return position.epoch % self.interval == 0 or position.finished

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
        log.info("evaluation after epoch %d: %s", position.epoch,
                 ", ".join(f"{k} {v:.4f}" for k, v in numbers.items() if isinstance(v, float)))
        if numbers[self.metric] > self.best:
            self.best = numbers[self.metric]
            path = self.checkpoints.save()
            if self.checkpoints.machine.rank == 0:
                checkpoint.copy(path, self.checkpoints.folder.best)
