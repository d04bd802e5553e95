"""Checks of the entries of annotation files in COCO's layout. No pixels are looked at but those of `RecordCheck`.

What is wrong with the categories is raised. What is wrong with one image or annotation becomes a message, so that all
of them can be shown at once, or left out. No MindSpore here.
"""
from __future__ import annotations

import difflib
import logging
import os
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeGuard

import numpy as np
from pycocotools import mask as coco_mask

from src.contract import InputError, Record
from src.data import decode
from src.data.instance.border import TOLERANCE, fit_box, mostly_within, within
from src.data.instance.target import MAX_CLASSES, Category, compress, decode_target, run_lengths, to_rle
from src.wording import some

log = logging.getLogger(__name__)

DROPPED_PARTS = "parts of fewer than 3 points are dropped from their objects"  # what was repaired, for messages
LEAVES_FOLDER = "leaves the image folder; write it relative to that"
_LAST_ID = 2 ** 63
LARGEST = 2 ** 53  # of box coordinates and areas; sums of them are still finite
_LONGEST_SIDE = 65535  # pixels, as in JPEG; run lengths of larger images overflow 32 bits
SIDE = f"it must be the image's, in whole pixels, at most {_LONGEST_SIDE}"


# --- categories and images --------------------------------------------------------------------------------------------

def class_table(categories: Sequence[Any], path: str | Path, *, class_names: Sequence[str] = (),
                class_map: str = "order", absent: Literal["error", "allow"] = "error") -> tuple[Category, ...]:
    """The classes that a file's categories become.

    Args:
        categories: the file's list.
        path: of the file, for messages.
        class_names: names by class index, "background" first: a choice and an order of the file's categories. None:
            all of them, in the order of their ids.
        class_map: "order" counts the classes from 1; "id" takes the category's id as class index.
        absent: what is done about chosen names that the file does not have: "allow" gives them ids of
            their own and warns, as long as there is one that it has.

    Raises:
        InputError: unusable categories, or names that the file does not have.
    """
    ids: dict[str, int] = {}
    numbers: set[int] = set()
    for position, category in enumerate(categories):
        place = f"{path}: categories[{position}]"
        number, name = (category.get("id"), category.get("name")) if isinstance(category, dict) else (None, None)
        if not is_id(number) or not isinstance(name, str):
            raise InputError(f"{place}: needs a whole number `id` and a text `name`; correct the file")
        if name in ids or number in numbers:
            raise InputError(f"{place}: id {number} or name {name!r} is there twice; names and ids must be unique: "
                             "rename one in the file")
        if name_fault(name) and (not class_names or name in class_names[1:]):
            raise InputError(f"{place}: the name {name!r} {name_fault(name)}; rename it in the file, or choose other "
                             "categories with --coco_classes")
        ids[name] = number
        numbers.add(number)
    if class_names:
        return _chosen(class_names, ids, path, absent)
    by_id = sorted(ids.items(), key=lambda item: item[1])
    if class_map == "id":
        if by_id[0][1] < 1:
            raise InputError(f"{path}: category id {by_id[0][1]} cannot be a class index; use class_map=order")
        table = tuple(Category(number, number, name) for name, number in by_id)
    else:
        table = tuple(Category(label, number, name) for label, (name, number) in enumerate(by_id, 1))
    if table[-1].label >= MAX_CLASSES:
        raise InputError(f"{path}: category id {table[-1].category_id} would be class {table[-1].label}, there are at "
                         f"most {MAX_CLASSES} with background; use class_map=order, or choose some with --coco_classes")
    return table


def unknown_classes(categories: Sequence[Mapping[str, Any]], objects: Counter[int], known: Sequence[Category],
                    path: str | Path) -> tuple[Category, ...]:
    """Classes behind the `known` ones for the other categories that have `objects` (category id -> how many); says
    which."""
    ids, first = {category.category_id for category in known}, max(category.label for category in known) + 1
    rows = [row for row in categories if objects[row["id"]] and row["id"] not in ids]
    if rows:
        log.warning("%s: the model does not know %d categories, and their %d objects count as not found: %s. "
                    "--coco_classes=%s evaluates the classes that it knows alone", path, len(rows),
                    sum(objects[row["id"]] for row in rows), some(row["name"] for row in rows),
                    shlex.quote(",".join(["background", *(category.name for category in known)])))
    return tuple(Category(label, row["id"], row["name"]) for label, row in enumerate(rows, first))


