"""What widespread exporters write differently, brought into COCO's form before a file is checked.

Ids as texts or whole floats, names in `coco_url`, missing annotation ids, rows of `categories` that are no class.
Nothing that belongs to an object is lost, and what was changed is said. No MindSpore here.
"""
from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from src.data.class_names import is_background

log = logging.getLogger(__name__)
# LVIS (Gupta et al. 2019, section 3) annotates an image for some of its 1203 categories, and scores it for these alone.
SEARCHED = ("LVIS's neg_category_ids and not_exhaustive_category_ids have no counterpart here; training takes all "
            "other categories for absent, and AP counts detections of them as false")


@dataclass
class Tidy:
    """How the entries of one annotation file are brought into COCO's form.

    Attributes:
        image_ids, category_ids: {text: number} of ids that are texts.
        notes: what was changed, as (logging level, message without the file's path).
    """

    image_ids: dict[str, int] = field(default_factory=dict)
    category_ids: dict[str, int] = field(default_factory=dict)
    notes: list[tuple[int, str]] = field(default_factory=list)

    @classmethod
    def of(cls, images: Sequence[Any], categories: Sequence[Any]) -> Tidy:
        """For the file with these lists."""
        tidy = cls()
        tidy.image_ids = tidy._numbers(images, "image ids")
        tidy.category_ids = tidy._numbers(categories, "category ids")
        return tidy

    def _numbers(self, entries: Sequence[Any], what: str) -> dict[str, int]:
        """{text: number} of ids that are texts: their own numbers where all have one, else positions from 1."""
        texts = [entry["id"] for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), str)]
        if not texts:
            return {}
        others = {whole(entry["id"]) for entry in entries if isinstance(entry, dict)
                  and type(entry.get("id")) in (int, float)}
        if all(map(_is_whole, texts)):
            numbers = {text: int(text) for text in texts}
            if len(set(numbers.values())) == len(numbers) and not others & set(numbers.values()):
                return numbers
        if others:
            return {}
        self.notes.append((logging.WARNING, f"{what} are texts such as {texts[0]!r}: they are numbered from 1 in the "
                           "order of the file"))
        return {text: number for number, text in enumerate(dict.fromkeys(texts), 1)}

    def image(self, entry: Any) -> Any:
        """An entry of `images` with the file name of its URL (LVIS), and whole numbers as id and sides."""
        if not isinstance(entry, dict):
            return entry
        entry = _with_id(entry, self.image_ids)
        entry = entry | {side: whole(entry[side]) for side in ("height", "width") if side in entry}
        url = entry.get("coco_url")
        if not entry.get("file_name") and isinstance(url, str) and url:
            entry["file_name"] = Path(unquote(urlsplit(url).path)).name
        return entry

    def annotation(self, entry: Any) -> Any:
        """An entry of `annotations` with numbers as ids, but for its own where that is missing or a text."""
        if not isinstance(entry, dict):
            return entry
        tables = {"image_id": self.image_ids, "category_id": self.category_ids, "id": {}, "iscrowd": {}}
        changed = {key: _id(entry[key], numbers) for key, numbers in tables.items() if key in entry}
        for key in ("image_id", "category_id"):  # a text where the lists of images and categories have numbers
            if isinstance(changed.get(key), str) and _is_whole(changed[key]):
                changed[key] = int(changed[key])
        return entry | changed

    def note_searched(self, images: Sequence[Any]) -> None:
        """Note that entries of `images` say for which categories these were annotated."""
        if any(isinstance(entry, dict) and "neg_category_ids" in entry for entry in images):
            self.notes.append((logging.WARNING, f"images say which categories were looked for in them: {SEARCHED}"))

    def note_numbered(self, count: int) -> None:
        """Note that `count` annotations were given ids."""
        if count:
            self.notes.append((logging.INFO, f"{count} annotations without a number as id are numbered"))

    def classes(self, categories: Sequence[Any], used: Counter[int]) -> list[Any]:
        """The rows but those that no annotation has and that are a background, a heading or another row's double.

        Args:
            used: category id -> number of annotations.
        """
        categories = [_with_id(entry, self.category_ids) for entry in categories]
        rows = [row for row in categories if isinstance(row, dict) and isinstance(row.get("name"), str)]
        kept: list[Any] = []
        dropped = []
        for row in categories:
            if _is_no_class(row, rows, kept, used):
                dropped.append(f"{row['name']!r} (id {row['id']})")
                rows.remove(row)
            else:
                kept.append(row)
        if dropped:
            self.notes.append((logging.WARNING, "rows of categories without an annotation are no classes: "
                               f"{', '.join(dropped)} (a background, the supercategory of others, or a name that is "
                               "there twice)"))
        return kept


def say(notes: Sequence[tuple[int, str]], path: str | Path) -> None:
    """Log the notes about the file at `path`."""
    for level, note in notes:
        log.log(level, "%s: %s", path, note)


def whole(value: Any) -> Any:
    """A float that is a whole number as int; anything else as it is."""
    return int(value) if type(value) is float and value.is_integer() and abs(value) < 2 ** 53 else value


def has_number(annotation: Mapping[str, Any]) -> bool:
    """Whether an annotation has an id that need not be replaced: a text or none is."""
    return annotation.get("id") is not None and not isinstance(annotation["id"], str)


def _is_whole(text: str) -> bool:
    """Whether a text is a whole number that can be an id."""
    return text.isdecimal() and len(text) < 19


def _with_id(entry: Any, numbers: Mapping[str, int]) -> Any:
    return entry | {"id": _id(entry["id"], numbers)} if isinstance(entry, dict) and "id" in entry else entry


def _id(value: Any, numbers: Mapping[str, int]) -> Any:
    return numbers.get(value, value) if isinstance(value, str) else whole(value)


def _is_no_class(row: Any, rows: Sequence[dict[str, Any]], kept: Sequence[Any], used: Counter[int]) -> bool:
    """Whether a row without annotations is a background, the supercategory of another row, or its double."""
    if not isinstance(row, dict) or not isinstance(row.get("name"), str) or type(row.get("id")) is not int \
            or used[row["id"]]:
        return False
    others = [other for other in rows if other is not row]
    return bool(others) and (is_background(row["name"])
                             or any(other.get("supercategory") == row["name"] for other in others)
                             or _is_double(row, others, kept, used))


def _is_double(row: dict[str, Any], others: Sequence[dict[str, Any]], kept: Sequence[Any], used: Counter[int]) -> bool:
    """Whether another row has the same name, and annotations or an earlier place."""
    return any(other["name"] == row["name"] and type(other.get("id")) is int
               and (used[other["id"]] or any(other is one for one in kept)) for other in others)
