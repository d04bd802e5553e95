"""Object detection from a text file: one image a line, `path x1,y1,x2,y2,class ...`; boxes without masks.

A path with blanks stands in double quotes. x1,y1 is a box's upper left corner and x2,y2 its lower right one, in pixels
from the image's upper left corner; the class is an index, 1 the first, 0 is background. A line with a path alone is an
image without objects. The line's number is the image's id. No MindSpore here.
"""
from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from src.contract import InputError, Record
from src.data import decode
from src.data.checks import describe_bad
from src.data.columns import columns, lines
from src.data.instance.border import fit_box
from src.data.instance.coco_check import name_fault
from src.data.instance.target import MAX_CLASSES, Category, encode_categories, encode_instances, encode_target
from src.data.near_match import files_in, near_match

log = logging.getLogger(__name__)
_FORM = "`path x1,y1,x2,y2,class ...`"


@dataclass(frozen=True)
class _Line:
    """One line: number from 1, path as written, and its boxes as (x1, y1, x2, y2, class index)."""

    number: int
    path: str
    boxes: tuple[tuple[float, ...], ...]


class TxtDataset:
    """The images of a text file, in its order (a `src.contract.Dataset`).

    Attributes:
        name: the file's path.
        categories, class_names: the classes, by class index.
        bad: what `on_bad="skip"` left out, as "file:line: message".
    """

    def __init__(self, anno_path: str | Path, image_dir: str | Path, *, class_names: Sequence[str],
                 on_bad: Literal["error", "skip"] = "error", how: decode.Decoding = decode.AS_STORED):
        """Read the file and look every image up; pixels are not read here.

        Args:
            anno_path: the text file.
            image_dir: folder that its paths start from.
            class_names: names by class index, "background" first.
            on_bad: "error" raises on the first bad lines, "skip" leaves out bad boxes, and lines whose image is
                missing, and keeps their messages in `bad`; it reads the images' headers to find boxes outside.
            how: image files are decoded: boxes are in the frame of upright images under exif="turn".

        Raises:
            InputError: the file or lines of it are unusable, or images are missing.
        """
        self.how = how
        self.name = str(anno_path)
        self.image_dir = str(image_dir)
        self.class_names = tuple(class_names)
        if not os.path.isdir(image_dir):
            raise InputError(f"--image_dir={image_dir}: no such folder; give the one that the paths of {anno_path} "
                             "start from")
        _check_names(self.class_names)
        self.categories = tuple(Category(k, k, name) for k, name in enumerate(class_names) if k)
        self.bad: list[str] = []
        self._kept = self._bad_boxes = 0  # lines with bad boxes, and these
        self._said_clipped = False
        self._lines: list[_Line] = []
        seen: dict[str, int] = {}
        for number, text in enumerate(_read_lines(anno_path), 1):
            if text.strip():
                self._add(number, text, seen, keep=on_bad == "skip")
        if self.bad and on_bad == "error":
            raise InputError(f"{describe_bad(self.bad)}\nRepair them, or leave them out with --on_bad=skip: bad boxes "
                             "alone, and images that are missing")
        if not self._lines:
            raise InputError(f"{anno_path}: no usable line; a line is {_FORM}\n{describe_bad(self.bad)}".rstrip())
        self._categories = encode_categories(self.categories)

    def _add(self, number: int, text: str, seen: dict[str, int], *, keep: bool) -> None:
        """Take a line in; `keep` leaves out bad boxes alone."""
        try:
            path, *words = columns(text)
            first = seen.setdefault(os.path.normpath(path), number)
            if first != number:
                raise InputError(f"image {path!r} is there twice (first in line {first}); put all its boxes in one")
            if not os.path.isfile(os.path.join(self.image_dir, path)):
                near = near_match(self.image_dir, path, files_in) or \
                    "paths start from --image_dir, and those with blanks stand in double quotes"
                raise InputError(f"image {os.path.join(self.image_dir, path)} does not exist; {near}")
            boxes, problems = self._boxes(words)
            if keep:
                boxes, outside = self._inside(path, boxes)
                problems += outside
            if problems and not keep:
                raise InputError(problems[0])
            if problems:
                more = f" ({len(problems) - 1} more bad boxes in this line)" if len(problems) > 1 else ""
                self.bad.append(f"{self.name}:{number}: {problems[0]}{more}")
                self._kept, self._bad_boxes = self._kept + 1, self._bad_boxes + len(problems)
            self._lines.append(_Line(number, path, boxes))
        except InputError as error:
            self.bad.append(f"{self.name}:{number}: {error}")

    def _boxes(self, words: Sequence[str]) -> tuple[tuple[tuple[float, ...], ...], list[str]]:
        """Boxes, and what is wrong with the others."""
        boxes, problems = [], []
        for word in words:
            try:
                boxes.append(_parse_box(word, len(self.class_names)))
            except InputError as error:
                problems.append(str(error))
        return tuple(boxes), problems

    def _inside(self, path: str, boxes: tuple[tuple[float, ...], ...]
                ) -> tuple[tuple[tuple[float, ...], ...], list[str]]:
        """The boxes that lie in their image, and what is wrong with the others; all where its size is not known."""
        try:
            with open(os.path.join(self.image_dir, path), "rb") as file:
                size = decode.header_size(file.read(), self.how)
        except (OSError, InputError):
            return boxes, []  # said where the image is read
        inside = tuple(box for box in boxes if fit_box(box[:4], size))
        return inside, [_outside(box, size) for box in boxes if box not in inside]

    @property
    def left_out(self) -> tuple[int, int]:
        """How many images, and boxes of others, `on_bad="skip"` left out."""
        return len(self.bad) - self._kept, self._bad_boxes

    @property
    def objects(self) -> int:
        """Number of boxes."""
        return sum(len(line.boxes) for line in self._lines)

    crowds = 0  # text files have none

    def __len__(self) -> int:
        return len(self._lines)

    def rows(self, sample_ids: Sequence[int]) -> Iterator[Record]:
        """Yield the records of `sample_ids`, in that order. Safe in several threads at once.

        Raises:
            InputError: an image cannot be read, or a box lies outside it.
        """
        for sample_id in sample_ids:
            line = self._lines[sample_id]
            place, path = f"{self.name}:{line.number}", os.path.join(self.image_dir, line.path)
            try:
                with open(path, "rb") as file:
                    image = file.read()
                yield Record(line.number, line.path, image, self._target(line, image), place)
            except OSError as error:
                raise InputError(f"{place}: {path}: {error.strerror}; restore the file") from error
            except InputError as error:
                raise InputError(f"{place}: {line.path}: {error}") from error

    def _target(self, line: _Line, image: bytes) -> bytes:
        try:
            size = decode.header_size(image, self.how)
        except InputError as error:
            raise InputError(f"image {error}") from error
        try:
            instances = [self._instance(number, box, size, line) for number, box in enumerate(line.boxes, 1)]
        except InputError as error:
            raise InputError(f"{error}{decode.exif_hint(image)}") from error
        return encode_target(line.number, size, self._categories, encode_instances(instances))

    def _instance(self, number: int, box: tuple[float, ...], size: tuple[int, int], line: _Line) -> dict[str, Any]:
        fitted = fit_box(box[:4], size)
        if not fitted:
            raise InputError(_outside(box, size))
        if fitted != box[:4] and not self._said_clipped:
            self._said_clipped = True
            log.warning("%s:%d: box %s leaves its image of %dx%d (width x height) and is clipped; so are others, "
                        "without a message for each", self.name, line.number, _text(box), size[1], size[0])
        x1, y1, x2, y2 = fitted
        return {"id": number, "label": box[4], "category_id": box[4], "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1), "iscrowd": 0}


def _outside(box: Sequence[float], size: tuple[int, int]) -> str:
    return f"box {_text(box)} lies outside its image of {size[1]}x{size[0]} (width x height); correct it"


def _text(box: Sequence[float]) -> str:
    return ",".join(f"{value:g}" for value in box[:4])


def _check_names(names: Sequence[str]) -> None:
    """InputError for too many classes, or names that they cannot have."""
    if len(names) > MAX_CLASSES:
        raise InputError(f"--num_classes={len(names)}: there are at most {MAX_CLASSES}, background included; give the "
                         "number of classes of the file")
    for label, name in enumerate(names[1:], 1):
        fault = name_fault(name) or ("is there twice" if names.index(name) < label else None)
        if fault:
            raise InputError(f"--coco_classes: the name {name!r} of class {label} {fault}; give every class a name of "
                             "its own")


def _read_lines(path: str | Path) -> list[str]:
    try:
        return lines(Path(path).read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; --anno_path is a text file with lines {_FORM}") from None
    except OSError as error:
        raise InputError(f"{path}: {str(error.strerror).lower()}; --anno_path is a text file with lines {_FORM}"
                         ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text file (byte {error.start}); its lines are {_FORM}") from error


def _parse_box(word: str, num_classes: int) -> tuple[float, ...]:
    """'x1,y1,x2,y2,class' -> five numbers, the class an int in 1..num_classes-1."""
    parts = word.split(",")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if len(numbers) != 5 or not all(map(math.isfinite, numbers)):
        raise InputError(f"{word!r} is no box; it must be x1,y1,x2,y2,class: five numbers with commas and no blanks")
    x1, y1, x2, y2, label = numbers
    if x2 < x1 or y2 < y1:
        raise InputError(f"box {word!r} has its corners exchanged; x1,y1 is the upper left one")
    if label != int(label) or not 1 <= label < num_classes:
        raise InputError(f"box {word!r}: class {parts[4]} is none of 1..{num_classes - 1} (0 is background); correct "
                         "it or set --num_classes")
    return x1, y1, x2, y2, int(label)
