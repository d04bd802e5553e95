"""A rank that trains the smallest task through `loop.train`, as train.py trains a model.

Words KEY=VALUE are settings, RANK:KEY=VALUE one of that rank alone. Ours are `delay=SECONDS` a sample, and
`overflow=SAMPLE`, whose gradient does not fit into float32 once it is scaled.
"""
import logging
import os
import sys
import time
from pathlib import Path

from src.command_line import entry_point
from src.engine import loop, runtime
from src.engine.callbacks import Stopped
from tests.engine.tiny_task import Points, TinyTask, settings


class SlowPoints(Points):
    def __init__(self, count: int, delay: float, overflow: int):
        super().__init__(count, bad=overflow, value=1e4)
        self.delay = delay

    def rows(self, sample_ids):
        for record in super().rows(sample_ids):
            time.sleep(self.delay)
            yield record


def main() -> int:
    rank, values = os.environ["RANK_ID"], {}
    for word in sys.argv[1:]:
        who, _, rest = word.rpartition(":")
        if who in ("", rank):
            key, _, value = rest.removeprefix("--").partition("=")
            values[key] = value or True
    points = SlowPoints(20, float(values.pop("delay", 0)), int(values.pop("overflow", -1)))
    machine = runtime.start("CPU", is_distributed=True)
    Path(f"pid{machine.rank}").write_text(str(os.getpid()))
    try:
        last = loop.train(TinyTask(points), settings(values.pop("folder"), **values), machine)
    except Stopped as stopped:
        return 128 + stopped.signal
    logging.info("checkpoint: %s", last)
    return 0


entry_point(main)
