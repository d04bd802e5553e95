"""Label Studio: its JSON and JSON-MIN with polygons, rectangles, ellipses and brush masks, or its export to COCO.

The keys are those of labelstud.io/guide/export and of the tags' pages: lengths in percent of the image, brush masks in
the run-length encoding of `brush_rle`. Of several annotations of a task the latest counts that was not cancelled.
"""
from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from src.contract import InputError
from src.data.importers import coco
from src.data.importers.brush_rle import decode_brush
from src.data.importers.geometry import ellipse, from_mask, from_polygons, turned
from src.data.importers.pictures import Annotation, Collection, Picture, Reading, class_name, each_once, names_in_order
from src.data.importers.reading import (
    IMAGE_SUFFIXES,
    ImageIndex,
    Model,
    Number,
    Point,
    Side,
    checked,
    json_files,
    open_picture,
)

_UPLOADED = re.compile(r"[0-9a-f]{8}-")  # in front of the name of a file that was uploaded


class Value(Model):
    """What is drawn: the keys of its kind, and the labels under a key such as `polygonlabels`."""

    points: list[Point] | None = None
    x: Number = 0
    y: Number = 0
    width: Number | None = None
    height: Number | None = None
    radiusX: Number | None = None
    radiusY: Number | None = None
    rotation: Number = 0
    rle: list[int] | None = None
    model_config = Model.model_config | {"extra": "allow"}

    def labels(self) -> list[str]:
        found = [value for key, value in (self.model_extra or {}).items() if key.endswith("labels")]
        return [str(name) for value in found if isinstance(value, list) for name in value]

    def is_shape(self) -> bool:
        return bool(self.points or self.rle) or None not in (self.width, self.height) or self.radiusX is not None


class Region(Model):
    id: str | None = None
    type: str = ""
    original_width: Side | None = None
    original_height: Side | None = None
    image_rotation: Number = 0
    value: Value


class Result(Model):
    result: list[dict]
    was_cancelled: bool = False
    ground_truth: bool = False
    updated_at: str = ""


def read(reading: Reading) -> Collection:
    """Every JSON file below the source that is a list of tasks; without one, annotation files in COCO's layout."""
    contents = list(json_files(reading))
    if not any(isinstance(content, list) for _, content in contents):
        return coco.read_contents(reading, contents)
    images, pictures = ImageIndex(reading), []
    for path, tasks in contents:
        if not isinstance(tasks, list):
            reading.report.note("JSON files that are no list of tasks were not read", reading.relative(path))
            continue
        for position, task in enumerate(tasks):
            with reading.report.collecting():
                pictures.append(_picture(reading, images, path, task, f"{path}: task {_id(task, position)}"))
    pictures = each_once(pictures, reading.report)
    return Collection(pictures, names_in_order(pictures))


def _id(task: Any, position: int) -> Any:
    return task.get("id", position) if isinstance(task, dict) else position


def _picture(reading: Reading, images: ImageIndex, path: Path, task: Any, place: str) -> Picture:
    if not isinstance(task, dict):
        raise InputError(f"{place}: is no task; export JSON or JSON-MIN from Label Studio")
    data = task["data"] if isinstance(task.get("data"), dict) else task
    image = _find(images, path, data, place)
    regions = _regions(reading, task, place)
    sizes = {(region.original_height, region.original_width) for region in regions
             if region.original_height and region.original_width}
    if len(sizes) > 1:
        raise InputError(f"{place}: its regions were drawn on images of different sizes; draw them again")
    picture = open_picture(reading, image, reading.relative(image), place,
                           said=next(iter(sizes), None))
    for group in _groups(regions):
        with reading.report.collecting():
            found = _named(reading, group, place)
            picture.add(_annotation(reading, picture, *found, place) if found else None)
    return picture


def _find(images: ImageIndex, path: Path, data: dict[str, Any], place: str) -> Path:
    """The image of a task: the value of `data` that ends like one, without the prefix of an upload if need be."""
    named = [name for value in data.values() if isinstance(value, str)
             if (name := _name(value)).lower().endswith(IMAGE_SUFFIXES)]
    if len(named) != 1:
        raise InputError(f"{place}: names {len(named)} images; a task must have one under `data`, as a file name")
    places = [path.parent, path.parent / "images"]
    base = PurePosixPath(named[0]).name
    without = str(PurePosixPath(named[0]).with_name(_UPLOADED.sub("", base, count=1)))
    try:
        return images.find(named[0], places, place)
    except InputError:
        if not _UPLOADED.match(base):
            raise
        stored = [path for path in images.paths if _stored_name(path.name) == PurePosixPath(without).name]
        return stored[0] if len(stored) == 1 else images.find(without, places, place)


