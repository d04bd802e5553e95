"""Who sees what, when: pure functions of (seed, epoch, rank), no state.

A run is resumed by asking the same functions for a later step, and N ranks see the samples that one process sees.
"""
from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def steps_per_epoch(num_samples: int, batch_size: int, world_size: int = 1) -> int:
    """Full batches per rank and epoch; fewer than `world_size * batch_size` samples are left out."""
    return num_samples // (batch_size * world_size)


def rank_order(num_samples: int, *, seed: int, epoch: int, batch_size: int, world_size: int = 1, rank: int = 0,
               repeats: np.ndarray | None = None) -> np.ndarray:
    """Sample ids of one rank in one epoch, (steps_per_epoch * batch_size,) int64, batch after batch.

    A permutation of all samples is cut into global batches of `world_size * batch_size`; rank r takes the r-th part of
    each. So one process that accumulates `world_size` batches sees, step by step, what `world_size` ranks see together.
    The samples that are left out differ from epoch to epoch.

    With `repeats`, see `repeated`, `num_samples` is their `epoch_size`.
    """
    steps = steps_per_epoch(num_samples, batch_size, world_size)
    rng = np.random.default_rng([seed, epoch])
    samples = num_samples if repeats is None else repeated(repeats, rng)
    order = rng.permutation(samples)[: steps * world_size * batch_size]
    return order.reshape(steps, world_size, batch_size)[:, rank].reshape(-1)


def repeated(repeats: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sample ids of one epoch in which sample i of n appears `repeats[i]` times on average, at least `epoch_size` ids.

    It appears so often, rounded down or up; up with the probability of the fractional part. The roundings are drawn
    together (systematic sampling in random order), so that all epochs have nearly one length. Copy c of sample i has
    the id i + c * n, so that copies are augmented differently.
    """
    whole = np.floor(repeats)
    shuffled = rng.permutation(len(repeats))
    ends = rng.random() + np.concatenate([[0.0], np.cumsum((repeats - whole)[shuffled])])
    ends[-1] = max(ends[-1], epoch_size(repeats) - whole.sum())  # added up in another order, it may be a little less
    counts = whole.astype(np.int64)
    counts[shuffled] += np.diff(np.floor(ends)).astype(np.int64)
    first = np.cumsum(counts) - counts
    copy = np.arange(counts.sum()) - np.repeat(first, counts)
    return np.repeat(np.arange(len(repeats)), counts) + copy * len(repeats)


def epoch_size(repeats: np.ndarray) -> int:
    """Samples of an epoch of `repeated` that are used: the sum, rounded down."""
    return int(np.floor(repeats.sum() + 1e-9))


def repeat_factors(present: np.ndarray, threshold: float) -> np.ndarray:
    """(n,) float64, how often each image appears in an epoch (Gupta et al. 2019, arXiv:1908.03195, section 5.3, LVIS).

    A class that a share f of the images shows has the factor max(1, sqrt(threshold / f)); an image has the largest
    factor of its classes, and 1 without any.

    Args:
        present: (n, K) bool, which classes an image shows.
        threshold: classes that fewer images show are repeated.
    """
    share_of_images = np.maximum(present.mean(0), 1 / max(len(present), 1))
    factors = np.maximum(1.0, np.sqrt(threshold / share_of_images))
    return np.where(present, factors, 1.0).max(1, initial=1.0)


def share(num_samples: int, *, world_size: int = 1, rank: int = 0) -> range:
    """Sample ids that a rank evaluates: a contiguous part; parts cover every sample once and differ by at most one."""
    return range(num_samples * rank // world_size, num_samples * (rank + 1) // world_size)


def training_order(num_samples: int, *, seed: int, epochs: int, batch_size: int, world_size: int = 1, rank: int = 0,
                   start_step: int = 0, repeats: np.ndarray | None = None) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (epoch, sample ids) of the epochs that remain after `start_step` batches; epochs count from 0.

    repeats: see `rank_order`.
    """
    steps = steps_per_epoch(num_samples, batch_size, world_size)
    for epoch in range(start_step // steps, epochs):
        ids = rank_order(num_samples, seed=seed, epoch=epoch, batch_size=batch_size, world_size=world_size, rank=rank,
                         repeats=repeats)
        skipped = max(start_step - epoch * steps, 0)
        yield epoch, ids[skipped * batch_size:]


def sample_rng(seed: int, epoch: int, sample_id: int) -> np.random.Generator:
    """The generator that augments this sample in this epoch, whichever rank or worker does it."""
    return np.random.default_rng([seed, epoch, sample_id, 1])


def partner(num_samples: int, *, seed: int, epoch: int, sample_id: int, ratio: float) -> int | None:
    """The other sample whose content is mixed into this one in this epoch: one of all, with probability `ratio`."""
    if not ratio or num_samples < 2:
        return None
    rng = np.random.default_rng([seed, epoch, sample_id, 2])
    other = int(rng.integers(num_samples - 1))
    return other + (other >= sample_id % num_samples) if rng.random() < ratio else None
