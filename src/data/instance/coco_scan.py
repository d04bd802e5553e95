"""Checks the annotations of a file some thousands at a time, and makes the table of them. No MindSpore here.

Nearly all annotations are sound as they are written. Those are recognised by a few calculations over the numbers of
many; all others go one by one through `coco_check`, which knows what can be mended and what is wrong.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from src.data.instance.border import TOLERANCE
from src.data.instance.coco_check import is_id, is_side
from src.data.instance.coco_file import AnnotationFile, Texts, split, split_slowly
from src.data.instance.coco_table import NO_ID, ROW, UNCHECKED, Annotation, AnnotationTable, Encoding
from src.data.instance.coco_tidy import Tidy, has_number
from src.data.instance.target import are_encodings

_BATCH = 4096  # annotations that are decoded at a time
_KEYS = ("id", "file_name", "height", "width")  # of images
_ROOM = 2 ** 62  # new ids are above the highest of those below it, so that they are ids still
_NO_MASK = [[0, 0]]  # a point inside every image
_LEAST = 1e-4  # msgspec writes smaller numbers otherwise than Python, which targets are made with
_MANY, _ONE = msgspec.json.Decoder(list[Annotation]), msgspec.json.Decoder(Annotation)


def read_table(data: bytes, path: str | Path) -> AnnotationTable:
    """The table of an annotation file with the contents `data`, checked.

    Raises:
        InputError: not JSON, or not COCO's layout.
    """
    try:
        return _scanned(split(data))
    except (ValueError, RecursionError):
        return _scanned(split_slowly(data, path))


def _scanned(file: AnnotationFile) -> AnnotationTable:
    tidy = Tidy.of(file.images, file.categories)
    images = [_needed(tidy.image(entry)) for entry in file.images]
    rows = np.zeros(len(file.annotations), ROW)
    rows["start"], rows["end"] = file.annotations.starts, file.annotations.ends
    table = AnnotationTable(file.annotations, rows, images, [], tidy)
    scanner = _Scanner(table)
    for first in range(0, len(rows), _BATCH):
        scanner.take(first, min(first + _BATCH, len(rows)))
    tidy.note_numbered(scanner.number())
    tidy.note_searched(file.images)
    table.categories = tidy.classes(file.categories, table.category_counts())
    return table


class _Scanner:
    """Fills the rows of a table."""

    def __init__(self, table: AnnotationTable):
        self.table = table
        self.image_rows: dict[int, int] = {}
        for row, entry in enumerate(table.images):
            if isinstance(entry, dict) and is_id(entry.get("id")):
                self.image_rows.setdefault(entry["id"], row)
        self.sizes = np.array([_size(entry) for entry in table.images], np.int64)
        self.unnumbered: list[int] = []

    def take(self, first: int, last: int) -> None:
        """Rows first..last-1."""
        as_is = np.zeros(last - first, bool)
        usual = _decoded(self.table.texts, first, last)
        if usual:
            rows = np.fromiter(usual, np.int64, len(usual))
            as_is[rows - first] = self._take_usual(rows, list(usual.values()))
        for row in first + np.flatnonzero(~as_is):
            self._take_one(row, self.table.unnumbered(row))

    def _take_usual(self, rows: np.ndarray, annotations: Sequence[Annotation]) -> np.ndarray:
        """Fill in the rows of decoded annotations; (n,) bool: which of them are sound as they are written."""
        def column(values) -> np.ndarray:
            return np.fromiter(values, np.int64, len(annotations))

        columns = self.table.rows
        image = column(self.image_rows.get(a.image_id, -1) for a in annotations)
        columns["image"][rows] = image
        columns["id"][rows] = column(a.id for a in annotations)
        columns["category_id"][rows] = column(a.category_id for a in annotations)
        columns["iscrowd"][rows] = column(a.iscrowd or 0 for a in annotations)
        return (image >= 0) & are_sound(annotations, self.sizes[image])

    def _take_one(self, row: int, entry: Any) -> None:
        columns = self.table.rows
        columns["image"][row], columns["category_id"][row] = -1, NO_ID
        columns["odd_id"][row] = True
        if not isinstance(entry, dict):
            return
        if not has_number(entry):
            self.unnumbered.append(row)
        elif is_id(entry["id"]):
            columns["id"][row], columns["odd_id"][row] = entry["id"], False
        if is_id(entry.get("category_id")):
            columns["category_id"][row] = entry["category_id"]
        image_id = entry.get("image_id")
        if is_id(image_id) and image_id in self.image_rows:
            columns["image"][row] = image = self.image_rows[image_id]
            height, width = self.sizes[image].tolist()
            if height:
                self.table.examine(row, entry, (height, width))
            else:
                columns["outcome"][row] = self.table.outcomes.index(UNCHECKED)

    def number(self) -> int:
        """Give annotations without a number as id one of their own, and return how many they are."""
        ids, odd = self.table.rows["id"], self.table.rows["odd_id"]
        highest = ids[~odd & (ids < _ROOM)].max(initial=0)
        ids[self.unnumbered] = highest + np.arange(1, len(self.unnumbered) + 1)
        odd[self.unnumbered] = False
        return len(self.unnumbered)


def _needed(entry: Any) -> Any:
    return {key: entry[key] for key in _KEYS if key in entry} if isinstance(entry, dict) else entry


def _size(entry: Any) -> tuple[int, int]:
    """(H, W) of an image, zeros where its entry does not say it."""
    height, width = (entry.get("height"), entry.get("width")) if isinstance(entry, Mapping) else (0, 0)
    return (height, width) if is_side(height) and is_side(width) else (0, 0)


def _decoded(texts: Texts, first: int, last: int) -> dict[int, Annotation]:
    """The annotations of rows first..last-1 that have the usual form, by row."""
    try:
        return dict(enumerate(_MANY.decode(texts.span(first, last)), first))
    except msgspec.DecodeError:
        found = {}
        for row in range(first, last):
            try:
                found[row] = _ONE.decode(texts[row])
            except msgspec.DecodeError:  # looked at later
                continue
        return found


def are_sound(annotations: Sequence[Annotation], sizes: np.ndarray) -> np.ndarray:
    """(n,) bool: which annotations are sound as they are written. False may be wrong, True never is.

    Args:
        sizes: (n, 2) height and width of their images, zeros where unknown.
    """
    polygons = [_polygons(a) for a in annotations]
    simple = np.array([p is not None for p in polygons]) | _are_encoded(annotations, sizes)
    numbers, first = _flat([p or _NO_MASK for p in polygons])
    boxes = np.array([a.bbox for a in annotations], np.float64)
    areas = np.array([a.area for a in annotations], np.float64)
    limits = sizes[:, ::-1] + TOLERANCE
    low = np.stack([np.minimum.reduceat(numbers[side::2], first) for side in (0, 1)], 1)
    high = np.stack([np.maximum.reduceat(numbers[side::2], first) for side in (0, 1)], 1)
    low, high = np.minimum(low, boxes[:, :2]), np.maximum(high, boxes[:, :2] + boxes[:, 2:])
    inside = (low >= -TOLERANCE).all(1) & (high <= limits).all(1)
    tiny = np.logical_or.reduceat(_is_tiny(numbers), 2 * first) | _is_tiny(boxes).any(1) | _is_tiny(areas)
    return simple & sizes.all(1) & inside & (boxes[:, 2:] > 0).all(1) & (areas >= 0) & ~tiny


def _polygons(annotation: Annotation) -> list[list] | None:
    """The polygons of whole points; [] where there is no mask, None where it is anything else."""
    mask = annotation.segmentation or []
    return mask if isinstance(mask, list) and not any(len(polygon) % 2 for polygon in mask) else None


def _are_encoded(annotations: Sequence[Annotation], sizes: np.ndarray) -> np.ndarray:
    """(n,) bool: which masks are compressed encodings in their images' sizes."""
    counts = {}
    for row, a in enumerate(annotations):
        mask = a.segmentation
        if isinstance(mask, Encoding) and isinstance(mask.counts, str) and mask.size == tuple(sizes[row]):
            counts[row] = mask.counts
    found, rows = np.zeros(len(annotations), bool), list(counts)
    found[rows] = are_encodings(list(counts.values()), sizes[rows].prod(1))
    return found


def _flat(polygons: Sequence[list[list]]) -> tuple[np.ndarray, np.ndarray]:
    """All coordinates of n masks one after another, and the (n,) numbers of their first points."""
    counts = np.fromiter((sum(map(len, parts)) // 2 for parts in polygons), np.int64, len(polygons))
    values = chain.from_iterable(chain.from_iterable(polygons))
    return np.fromiter(values, np.float64, 2 * int(counts.sum())), counts.cumsum() - counts


def _is_tiny(numbers: np.ndarray) -> np.ndarray:
    return (np.abs(numbers) < _LEAST) & (numbers != 0)
