"""Log of a run's numbers: JSON lines in `metrics.jsonl`, and TensorBoard's format beside it."""
from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar

from src.contract import InputError
from src.engine.position import Position
from src.files import write_file

FLUSH = 30.0  # seconds between two flushes of TensorBoard's file


class MetricsLog:
    """Append-only log of a run.

    Opening it removes the lines of steps after `first_step`: a run that was killed and resumed from an older checkpoint
    does these again. TensorBoard's file, which may have lost its last events in the kill, is rewritten from the rest.

    Attributes:
        lines: evaluations so far.
        skipped_steps: number of them so far.

    A line: {"kind": "train" | "eval", "step": ..., "epoch": ..., name: number, ...}.
    """

    def __init__(self, folder: Path, first_step: int = 0, *, rank: int = 0):
        (folder / "tensorboard").mkdir(parents=True, exist_ok=True)
        self.path = folder / "metrics.jsonl"
        kept = [line for line in read(self.path) if line["step"] <= first_step]
        write_file(self.path, "".join(json.dumps(line) + "\n" for line in kept))
        self.lines = [line for line in kept if line["kind"] == "eval"]
        self.skipped_steps = max((line.get("skipped_steps", 0) for line in kept), default=0)
        self.file = self.path.open("a", encoding="utf-8", buffering=1)
        self.losses = (folder / f"loss_{rank}.log").open("a", encoding="utf-8", buffering=1)
        # Not SummaryWriter: its thread dies on a full disk, and then the run waits for it forever.
        self.board = EventsWriter(str(folder / "tensorboard" / "events"), f".{os.getpid()}")
        self._show(Event(step=1, session_log=SessionLog(status=SessionLog.START)))  # hides all events before it
        for line in kept:
            self._show_line(line)
        self.board.flush()
        self.flushed = time.monotonic()

    def _show_line(self, line: Mapping) -> None:
        event = Event(step=line["step"])
        event.summary.value.extend(scalar(f"{line['kind']}/{name}", value).value[0] for name, value in line.items()
                                   if name not in ("kind", "step", "epoch") and value is not None)
        self._show(event)

    def _show(self, event: Event) -> None:
        event.wall_time = time.time()
        self.board.write_event(event)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(f"{self.path.parent}: the logs could not be written ({error.strerror}); make room and go "
                             "on with --resume. Checkpoints are untouched") from error

    def write(self, kind: str, position: Position, numbers: Mapping[str, float]) -> None:
        """Add a line.

        Raises:
            InputError: the disk is full, or gone.
        """
        numbers = {name: value if math.isfinite(value) else None for name, value in numbers.items()}  # JSON has no NaN
        line = {"kind": kind, "step": position.step, "epoch": position.epoch, **numbers}
        if kind == "eval":
            self.lines.append(line)
        self.skipped_steps = line.get("skipped_steps", self.skipped_steps)
        with self._writing():
            self.file.write(json.dumps(line) + "\n")
            self._show_line(line)
            if time.monotonic() - self.flushed > FLUSH:
                self.board.flush()
                self.flushed = time.monotonic()

    def write_losses(self, line: str) -> None:
        """Append a line of losses, as the log has it, to `loss_{rank}.log`."""
        with self._writing():
            self.losses.write(line + "\n")

    def scores(self, name: str) -> dict[int, float]:
        """{step: value} of the evaluations so far, NaN where it was not finite."""
        return {line["step"]: math.nan if line[name] is None else line[name] for line in self.lines if name in line}

    def close(self) -> None:
        with self._writing():
            self.board.close()
            self.file.close()
            self.losses.close()


def read(path: Path) -> list[dict]:
    """The lines of a metrics file, without a last line that a killed process left incomplete."""
    if not path.is_file():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines
