"""The records of a split for callers that look at headers and annotations: files are opened only on request."""
from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, BinaryIO

from src.contract import Dataset, InputError, Record
from src.data.instance.coco import CocoDataset
from src.data.semantic.label_map import MappedLabels
from src.data.semantic.voc import ListDataset


@dataclass(frozen=True, slots=True)
class Entry:
    """A record whose bytes may still be in files.

    Attributes:
        record: with empty bytes where there is a path instead.
        image, label: paths of the files; "" where `record` has the bytes.
        fault: why the record cannot be read; "" where it can.
    """

    record: Record
    image: str = ""
    label: str = ""
    fault: str = ""

    def open_image(self) -> AbstractContextManager[BinaryIO]:
        return open(self.image, "rb") if self.image else io.BytesIO(self.record.image)

    def open_label(self) -> AbstractContextManager[BinaryIO]:
        return open(self.label, "rb") if self.label else io.BytesIO(self.record.target)

    def image_bytes(self) -> bytes:
        return _read(self.image) if self.image else self.record.image

    def label_bytes(self) -> bytes:
        return _read(self.label) if self.label else self.record.target


def entries(dataset: Dataset, sample_ids: Sequence[int]) -> Iterator[Entry]:
    """The entries of `sample_ids`, in that order.

    Raises:
        InputError: MindRecords cannot be read.
    """
    inner: Any = dataset.dataset if isinstance(dataset, MappedLabels) else dataset
    if isinstance(inner, (ListDataset, CocoDataset)):
        for sample_id in sample_ids:
            yield Entry(*inner.listed(sample_id))
    elif hasattr(inner, "manifest"):  # MindRecords are read in one go
        yield from map(Entry, inner.rows(sample_ids))
    else:
        yield from (_whole(inner, sample_id) for sample_id in sample_ids)


def image_bytes(dataset: Dataset, sample_id: int) -> bytes:
    """The bytes of one record's image file.

    Raises:
        InputError: it cannot be read from records.
        OSError: it cannot be read from its file.
    """
    return next(iter(entries(dataset, [sample_id]))).image_bytes()


def _whole(dataset: Dataset, sample_id: int) -> Entry:
    try:
        return Entry(next(iter(dataset.rows([sample_id]))))
    except InputError as error:
        return Entry(Record(sample_id, f"record {sample_id}", b"", b"", dataset.name), fault=str(error))


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
