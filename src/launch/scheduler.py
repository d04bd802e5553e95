"""The scheduler of a job whose ranks no launcher of ours started: rank 0 starts it beside itself.

A small process of its own watches over it: the scheduler has to outlive rank 0 until the other ranks have left too, and
must not stay when rank 0 was killed.
"""
from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping

SCHEDULER = "import mindspore as ms; ms.set_device('CPU'); from mindspore.communication import init; init()"
LINGER = 30.0  # seconds that the other ranks have to leave after rank 0 has ended


def start(env: Mapping[str, str], log: str) -> subprocess.Popen:
    """Start the scheduler with its watcher; its output is appended to `log`."""
    with open(log, "ab") as output:
        return subprocess.Popen([sys.executable, __file__, str(os.getpid())], env=dict(env), stdin=subprocess.DEVNULL,
                                stdout=output, stderr=subprocess.STDOUT, start_new_session=True)


def main() -> int:
    """Run the scheduler until it ends by itself, or `LINGER` seconds after the process whose number is the argument."""
    rank_0, watcher, libc = int(sys.argv[1]), os.getpid(), ctypes.CDLL(None)

    def tie() -> None:
        libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != watcher:
            os._exit(1)

    scheduler = subprocess.Popen([sys.executable, "-c", SCHEDULER], preexec_fn=tie)
    deadline = float("inf")
    while scheduler.poll() is None:
        if os.getppid() != rank_0 and deadline == float("inf"):
            deadline = time.monotonic() + LINGER
        if time.monotonic() > deadline:
            with contextlib.suppress(ProcessLookupError):
                scheduler.kill()
        time.sleep(0.2)
    return scheduler.returncode


if __name__ == "__main__":
    sys.exit(main())