def name_fault(name: str) -> str | None:
    """Why a class other than the background cannot be called `name`."""
    if name == "background":
        return "is that of what is no object"
    if not name.strip():
        return "is empty"
    if re.search("[\x00-\x1f\x7f\ud800-\udfff]", name):
        return "has control characters or half of a surrogate pair"
    return None


def _chosen(names: Sequence[str], ids: Mapping[str, int], path: str | Path,
            absent: str) -> tuple[Category, ...]:
    if names[0] != "background" or len(names) < 2 or len(set(names)) < len(names):
        raise InputError(f"coco_classes={','.join(names)}: expected background, then the names of at least one class, "
                         "each once")
    missing = [name for name in names[1:] if name not in ids]
    if missing and (absent == "error" or len(missing) == len(names) - 1):
        close = difflib.get_close_matches(missing[0], ids, n=1)
        raise InputError(f"coco_classes: {missing[0]!r} is no category of {path}; "
                         f"{f'did you mean {close[0]!r}? ' if close else ''}it has {', '.join(ids)}")
    if missing:
        log.warning("%s: has no categories %s; there is no truth for these classes, and they do not count", path,
                    ", ".join(missing))
    free = max(ids.values())  # above it are ids for classes that the file does not have
    return tuple(Category(label, ids.get(name, free + label), name) for label, name in enumerate(names) if label)


def image_entries(entries: Iterable[Any]) -> Iterator[tuple[str, int | None, Any, str | None]]:
    """(name for messages, id or None where it is none, entry, what is wrong with it or None) of `images`."""
    seen: set[int] = set()
    for position, entry in enumerate(entries):
        image_id = entry.get("id") if isinstance(entry, dict) else None
        if not is_id(image_id):
            yield f"images[{position}]", None, entry, f"id is {image_id!r}; it must be a whole number"
            continue
        twice = "the id is there twice; image ids must be unique" if image_id in seen else None
        seen.add(image_id)
        yield f"image {image_id}", image_id, entry, twice or image_problem(entry)


def no_such_image(image_id: Any) -> str:
    """What is wrong with an annotation of this `image_id`."""
    return f"image_id {image_id!r} is no image of the file; add that or remove the annotation"


def image_problem(image: Mapping[str, Any]) -> str | None:
    name = image.get("file_name")
    if not isinstance(name, str) or not name:
        return "has no file_name; correct the annotation file"
    if not _is_encodable(name):
        return f"file_name {name!r} has a character that no file name can have; correct the annotation file"
    if os.path.isabs(name) or (".." in name and ".." in Path(name).parts):
        return f"file_name {name!r} {LEAVES_FOLDER}"
    for side in ("height", "width"):
        if not is_side(image.get(side)):
            return f"{name}: {side} is {image.get(side)!r}; {SIDE}"
    return None


# --- one annotation ---------------------------------------------------------------------------------------------------

def to_instance(annotation: Mapping[str, Any], size: tuple[int, int], category: Category,
                repairs: Counter[str] | None = None) -> dict[str, Any]:
    """An entry of `annotations` as `src/data/instance/target.py` stores it, checked; its image has `size` (H, W).

    Parts of fewer than 3 points are dropped from a polygon that has others, a box that is missing is that of the mask,
    and what leaves the image by less than half is clipped. (COCO's rasteriser takes polygons beyond the border as they
    are.)

    Args:
        repairs: counts what was done, by description.

    Raises:
        InputError: says what is wrong; the caller adds the place.
    """
    repairs = Counter() if repairs is None else repairs
    crowd = annotation.get("iscrowd")
    crowd = 0 if crowd is None else crowd
    if crowd not in (0, 1):
        raise InputError(f"iscrowd is {crowd!r}; it is 0 or 1")
    segmentation = _checked_segmentation(annotation.get("segmentation"), size, repairs)
    box = annotation.get("bbox")
    if segmentation and (box is None or box == []):
        box = _box_of(segmentation)
        repairs["boxes that were missing are those of the masks"] += 1
    elif segmentation and _is_flat(box) and min(_box_of(segmentation)[2:]) > 0:
        box = _box_of(segmentation)
        repairs["boxes without an extent are those of the masks"] += 1
    instance = {"id": annotation["id"], "label": category.label, "category_id": category.category_id,
                "bbox": _checked_box(box, size, repairs), "iscrowd": int(crowd)}
    instance["area"] = _checked_area(annotation.get("area"), segmentation, instance["bbox"], size)
    if segmentation:
        instance["segmentation"] = segmentation
    return instance


def is_shrunk_to_nothing(annotation: Mapping[str, Any]) -> bool:
    """Whether an object has no extent at all: a box without width or height, and no part of 3 points."""
    segmentation = annotation.get("segmentation")
    return _is_flat(annotation.get("bbox")) and isinstance(segmentation, list) and bool(segmentation) and \
        all(map(_is_degenerate, segmentation))


def _is_flat(box: Any) -> bool:
    """Whether a box has four numbers, and no width or height."""
    return isinstance(box, list) and len(box) == 4 and all(map(is_number, box)) and min(box[2:]) <= 0


def _is_degenerate(polygon: Any) -> bool:
    return isinstance(polygon, list) and len(polygon) < 6 and len(polygon) % 2 == 0 and all(map(is_number, polygon))


def _box_of(segmentation: list | dict) -> list[float]:
    """[x, y, width, height] of a checked mask."""
    if isinstance(segmentation, dict):
        return coco_mask.toBbox(segmentation).tolist()
    points = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in segmentation]).astype(float)
    low = points.min(0)
    return [*low.tolist(), *(points.max(0) - low).tolist()]


def _checked_box(box: Any, size: tuple[int, int], repairs: Counter[str]) -> list[float]:
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
        raise InputError(f"bbox is {box!r}; it must be four numbers x, y, width, height")
    x, y, width, height = box
    if width < 0 or height < 0:
        raise InputError(f"bbox {box} has a negative side; it must be x, y, width, height")
    fitted = fit_box((x, y, x + width, y + height), size)
    if fitted == (x, y, x + width, y + height):
        return box
    corners = 0 <= x < width <= size[1] + TOLERANCE and 0 <= y < height <= size[0] + TOLERANCE
    if corners or not fitted:
        hint = "; it looks like two corners, but must be x, y, width, height" if corners else \
            "; correct it, or the image's height and width"
        raise InputError(f"bbox {box} lies outside its image of {size[1]}x{size[0]} (width x height){hint}")
    repairs["boxes that leave their image are clipped"] += 1
    return [fitted[0], fitted[1], fitted[2] - fitted[0], fitted[3] - fitted[1]]


def _checked_area(area: Any, segmentation: list | dict | None, box: Sequence[float], size: tuple[int, int]) -> float:
    """The annotated area in square pixels, or that of the mask, or of the box."""
    if area is None:
        return float(coco_mask.area(to_rle(segmentation, size))) if segmentation else float(box[2] * box[3])
    if not is_number(area) or area < 0:
        raise InputError(f"area is {area!r}; it must be a number of square pixels")
    return area


def _checked_segmentation(segmentation: Any, size: tuple[int, int], repairs: Counter[str]) -> list | dict | None:
    """Polygons with what is no area dropped, an encoding compressed, None where there is no mask."""
    if segmentation is None or segmentation in ([], {}, ""):
        return None
    if isinstance(segmentation, dict):
        return checked_encoding(segmentation, size)
    if not isinstance(segmentation, list):
        raise InputError("segmentation is neither a list of polygons nor an object with size and counts")
    if len(segmentation) >= 6 and len(segmentation) % 2 == 0 and set(map(type, segmentation)) <= {int, float}:
        segmentation = [segmentation]
        repairs["polygons that were no list of polygons are taken as one"] += 1
    parts = [polygon for polygon in segmentation if not _is_degenerate(polygon)] or segmentation
    repairs[DROPPED_PARTS] += len(segmentation) - len(parts)
    extents = [_extent(polygon) for polygon in parts]
    low, high = (np.array([extent[k] for extent in extents]) for k in (0, 1))
    low, high = low.min(0).tolist(), high.max(0).tolist()
    if within(low, high, size):
        return parts
    if not mostly_within(low, high, size):
        raise InputError(f"a polygon reaches from {low} to {high} (x, y), outside its image of "
                         f"{size[1]}x{size[0]} (width x height); cut it off there")
    repairs["polygons that leave their image are clipped"] += 1
    return parts


