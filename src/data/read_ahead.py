"""Read ahead: decode the next batch in threads while the network works on the current one."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

import numpy as np

from src.contract import InputError, Record
from src.data.decode import AS_STORED, Decoding, decode_image

T = TypeVar("T")


@dataclass(frozen=True)
class DecodedRecord(Record):
    """A record whose image is decoded already, as a large one should be only once; `image` may be empty.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
    """

    pixels: np.ndarray = field(kw_only=True)


def read_ahead(records: Iterable[Record], prepare: Callable[[Record], T], *, batch_size: int,
               pool: Executor) -> Iterator[tuple[list[int], list[T]]]:
    """Yield (image ids, prepared records) of `batch_size` records at a time, in order; the last batch may be shorter.

    The next batch is prepared while the caller works on the current one, so at most two are in memory.

    Args:
        records: taken in the caller's thread; or parts of images, with an `image_id` too.
        prepare: called in `pool`, once per record; its exceptions are raised here when the record is due.
    """
    records = iter(records)

    def submit() -> list:
        return [(record.image_id, pool.submit(prepare, record)) for record in islice(records, batch_size)]

    ahead = submit()
    while current := ahead:
        ahead = submit()
        yield [image_id for image_id, _ in current], [future.result() for _, future in current]


def decode_record(record: Record, how: Decoding = AS_STORED) -> np.ndarray:
    """The image of a record, (H, W, 3) uint8 RGB.

    Raises:
        InputError: as `decode_image`, with the record's place and file name.
    """
    if isinstance(record, DecodedRecord):
        return record.pixels
    try:
        return decode_image(record.image, how)
    except InputError as error:
        place = f"{record.place}: " if record.place else ""
        raise InputError(f"{place}{record.file_name} {error}") from error
