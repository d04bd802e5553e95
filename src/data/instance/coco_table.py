"""The annotations of a file in COCO's layout as one table of numbers, and their texts. No MindSpore here."""
from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import numpy as np

from src.contract import InputError
from src.data.instance.coco_check import LARGEST, is_shrunk_to_nothing, to_instance
from src.data.instance.coco_file import Texts
from src.data.instance.coco_tidy import Tidy, has_number
from src.data.instance.target import Category, encode_instances

NO_ID = -2 ** 63  # in place of a category_id that is no whole number
ROW = np.dtype([("start", np.int64), ("end", np.int64), ("id", np.int64), ("category_id", np.int64),
                ("image", np.int32), ("outcome", np.int32), ("iscrowd", bool), ("odd_id", bool)])
_ANY = Category(1, 1, "any")

Id = Annotated[int, msgspec.Meta(ge=-2 ** 63, le=2 ** 63 - 1)]
Number = Annotated[int, msgspec.Meta(ge=-LARGEST, le=LARGEST)] | \
    Annotated[float, msgspec.Meta(ge=-LARGEST, le=LARGEST)]
Polygon = Annotated[list[Number], msgspec.Meta(min_length=6)]


class Encoding(msgspec.Struct):
    """A run-length encoding, compressed or not."""

    size: tuple[int, int]
    counts: str | list


class Annotation(msgspec.Struct):
    """An entry of `annotations` as nearly all are; what does not fit is looked at one by one."""

    id: Id
    image_id: Id
    category_id: Id
    bbox: tuple[Number, Number, Number, Number]
    area: Number
    iscrowd: Literal[0, 1] | None = 0
    segmentation: list[Polygon] | Encoding | None = None


class _Instance(msgspec.Struct, omit_defaults=True):
    """An instance of a target, its keys in the order in which `to_instance` has them."""

    id: int
    label: int
    category_id: int
    bbox: tuple
    iscrowd: int
    area: int | float
    segmentation: list | Encoding = []


class Outcome(NamedTuple):
    """What the check of an annotation found, apart from its ids and its category.

    kind: "as_is": it goes into a target as it is written; "sound": as `to_instance` makes it; "empty": it has no
    extent; "bad": `problem` says why; "unchecked": the file does not say how large its image is.
    """

    kind: Literal["as_is", "sound", "empty", "bad", "unchecked"]
    problem: str = ""
    repairs: tuple[tuple[str, int], ...] = ()


AS_IS, UNCHECKED = Outcome("as_is"), Outcome("unchecked")
_DECODER, _ENCODER = msgspec.json.Decoder(Annotation), msgspec.json.Encoder()


@dataclass
class AnnotationTable:
    """What is known about an annotation file before images, classes and options are.

    Attributes:
        texts: of the annotations, as they are in the file.
        rows: (N,) of type `ROW`, one for each annotation, in the order of the file:
            start, end: of its text;
            id, category_id: `odd_id` where its id is none that a record can hold, `NO_ID` for such a category;
            image: position in `images`, -1 where that has no such id;
            outcome: position in `outcomes`; iscrowd: of those that are sound.
        outcomes: each once; the first one is `AS_IS`, the second `UNCHECKED`.
        images, categories: the other two lists, in COCO's form.
        tidy: what that took.
    """

    texts: Texts
    rows: np.ndarray
    images: list[Any]
    categories: list[Any]
    tidy: Tidy
    outcomes: list[Outcome] = field(default_factory=lambda: [AS_IS, UNCHECKED])

    def __post_init__(self) -> None:
        self._numbers = {outcome: number for number, outcome in enumerate(self.outcomes)}

    def category_counts(self) -> Counter[int]:
        """Category id -> number of annotations."""
        numbers, counts = np.unique(self.rows["category_id"], return_counts=True)
        return Counter(dict(zip(numbers.tolist(), counts.tolist())))

    def complete(self, images: Mapping[int, Mapping[str, Any]]) -> None:
        """Examine the annotations of `images`, entries by position, whose size was not known yet."""
        unchecked = np.flatnonzero(self.has_kind(self.rows["outcome"], "unchecked"))
        for row in unchecked:
            image = images.get(int(self.rows["image"][row]))
            if image:
                self.examine(row, self.entry(row), (image["height"], image["width"]))

    def examine(self, row: int, entry: Mapping[str, Any], size: tuple[int, int]) -> None:
        """Fill in the outcome of an annotation, the dictionary `entry`, in an image of `size` (H, W)."""
        outcome, self.rows["iscrowd"][row] = _examined(entry, size)
        if outcome not in self._numbers:
            self._numbers[outcome] = len(self.outcomes)
            self.outcomes.append(outcome)
        self.rows["outcome"][row] = self._numbers[outcome]

    def has_kind(self, outcome: np.ndarray, *kinds: str) -> np.ndarray:
        """(n,) bool: whether outcomes, given by their positions, are of one of `kinds`."""
        return np.array([one.kind in kinds for one in self.outcomes])[outcome]

    def entry(self, row: int) -> Any:
        """An annotation as a dictionary in COCO's form, or whatever else the list has there."""
        entry = self.unnumbered(row)
        if isinstance(entry, dict) and not has_number(entry):
            entry["id"] = int(self.rows["id"][row])
        return entry

    def unnumbered(self, row: int) -> Any:
        """As `entry`, but without an id, or with a text, where the file has that."""
        return self.tidy.annotation(json.loads(self.texts[row]))

    def instance(self, row: int, size: tuple[int, int], category: Category) -> str:
        """The text that a target has of a sound annotation; its image has `size` (H, W)."""
        if self.outcomes[self.rows["outcome"][row]] != AS_IS:
            return encode_instances([to_instance(self.entry(row), size, category)])[1:-1]
        a = _DECODER.decode(self.texts[row])
        instance = _Instance(a.id, category.label, category.category_id, a.bbox, a.iscrowd or 0, a.area,
                             a.segmentation or [])
        return _ENCODER.encode(instance).decode()


def _examined(entry: Mapping[str, Any], size: tuple[int, int]) -> tuple[Outcome, int]:
    """What the check of an annotation finds whose image has `size` (H, W), and its iscrowd if it is sound."""
    if is_shrunk_to_nothing(entry):
        return Outcome("empty", repairs=(("objects without any extent are left out", 1),)), 0
    repairs: Counter[str] = Counter()
    try:
        instance, problem = to_instance({"id": 0, **entry}, size, _ANY, repairs), ""
    except InputError as error:
        instance, problem = {"iscrowd": 0}, str(error)
    done = tuple((what, number) for what, number in repairs.items() if number)
    return Outcome("bad" if problem else "sound", problem, done), instance["iscrowd"]
