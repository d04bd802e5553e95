"""Start this host's ranks, watch them, stop them: one run of a plan.

Every rank leads a process group of its own, so that its children end with it, and is killed by the kernel when the
launcher dies. After a SIGKILL of the launcher, processes that a rank itself started remain, since nobody is left to end
them; our own training starts none. What ends a run:
    all ranks of all hosts exited with 0       -> status 0
    a rank failed, here or on another host     -> the others are stopped; status of the first one
    a host was lost, or a rank never started   -> the same, status 1
    SIGINT, SIGTERM or SIGHUP to a launcher    -> SIGTERM to all ranks of all hosts, which may write a checkpoint;
                                                  SIGKILL after the grace period or at a second signal;
                                                  status 128 + signal
"""
from __future__ import annotations

import contextlib
import ctypes
import fcntl
import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from src.contract import InputError
from src.launch import environment
from src.launch.control_channel import ControlChannel
from src.launch.plan import Plan, Process, spans
from src.launch.progress import progress_line, read_progress

log = logging.getLogger(__name__)

POLL = 0.1            # seconds between two looks at the ranks
FAILURE_GRACE = 10.0  # seconds that ranks have to end after one of them failed
LOG_WAIT = 5.0        # seconds for killed processes of the attempt before to let go of a log
PROGRESS = 5.0 if sys.stdout.isatty() else 30.0  # seconds between two lines about the progress
CHATTER = re.compile(rb"(?m)^\[INFO\] [^\n]*\[mindspore/[^\n]*\n?")  # what MindSpore's C++ side says of its event loops
CHATTER_IN = 1 << 16  # bytes at the end of a log in which it is looked for
CRASHES = (-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS)
TAIL = 20             # lines of a failed rank's log that are shown
FULL = 1 << 16        # bytes: where less is free, a disk counts as full


@dataclass(frozen=True)
class Outcome:
    """How a run ended: exit status, what happened in words, and whether starting again may help."""

    status: int
    reason: str = ""
    retry: bool = False


class Signals:
    """Collects the stop signals that this launcher receives while the context is open."""

    def __init__(self) -> None:
        self.received: list[int] = []

    def __enter__(self) -> Signals:
        wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        wanted = [s for s in wanted if s == signal.SIGTERM or signal.getsignal(s) != signal.SIG_IGN]  # nohup, &
        self.before = {s: signal.signal(s, lambda number, _: self.received.append(number)) for s in wanted}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)


