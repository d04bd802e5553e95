"""Batches for training: order -> records -> augmentation in worker threads -> batches."""
from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

import cv2
import mindspore.dataset as ds
import numpy as np

from src.contract import Dataset, InputError
from src.data import order


class _OrderedRows:
    """Records in training order as (image, target, place, sample_id, epoch) rows, for the rest of the run."""

    def __init__(self, dataset: Dataset, start_step: int, **plan: int):
        self.dataset = dataset
        self.start_step = start_step
        self.plan = plan

    def __len__(self) -> int:
        plan = self.plan
        steps = order.steps_per_epoch(len(self.dataset), plan["batch_size"], plan["world_size"])
        return max(steps * plan["epochs"] - self.start_step, 0) * plan["batch_size"]

    def __iter__(self) -> Iterator[tuple]:
        for epoch, ids in order.training_order(len(self.dataset), start_step=self.start_step, **self.plan):
            for sample_id, record in zip(ids, self.dataset.rows(ids.tolist())):
                yield (np.frombuffer(record.image, np.uint8), np.frombuffer(record.target, np.uint8),
                       np.str_(f"{record.place}: {record.file_name}"), np.int32(sample_id), np.int32(epoch))


def training_batches(dataset: Dataset, *, augmentation: Callable, columns: Sequence[str], batch_size: int,
                     workers: int = 2, start_step: int = 0, **plan: int) -> ds.Dataset:
    """Return all batches of one rank's run, from batch `start_step` on, as one MindSpore dataset.

    Args:
        dataset: the split.
        augmentation: `(image bytes, target bytes, Generator) -> arrays`, the columns before `sample_id` and `epoch`.
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
    rows = _OrderedRows(dataset, start_step, **plan)
    data = ds.GeneratorDataset(rows, ["image", "target", "place", "sample_id", "epoch"], num_parallel_workers=1,
                               shuffle=False, python_multiprocessing=False)
    data = data.map(_Augment(augmentation, plan["seed"]), ["image", "target", "place", "sample_id", "epoch"],
                    list(columns), num_parallel_workers=min(workers, os.cpu_count() or 1),
                    python_multiprocessing=False)
    return data.batch(batch_size, drop_remainder=True)


class _Augment:
    """Apply the augmentation with the sample's own generator; an error names the record."""

    def __init__(self, augmentation: Callable, seed: int):
        self.augmentation = augmentation
        self.seed = seed

    def __call__(self, image, target, place, sample_id, epoch):
        rng = order.sample_rng(self.seed, int(epoch), int(sample_id))
        try:
            return (*self.augmentation(image.tobytes(), target.tobytes(), rng), sample_id, epoch)
        except InputError as error:
            raise InputError(f"{place}: {error}") from error


def augmented_batch(dataset: Dataset, sample_ids: Sequence[int], epoch: int, *, augmentation: Callable,
                    seed: int) -> tuple[np.ndarray, ...]:
    """Recompute one batch of the training pipeline: its columns as arrays, `sample_id` and `epoch` last."""
    augment = _Augment(augmentation, seed)
    rows = [augment(np.frombuffer(record.image, np.uint8), np.frombuffer(record.target, np.uint8), record.place,
                    np.int32(sample_id), np.int32(epoch))
            for sample_id, record in zip(sample_ids, dataset.rows(sample_ids))]
    return tuple(np.stack(column) for column in zip(*rows))
