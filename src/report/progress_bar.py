"""Progress of a tool: a bar with the remaining time on a terminal, otherwise a log line every few seconds."""
from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from src.data.checks import ProgressCallback

log = logging.getLogger(__name__)

_SECONDS = 10.0


@contextmanager
def progress_display() -> Iterator[ProgressCallback]:
    """Yield a function (phase, done, total) that shows the progress of each phase."""
    if not sys.stdout.isatty():
        yield _LogLines()
        return
    from rich import progress

    columns = (progress.TextColumn("{task.description:>6}"), progress.BarColumn(), progress.MofNCompleteColumn(),
               progress.TimeRemainingColumn(), progress.TimeElapsedColumn())
    with progress.Progress(*columns) as bars:
        tasks: dict[str, progress.TaskID] = {}

        def show(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = bars.add_task(phase, total=total)
            bars.update(tasks[phase], completed=done)

        yield show


class _LogLines:
    """A log line every ten seconds and one at the end of each phase."""

    def __init__(self) -> None:
        self.starts: dict[str, float] = {}
        self.last = time.monotonic()

    def __call__(self, phase: str, done: int, total: int) -> None:
        now = time.monotonic()
        started = self.starts.setdefault(phase, now)
        if done == total:
            log.info("%s: %d of %d in %.1f s", phase, done, total, now - started)
        elif now - self.last > _SECONDS:
            self.last = now
            log.info("%s: %d of %d, about %.0f s left", phase, done, total, (now - started) * (total - done) / done)
