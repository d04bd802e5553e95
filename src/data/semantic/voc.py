"""Semantic segmentation from a list file: lines `image label`, as the published recipes use them.

One line is one record; its line number is the image's id. A list can be trained from directly, or converted to
MindRecord (`src/data/records/mindrecord.py`) with the same records at the same sample ids. No MindSpore here.
"""
from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from src.contract import InputError, Record
from src.data import decode
from src.data.checks import describe_bad
from src.data.columns import columns
from src.data.columns import lines as lines_of
from src.data.near_match import files_in, near_match
from src.wording import some


@dataclass(frozen=True)
class Line:
    """One line of a list: number from 1, paths as written."""

    number: int
    image: str
    label: str


def read_list(data_lst: str | Path, exists: Callable[[str], bool] = lambda name: False) -> tuple[list[Line], list[str]]:
    """Read a list file: (its lines, what is wrong with the others as "file:line: message").

    Columns are separated by a tab or by blanks; a path with blanks stands in double quotes, or as it is where the files
    tell where it ends. Any line ends, a missing last one, blank lines and a byte order mark are fine.

    Args:
        exists: whether a path of the list is a file.

    Raises:
        InputError: the file is missing, is no text, or has no line at all.
    """
    try:
        text = Path(data_lst).read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{data_lst}: no such list; make one with src/tools/get_dataset_lst.py") from None
    except (IsADirectoryError, PermissionError) as error:
        raise InputError(f"{data_lst}: {str(error.strerror).lower()}; give the path of a list file") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{data_lst}: not a text file (byte {error.start}); a list has lines `image label`") from error
    lines, problems = [], []
    seen: dict[str, int] = {}
    for number, line in enumerate(lines_of(text), 1):
        try:
            words = _columns(line.strip(), exists)
            problem = _line_problem(words, seen, number) if words else None
        except InputError as error:
            words, problem = [], str(error)
        if problem:
            problems.append(f"{data_lst}:{number}: {problem}")
        elif words:
            seen[os.path.normpath(words[0])] = number
            lines.append(Line(number, *words))
    if not lines and not problems:
        raise InputError(f"{data_lst}: the list is empty; make one with src/tools/get_dataset_lst.py")
    return lines, problems


def _columns(line: str, exists: Callable[[str], bool]) -> list[str]:
    """The columns of a line without blanks at its ends."""
    words = columns(line)
    if "\t" in line and '"' not in line:
        words = [word.strip() for word in line.split("\t") if word.strip()]
    if len(words) <= 2:
        return words
    splits = [(line[:blank.start()], line[blank.end():]) for blank in re.finditer(r"\s+", line)]
    found = [split for split in splits if exists(split[0]) and exists(split[1])]
    return list(found[0]) if len(found) == 1 else words


def _line_problem(words: list[str], seen: Mapping[str, int], number: int) -> str | None:
    if len(words) == 1:
        comma = "; a comma separates nothing here" if "," in words[0] or ";" in words[0] else ""
        return f"one column {words[0]!r}; a line is `image label`, separated by a blank{comma}"
    if len(words) > 2:
        return (f"{len(words)} columns; a line is `image label`: put paths with blanks in double quotes, or separate "
                "the two by a tab")
    first = seen.get(os.path.normpath(words[0]))
    return f"image {words[0]!r} is listed twice (first in line {first}); remove one of the lines" if first else None


