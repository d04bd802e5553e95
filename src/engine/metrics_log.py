"""The numbers of a run: one JSON line each in `metrics.jsonl`, and the same in TensorBoard's format beside it."""
from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path

from tensorboardX import SummaryWriter

from src.engine.progress import Progress


class MetricsLog:
    """Append-only log of a run. Lines of steps after `first_step` (done twice, because a killed run is resumed from an
    older checkpoint) are taken out when it is opened.

    A line: {"kind": "train" | "eval", "step": ..., "epoch": ..., name: number, ...}.
    """

    def __init__(self, folder: Path, first_step: int = 0, *, rank: int = 0):
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "metrics.jsonl"
        kept = [line for line in read(self.path) if line["step"] <= first_step]
        unfinished = self.path.with_suffix(".unfinished")
        unfinished.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        os.replace(unfinished, self.path)
        self.lines = [line for line in kept if line["kind"] == "eval"]
        self.file = self.path.open("a", encoding="utf-8", buffering=1)
        self.losses = (folder / f"loss_{rank}.log").open("a", encoding="utf-8", buffering=1)
        self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step + 1, flush_secs=30)

    def write(self, kind: str, progress: Progress, numbers: Mapping[str, float]) -> None:
        numbers = {name: value if math.isfinite(value) else None for name, value in numbers.items()}  # JSON has no NaN
        line = {"kind": kind, "step": progress.step, "epoch": progress.epoch, **numbers}
        self.file.write(json.dumps(line) + "\n")
        if kind == "eval":
            self.lines.append(line)
        for name, value in numbers.items():
            if value is not None:
                self.board.add_scalar(f"{kind}/{name}", value, progress.step)

    def write_losses(self, line: str) -> None:
        """Append a line of losses, as the log has it, to `loss_{rank}.log`."""
        self.losses.write(line + "\n")

    def best(self, kind: str, name: str) -> float:
        """The largest value so far, -inf without any."""
        return max((line[name] for line in self.lines if line["kind"] == kind and name in line), default=float("-inf"))

    def close(self) -> None:
        self.file.close()
        self.losses.close()
        self.board.close()


def read(path: Path) -> list[dict]:
    """The lines of a metrics file; a last line that a killed process left incomplete is passed over."""
    if not path.is_file():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines
