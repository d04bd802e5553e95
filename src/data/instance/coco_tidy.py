"""What widespread exporters write differently, brought into COCO's form before a file is checked.

Ids as texts or whole floats, names in `coco_url`, missing annotation ids, rows of `categories` that are no class.
Nothing that belongs to an object is lost, and what was changed is said. No MindSpore here.
"""
from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

log = logging.getLogger(__name__)
# LVIS (Gupta et al. 2019, section 3) annotates an image for some of its 1203 categories, and scores it for these alone.
SEARCHED = ("LVIS's neg_category_ids and not_exhaustive_category_ids have no counterpart here; training takes all "
            "other categories for absent, and AP counts detections of them as false")


def tidied(content: dict[str, list], path: str | Path) -> dict[str, list]:
    """The lists of an annotation file with whole numbers as ids, file names, and classes alone as categories."""
    images, annotations, categories = (content[part] for part in ("images", "annotations", "categories"))
    image_ids = _numbers(images, "id", f"{path}: image ids")
    category_ids = _numbers(categories, "id", f"{path}: category ids")
    annotations = [_annotation(entry, image_ids, category_ids) for entry in annotations]
    _number_annotations(annotations, path)
    if any(isinstance(entry, dict) and "neg_category_ids" in entry for entry in images):
        log.warning("%s: images say which categories were looked for in them: %s", path, SEARCHED)
    images = [_image(_with_id(entry, image_ids)) for entry in images]
    categories = _classes([_with_id(entry, category_ids) for entry in categories], annotations, path)
    return content | {"images": images, "annotations": annotations, "categories": categories}


def whole(value: Any) -> Any:
    """A float that is a whole number as int; anything else as it is."""
    return int(value) if type(value) is float and value.is_integer() and abs(value) < 2 ** 53 else value


def _numbers(entries: Sequence[Any], key: str, place: str) -> dict[str, int]:
    """{text: number} of ids that are texts: their own numbers where all have one, else their positions from 1."""
    texts = [entry[key] for entry in entries if isinstance(entry, dict) and isinstance(entry.get(key), str)]
    if not texts:
        return {}
    others = {whole(entry[key]) for entry in entries if isinstance(entry, dict)
              and type(entry.get(key)) in (int, float)}
    if all(text.isdecimal() and len(text) < 19 for text in texts):
        numbers = {text: int(text) for text in texts}
        if len(set(numbers.values())) == len(numbers) and not others & set(numbers.values()):
            return numbers
    if others:
        return {}
    log.warning("%s are texts such as %r: they are numbered from 1 in the order of the file", place, texts[0])
    return {text: number for number, text in enumerate(dict.fromkeys(texts), 1)}


def _with_id(entry: Any, numbers: dict[str, int]) -> Any:
    return entry | {"id": _id(entry["id"], numbers)} if isinstance(entry, dict) and "id" in entry else entry


def _id(value: Any, numbers: dict[str, int]) -> Any:
    return numbers.get(value, value) if isinstance(value, str) else whole(value)


def _annotation(entry: Any, image_ids: dict[str, int], category_ids: dict[str, int]) -> Any:
    if not isinstance(entry, dict):
        return entry
    tables = {"image_id": image_ids, "category_id": category_ids, "id": {}, "iscrowd": {}}
    changed = {key: _id(entry[key], numbers) for key, numbers in tables.items() if key in entry}
    for key in ("image_id", "category_id"):  # a text where the lists of images and categories have numbers
        if isinstance(changed.get(key), str) and changed[key].isdecimal() and len(changed[key]) < 19:
            changed[key] = int(changed[key])
    return entry | changed


def _number_annotations(annotations: list[Any], path: str | Path) -> None:
    """Give annotations without an id, or with a text, one of their own."""
    taken = {entry["id"] for entry in annotations if isinstance(entry, dict) and type(entry.get("id")) is int}
    number, changed = max(taken, default=0), 0
    for position, entry in enumerate(annotations):
        if isinstance(entry, dict) and (entry.get("id") is None or isinstance(entry["id"], str)):
            number, changed = number + 1, changed + 1
            annotations[position] = entry | {"id": number}
    if changed:
        log.info("%s: %d annotations without a number as id are numbered", path, changed)


def _image(entry: Any) -> Any:
    """An entry of `images` with the file name of its URL (LVIS), and whole numbers as sides."""
    if not isinstance(entry, dict):
        return entry
    entry = entry | {side: whole(entry[side]) for side in ("height", "width") if side in entry}
    url = entry.get("coco_url")
    if not entry.get("file_name") and isinstance(url, str) and url:
        entry["file_name"] = Path(unquote(urlsplit(url).path)).name
    return entry


def _classes(categories: list[Any], annotations: Sequence[Any], path: str | Path) -> list[Any]:
    """The rows but those that no annotation has and that are a background, a heading or another row's double."""
    used = Counter(entry["category_id"] for entry in annotations if isinstance(entry, dict)
                   and type(entry.get("category_id")) is int)
    rows = [row for row in categories if isinstance(row, dict) and isinstance(row.get("name"), str)]
    kept, dropped = [], []
    for row in categories:
        name = row.get("name") if isinstance(row, dict) else None
        others = [other for other in rows if other is not row]
        unused = isinstance(name, str) and type(row.get("id")) is int and not used[row["id"]]
        if unused and others and (name == "background" or any(other.get("supercategory") == name for other in others)
                                  or _is_double(row, others, kept, used)):
            dropped.append(f"{name!r} (id {row['id']})")
            rows.remove(row)
        else:
            kept.append(row)
    if dropped:
        log.warning("%s: rows of categories without an annotation are no classes: %s (a background, the supercategory "
                    "of others, or a name that is there twice)", path, ", ".join(dropped))
    return kept


def _is_double(row: dict[str, Any], others: Sequence[dict[str, Any]], kept: Sequence[Any], used: Counter[int]) -> bool:
    """Whether another row has the same name, and annotations or an earlier place."""
    return any(other["name"] == row["name"] and type(other.get("id")) is int
               and (used[other["id"]] or any(other is one for one in kept)) for other in others)
