"""Evaluation of a split: every record once, in order, in constant memory."""
from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from src.contract import Dataset, Evaluator, InputError, Record
from src.data import order
from src.engine.compile_notice import CompileNotice
from src.engine.position import clock

log = logging.getLogger(__name__)
SPEAK_EVERY = 30.0  # seconds


def evaluate(predictor: Callable, dataset: Dataset, evaluator: Evaluator, *, world_size: int = 1,
             rank: int = 0, compile_notice: CompileNotice | None = None) -> Evaluator:
    """Predict this rank's share of `dataset` and pass the predictions to `evaluator`, which is returned.

    Args:
        predictor: `iterable of records -> iterator of predictions`, in order.
        dataset: the split; rank r of `world_size` takes its contiguous share.
        compile_notice: for the first prediction, if it compiles the graph.
    """
    ids = order.share(len(dataset), world_size=world_size, rank=rank)
    waiting: list[Record] = []  # taken by the predictor, not predicted yet: a few batches
    started = spoken = time.monotonic()
    predictions = _announced(predictor(_remembered(dataset.rows(ids), waiting)), compile_notice)
    for done, prediction in enumerate(predictions, 1):
        record = waiting.pop(0)
        try:
            evaluator.update(prediction, record.target)
        except InputError as error:
            raise InputError(f"{record.place}: {record.file_name}: {error}") from error
        if time.monotonic() - spoken > SPEAK_EVERY:
            spoken = time.monotonic()
            left = (spoken - started) / done * (len(ids) - done)
            log.info("  evaluated %d of %d images, ETA %s", done, len(ids), clock(left))
    return evaluator


def _remembered(records: Iterator[Record], waiting: list[Record]) -> Iterator[Record]:
    for record in records:
        waiting.append(record)
        yield record


def _announced(predictions: Iterator, notice: CompileNotice | None) -> Iterator[Any]:
    if notice:
        with notice:
            first = list(islice(predictions, 1))
            notice.done()
        yield from first
    yield from predictions
