"""Logs that a graph is being compiled, for how long, and how long it took the last time on this machine."""
from __future__ import annotations

import json
import logging
import threading
import time
from pathlib import Path

from src.compile_cache.cache import active
from src.engine.position import clock
from src.files import user_cache, write_file

log = logging.getLogger(__name__)
SPEAK_EVERY = 30.0  # seconds


class CompileNotice:
    """Context around calls of a graph, the first of which compiles it; call `done` after that one.

    Args:
        what: the graph, for messages.
        key: what its compile time depends on most; times are remembered by it.
        remembers: whether this process stores the time for the next run; only one of the ranks does.
    """

    def __init__(self, what: str, key: str, *, remembers: bool = True):
        self.what = what
        self.key = key
        self.remembers = remembers
        self.expected = ""
        self.begun = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep_speaking, daemon=True)

    def __enter__(self) -> CompileNotice:
        seconds = _read_times().get(self.key)
        self.expected = f"the last run on this machine took {clock(seconds)}" if seconds else "the first time here"
        self.begun = time.monotonic()
        log.info("%s %s (%s)", "loading or compiling" if active() else "compiling", self.what, self.expected)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def done(self) -> None:
        """Log and remember how long the first call took, now that it has returned. Later calls do nothing."""
        if self._over.is_set():
            return
        self._over.set()
        seconds = time.monotonic() - self.begun
        if (cache := active()) and cache.served:
            log.info("loaded %s, checked it and ran it for the first time in %s", self.what, clock(seconds))
            return
        log.info("compiled %s and ran it for the first time in %s", self.what, clock(seconds))
        if self.remembers:
            _write_time(self.key, seconds)

    def _keep_speaking(self) -> None:
        while not self._over.wait(SPEAK_EVERY):
            log.info("  still compiling %s: %s so far, %s", self.what, clock(time.monotonic() - self.begun),
                     self.expected)


def times_file() -> Path:
    """The file with the times, in the user's cache folder."""
    return user_cache() / "compile_seconds.json"


def _read_times() -> dict[str, float]:
    """The remembered times; none if the file is absent or damaged, as they are only a hint."""
    try:
        times = json.loads(times_file().read_text(encoding="utf-8"))
        return {str(key): float(seconds) for key, seconds in times.items()}
    except (OSError, ValueError, TypeError, AttributeError, RuntimeError):  # RuntimeError: there is no home folder
        return {}


def _write_time(key: str, seconds: float) -> None:
    try:
        path = times_file()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, json.dumps(_read_times() | {key: round(seconds, 1)}, indent=1))
    except (OSError, RuntimeError) as error:
        log.debug("the compile time is not remembered: %s", error)
