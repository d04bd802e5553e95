"""Who sees what, when: pure functions of (seed, epoch, rank), no state.

A run is resumed by asking the same functions for a later step, and N ranks see the samples that one process sees.
"""
from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def steps_per_epoch(num_samples: int, batch_size: int, world_size: int = 1) -> int:
    """Full batches per rank and epoch; fewer than `world_size * batch_size` samples are left out."""
    return num_samples // (batch_size * world_size)


def rank_order(num_samples: int, *, seed: int, epoch: int, batch_size: int, world_size: int = 1,
               rank: int = 0) -> np.ndarray:
    """Sample ids of one rank in one epoch, (steps_per_epoch * batch_size,) int64, batch after batch.

    A permutation of all samples is cut into global batches of `world_size * batch_size`; rank r takes the r-th part of
    each. So one process that accumulates `world_size` batches sees, step by step, what `world_size` ranks see together.
    The samples that are left out differ from epoch to epoch.
    """
    steps = steps_per_epoch(num_samples, batch_size, world_size)
    order = np.random.default_rng([seed, epoch]).permutation(num_samples)[: steps * world_size * batch_size]
    return order.reshape(steps, world_size, batch_size)[:, rank].reshape(-1)


def share(num_samples: int, *, world_size: int = 1, rank: int = 0) -> range:
    """Sample ids that a rank evaluates: a contiguous part; parts cover every sample once and differ by at most one."""
    return range(num_samples * rank // world_size, num_samples * (rank + 1) // world_size)


def training_order(num_samples: int, *, seed: int, epochs: int, batch_size: int, world_size: int = 1, rank: int = 0,
                   start_step: int = 0) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (epoch, sample ids) of the epochs that remain after `start_step` batches; epochs count from 0."""
    steps = steps_per_epoch(num_samples, batch_size, world_size)
    for epoch in range(start_step // steps, epochs):
        ids = rank_order(num_samples, seed=seed, epoch=epoch, batch_size=batch_size, world_size=world_size, rank=rank)
        skipped = max(start_step - epoch * steps, 0)
        yield epoch, ids[skipped * batch_size:]


def sample_rng(seed: int, epoch: int, sample_id: int) -> np.random.Generator:
    """The generator that augments this sample in this epoch, whichever rank or worker does it."""
    return np.random.default_rng([seed, epoch, sample_id, 1])
