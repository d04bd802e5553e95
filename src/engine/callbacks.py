"""Callbacks of the training loop of `mindspore.train.Model`: logs, checkpoints, evaluation, stopping.

On a device a "step" of these callbacks is a chunk of several. Order matters: `StepRecorder` first (it counts),
`StopOnNonFinite` before `Checkpoints`, `RestartClock` last.
"""
from __future__ import annotations

import logging
import signal
import sys
import time
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import mindspore.nn as nn
import numpy as np
from mindspore.train import Callback

from src.contract import InputError
from src.engine import checkpoint
from src.engine.compile_notice import CompileNotice
from src.engine.metrics_log import MetricsLog
from src.engine.position import Position, clock
from src.engine.runtime import Runtime
from src.engine.train_step import RESULTS
from src.launch.progress import report_progress, warn_of_grace

log = logging.getLogger(__name__)
DATA_WAIT_WARNING = 0.2  # fraction of an epoch spent waiting for batches, above which a warning is logged
INTERVAL = 5.0 if sys.stdout.isatty() else 30.0  # seconds between two progress lines


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


class StepRecorder(Callback):
    """Counts steps, measures time and data wait, writes the log lines and the metrics file.

    Args:
        position: advanced here, read by the other callbacks.
        loss_names: of the first scalars that a step returns.
        learning_rate: returns the rate of the last step.
        metrics: takes a line for every step.
        log_steps: steps between two log lines; 0: one an epoch.
        compile_notice: told when the first step, which compiles the graph, is over.
        skipped_on_device: counts the steps of this process that were not finite, where chunks hide them from the host.
    """

    def __init__(self, position: Position, *, loss_names: Sequence[str], learning_rate: Callable[[], float],
                 metrics: MetricsLog, log_steps: int, compile_notice: CompileNotice | None = None,
                 skipped_on_device: Callable[[], int] = lambda: 0):
        super().__init__()
        self.position = position
        self.loss_names = loss_names
        self.names = (*loss_names, *RESULTS)
        self.learning_rate = learning_rate
        self.metrics = metrics
        self.log_steps = log_steps
        self.notice = compile_notice
        self.last: dict[str, float] = {}
        self.skipped = metrics.skipped_steps
        self.skipped_on_device = skipped_on_device
        self.known_skipped = 0  # of those on the device
        self.seen = 0  # steps of the current `Model.train`
        self.wait = 0.0  # seconds of this epoch
        self.busy = 0.0
        self.step_wait = 0.0
        self.mark = self.epoch_mark = self.spoken = time.monotonic()
        self.epoch_mark_step = position.step

    def on_train_begin(self, run_context) -> None:
        self.seen = 0

    def on_train_step_begin(self, run_context) -> None:
        now = time.monotonic()
        self.step_wait = now - self.mark
        self.mark = now
        self.wait += self.step_wait

    def on_train_step_end(self, run_context) -> None:
        context = run_context.original_args()
        values = [float(np.max(v.asnumpy())) for v in context.net_outputs]
        if self.notice:
            self.notice.done()
        seconds = time.monotonic() - self.mark
        self.busy += seconds
        self.position.advance(context.cur_step_num - self.seen)
        self.seen = context.cur_step_num
        self.last = dict(zip(self.names, values))
        skipped = self.skipped_on_device() - self.known_skipped
        self.known_skipped += skipped
        self.skipped += skipped or not self.last["finite"]
        self.last["finite"] *= not skipped  # a chunk is finite when all its steps are
        self.metrics.write("train", self.position, self.last | {
            "learning_rate": self.learning_rate(), "seconds": seconds,
            "data_wait": self.step_wait / max(self.step_wait + seconds, 1e-9),
            "skipped_steps": self.skipped})
        report_progress(step=self.position.step, total=self.position.total_steps, loss=values[0],
                        data_wait=self._wait_share(), remaining=self.position.remaining())
        self._say()
        self.mark = time.monotonic()

    def _wait_share(self) -> float:
        return self.wait / max(self.wait + self.busy, 1e-9)

    def _say(self) -> None:
        position, now = self.position, time.monotonic()
        if position.epoch_ends or (self.log_steps and position.crossed(self.log_steps)):
            line = self._loss_line()
            log.info(line)
            self.metrics.write_losses(line)
        if position.epoch_ends:
            self._end_epoch(now)
        elif now - self.spoken > INTERVAL and (speed := position.seconds_per_step()) is not None:
            self.spoken = now
            log.info("  step %d of %d, %.3f s per step, waiting for data %.0f %%, ETA %s", position.step,
                     position.total_steps, speed, 100 * self._wait_share(), clock(position.remaining()))

    def _loss_line(self) -> str:
        """The published lines of the two kinds of models: one loss, or several with their total at the end."""
        epoch, step = self.position.epoch, self.position.step_in_epoch
        total, *parts = self.loss_names
        if not parts:
            return f"epoch: {epoch} step: {step}, loss is {self.last[total]:.7g}"
        return f"epoch:{epoch} step:{step} ," + ", ".join(f"{n}:{self.last[n]:.5f}" for n in (*parts, total))

    def _end_epoch(self, now: float) -> None:
        """Log the time since the last such line: one epoch, a part of one or, with long chunks, several."""
        elapsed = (now - self.epoch_mark) * 1000
        share = self._wait_share()
        log.info("Epoch time: %.3f, per step time: %.3f, waiting for data: %.0f %%, skipped steps: %d, ETA %s", elapsed,
                 elapsed / max(self.position.step - self.epoch_mark_step, 1), 100 * share, self.skipped,
                 clock(self.position.remaining()))
        if share > DATA_WAIT_WARNING and self.position.epoch > 1:
            log.warning("data is the bottleneck: %.0f %% of the time is spent waiting for batches; raise --workers or "
                        "train from records", 100 * share)
        self.wait = self.busy = 0.0
        self.spoken = self.epoch_mark = time.monotonic()
        self.epoch_mark_step = self.position.step


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
    """Evaluate every `interval` epochs and at the end; keep the checkpoint with the best metric beside the others."""

    def __init__(self, evaluate: Callable[[], Mapping], checkpoints: Checkpoints, metrics: MetricsLog, *, metric: str,
                 interval: int):
        super().__init__()
        self.evaluate = evaluate
        self.checkpoints = checkpoints
        self.metrics = metrics
        self.metric = metric
        self.interval = interval
        self.best = metrics.best("eval", metric)

    def on_train_step_end(self, run_context) -> None:
        if self._due():
            self._run()

    def catch_up(self) -> None:
        """Repeat an evaluation in which a run was killed, when it resumes from the checkpoint of that step."""
        if not self._due():
            return
        step = self.checkpoints.position.step
        done = any(line["step"] == step for line in self.metrics.lines)
        if self.checkpoints.machine.any(not done):  # a rank may have been killed between the others' notes and its own
            self._run()

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
        if numbers[self.metric] > self.best:
            self.best = numbers[self.metric]
            path = self.checkpoints.save()
            if self.checkpoints.machine.rank == 0:
                checkpoint.copy(path, self.checkpoints.folder.best)
