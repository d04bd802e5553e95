"""Look at every record of a split: its header and annotations, and of some the pixels.

Blocks of records go to processes of their own where that is safe, because Pillow and pycocotools hold Python's lock.
"""
from __future__ import annotations

import hashlib
import io
import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO

import cv2
import numpy as np

from src.contract import Dataset, InputError
from src.data import decode
from src.data.checks import ordered_map
from src.data.headers import Header, read_header
from src.data.importers.similar import Fingerprint, fingerprint_of
from src.data.instance.target import decode_target
from src.doctor.data.labels import LabelFacts, label_facts
from src.doctor.data.masks import INSTANCE, instances
from src.doctor.data.source import Entry, entries

BLOCK, RECORD_BLOCK = 64, 512  # records that a process gets at a time; of MindRecords, which are slow to open
FEW = 128  # records up to which starting processes takes longer than looking
_ROW_STEP = 4  # every fourth row of pixels counts for the colours


@dataclass(frozen=True)
class Ways:
    """How records are looked at.

    Attributes:
        how: image files are decoded.
        semantic: records have label maps; otherwise instances.
        ignore_label: of label maps.
        table: (256,) uint8 that renumbers label maps, or None.
        pixels: sample ids of the images that are decoded.
        regions: sample ids of the label maps whose regions are measured.
    """

    how: decode.Decoding
    semantic: bool
    ignore_label: int = 255
    table: np.ndarray | None = None
    pixels: frozenset[int] = frozenset()
    regions: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Pixels:
    """What decoding an image shows: `colours` (3, 3) float64, count, sum and sum of squares by channel."""

    colours: np.ndarray
    print: Fingerprint
    samples: tuple[int, int] | None  # least and greatest 16-bit sample


@dataclass(slots=True)
class Image:
    """One record of a split. `size` is the annotation's (H, W) where that has one; `faults` make it unusable."""

    image_id: int
    name: str
    place: str
    length: int = 0  # bytes of the image file
    header: Header | None = None
    size: tuple[int, int] | None = None
    pixels: Pixels | None = None
    label: LabelFacts | None = None
    faults: list[str] = field(default_factory=list)


@dataclass
class Look:
    """All records of a split, and the instances of all of them, (N,) of `masks.INSTANCE`."""

    images: list[Image]
    instances: np.ndarray

    @property
    def objects(self) -> np.ndarray:
        """The instances but crowds."""
        return self.instances[~self.instances["crowd"]]

    @property
    def objects_per_image(self) -> np.ndarray:
        """(images,) int64."""
        return np.bincount(self.objects["image"], minlength=len(self.images))


def look(dataset: Dataset, ways: Ways, *, workers: int) -> Look:
    """Look at all records of a split.

    Raises:
        InputError: MindRecords cannot be read, or a process was ended from outside.
    """
    stored = hasattr(dataset, "manifest")
    step = RECORD_BLOCK if stored else BLOCK
    blocks = [range(first, min(first + step, len(dataset))) for first in range(0, len(dataset), step)]

    def look_at(block: range) -> Look:
        found = [_examined(entry, sample_id, ways) for sample_id, entry in zip(block, entries(dataset, block))]
        return Look([image for image, _ in found], np.concatenate([rows for _, rows in found]))

    with _one_thread():
        parts = list(_mapped(look_at, blocks, workers if len(dataset) > FEW else 1, forked=not stored))
    return Look([image for part in parts for image in part.images],
                np.concatenate([np.zeros(0, INSTANCE), *(part.instances for part in parts)]))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Without OpenCV's threads: the processes are the parallelism.

    They have to end before a process is forked: in a child, whose copy of the pool has no threads, OpenCV can wait for
    them forever, even in `setNumThreads`.
    """
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


_function: Callable  # of this process


def _adopt(function: Callable) -> None:
    global _function
    _function = function


def _call(block: range) -> Look:
    return _function(block)


def _mapped(function: Callable[[range], Look], blocks: Sequence[range], workers: int, *, forked: bool
            ) -> Iterator[Look]:
    """`map` in order, by forked processes, which share the dataset; by threads where MindSpore's own would be lost."""
    if workers < 2:
        yield from map(function, blocks)
    elif not forked or "mindspore" in sys.modules or "fork" not in multiprocessing.get_all_start_methods():
        yield from ordered_map(function, blocks, workers)
    else:
        try:
            with ProcessPoolExecutor(workers, multiprocessing.get_context("fork"), _adopt, (function,)) as pool:
                yield from pool.map(_call, blocks)
        except BrokenProcessPool as error:
            raise InputError("a process that decodes images was ended, most likely for want of memory; lower --workers "
                             "or --decode") from error


