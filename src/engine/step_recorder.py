"""The callback that counts steps, measures their time and the wait for data, and writes log lines and metrics."""
from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
from mindspore.train import Callback

from src.engine.compile_notice import CompileNotice
from src.engine.metrics_log import MetricsLog
from src.engine.position import Position, clock
from src.engine.train_step import RESULTS
from src.launch.progress import report_progress

log = logging.getLogger(__name__)
DATA_WAIT_WARNING = 0.2  # fraction of an epoch spent waiting for batches, above which a warning is logged
INTERVAL = 5.0 if sys.stdout.isatty() else 30.0  # seconds between two progress lines


class StepRecorder(Callback):
    """Counts steps, measures time and data wait, writes the log lines and the metrics file.

    Args:
        position: advanced here, read by the other callbacks.
        loss_names: of the first scalars that a step returns.
        result_names: of the numbers after them; the last output may hold several.
        learning_rate: returns the rate of the last step.
        metrics: takes a line for every step.
        log_steps: steps between two log lines; 0: one an epoch.
        compile_notice: told when the first step, which compiles the graph, is over.
        skipped_on_device: counts the steps of this process that were not finite, where chunks hide them from the host.
    """

    def __init__(self, position: Position, *, loss_names: Sequence[str], result_names: Sequence[str] = RESULTS,
                 learning_rate: Callable[[], float],
                 metrics: MetricsLog, log_steps: int, compile_notice: CompileNotice | None = None,
                 skipped_on_device: Callable[[], int] = lambda: 0):
        super().__init__()
        self.position = position
        self.loss_names = loss_names
        self.names = (*loss_names, *result_names)
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
        self.step_wait = self.step_seconds = 0.0
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
        values = numbers_of(context.net_outputs)
        if self.notice:
            self.notice.done()
        seconds = self.step_seconds = time.monotonic() - self.mark
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


def numbers_of(outputs: Sequence) -> list[float]:
    """What a training step returned, as numbers: scalars, and at the end a vector."""
    *scalars, norms = outputs
    return [float(np.max(value.asnumpy())) for value in scalars] + norms.asnumpy().reshape(-1).tolist()
