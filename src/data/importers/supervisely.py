"""Supervisely: a project of `meta.json` and data sets with `img/` and `ann/IMAGE.json`.

The format is that of developer.supervisely.com ("Supervisely annotation format"). Points are pixels, not edges between
them: a polygon is filled with its border, as `Polygon.draw` of its SDK does with OpenCV, and the last row and column of
a rectangle belong to it.
"""
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from pydantic import Field

from src.contract import InputError
from src.data.importers.geometry import from_corners, from_mask
from src.data.importers.pictures import Annotation, Collection, Picture, Reading, class_name, names_in_order, split_of
from src.data.importers.reading import (
    ImageIndex,
    Model,
    Point,
    Side,
    checked,
    decode_embedded,
    decode_mask,
    files_below,
    inflate,
    open_picture,
    read_json,
)


class Points(Model):
    exterior: list[Point] = Field(default_factory=list)
    interior: list[list[Point]] = Field(default_factory=list)


class Bitmap(Model):
    data: str
    origin: tuple[int, int]


class Object(Model):
    classTitle: str
    geometryType: str | None = None
    points: Points = Points()
    bitmap: Bitmap | None = None


class Size(Model):
    height: Side
    width: Side


class File(Model):
    size: Size
    objects: list[Object]


def read(reading: Reading) -> Collection:
    """Every `ann/NAME.json` with the image `img/NAME` beside it."""
    images, pictures = ImageIndex(reading), []
    for path in files_below(reading.source, (".json",)):
        if path.parent.name != "ann":
            continue
        with reading.report.collecting():
            file = checked(File, read_json(path), path)
            image = images.find(path.name[:-len(".json")], [path.parent.parent / "img"], str(path))
            picture = open_picture(reading, image, reading.relative(image), str(path),
                                   said=(file.size.height, file.size.width))
            picture.split = split_of(path.parent.parent.name)
            for number, found in enumerate(file.objects):
                with reading.report.collecting():
                    picture.add(_annotation(reading, picture, found, f"{path}: objects.{number}"))
            pictures.append(picture)
    return Collection(pictures, names_in_order(pictures))


def _annotation(reading: Reading, picture: Picture, found: Object, place: str) -> Annotation | None:
    name, where = class_name(found.classTitle, place), reading.relative(Path(picture.place))
    kind = found.geometryType or ("bitmap" if found.bitmap else "polygon")
    if kind == "bitmap":
        if not found.bitmap:
            raise InputError(f"{place}: a bitmap without its data; export it again")
        mask = decode_mask(inflate(decode_embedded(found.bitmap.data, place, "mask"), place), place)
        return from_mask(name, mask, picture, reading.report, where, origin=found.bitmap.origin)
    if kind == "rectangle" and len(found.points.exterior) == 2:
        first, second = np.sort(np.array(found.points.exterior), axis=0)
        return from_corners(name, [first.tolist(), (second + 1).tolist()], picture, reading.report, where)
    if kind == "polygon" and len(found.points.exterior) >= 3:
        mask = np.zeros(picture.size, np.uint8)
        cv2.fillPoly(mask, [_pixels(found.points.exterior)], (1,))
        if found.points.interior:
            cv2.fillPoly(mask, [_pixels(hole) for hole in found.points.interior if hole], (0,))
        return from_mask(name, mask > 0, picture, reading.report, where)
    reading.report.note(f"objects of type {kind} were not taken: they have no area", where)
    return None


def _pixels(points: list[Point]) -> np.ndarray:
    return np.round(np.clip(points, -30000, 30000)).astype(np.int32)