def _extent(polygon: Any) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest (x, y) of a polygon, checked."""
    if not isinstance(polygon, list):
        raise InputError("segmentation is a list of numbers; it must be a list of polygons: [[x1, y1, ...]]")
    if not set(map(type, polygon)) <= {int, float}:  # point pairs would flatten, texts and booleans would convert
        raise InputError("a polygon holds something else than finite numbers; it must be a flat list [x1, y1, x2, y2, "
                         "...]; correct or remove it")
    if len(polygon) < 6 or len(polygon) % 2:
        raise InputError(f"a polygon of {len(polygon)} numbers; it needs at least 3 points, so 6 numbers x1, y1, "
                         "x2, y2, ...")
    try:
        points = np.array(polygon, np.float64).reshape(-1, 2)
    except OverflowError:
        points = np.full((1, 2), np.nan)
    low, high = points.min(0), points.max(0)
    if not np.isfinite(low + high).all():
        raise InputError("a polygon holds something else than finite numbers; correct or remove it")
    return low, high


def checked_encoding(rle: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    """A run-length encoding, compressed, of an image of `size` (H, W); InputError where it is not that."""
    if rle.get("size") != list(size):
        raise InputError(f"the mask's size is {rle.get('size')!r}, its image has {list(size)} (height, width)")
    counts, pixels = rle.get("counts"), size[0] * size[1]
    if isinstance(counts, str):
        runs = run_lengths(counts)
    elif isinstance(counts, list) and set(map(type, counts)) <= {int}:
        runs = np.array(counts, np.int64 if max(map(abs, counts), default=0) < _LAST_ID else object)
    else:
        raise InputError("the mask's counts are neither a text nor a list of whole numbers")
    bad = (runs < 0) | (runs > pixels)  # looked for first: a sum of such runs could wrap around to the right one
    if bad.any():
        raise InputError(f"the mask's counts have a run of {runs[bad][0]} pixels, its image has {pixels}; restore it")
    if runs.sum() != pixels:
        raise InputError(f"the mask's runs cover {int(runs.sum())} pixels, its image has {pixels}")
    return compress(counts, size) if isinstance(counts, list) else {"size": list(size), "counts": counts}


def is_number(value: Any) -> bool:
    """Whether `value` is a number to calculate with: no boolean, not infinite, not NaN."""
    return type(value) in (int, float) and abs(value) <= LARGEST


def is_side(value: Any) -> TypeGuard[int]:
    """Whether `value` can be an image's height or width in pixels."""
    return type(value) is int and 1 <= value <= _LONGEST_SIDE


def _is_encodable(text: str) -> bool:
    """Whether files and records can hold `text`: no half of a surrogate pair, no NUL."""
    return not re.search("[\x00\ud800-\udfff]", text)


def is_id(value: Any) -> TypeGuard[int]:
    """Whether `value` is a whole number that a record can hold."""
    return type(value) is int and -_LAST_ID <= value < _LAST_ID


# --- one record -------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class RecordCheck:
    """The check of one record as `mindrecord.build` takes it; its repr names it in the manifest.

    `level`: "full" decodes every pixel of the image, "size" its header alone. Either compares its size with the
    annotation's. Returns {class index: number of objects}, crowds excepted.
    """

    level: str = "full"
    how: decode.Decoding = decode.AS_STORED

    def __call__(self, record: Record) -> dict[int, int]:
        try:
            size = (decode.header_size if self.level == "size" else decode.image_size)(record.image, self.how)
        except InputError as error:
            raise InputError(f"{record.place}: {record.file_name}: image {error}") from error
        target = decode_target(record.target)
        if size != target.size:
            raise InputError(f"{record.place}: {record.file_name}: the image is {size[0]}x{size[1]} (H x W), its "
                             f"annotation says {target.size[0]}x{target.size[1]}; correct height and width there, or "
                             f"restore the image{decode.exif_hint(record.image)}")
        labels, counts = np.unique(target.labels[~target.crowds], return_counts=True)
        return dict(zip(labels.tolist(), counts.tolist()))
