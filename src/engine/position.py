"""Where a run is: the arithmetic between steps, epochs and time that logs, checkpoints and evaluation share."""
from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass
class Position:
    """Position in a run. `step` counts finished batches from the start of the whole run, also of its earlier parts.

    Where a device runs chunks of steps without the host, the position moves by a chunk at a time; what is due at a step
    inside a chunk is then done at its end (`crossed`).

    Attributes:
        steps_per_epoch, total_steps: batches.
        step: finished batches; `previous` is what it was before the last `advance`.
        first_step: batches that were finished before this process started.
    """

    steps_per_epoch: int
    total_steps: int
    step: int = 0
    first_step: int = field(init=False)
    previous: int = field(init=False)
    started: float = field(init=False)

    def __post_init__(self) -> None:
        self.first_step = self.previous = self.step
        self.started = time.monotonic()

    def advance(self, steps: int) -> None:
        self.previous, self.step = self.step, self.step + steps

    def crossed(self, every: int) -> bool:
        """Whether the last `advance` reached or passed a multiple of `every` steps."""
        return self.step // every > self.previous // every

    @property
    def epoch(self) -> int:
        """Number of the epoch that the last finished step belongs to, from 1."""
        return max(self.step - 1, 0) // self.steps_per_epoch + 1

    @property
    def step_in_epoch(self) -> int:
        """Number of the last finished step in its epoch, from 1."""
        return self.step - (self.epoch - 1) * self.steps_per_epoch

    @property
    def epoch_ends(self) -> bool:
        return self.crossed(self.steps_per_epoch)

    @property
    def finished(self) -> bool:
        return self.step >= self.total_steps

    def remaining(self) -> float:
        """Seconds to the end at this process's average speed."""
        done = max(self.step - self.first_step, 1)
        return (time.monotonic() - self.started) / done * (self.total_steps - self.step)


def clock(seconds: float) -> str:
    """12.3 -> '0:12', 4000 -> '1:06:40'."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