class Supervisor:
    """One run of a plan. `run` may be called once."""

    def __init__(self, plan: Plan, channel: ControlChannel, signals: Signals, *, grace: float, start_timeout: float):
        self.plan = plan
        self.channel = channel
        self.signals = signals
        self.grace = grace
        self.start_deadline = time.monotonic() + start_timeout
        self.start_timeout = start_timeout
        self.running: dict[Process, subprocess.Popen] = {}
        self.outcome: Outcome | None = None
        self.kill_at: float | None = None
        self.signals_seen = 0
        self.expecting_marks = False
        self.hosts_done: set[str] = set()
        self.job_done = False
        self.failed: Process | None = None
        self.next_line = time.monotonic() + PROGRESS
        self.last_line = ""

    def run(self) -> Outcome:
        """Start, watch until everything has ended, leave nothing running."""
        try:
            for process in ([self.plan.scheduler] if self.plan.scheduler else []) + list(self.plan.ranks):
                self.running[process] = start(process, append=self.plan.job.resumes)
            while not self._finished():
                self._look_at_signals()
                self._look_at_processes()
                self._look_at_hosts()
                self._look_at_marks()
                self._tell_progress()
                if self.kill_at is not None and time.monotonic() > self.kill_at:
                    self._kill_all()
                time.sleep(POLL)
        finally:
            self._kill_all()
        for process in self.plan.ranks:
            drop_chatter(process.log)
        if self.failed:
            show_tail(self.failed)
        return self.outcome or Outcome(0)

    def _finished(self) -> bool:
        """No rank is left, and no other host has to be waited for."""
        if any(p.rank is not None for p in self.running):
            return False
        if self.outcome or len(self.plan.job.table.servers) == 1:
            return True
        return self._agree_on_end()

    def _agree_on_end(self) -> bool:
        """Tell the other hosts that this one is done; return whether all of them are."""
        here = self.plan.job.server.server_id
        if here not in self.hosts_done:
            self.hosts_done.add(here)
            self.channel.send(kind="done")
        if self.channel.is_master and self.hosts_done >= {s.server_id for s in self.plan.job.table.servers}:
            self.channel.send(kind="finished")
            self.job_done = True
        return self.job_done

    def _look_at_signals(self) -> None:
        for number in self.signals.received[self.signals_seen:]:
            self.signals_seen += 1
            name = signal.Signals(number).name
            if self.signals_seen > 1:
                log.info("%s again: killing the ranks", name)
                self.kill_at = 0.0
            else:
                self._stop(Outcome(128 + number, f"{name} to the launcher on {self.plan.job.server.server_id}"))

    def _look_at_processes(self) -> None:
        ended = []
        for process, popen in list(self.running.items()):
            if has_ended(popen):
                reap(popen)
                del self.running[process]
                ended.append((process, self._status(process, popen)))
        # Where several ended since the last look, a killed one is the cause and the others' errors its effects.
        for process, code in sorted(ended, key=lambda e: (e[1] >= 0, e[0].rank is None)):
            if code and not self.outcome:
                self.failed = process
                where = f"{process.name} on {self.plan.job.server.server_id}"
                retry = code != 2 and not disk_is_full(process)
                self._stop(Outcome(code if code > 0 else 128 - code, f"{where} {describe_exit(code)}", retry=retry))

    def _status(self, process: Process, popen: subprocess.Popen) -> int:
        """The exit status of a process; where it crashed after its program had ended, that of the program.

        When a rank leaves, MindSpore 2.10 closes its connection to the scheduler in one thread while another may still
        read from it: ranks with their work done were seen to crash there, rarely (SIGSEGV in RECV_EVENT_LOOP).
        """
        path = Path(process.environment.get(environment.STATUS_FILE, ""))
        said = path.read_text().split() if popen.returncode in CRASHES and path.is_file() else []
        if len(said) != 2 or said[0] != str(popen.pid):
            return popen.returncode
        log.info("%s %s after its program had ended with status %s, which counts", process.name,
                 describe_exit(popen.returncode), said[1])
        return int(said[1])

    def _look_at_hosts(self) -> None:
        for host, message in self.channel.poll():
            kind = message["kind"]
            if kind == "stop" and not self.outcome:
                self._stop(Outcome(message["status"], message["reason"], message["retry"]), tell=False)
            elif kind == "started":
                self.expecting_marks = True
            elif kind == "done":
                self.hosts_done.add(host)
            elif kind == "finished":
                self.job_done = True
            elif kind == "lost" and not self.outcome and not self.job_done:
                ranks = next(s.ranks for s in self.plan.job.table.servers if s.server_id == host)
                self._stop(Outcome(1, f"host {host} (ranks {spans(ranks)}) is lost: {message['reason']}", retry=True))

    def _look_at_marks(self) -> None:
        """Once one rank has marked its start, the others have to do so within the time-out."""
        if self.outcome or self.start_deadline == float("inf"):
            return
        marks = {p.rank: Path(p.environment[environment.STARTED_FILE]).exists() for p in self.plan.ranks}
        if any(marks.values()) and not self.expecting_marks:
            self.expecting_marks = True
            self.channel.send(kind="started")
        if all(marks.values()):
            self.start_deadline = float("inf")
        elif self.expecting_marks and time.monotonic() > self.start_deadline:
            absent = [rank for rank, there in marks.items() if not there]
            self.failed = next(p for p in self.plan.ranks if p.rank == absent[0])
            self._stop(Outcome(1, f"rank {spans(absent)} on {self.plan.job.server.server_id} did not start within "
                                  f"{self.start_timeout:.0f} s", retry=True))

    def _tell_progress(self) -> None:
        """Every `PROGRESS` seconds, if there is progress, log a line about this host's first and slowest rank."""
        now = time.monotonic()
        if self.outcome or now < self.next_line:
            return
        self.next_line = now + PROGRESS
        found = {p.rank: read_progress(Path(p.environment[environment.STARTED_FILE])) for p in self.plan.ranks}
        if all(found.values()) and (line := progress_line(found)) != self.last_line:
            self.last_line = line
            log.info("%s", line)

    def _stop(self, outcome: Outcome, *, tell: bool = True) -> None:
        """Begin to end the run: SIGTERM now, SIGKILL after the grace period; only the first reason counts."""
        if self.outcome:
            return
        self.outcome = outcome
        by_signal = outcome.status > 128 and not outcome.retry
        grace = self.grace if by_signal else min(self.grace, FAILURE_GRACE)
        log.info("%s: stopping all ranks, at most %.0f s", outcome.reason, grace)
        if tell:
            self.channel.send(kind="stop", status=outcome.status, reason=outcome.reason, retry=outcome.retry)
        for process, popen in self.running.items():
            if process.rank is not None:
                os.killpg(popen.pid, signal.SIGTERM)
        self.kill_at = time.monotonic() + grace

    def _kill_all(self) -> None:
        for popen in self.running.values():
            reap(popen)
        self.running.clear()


