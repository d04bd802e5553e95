"""The callback of `--profile`: MindSpore's profiler around chosen steps, and a page about what it saw."""
from __future__ import annotations

import logging
import time
from pathlib import Path

import mindspore as ms
from mindspore import profiler
from mindspore.profiler.schedule import ProfilerAction
from mindspore.train import Callback

from src.contract import InputError
from src.engine.position import Position
from src.engine.profile_summary import StepTimes, page, read_operators
from src.engine.step_recorder import StepRecorder
from src.files import write_file

log = logging.getLogger(__name__)
WARM_UP = 2  # steps of a process before a profile that is asked for by its length: the first compiles the graph


def steps_to_profile(text: str, position: Position) -> range:
    """The steps that `--profile` means, for a process that begins after `position`; empty where they are done.

    Args:
        text: START-STOP, both included, or the number of steps; checked by the configuration.

    Raises:
        InputError: the run ends before them.
    """
    first, _, last = text.partition("-")
    begin = int(first) if last else position.step + WARM_UP + 1
    end = int(last) if last else position.step + WARM_UP + int(first)
    if end > position.total_steps:
        raise InputError(f"--profile={text}: steps {begin} to {end}, but the run has {position.total_steps} and this "
                         f"process begins with step {position.step + 1}; give earlier or fewer steps, or more --epochs")
    if begin <= position.step:
        log.info("--profile=%s: not profiled, as step %d is done", text, position.step)
        return range(0)
    return range(begin, end + 1)


class Profile(Callback):
    """Profiles some steps. To come after `recorder`, which waits for a step's results, so that no work is left over.

    Where a device runs chunks of steps without the host, whole chunks are profiled.

    Args:
        steps: the first and the last one, and those between them.
        chunk: steps between two calls.
        folder: where a folder for the profile is made.
        title: of the page.
        device_target: "CPU" or "Ascend". Not run on Ascend.
    """

    def __init__(self, recorder: StepRecorder, steps: range, *, chunk: int, folder: Path, title: str,
                 device_target: str):
        super().__init__()
        self.recorder = recorder
        self.steps = steps
        self.chunk = chunk
        self.folder = folder
        self.title = title
        self.device_target = device_target
        self.profiler: profiler.profile | None = None
        self.first = 0
        self.times = StepTimes(0, 0.0, 0.0)

    def on_train_step_begin(self, run_context) -> None:
        position = self.recorder.position
        left = self.profiler is None and self.steps and position.step < self.steps[-1]
        if left and position.step + self.chunk >= self.steps[0]:
            self.first = position.step + 1
            self.folder = free_folder(self.folder / f"steps_{self.steps[0]}-{self.steps[-1]}")
            self.profiler = start_profiler(self.folder, self.device_target)
            self.recorder.mark = time.monotonic()  # starting is no part of the step

    def on_train_step_end(self, run_context) -> None:
        if self.profiler is None or not self.steps:
            return
        recorder, position, old = self.recorder, self.recorder.position, self.times
        self.times = StepTimes(position.step - self.first + 1, old.waiting + recorder.step_wait,
                               old.working + recorder.step_seconds)
        if position.step >= self.steps[-1]:
            self.finish()

    def on_train_end(self, run_context) -> None:
        """A run that is stopped amid the steps, or whose graph changes, ends the profile."""
        if self.profiler is not None and self.steps:
            self.finish()

    def finish(self) -> None:
        """Stop the profiler and write the page; a fault of the profiler does not end the run."""
        self.steps = range(0)
        try:
            self.profiler.stop()
            text = page(f"{self.title}: steps {self.first} to {self.recorder.position.step}",
                        read_operators(self.folder), self.times)
        except (InputError, OSError, RuntimeError, ValueError, KeyError) as error:
            log.warning("no page about the profile in %s: %s", self.folder, error)
            return
        write_file(self.folder / "summary.txt", text)
        log.info("%s\nThis page is in %s, with a timeline for chrome://tracing or Perfetto (trace_view.json)", text,
                 self.folder / "summary.txt")


def start_profiler(folder: Path, device_target: str) -> profiler.profile:
    """A running profiler that writes into `folder` when it is stopped."""
    activities = [profiler.ProfilerActivity.CPU]
    if device_target == "Ascend":
        activities.append(profiler.ProfilerActivity.NPU)
    prof = profiler.profile(activities=activities, start_profile=False,
                            schedule=lambda step: ProfilerAction.RECORD_AND_SAVE,
                            on_trace_ready=profiler.tensorboard_trace_handler(str(folder)))
    prof.start()
    return prof


def free_folder(path: Path) -> Path:
    """`path`, or with a number where an earlier profile has it."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}_{number}")
    free.mkdir(parents=True)
    return free


def title(model: str, device_target: str, batch_size: int) -> str:
    """What was profiled."""
    return f"Profile of training {model} on {device_target}, {batch_size} images a step, MindSpore {ms.__version__}"