class ListDataset:
    """The records of a list file, in its order (a `src.contract.Dataset`).

    Attributes:
        name: the list's path.
        bad: what `on_bad="skip"` left out, as "file:line: message".
    """

    def __init__(self, data_root: str | Path, data_lst: str | Path, *, on_bad: Literal["error", "skip"] = "error"):
        """Read the list and look every file up; pixels are not read here.

        Args:
            data_root: folder that relative paths start from.
            data_lst: the list file.
            on_bad: "error" raises on the first bad lines, "skip" leaves them out and keeps their messages in `bad`.

        Raises:
            InputError: the list or lines of it are unusable, or files are missing or empty.
        """
        self.name = str(data_lst)
        self.data_root = str(data_root)
        if not os.path.isdir(data_root):
            raise InputError(f"--data_root={data_root}: no such folder; give the one that the list's paths start from")
        self._folders: dict[str, set[str]] = {}
        lines, self.bad = read_list(data_lst, lambda name: os.path.isfile(self._path(name)))
        self._lines: list[Line] = []
        for line in lines:
            problem = self._missing(line)
            if problem:
                self.bad.append(f"{self.name}:{line.number}: {problem}")
            else:
                self._lines.append(line)
        if self.bad and on_bad == "error":
            raise InputError(describe_bad(self.bad))
        if not self._lines:
            raise InputError(f"{self.name}: no usable line is left\n{describe_bad(self.bad)}")

    def __len__(self) -> int:
        return len(self._lines)

    def rows(self, sample_ids: Sequence[int]) -> Iterator[Record]:
        """Yield the records of `sample_ids`, in that order. Safe in several threads at once."""
        for sample_id in sample_ids:
            line = self._lines[sample_id]
            place = f"{self.name}:{line.number}"
            yield Record(line.number, self._relative(line.image), self._read(line.image, place),
                         self._read(line.label, place), place)

    def listed(self, sample_id: int) -> tuple[Record, str, str]:
        """A record without its bytes, and the paths of its image and of its label."""
        line = self._lines[sample_id]
        record = Record(line.number, self._relative(line.image), b"", b"", f"{self.name}:{line.number}")
        return record, self._path(line.image), self._path(line.label)

    def _path(self, name: str) -> str:
        return os.path.join(self.data_root, name)

    def _relative(self, name: str) -> str:
        if not os.path.isabs(name):
            return name
        relative = os.path.relpath(name, os.path.abspath(self.data_root))
        return name if relative.startswith("..") else relative

    def _missing(self, line: Line) -> str | None:
        for what, name in (("image", line.image), ("label", line.label)):
            path = self._path(name)
            if os.path.isdir(path):
                return f"{what} {path} is a folder; a line is `image label`, two files"
            if not os.path.isfile(path):
                return f"{what} {path} does not exist; {self._hint(name)}"
            if not os.path.getsize(path):
                return f"{what} {path} is empty (0 bytes); restore the file"
        return None

    def _hint(self, name: str) -> str:
        """What to do about a path that is no file."""
        if os.path.isfile(name):
            return "it exists without --data_root: use --data_root=."
        return near_match(self.data_root, name, self._listing) or "relative paths start from --data_root"

    def _listing(self, folder: str) -> set[str]:
        if folder not in self._folders:
            self._folders[folder] = files_in(folder)
        return self._folders[folder]

    def _read(self, name: str, place: str) -> bytes:
        try:
            with open(self._path(name), "rb") as file:
                return file.read()
        except OSError as error:
            raise InputError(f"{place}: {self._path(name)}: {error.strerror}; restore the file") from error


# --- one record -------------------------------------------------------------------------------------------------------

def decode_pair(image: bytes, target: bytes, num_classes: int, ignore_label: int,
                how: decode.Decoding = decode.AS_STORED) -> tuple[np.ndarray, np.ndarray]:
    """Decode and check one record's bytes: image (H, W, 3) uint8 RGB and label (H, W) uint8.

    Raises:
        InputError: undecodable, sizes differ, or values outside the classes. The caller adds the record's place.
    """
    pixels = _named("image", lambda data: decode.decode_image(data, how), image)
    label = _named("label", decode.decode_label, target)
    _check_sizes(pixels.shape[:2], label.shape, image)
    label_histogram(label, num_classes, ignore_label)
    return pixels, label


