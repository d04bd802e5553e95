"""How far the ranks are: a rank writes it into the file that its launcher named, the launcher tells the slowest one."""
from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from src.launch.environment import GRACE, STARTED_FILE

log = logging.getLogger(__name__)
INTERVAL = 2.0  # seconds between two reports of a rank
_last = 0.0


def report_progress(*, step: int, total: int, loss: float, data_wait: float, remaining: float | None) -> None:
    """Tell the launcher, if there is one, how far this rank is; at most every `INTERVAL` seconds, and at the end.

    Args:
        step, total: done, and of the whole run.
        data_wait: share of the time spent waiting for batches.
        remaining: seconds to the end, by the speed so far; None where there is none yet.
    """
    global _last
    name, now = os.environ.get(STARTED_FILE), time.monotonic()
    if not name or (now - _last < INTERVAL and step < total):
        return
    _last = now
    values = {"step": step, "total": total, "loss": loss, "data_wait": data_wait, "remaining": remaining}
    try:
        Path(name).write_text(json.dumps(values))
    except OSError as error:
        log.debug("%s: %s", name, error)  # the launcher's folder is gone, and so is the launcher


def read_progress(path: Path) -> dict[str, float]:
    """What a rank has reported; {} where it has not, or is just writing."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}


def progress_line(ranks: Mapping[int, Mapping[str, float]]) -> str:
    """One line about the first of these ranks and the slowest: the one that waits longest for its data.

    Ranks wait for each other in every step, so they are all at the same one, give or take the time of a report; what
    one of them waits for, all do.
    """
    first = ranks[min(ranks)]
    line = f"rank {min(ranks)}: step {first['step']} of {first['total']}, loss {first['loss']:.4g}"
    if first["remaining"] is not None:
        line += f", {timedelta(seconds=round(first['remaining']))} left"
    slowest = min(ranks, key=lambda r: (-round(ranks[r]["data_wait"], 2), ranks[r]["step"]))
    if len(ranks) == 1:
        return line
    return f"{line}; slowest: rank {slowest}, {100 * ranks[slowest]['data_wait']:.0f} % of its time waiting for data"


def warn_of_grace(saving: float, step: float, *, warned: bool) -> bool:
    """Warn once where a checkpoint would not be written in time after a stop signal; returns whether it has.

    Args:
        saving: seconds that writing a checkpoint takes.
        step: seconds to the next step's end, where a stop signal is heeded.
        warned: whether it was said already.
    """
    grace = float(os.environ.get(GRACE) or "inf")
    if warned or saving + step < grace:
        return warned
    log.warning("after a stop signal the ranks are killed in %.0f s (--grace), but a step takes %.1f s and a "
                "checkpoint %.1f s: the last checkpoint would be lost; raise --grace, and in a pod "
                "terminationGracePeriodSeconds beyond it", grace, step, saving)
    return True
