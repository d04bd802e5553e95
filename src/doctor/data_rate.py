"""How fast this host reads and augments the training data, against what its cards take."""
from __future__ import annotations

import time
from collections.abc import Iterator

from src import tasks
from src.contract import InputError
from src.doctor.finding import FAILURE, OK, WARNING, Finding

WARM_UP = 4  # batches that are made before the clock starts: threads start, and the queues fill


def data_rate(settings, *, cards: int, step_ms: float, seconds: float) -> Iterator[Finding]:
    """Run the training pipeline alone, of one rank, for `seconds`. Imports MindSpore.

    Args:
        settings: train.py's, with its data, batch size and number of workers.
        cards: ranks of this host, which all read at the same time.
        step_ms: what a step takes on a card, 0 where that is not known.
    """
    try:
        settings.check_data("train")
    except InputError as error:  # says what to do, too
        yield Finding("data rate", FAILURE, str(error))
        return
    rate = measure(settings, seconds)
    text = (f"{rate:.0f} samples/s of one rank with {settings.workers} workers, "
            f"{settings.batch_size} samples a batch")
    if not step_ms:
        yield Finding("data rate", OK, f"{text}; --step_ms=MILLISECONDS of a step on a card compares it")
        return
    needed = settings.batch_size / step_ms * 1e3
    text += f"; a card needs {needed:.0f}" + (f", {cards} cards of this host {cards * needed:.0f}" if cards > 1 else "")
    if rate < needed:
        yield Finding("data rate", WARNING, text, "train with more --workers, or build records on a local disk "
                      "(src/tools/build_seg_data.py, build_coco_data.py)")
    else:
        yield Finding("data rate", OK, text + ("; run it while the other ranks train to see them share the host"
                                               if cards > 1 else ""))


def measure(settings, seconds: float) -> float:
    """Samples a second of the training pipeline, without a network."""
    from src.data.pipeline import training_batches

    task = tasks.create(settings.completed())
    batches = training_batches(task.dataset("train"), augmentation=task.train_augmentation(), columns=task.columns,
                               seed=settings.seed, epochs=1_000_000, batch_size=settings.batch_size,
                               workers=settings.workers)
    rows = batches.create_tuple_iterator(num_epochs=1, output_numpy=True)
    for _ in range(WARM_UP):
        next(rows)
    begun, count = time.perf_counter(), 0
    while (took := time.perf_counter() - begun) < seconds or not count:
        next(rows)
        count += 1
    return count * settings.batch_size / took