def check_record(record: Record, num_classes: int, ignore_label: int,
                 how: decode.Decoding = decode.AS_STORED) -> dict[int, int]:
    """Decode all of one record, check what `decode_pair` checks, and return {label value: number of pixels}."""
    with placed(record):
        size = _named("image", lambda data: decode.image_size(data, how), record.image)
        label = _named("label", decode.decode_label, record.target)
        _check_sizes(size, label.shape, record.image)
        return label_histogram(label, num_classes, ignore_label)


def check_record_size(record: Record, how: decode.Decoding = decode.AS_STORED) -> dict[int, int]:
    """Compare the sizes in the headers of image and label without decoding; returns an empty histogram."""
    with placed(record):
        _check_sizes(_named("image", lambda data: decode.header_size(data, how), record.image),
                     _named("label", decode.header_size, record.target), record.image)
    return {}


@dataclass(frozen=True)
class RecordCheck:
    """The check of one record as `build` takes it; its repr names it in the manifest. `level` is "full" or "size"."""

    num_classes: int
    ignore_label: int
    level: str = "full"
    how: decode.Decoding = decode.AS_STORED

    def __call__(self, record: Record) -> dict[int, int]:
        if self.level == "size":
            return check_record_size(record, self.how)
        return check_record(record, self.num_classes, self.ignore_label, self.how)


def label_histogram(label: np.ndarray, num_classes: int, ignore_label: int) -> dict[int, int]:
    """{value: number of pixels} of a label; InputError where a value is neither a class nor `ignore_label`."""
    # OpenCV counts uint8 four times faster than bincount; its float32 result is exact below 2**24 pixels.
    exact = label.size < 2 ** 24
    counts = cv2.calcHist([label], [0], None, [256], [0, 256])[:, 0] if exact else np.bincount(label.ravel())
    found = {int(value): int(counts[value]) for value in np.flatnonzero(counts)}
    wrong = [value for value in found if value >= num_classes and value != ignore_label]
    if wrong:
        raise InputError(f"label has values {some(wrong, 5)}, but classes are 0..{num_classes - 1} and {ignore_label} "
                         f"is ignored; {_way_out(found, wrong, num_classes, ignore_label)}")
    return found


def _way_out(found: Mapping[int, int], wrong: Sequence[int], num_classes: int, ignore_label: int) -> str:
    """What to do about label values that are no class."""
    if ignore_label == 0 and wrong == [num_classes]:
        return (f"the ignored value 0 counts as an index: set --num_classes={num_classes + 1} beside --ignore_label=0, "
                "or --label_map=reduce_zero_label beside --ignore_label=255")
    if num_classes == 2 and len(wrong) == 1 and set(found) <= {0, ignore_label, *wrong}:
        return f"if this is a mask whose object is {wrong[0]}, give --label_map={wrong[0]}:1; else correct the label"
    renumber = "--label_map=cityscapes (labelIds to trainIds), " if num_classes == 19 and max(wrong) <= 33 else ""
    return f"set {renumber}--num_classes or --ignore_label, renumber the values with --label_map, or correct the label"


@contextmanager
def placed(record: Record) -> Iterator[None]:
    """Put the record's place and name in front of an InputError that is raised inside."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{record.place}: {record.file_name}: {error}") from error


def read_label(record: Record) -> np.ndarray:
    """(H, W) uint8 of a record's label; InputError with its place where it cannot be decoded."""
    with placed(record):
        return _named("label", decode.decode_label, record.target)


def _named(what: str, function: Callable[[bytes], Any], data: bytes) -> Any:
    try:
        return function(data)
    except InputError as error:
        raise InputError(f"{what} {error}") from error


def _check_sizes(image: tuple[int, ...], label: tuple[int, ...], data: bytes) -> None:
    if image != label:
        raise InputError(f"image is {image[0]}x{image[1]} (H x W), its label {label[0]}x{label[1]}; pair each image "
                         f"with its own label, at the same size{decode.exif_hint(data)}")
