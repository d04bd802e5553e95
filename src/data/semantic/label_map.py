"""Other numberings of label maps: a table from the values in the files to class indices. No MindSpore here."""
from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from src.contract import Dataset, InputError, Record
from src.data.semantic.voc import read_label

IGNORED = 255
# cityscapesScripts, helpers/labels.py: the ids of the 19 classes that are evaluated, in the order of their trainIds.
_CITYSCAPES = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
NAMES = ("cityscapes", "reduce_zero_label")
_FORM = (f"a name ({', '.join(NAMES)}), pairs VALUE:INDEX with commas such as 0:0,255:1,*:255 (* is every other "
         "value), or a file with one pair on each line")


def read_label_map(text: str) -> np.ndarray:
    """(256,) uint8: the class index of every label value.

    Args:
        text: "cityscapes" (labelIds to trainIds, all else 255), "reduce_zero_label" (0 becomes 255 and every class
            index one less, as for ADE20K), pairs `VALUE:INDEX` separated by commas, or the path of a file with one
            pair on each line. `*:INDEX` stands for all values that no pair names; they stay as they are without it.

    Raises:
        InputError: no such name or file, or pairs that are none.
    """
    table = np.arange(256, dtype=np.uint8)
    if text.lower() == "cityscapes":
        table[:] = IGNORED
        table[list(_CITYSCAPES)] = np.arange(len(_CITYSCAPES))
        return table
    if text.lower() == "reduce_zero_label":
        return np.where((table == 0) | (table == IGNORED), IGNORED, table - 1).astype(np.uint8)
    place, pairs = f"--label_map={text}", text.split(",")
    if Path(text).is_file():
        try:
            pairs = [line for line in Path(text).read_text(encoding="utf-8-sig").splitlines()
                     if line.strip() and not line.startswith("#")]
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{place}: not a text file; give {_FORM}") from error
    return _table(pairs, place, table)


def _table(pairs: Sequence[str], place: str, table: np.ndarray) -> np.ndarray:
    given: dict[str, int] = {}
    for pair in pairs:
        value, index = [*re.split(r"[\s:,=]+", pair.strip(), maxsplit=1), ""][:2]
        if not index.isdecimal() or not (value == "*" or value.isdecimal()) \
                or int(index) > 255 or (value != "*" and int(value) > 255):
            raise InputError(f"{place}: {pair!r} is no pair VALUE:INDEX of numbers 0..255; give {_FORM}")
        if given.setdefault(value, int(index)) != int(index):
            raise InputError(f"{place}: value {value} becomes both {given[value]} and {index}; keep one of the pairs")
    if "*" in given:
        table[:] = given.pop("*")
    for label, class_index in given.items():
        table[int(label)] = class_index
    return table


class MappedLabels:
    """A dataset whose label maps are renumbered while they are read (a `src.contract.Dataset`)."""

    def __init__(self, dataset: Dataset, table: np.ndarray):
        """`table` is (256,) uint8, see `read_label_map`."""
        self.name = dataset.name
        self.dataset = dataset
        self.table = table
        self.bad: list[str] = list(getattr(dataset, "bad", []))

    def __len__(self) -> int:
        return len(self.dataset)

    def rows(self, sample_ids: Sequence[int]) -> Iterator[Record]:
        """Yield the records of `sample_ids`, in that order; the label is a gray PNG of class indices.

        Raises:
            InputError: a label cannot be decoded.
        """
        for record in self.dataset.rows(sample_ids):
            label = self.table[read_label(record)]
            yield replace(record, target=cv2.imencode(".png", label, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes())