def _examined(entry: Entry, sample_id: int, ways: Ways) -> tuple[Image, np.ndarray]:
    record = entry.record
    image, rows = Image(record.image_id, record.file_name, record.place), np.zeros(0, INSTANCE)
    try:
        if entry.fault:
            raise InputError(entry.fault)
        if not ways.semantic:
            target = decode_target(record.target)
            image.size, rows = target.size, instances(target, sample_id)
        _read_image(image, entry, ways, deep=sample_id in ways.pixels)
        if ways.semantic:
            _read_label(image, entry, sample_id, ways)
    except InputError as error:
        image.faults.append(str(error))
    except OSError as error:
        image.faults.append(f"{error.filename or image.name}: {error.strerror or error}")
    return image, rows


def _read_image(image: Image, entry: Entry, ways: Ways, *, deep: bool) -> None:
    data = entry.image_bytes() if deep else b""
    with io.BytesIO(data) if deep else entry.open_image() as file:
        image.length = file.seek(0, 2)
        file.seek(0)
        image.header = _named(file, ways.how)
    if image.header.fault:
        raise InputError(f"image {image.header.fault}")
    if image.size and image.size != image.header.size:
        raise InputError(_other_size("its annotation says", image, image.size))
    if deep:
        try:
            image.pixels = _decoded(data, image.header, ways.how)
        except InputError as error:
            raise InputError(f"image {error}") from error


def _named(file: BinaryIO, how: decode.Decoding) -> Header:
    try:
        return read_header(file, how)
    except InputError as error:
        raise InputError(f"image {error}") from error


def _decoded(data: bytes, header: Header, how: decode.Decoding) -> Pixels:
    pixels = decode.decode_image(data, how)
    sample = pixels[::_ROW_STEP].reshape(-1, 3)
    mean, deviation = (values[:, 0] for values in cv2.meanStdDev(sample[None]))
    count = np.full(3, float(len(sample)))
    colours = np.stack([count, count * mean, count * (deviation ** 2 + mean ** 2)])
    gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    return Pixels(colours, fingerprint_of(gray, hashlib.sha256(data).digest()),
                  decode.sample_range(data) if header.bits == 16 else None)


def _read_label(image: Image, entry: Entry, sample_id: int, ways: Ways) -> None:
    """Size of a label map from its header; its pixels where those of the image are looked at, too."""
    assert image.header is not None
    label = None
    try:
        if sample_id in ways.pixels:
            label = decode.decode_label(entry.label_bytes())
            size = label.shape[:2]
        else:
            with entry.open_label() as file:
                size = read_header(file).size
    except InputError as error:
        raise InputError(f"label {error}") from error
    if size != image.header.size:
        raise InputError(_other_size("its label is", image, size))
    image.size = image.header.size
    if label is not None:
        label = label if ways.table is None else ways.table[label]
        image.label = label_facts(label, ignore_label=ways.ignore_label, with_regions=sample_id in ways.regions)


def _other_size(what: str, image: Image, size: tuple[int, ...]) -> str:
    header = image.header
    assert header is not None
    return (f"the image is {header.size[0]}x{header.size[1]} (H x W), {what} {size[0]}x{size[1]}; pair each image with "
            f"its own annotation, at the same size{decode.orientation_hint(header.orientation)}")
