"""labelme: one JSON file beside each image.

The format is what labelme's `LabelFile.save` writes (github.com/wkentaro/labelme). Shapes of one label and `group_id`
are one object, as in its `labelme2coco.py`. labelme shows photos upright, and their EXIF orientation is undone here.
"""
from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from src.contract import InputError
from src.data.importers.geometry import ellipse, from_mask, from_polygons
from src.data.importers.pictures import Annotation, Collection, Picture, Reading, class_name, names_in_order
from src.data.importers.reading import (
    ImageIndex,
    Model,
    Point,
    Side,
    checked,
    decode_embedded,
    decode_mask,
    files_below,
    open_picture,
    read_json,
)

_WITHOUT_AREA = ("point", "points", "line", "linestrip")


class Shape(Model):
    label: str
    points: list[Point]
    shape_type: str | None = "polygon"
    group_id: str | None = None
    mask: str | None = None


class File(Model):
    shapes: list[Shape]
    imagePath: str
    imageData: str | None = None
    imageHeight: Side | None = None
    imageWidth: Side | None = None


def read(reading: Reading) -> Collection:
    """Every JSON file of the folder that has labelme's `shapes`, with its image."""
    images, pictures, used = ImageIndex(reading), [], set()
    for path in files_below(reading.source, (".json",)):
        with reading.report.collecting():
            content = read_json(path)
            if not _is_labelme(content):
                reading.report.note("JSON files that are not labelme's were not read", reading.relative(path))
                continue
            picture = _picture(reading, images, path, checked(File, content, path))
            if picture.image in used:
                raise InputError(f"{path}: its image {picture.name} has another annotation file; remove one of them")
            if isinstance(picture.image, Path):
                used.add(picture.image)
            pictures.append(picture)
    for image in images.paths:
        if image not in used:
            reading.report.note("images without an annotation file were not taken: save them in labelme, even empty, "
                                "if they show no object", reading.relative(image))
    return Collection(pictures, names_in_order(pictures))


def _is_labelme(content: Any) -> bool:
    return not isinstance(content, (dict, list)) or (isinstance(content, dict) and bool(
        {"shapes", "imagePath", "imageData"} & set(content)))


def _picture(reading: Reading, images: ImageIndex, path: Path, file: File) -> Picture:
    try:
        image: Path | bytes = images.find(file.imagePath, [path.parent], str(path))
    except InputError:
        if not file.imageData:
            raise
        image = decode_embedded(file.imageData, str(path))
    name = reading.relative(image) if isinstance(image, Path) else \
        f"{reading.relative(path.with_suffix(''))}{Path(file.imagePath.replace(chr(92), '/')).suffix or '.png'}"
    said = (file.imageHeight, file.imageWidth) if file.imageHeight and file.imageWidth else None
    picture = open_picture(reading, image, name, str(path), said=said)
    groups: dict[Any, list[tuple[int, Shape]]] = {}
    for number, shape in enumerate(file.shapes):
        key = number if shape.group_id is None or shape.shape_type == "mask" else (shape.label, shape.group_id)
        groups.setdefault(key, []).append((number, shape))
    for group in groups.values():
        with reading.report.collecting():
            picture.add(_annotation(reading, picture, group, path))
    return picture


def _annotation(reading: Reading, picture: Picture, group: list[tuple[int, Shape]], path: Path) -> Annotation | None:
    outlines, place = [], reading.relative(path)
    for number, shape in group:
        where = f"{path}: shapes.{number}"
        name, kind = class_name(shape.label, where), shape.shape_type or "polygon"
        if kind == "mask":
            return _mask(reading, picture, name, shape, where)
        if kind in _WITHOUT_AREA:
            reading.report.note(f"shapes of type {kind} were not taken: they have no area", place)
        else:
            outlines.append(_outline(kind, shape.points, where))
    return from_polygons(name, outlines, picture, reading.report, place) if outlines else None


def _outline(kind: str, points: list[Point], where: str) -> Any:
    if kind == "polygon":
        return points
    if kind in ("rectangle", "circle") and len(points) == 2:
        (x1, y1), (x2, y2) = points
        if kind == "circle":
            radius = math.hypot(x2 - x1, y2 - y1)
            return ellipse(points[0], (radius, radius))
        return [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
    if kind in ("rectangle", "oriented_rectangle") and len(points) == 4:
        return points
    raise InputError(f"{where}: shape_type {kind!r} with {len(points)} points is not known; redraw it as a polygon, or "
                     "leave it out with --on_bad=skip")


def _mask(reading: Reading, picture: Picture, name: str, shape: Shape, where: str) -> Annotation | None:
    """A mask fills the box of its two points, whose second lies in the last pixel."""
    if len(shape.points) != 2 or not shape.mask:
        raise InputError(f"{where}: a mask needs two points and its PNG; draw it again in labelme")
    mask = decode_mask(decode_embedded(shape.mask, where, "mask"), where)
    x, y = (round(value) for value in shape.points[0])
    return from_mask(name, mask, picture, reading.report, where, origin=(x, y))
