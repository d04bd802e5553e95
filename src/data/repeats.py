"""Repeat-factor sampling: a split whose images of rare classes appear several times in an epoch. No MindSpore here."""
from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from src.contract import Dataset, InputError, Record
from src.data.checks import ordered_map
from src.data.order import epoch_size, repeat_factors

log = logging.getLogger(__name__)


class RepeatedDataset:
    """The records of a split for training, of which some are repeated.

    Sample ids are those of `order.repeated`: copies of a record have ids of their own.

    Attributes:
        name: of the split.
        repeats: (n,) float64, how often each record appears in an epoch on average.
    """

    def __init__(self, dataset: Dataset, repeats: np.ndarray):
        self.dataset = dataset
        self.name = dataset.name
        self.repeats = repeats

    def __len__(self) -> int:
        """Samples of an epoch."""
        return epoch_size(self.repeats)

    def rows(self, sample_ids: Sequence[int]) -> Iterator[Record]:
        return self.dataset.rows([int(i) % len(self.repeats) for i in sample_ids])


def repeats_of(dataset: Dataset) -> np.ndarray | None:
    """How often each record appears in an epoch; None for once each."""
    return dataset.repeats if isinstance(dataset, RepeatedDataset) else None


def num_records(dataset: Dataset) -> int:
    """Records of a split, each counted once."""
    return len(dataset.repeats) if isinstance(dataset, RepeatedDataset) else len(dataset)


def repeat_rare(dataset: Dataset, threshold: float, classes_of: Callable[[Record], Sequence[int]],
                class_names: Sequence[str], *, records: Iterable[Record] = (), workers: int = 2) -> Dataset:
    """`dataset` with its images of rare classes repeated; itself where the threshold is 0. Logs which classes are rare.

    Args:
        threshold: share of the images below which a class is rare, see `order.repeat_factors`.
        classes_of: indices of the classes that a record shows, the background not among them.
        class_names: index 0 first.
        records: of the whole split in order, where they can be had without reading images.
    """
    if not threshold:
        return dataset
    present = np.zeros((len(dataset), len(class_names)), bool)
    records = records or dataset.rows(range(len(dataset)))
    for row, found in zip(present, ordered_map(classes_of, records, max(workers, 1)), strict=True):
        row[list(found)] = True
    repeated = RepeatedDataset(dataset, repeat_factors(present, threshold))
    _report(repeated, present, threshold, class_names)
    return repeated


def _report(dataset: RepeatedDataset, present: np.ndarray, threshold: float, class_names: Sequence[str]) -> None:
    count = present.sum(0)
    rare = sorted((k for k in np.flatnonzero(count) if count[k] < threshold * len(present)), key=lambda k: count[k])
    if not count.any():
        raise InputError(f"--repeat_factor_threshold={threshold:g}: no image of {dataset.name} shows an object, so "
                         "that none can be rare; leave the flag out")
    if not rare:
        log.warning("repeat_factor_threshold=%g: every class of %s is in at least this share of the images, so that "
                    "none is repeated; the rarest is in %.3g", threshold, dataset.name,
                    count[count > 0].min() / len(present))
        return
    shown = ", ".join(f"{class_names[k]} in {count[k]} images, {np.sqrt(threshold * len(present) / count[k]):.2f} times"
                      for k in rare[:8])
    log.info("%s: %d images make epochs of %d: rare are %s%s", dataset.name, len(present), len(dataset), shown,
             f" and {len(rare) - 8} more" if len(rare) > 8 else "")
