"""Batches for training: order -> records -> augmentation in worker threads -> batches."""
from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

import cv2
import mindspore.dataset as ds
import numpy as np

from src.contract import Dataset, InputError, Record
from src.data import order
from src.data.repeats import num_records, repeats_of

COLUMNS = ["image", "target", "place", "partner_image", "partner_target", "partner_place", "sample_id", "epoch"]
_NOBODY = Record(0, "", b"\0", b"\0")  # MindSpore's pipeline takes no empty arrays


class _OrderedRows:
    """Records in training order as rows of `COLUMNS`, for the rest of the run; see `_rows`."""

    def __init__(self, dataset: Dataset, start_step: int, partner_ratio: float, **plan: int):
        self.dataset = dataset
        self.start_step = start_step
        self.partner_ratio = partner_ratio
        self.plan = plan

    def __len__(self) -> int:
        plan = self.plan
        steps = order.steps_per_epoch(len(self.dataset), plan["batch_size"], plan["world_size"])
        return max(steps * plan["epochs"] - self.start_step, 0) * plan["batch_size"]

    def __iter__(self) -> Iterator[tuple]:
        for epoch, ids in order.training_order(len(self.dataset), start_step=self.start_step,
                                               repeats=repeats_of(self.dataset), **self.plan):
            yield from _rows(self.dataset, ids.tolist(), epoch, seed=self.plan["seed"], ratio=self.partner_ratio)


def _rows(dataset: Dataset, ids: Sequence[int], epoch: int, *, seed: int, ratio: float) -> Iterator[tuple]:
    """Samples as rows of `COLUMNS`; the columns of the partner are empty where a sample has none."""
    partners = [order.partner(num_records(dataset), seed=seed, epoch=epoch, sample_id=i, ratio=ratio) for i in ids]
    wanted = [i for pair in zip(ids, partners) for i in pair if i is not None]
    records = dataset.rows(wanted)
    for sample_id, other in zip(ids, partners):
        record = next(records)
        partner = next(records) if other is not None else _NOBODY
        yield (*_arrays(record), *_arrays(partner), np.int32(sample_id), np.int32(epoch))


def _arrays(record: Record) -> tuple[np.ndarray, np.ndarray, np.str_]:
    return (np.frombuffer(record.image, np.uint8), np.frombuffer(record.target, np.uint8),
            np.str_(f"{record.place}: {record.file_name}"))


def training_batches(dataset: Dataset, *, augmentation: Callable, columns: Sequence[str], batch_size: int,
                     workers: int = 2, start_step: int = 0, **plan: int) -> ds.Dataset:
    """Return all batches of one rank's run, from batch `start_step` on, as one MindSpore dataset.

    Args:
        dataset: the split.
        augmentation: `(image bytes, target bytes, Generator) -> arrays`, the columns before `sample_id` and `epoch`. If
            it has a `partner_ratio`, it is called for this share of the samples with a fourth argument, the (image
            bytes, target bytes) of another sample.
        columns: names of all batch columns; the last two are `sample_id` and `epoch`, (B,) int32.
        workers: threads that augment, at most one per core. Their number changes nothing but the speed.
        start_step: batches of the run that are already done.
        plan: `seed`, `epochs`, `world_size` and `rank` of the whole run, see `order.training_order`.

    Raises:
        InputError: fewer samples than one batch of every rank.
    """
    plan = {"world_size": 1, "rank": 0, "batch_size": batch_size} | plan
    if order.steps_per_epoch(len(dataset), batch_size, plan["world_size"]) == 0:
        raise InputError(f"{dataset.name} has {len(dataset)} samples, fewer than batch_size={batch_size} x "
                         f"{plan['world_size']} processes; lower --batch_size")
    cv2.setNumThreads(0)  # the workers are the parallelism
    rows = _OrderedRows(dataset, start_step, _partner_ratio(augmentation), **plan)
    data = ds.GeneratorDataset(rows, COLUMNS, num_parallel_workers=1, shuffle=False, python_multiprocessing=False)
    data = data.map(_Augment(augmentation, plan["seed"]), COLUMNS, list(columns),
                    num_parallel_workers=min(workers, os.cpu_count() or 1), python_multiprocessing=False)
    return data.batch(batch_size, drop_remainder=True)


def _partner_ratio(augmentation: Callable) -> float:
    return getattr(augmentation, "partner_ratio", 0.0)


class _Augment:
    """Apply the augmentation with the sample's own generator; an error names the record."""

    def __init__(self, augmentation: Callable, seed: int):
        self.augmentation = augmentation
        self.seed = seed

    def __call__(self, image, target, place, partner_image, partner_target, partner_place, sample_id, epoch):
        rng = order.sample_rng(self.seed, int(epoch), int(sample_id))
        partner = ((partner_image.tobytes(), partner_target.tobytes()),) if partner_image.size > 1 else ()
        try:
            return (*self.augmentation(image.tobytes(), target.tobytes(), rng, *partner), sample_id, epoch)
        except InputError as error:
            beside = f" (with {partner_place} pasted into it)" if partner else ""
            raise InputError(f"{place}{beside}: {error}") from error


def augmented_batch(dataset: Dataset, sample_ids: Sequence[int], epoch: int, *, augmentation: Callable,
                    seed: int) -> tuple[np.ndarray, ...]:
    """Recompute one batch of the training pipeline: its columns as arrays, `sample_id` and `epoch` last."""
    augment = _Augment(augmentation, seed)
    rows = [augment(*row) for row in _rows(dataset, sample_ids, epoch, seed=seed, ratio=_partner_ratio(augmentation))]
    return tuple(np.stack(column) for column in zip(*rows))
