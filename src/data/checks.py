"""Read a whole dataset in parallel: hashes and checks before a build, records during it. No MindSpore here."""
from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from src.contract import Dataset, InputError, Record
from src.data import decode
from src.data.records.manifest import Shard, combined, record_digest

log = logging.getLogger(__name__)

Check = Callable[[Record], Mapping[int, int]]
ProgressCallback = Callable[[str, int, int], None]

MAX_RECORD = 128 << 20  # bytes; half of the largest page of a MindRecord file
_SHOWN = 20
_LOOKED_AT = 20  # images whose range of samples is looked at
_FEW_BITS = 2  # that samples of 16 bits leave unused before images come out dark


class Inspector:
    """A dataset in the order of a build, read and checked by a pool of threads.

    Image codecs and hashes release Python's lock, so threads are as fast as processes here.
    """

    def __init__(self, dataset: Dataset, order: np.ndarray, *, check: Check | None, workers: int,
                 progress: ProgressCallback):
        self.dataset = dataset
        self.order = order
        self.check = check
        self.workers = workers
        self.progress = progress

    def typical_bytes(self) -> float:
        """Mean bytes of a record, from at most 128 of them."""
        ids = range(0, len(self.dataset), max(len(self.dataset) // 64, 1))
        records = [record for record in map(self._read, ids) if isinstance(record, Record)]
        return float(np.mean([size_of(record) for record in records] or [0]))

    def shard(self, name: str, first: int, last: int, known: Shard | None) -> Shard:
        """Hash and check the records at positions first..last-1; records that are known are only hashed again."""
        ids = self.order[first:last]
        if known and combined(ordered_map(self._digest, ids, self.workers)) == known.source_hash:
            self.progress("check", last, len(self.order))
            return known
        shard, digests, good = Shard(name, first, last), [], []
        histogram: Counter[int] = Counter()
        for position, sample_id, result in zip(range(first, last), ids, ordered_map(self._examine, ids, self.workers)):
            digest, size, counts, message = result
            digests.append(digest)
            if message:
                shard.bad.append(message)
                shard.skipped.append(int(sample_id))
            else:
                good.append(digest)
                histogram.update(counts)
                shard.bytes, shard.largest = shard.bytes + size, max(shard.largest, size)
            self.progress("check", position + 1, len(self.order))
        shard.records, shard.histogram = len(good), dict(sorted(histogram.items()))
        shard.source_hash, shard.content_hash = combined(digests), combined(good)
        return shard

    def records(self, shard: Shard) -> Iterator[Record]:
        """The good records of a shard, in order.

        Raises:
            InputError: a record can no longer be read.
        """
        skipped = set(shard.skipped)
        ids = [int(i) for i in self.order[shard.first:shard.last] if int(i) not in skipped]
        for record in ordered_map(self._read, ids, self.workers):
            if isinstance(record, str):
                raise InputError(record)
            yield record

    def _read(self, sample_id: int) -> Record | str:
        """A record, or the reason why there is none."""
        try:
            return next(iter(self.dataset.rows([int(sample_id)])))
        except InputError as error:
            return str(error)

    def _digest(self, sample_id: int) -> bytes:
        record = self._read(sample_id)
        return record.encode() if isinstance(record, str) else record_digest(record)

    def _examine(self, sample_id: int) -> tuple[bytes, int, Mapping[int, int], str]:
        """(digest, bytes, histogram, message if it is bad) of one record."""
        record = self._read(sample_id)
        if isinstance(record, str):
            return record.encode(), 0, {}, record
        try:
            check_size(record)
            counts, message = self.check(record) if self.check else {}, ""
        except InputError as error:
            counts, message = {}, str(error)
        return record_digest(record), size_of(record), counts, message


class Subset:
    """The records of a dataset at `sample_ids`, in that order (a `src.contract.Dataset`)."""

    def __init__(self, dataset: Dataset, sample_ids: Sequence[int]):
        self.name = dataset.name
        self.dataset = dataset
        self.sample_ids = list(sample_ids)

    def __len__(self) -> int:
        return len(self.sample_ids)

    def rows(self, sample_ids: Sequence[int]) -> Iterator[Record]:
        """Yield the records of `sample_ids`, which are positions in the subset."""
        return self.dataset.rows([self.sample_ids[i] for i in sample_ids])


def leave_out_bad(dataset: Dataset, check: Check, *, workers: int, known: Sequence[str] = ()) -> Dataset:
    """Read and check every record of a dataset, log which are bad, and return the others: `--on_bad=skip`.

    Args:
        dataset: its attribute `left_out`, if it has one, counts the records that it left out itself, and the
            annotations that it left out besides those.
        known: messages about what it left out; without `left_out`, one for each record.

    Raises:
        InputError: no good record is left.
    """
    inspector = Inspector(dataset, np.arange(len(dataset)), check=check, workers=workers, progress=lambda *_: None)
    shard = inspector.shard(dataset.name, 0, len(dataset), None)
    bad = [*known, *shard.bad]
    if not shard.records:
        raise InputError(f"{dataset.name}: no usable record is left\n{describe_bad(bad, 'entries')}")
    if bad:
        records, annotations = getattr(dataset, "left_out", (len(known), 0))
        records += len(shard.bad)
        alone = f" and {annotations} annotations of others" if annotations else ""
        log.warning("%s: %d of %d records%s are left out\n%s", dataset.name, records, records + shard.records, alone,
                    describe_bad(bad, "entries"))
    skipped = set(shard.skipped)
    return Subset(dataset, [i for i in range(len(dataset)) if i not in skipped]) if skipped else dataset


def warn_of_dark_images(dataset: Dataset, bit_depth: int) -> None:
    """Warn where 16-bit images use far fewer bits than `bit_depth`: they would come out nearly black.

    Looks at `_LOOKED_AT` images, evenly spread; what cannot be read is left to those who read it.
    """
    rows = dataset.rows(evenly(len(dataset)))  # in one call: opening MindRecords takes longer than reading some
    found = dark_samples((record.image for record in rows), bit_depth)
    if found:
        log.warning("%s: %s: give --bit_depth=%d (now %d)", dataset.name, *found, bit_depth)


def evenly(total: int, count: int = _LOOKED_AT) -> list[int]:
    """At most `count` of the positions 0..total-1, evenly spread."""
    return np.unique(np.linspace(0, total - 1, min(count, total)).astype(int)).tolist()


def dark_samples(images: Iterable[bytes], bit_depth: int) -> tuple[str, int] | None:
    """What to say of 16-bit images that use far fewer bits than `bit_depth`, and how many; None where they do not.

    Single samples, as of a broken pixel, do not decide: at least one in a thousand of an image must be as high.
    """
    ranges = []
    try:
        for data in images:
            ranges += [found] if (found := decode.sample_range(data)) else []
    except InputError:
        pass  # said where the image is read
    if not ranges:
        return None
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    bits = fitting_depth(high, bit_depth)
    return (f"samples of the 16-bit images are {low}..{high} in the {len(ranges)} that were looked at, and come out "
            "nearly black", bits) if bits else None


def fitting_depth(highest: int, bit_depth: int) -> int | None:
    """The bits of 16-bit samples up to `highest` where `bit_depth` makes them come out nearly black, else None."""
    bits = max(highest.bit_length(), 8)
    return bits if bits <= bit_depth - _FEW_BITS else None


def size_of(record: Record) -> int:
    """Bytes of image and target."""
    return len(record.image) + len(record.target)


def check_size(record: Record) -> None:
    """Raise InputError for what a MindRecord cannot hold: no bytes (they come back as one zero byte), or too many."""
    for what, data in (("image", record.image), ("label", record.target)):
        if not data:
            raise InputError(f"{record.place}: {record.file_name}: {what} is empty (0 bytes); restore the file")
    if size_of(record) > MAX_RECORD:
        raise InputError(f"{record.place}: {record.file_name}: {size_of(record) >> 20} MiB, a record has at most "
                         f"{MAX_RECORD >> 20}; scale the image down")


def ordered_map(function: Callable[[Any], Any], items: Iterable[Any], workers: int) -> Iterator[Any]:
    """`map` by a pool of threads, in order, with at most four results per thread in memory."""
    with ThreadPoolExecutor(workers) as pool:
        pending: deque = deque()
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= 4 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def describe_bad(bad: Sequence[str], what: str = "records") -> str:
    """The first messages about bad `what`, one per line, and how many more there are."""
    lines = list(bad[:_SHOWN])
    if len(bad) > 1:
        lines.insert(0, f"{len(bad)} bad {what}:")
    if len(bad) > _SHOWN:
        lines.append(f"... and {len(bad) - _SHOWN} more")
    return "\n".join(lines)
