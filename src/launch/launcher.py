"""This host's part of a job from start to end: meet the other hosts, run the plan, start again after a failure."""
from __future__ import annotations

import hashlib
import logging
import socket
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from src.launch.control_channel import ControlChannel, Interrupted, listen
from src.launch.hosts import resolve
from src.launch.plan import Job, describe, make_plan, next_number, plural
from src.launch.supervisor import Outcome, Signals, Supervisor

log = logging.getLogger(__name__)

DEFAULT_PORT = 8118  # the one that msrun uses


def launch(job: Job, *, port: int | None, start_timeout: float, max_restarts: int) -> int:
    """Run the job's ranks of this host; return the job's exit status.

    Args:
        port: of the scheduler; the launchers of several hosts talk on the next one. None picks a free one where the job
            has one server, and `DEFAULT_PORT` otherwise.
        start_timeout: seconds for all hosts to meet, and again for all ranks to start.
        max_restarts: how often a failed job is started again, with --resume.

    Raises:
        InputError: a host did not come, a folder or a port is taken, or a program cannot be started.
    """
    number, attempt, begun = next_number(job), 0, time.monotonic()
    with Signals() as signals:
        while True:
            try:
                outcome, number = _run_once(job, signals, number=number, port=port, start_timeout=start_timeout)
            except Interrupted:
                return 128 + signals.received[0]
            took = timedelta(seconds=round(time.monotonic() - begun))
            if outcome.status:
                log.info("the job ended with status %d: %s", outcome.status, outcome.reason)
            else:
                log.info("the job ended well after %s: %s of %s", took, plural(len(job.server.devices), "rank"),
                         job.server.server_id)
            if not outcome.retry or signals.received or attempt == max_restarts:
                return outcome.status
            attempt += 1
            log.info("restart %d of %d, from the last checkpoint", attempt, max_restarts)
            job = job.resumed()


def _run_once(job: Job, signals: Signals, *, number: int, port: int | None,
              start_timeout: float) -> tuple[Outcome, int]:
    """One attempt; also returns the number of the run that all hosts agreed on."""
    port = port or choose_port(job)
    if not job.native and job.server is job.table.master:
        listen(resolve(job.server.address), port).close()  # the scheduler's own message on a taken port is a traceback
    digest = hashlib.sha256(f"{job.device_target} {job.native} {job.table.to_json()}".encode()).hexdigest()
    channel = ControlChannel(job.table, job.server, port=port + 1, digest=digest)
    try:
        if len(job.table.servers) > 1:
            log.info("waiting for %d hosts, at most %.0f s", len(job.table.servers), start_timeout)
        if job.server is not job.table.master:
            resolve(job.table.master.address, wait=start_timeout)  # of a pod that is not up yet
        number = channel.gather(number, timeout=start_timeout, stopped=lambda: bool(signals.received))
        with tempfile.TemporaryDirectory(prefix="launch_") as marks:
            plan = make_plan(job, port=port, number=number, marks=Path(marks))
            log.info("%s", describe(plan, short=True))
            return Supervisor(plan, channel, signals, grace=job.grace, start_timeout=start_timeout).run(), number
    finally:
        channel.close()


def choose_port(job: Job) -> int:
    """A port that nobody listens on at the moment; with several servers, which must agree, the platform's or
    `DEFAULT_PORT`."""
    if len(job.table.servers) > 1:
        return job.port or DEFAULT_PORT
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]
