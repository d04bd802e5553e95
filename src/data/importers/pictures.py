"""What every importer returns: pictures with their annotations, and the report on what was not taken."""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from src.contract import InputError

BACKGROUND, IGNORE = "background", "ignore"
# labelme's tutorial calls the two classes that are no class like this.
_RESERVED = {"_background_": BACKGROUND, "__ignore__": IGNORE, "_ignore_": IGNORE}


@dataclass(frozen=True)
class Annotation:
    """One object: the name of its class, COCO's `segmentation` (None: a box alone) and [x, y, width, height]."""

    name: str
    segmentation: list | dict | None
    box: list[float]
    crowd: bool = False


@dataclass
class Picture:
    """One image of a source.

    Attributes:
        name: path relative to the source, with slashes; the written name and `group_by` are taken from it.
        image: the file, or its bytes where the tool keeps it inside of its own file.
        size: (H, W) of the frame of the annotations.
        place: the file of the annotations, for messages.
        orientation: the image's EXIF orientation, 1 for none.
        upright: whether annotations are in the frame that the orientation leads to, else in that of the stored pixels.
        annotations: the objects, in the order in which they cover each other.
        label: reads the label map, (H, W) uint8 class indices; None where there are objects instead.
        split: "train", "val", "test" or "", as the source says.
    """

    name: str
    image: Path | bytes
    size: tuple[int, int]
    place: str
    orientation: int = 1
    upright: bool = True
    annotations: list[Annotation] = field(default_factory=list)
    label: Callable[[], np.ndarray] | None = None
    split: str = ""

    def add(self, found: Annotation | None) -> None:
        """Add an object, unless nothing is left of it."""
        self.annotations += [found] if found else []

    def read(self) -> bytes:
        """The image file's bytes."""
        if isinstance(self.image, bytes):
            return self.image
        try:
            return self.image.read_bytes()
        except OSError as error:
            raise InputError(f"{self.image}: {error.strerror}; restore the file") from error


@dataclass
class Options:
    """What the command line asks of every importer; `src/tools/import_data.py` describes the flags."""

    layout: str = ""
    val_share: float | None = None
    group_by: str = ""
    near_duplicates: str = "together"
    seed: int = 1
    class_names: tuple[str, ...] = ()
    attribute: str = ""
    exif: str = "turn"
    crowds: str = "keep"
    on_bad: str = "error"
    images: str = "copy"


class Report:
    """What was not taken or was changed, by kind and with its places; `bad` holds what is wrong with the source."""

    def __init__(self) -> None:
        self.notes: dict[str, list[str]] = defaultdict(list)
        self.bad: list[str] = []

    def note(self, kind: str, place: str) -> None:
        """Record one thing of a kind, e.g. "shapes of type point were not taken: they have no area"."""
        self.notes[kind].append(place)

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Keep an InputError that is raised inside as one of the source's faults, and go on."""
        try:
            yield
        except InputError as error:
            self.bad.append(str(error))

    def lines(self) -> list[str]:
        """The notes as text: the number, the kind, and where the first ones are."""
        shown = []
        for kind, places in self.notes.items():
            unique = list(dict.fromkeys(places))
            more = f" and {len(unique) - 3} more places" if len(unique) > 3 else ""
            shown.append(f"{len(places)} {kind} ({', '.join(unique[:3])}{more})")
        return shown

    def as_json(self) -> dict[str, Any]:
        return {"notes": {kind: list(places) for kind, places in self.notes.items()}, "left_out": list(self.bad)}


@dataclass
class Reading:
    """A source while it is read: its folder, the options, and the report."""

    source: Path
    options: Options
    report: Report = field(default_factory=Report)

    def relative(self, path: Path) -> str:
        """`path` as a name within the source, with slashes."""
        return path.relative_to(self.source).as_posix() if path.is_relative_to(self.source) else path.name


@dataclass
class Collection:
    """All pictures of a source. `class_names` has no background for objects; for label maps it starts with index 0.

    `published` is a benchmark whose own splits have to stay as they are.
    """

    pictures: list[Picture]
    class_names: list[str]
    published: bool = False


def class_name(text: str, place: str) -> str:
    """A class's name without blanks around it; InputError where nothing is left or a list could not hold it."""
    name = " ".join(text.split())
    if not name or not name.isprintable() or "," in name:
        raise InputError(f"{place}: {text!r} cannot name a class; name it in printable characters without commas")
    return _RESERVED.get(name, name)


def split_of(name: str) -> str:
    """The split that a folder or file name stands for, "" where it stands for none."""
    words = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
             "testing": "test"}
    stem = name.lower().removeprefix("instances_").removeprefix("lvis_v1_")
    return words.get(stem.rstrip("0123456789"), "")


def first_split(names: Iterable[str]) -> str:
    """The split that the first of several folder or file names stands for that does, "" where none does."""
    return next(filter(None, map(split_of, names)), "")


def each_once(pictures: Sequence[Picture], report: Report) -> list[Picture]:
    """The first picture of every image; another one of the same image is a fault of the source."""
    first: dict[Path | bytes, Picture] = {}
    for picture in pictures:
        other = first.setdefault(picture.image, picture)
        if other is not picture:
            report.bad.append(f"{picture.place}: image {picture.name} is an image of {other.place} too; remove one of "
                              "the entries")
    return list(first.values())


def names_in_order(pictures: list[Picture]) -> list[str]:
    """The classes of the objects in alphabetical order, for formats that declare none."""
    names = {annotation.name for picture in pictures for annotation in picture.annotations}
    return sorted(names - {BACKGROUND, IGNORE})
