"""The arithmetic of steps, epochs and time that logs, checkpoints and evaluation share."""
from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass
class Position:
    """Progress of a run. `step` counts finished batches from the start of the whole run, including its earlier parts.

    If a device runs chunks of steps without the host, the position advances by whole chunks, and whatever is due at a
    step inside a chunk happens at the end of the chunk (`crossed`).

    Attributes:
        steps_per_epoch, total_steps: batches.
        step: finished batches; `previous` is its value before the last `advance`, by default one less.
        scores: {step: metric} of the evaluations so far.
        first_step: batches that were finished before this process compiled its present graph.
    """

    steps_per_epoch: int
    total_steps: int
    step: int = 0
    previous: int = -1
    scores: dict[int, float] = field(default_factory=dict)
    first_step: int = field(init=False)
    timed_from: int = field(init=False)  # steps until then, with the compilation of the graph, say nothing of the speed
    started: float = field(init=False)

    def __post_init__(self) -> None:
        if self.previous < 0:
            self.previous = max(self.step - 1, 0)
        self.new_graph()

    def new_graph(self) -> None:
        """The next step compiles a graph, so that its time says nothing of the speed."""
        self.first_step = self.timed_from = self.step
        self.started = time.monotonic()

    def advance(self, steps: int) -> None:
        """Count `steps` finished batches. The first call, whose time includes compilation, starts the clock."""
        first = self.step == self.first_step
        self.previous, self.step = self.step, self.step + steps
        if first:
            self.timed_from, self.started = self.step, time.monotonic()

    def crossed(self, every: int) -> bool:
        """Whether the last `advance` reached or passed a multiple of `every` steps."""
        return self.step // every > self.previous // every

    def end(self) -> None:
        """Make the last finished step the last one of the run."""
        self.total_steps = self.step

    @property
    def epoch(self) -> int:
        """Number of the epoch that the last finished step belongs to, from 1."""
        return max(self.step - 1, 0) // self.steps_per_epoch + 1

    @property
    def step_in_epoch(self) -> int:
        """Number of the last finished step in its epoch, from 1."""
        return self.step - (self.epoch - 1) * self.steps_per_epoch

    @property
    def epochs_done(self) -> int:
        """Whole epochs that are finished."""
        return self.step // self.steps_per_epoch

    @property
    def epoch_ends(self) -> bool:
        """Whether the last `advance` finished an epoch, or several."""
        return self.crossed(self.steps_per_epoch)

    @property
    def finished(self) -> bool:
        return self.step >= self.total_steps

    def seconds_per_step(self) -> float | None:
        """Average of this process without its first step or chunk; None before there is a second one."""
        done = self.step - self.timed_from
        return (time.monotonic() - self.started) / done if done else None

    def remaining(self) -> float | None:
        """Seconds to the end at this process's average speed; None before that is known."""
        speed = self.seconds_per_step()
        return None if speed is None else speed * (self.total_steps - self.step)


def sink_chunks(steps: int, sink_size: int, accumulate_steps: int = 1) -> list[tuple[int, int]]:
    """Split `steps` into chunks that a device runs without the host: [(number of chunks, steps of each), ...].

    All chunks have `sink_size` steps except the last, which has the rest. If `sink_size` has room for an accumulation,
    chunks are whole accumulations, because checkpoints are only written between updates.
    """
    size = min(sink_size - sink_size % accumulate_steps or sink_size, steps)
    return [(n, length) for n, length in ((steps // size, size), (1, steps % size)) if n and length]


def clock(seconds: float | None) -> str:
    """12.3 -> '0:12', 4000 -> '1:06:40', None -> 'unknown'."""
    if seconds is None:
        return "unknown"
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