def start(process: Process, *, append: bool) -> subprocess.Popen:
    """Start one process with its output in its log.

    Raises:
        InputError: the log is there already (and `append` is false), cannot be written, or is being written by
            another job; or the program cannot be started.
    """
    inherited = {k: v for k, v in os.environ.items() if k not in environment.CLEARED}
    try:
        process.log.parent.mkdir(parents=True, exist_ok=True)
        with process.log.open("ab" if append else "xb") as output:
            _claim(output, process.log)
            output.write(f"# {time.strftime('%F %T')} {process.name}: {shlex.join(process.command)}\n".encode())
            output.flush()
            return subprocess.Popen(process.command, env=inherited | process.environment, stdin=subprocess.DEVNULL,
                                    stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
                                    preexec_fn=_tie_to_launcher(process.cores))
    except FileExistsError:
        raise InputError(f"{process.log}: exists already, from another run in this folder") from None
    except OSError as error:
        raise InputError(f"{error.filename or process.log}: {error.strerror}") from error


def _claim(output: BinaryIO, path: Path) -> None:
    """Lock the open log; what is started with it as its output holds the lock until it ends."""
    deadline = time.monotonic() + LOG_WAIT
    while True:
        try:
            return fcntl.flock(output, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise InputError(f"{path.parent}: another job, or what is left of one, still writes {path.name} there; "
                                 "wait for its end or give another --folder") from None
            time.sleep(POLL)
        except OSError as error:  # the folder is of use without locks too
            log.warning("%s: this file system has no locks (%s)", path.parent, error.strerror)
            return None


def _tie_to_launcher(cores: tuple[int, ...]) -> Callable[[], None]:
    """What a child does before it becomes the rank: ask to be killed with the launcher, bind itself to its cores."""
    libc, launcher = ctypes.CDLL(None, use_errno=True), os.getpid()
    set_parent_death_signal = 1  # PR_SET_PDEATHSIG of prctl(2)

    def prepare() -> None:
        libc.prctl(set_parent_death_signal, signal.SIGKILL)
        if os.getppid() != launcher:
            os._exit(1)
        if cores:
            os.sched_setaffinity(0, cores)

    return prepare


def has_ended(popen: subprocess.Popen) -> bool:
    """Whether the leader has exited. It stays a zombie, so that its number, which names the group, is not reused."""
    return os.waitid(os.P_PID, popen.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def reap(popen: subprocess.Popen) -> None:
    """Kill what is left of the group and collect the zombie. A group without living members is no error."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(popen.pid, signal.SIGKILL)
    popen.wait()


def describe_exit(code: int) -> str:
    """'exited with status 3' or 'was killed by signal 9 (SIGKILL)' for a Popen return code."""
    if code >= 0:
        return f"exited with status {code}"
    return f"was killed by signal {-code} ({signal.Signals(-code).name})"


def drop_chatter(path: Path) -> None:
    """Take MindSpore's [INFO] lines, which no log level keeps out, from the end of a log that is complete."""
    try:
        with path.open("r+b") as file:
            start = max(0, file.seek(0, os.SEEK_END) - CHATTER_IN)
            file.seek(start)
            text = file.read()
            kept = CHATTER.sub(b"", text)
            if kept != text:
                file.seek(start)
                file.write(kept)
                file.truncate()
    except OSError as error:
        log.debug("%s: %s", path, error)


def show_tail(process: Process) -> None:
    """Print the last lines of this attempt in a log.

    Left out are the warnings that MindSpore's C++ side writes about every connection.
    """
    text = process.log.read_text(encoding="utf-8", errors="replace")
    begun = [m.start() for m in re.finditer(rf"# \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d {process.name}: ", text)]
    lines = text[begun[-1] if begun else 0:].splitlines()
    telling = [line for line in lines if not (line.startswith(("[INFO] ", "[WARNING] ")) and "[mindspore/" in line)]
    log.info("last lines of %s, %s:", process.name, process.log)
    for line in telling[-TAIL:]:
        log.info("  | %s", line)
    if disk_is_full(process):
        log.info("the disk of %s is full: the log may lack its end", process.log.parent)


def disk_is_full(process: Process) -> bool:
    """Whether nothing more can be written where the rank's log is."""
    return shutil.disk_usage(process.log.parent).free < FULL