def _stored_name(name: str) -> str:
    """How Label Studio calls an uploaded file, apart from the number in front (Django's get_valid_filename)."""
    return re.sub(r"[^-\w.]", "", name.strip().replace(" ", "_"))


def _name(value: str) -> str:
    """The path in an address: of /data/local-files/?d=PATH, of an upload, of a bucket or a server."""
    try:
        parts = urlsplit(value)
    except ValueError:
        return value
    return parse_qs(parts.query).get("d", [unquote(parts.path)])[0]


def _regions(reading: Reading, task: dict[str, Any], place: str) -> list[Region]:
    """The regions of the annotation that counts; JSON-MIN has them under the names of its controls."""
    if isinstance(task.get("annotations"), list):
        results = [checked(Result, entry, f"{place}: annotations.{k}") for k, entry in enumerate(task["annotations"])]
        done = [result for result in results if not result.was_cancelled]
        if len(done) > 1:
            reading.report.note("tasks have several annotations: the ground truth was taken, else the latest", place)
        if not done:
            reading.report.note("tasks without an annotation were taken as images without objects", place)
            return []
        entries = max(done, key=lambda result: (result.ground_truth, result.updated_at)).result
        return [checked(Region, entry, f"{place}: result.{k}") for k, entry in enumerate(entries)
                if isinstance(entry.get("value"), dict)]
    drawn = [(key, entry) for key, value in task.items() if isinstance(value, list) for entry in value
             if isinstance(entry, dict) and "original_width" in entry]
    return [checked(Region, {**entry, "value": entry}, f"{place}: {key}") for key, entry in drawn]


def _groups(regions: Sequence[Region]) -> list[list[Region]]:
    """Regions by object: configurations that label a shape in a second step write two regions of one id."""
    groups: dict[Any, list[Region]] = defaultdict(list)
    for position, region in enumerate(regions):
        groups[region.id or position].append(region)
    return list(groups.values())


def _named(reading: Reading, group: Sequence[Region], place: str) -> tuple[str, Region] | None:
    """The class and the shape of an object; None, and noted, where it has no area."""
    shapes = [region for region in group if region.value.is_shape()]
    names = list(dict.fromkeys(name for region in group for name in region.value.labels()))
    if not shapes:
        reading.report.note(f"regions of type {group[0].type} were not taken: they have no area", place)
        return None
    if len(names) != 1:
        raise InputError(f"{place}: region {group[0].id} has the labels {', '.join(names) or 'none'}; an object "
                         "has one class: choose one in Label Studio")
    return class_name(names[0], place), shapes[0]


def _annotation(reading: Reading, picture: Picture, name: str, region: Region, place: str) -> Annotation | None:
    if region.image_rotation % 360:
        raise InputError(f"{place}: the image was turned by {region.image_rotation:g} degrees while it was labelled; "
                         "label it as it is stored")
    value = region.value
    if value.rle:
        mask = decode_brush(value.rle, picture.size, place)
        return from_mask(name, mask, picture, reading.report, picture.name)
    scale = np.array(picture.size[::-1]) / 100
    return from_polygons(name, [_outline(value, scale, place)], picture, reading.report, picture.name)


def _outline(value: Value, scale: np.ndarray, place: str) -> np.ndarray:
    """(N, 2) pixels. A rectangle turns around its upper left corner, an ellipse around its middle."""
    corner, angle = np.array([value.x, value.y]) * scale, math.radians(value.rotation)
    if value.points is not None:
        return np.array(value.points).reshape(-1, 2) * scale
    if value.radiusX is not None and value.radiusY is not None:
        return ellipse(corner.tolist(), (np.array([value.radiusX, value.radiusY]) * scale).tolist(), angle)
    if value.width is None or value.height is None:
        raise InputError(f"{place}: a region is no polygon, rectangle, ellipse or brush mask; draw it again")
    across, down = (np.array([value.width, value.height]) * scale).tolist()
    return corner + turned(np.array([[0, 0], [across, 0], [across, down], [0, down]]), angle)
