"""Trains the smallest task with a compile cache: `train_tiny.py FOLDER CACHE [KEY=VALUE ...]`; prints the log."""
import logging
import sys

from src.compile_cache import private

if sys.argv[2]:
    private.claim()

from src.engine import loop, runtime
from tests.engine.tiny_task import TinyTask, settings

logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
given = dict(word.split("=") for word in sys.argv[3:])
configuration = settings(sys.argv[1], save_steps=1, eval_interval=1, momentum=0.9, accumulate_steps=2,
                         dynamic_loss_scale=True, loss_scale_window=2, **given)
machine = runtime.start("CPU", compile_cache=sys.argv[2], configuration=configuration.shaping())
loop.train(TinyTask(), configuration, machine)
