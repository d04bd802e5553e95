"""VGG Image Annotator 1 and 2: a project or its annotations as JSON, or without these as CSV, regions with the class
in one of their attributes.

The keys are those of robots.ox.ac.uk/~vgg/software/via (`_via_img_metadata`, `shape_attributes`, `region_attributes`).
"""
from __future__ import annotations

import csv
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import Field

from src.contract import InputError
from src.data.importers.geometry import ellipse, from_polygons
from src.data.importers.pictures import Collection, Picture, Reading, class_name, names_in_order
from src.data.importers.reading import (
    ImageIndex,
    Model,
    Number,
    checked,
    files_below,
    open_picture,
    read_json,
    read_text,
)

OBJECT = "object"
_LIKELY = ("class", "label", "name", "type", "category", "species")
_COLUMNS = ("filename", "region_shape_attributes", "region_attributes")
_WITHOUT_AREA = ("point", "polyline", "line")


class Shape(Model):
    name: str
    all_points_x: list[Number] = Field(default_factory=list)
    all_points_y: list[Number] = Field(default_factory=list)
    x: Number = 0
    y: Number = 0
    width: Number = 0
    height: Number = 0
    cx: Number = 0
    cy: Number = 0
    r: Number = 0
    rx: Number = 0
    ry: Number = 0
    theta: Number = 0


class Region(Model):
    shape_attributes: Shape
    region_attributes: dict[str, Any] = Field(default_factory=dict)


class Entry(Model):
    filename: str
    regions: list[Region] | dict[str, Region] = Field(default_factory=list)

    def each(self) -> list[Region]:
        return list(self.regions.values()) if isinstance(self.regions, dict) else self.regions


def read(reading: Reading) -> Collection:
    """Every JSON file of VIA below the source."""
    images = ImageIndex(reading)
    entries: list[tuple[str, Path, Entry]] = []
    for path in files_below(reading.source, (".json",)):
        with reading.report.collecting():
            content = read_json(path)
            content = content.get("_via_img_metadata", content) if isinstance(content, dict) else content
            if isinstance(content, dict) and {"images", "annotations", "categories"} <= set(content):
                reading.report.note("JSON files in COCO's layout were not read", reading.relative(path))
                continue
            if not isinstance(content, dict) or not all(
                    isinstance(entry, dict) and "filename" in entry for entry in content.values()):
                raise InputError(f"{path}: not VIA's annotations as JSON; save the project, or export annotations as "
                                 "JSON, and leave other JSON files out of the folder")
            for key, entry in content.items():
                with reading.report.collecting():
                    entries.append((f"{path}: {key}", path, checked(Entry, entry, f"{path}: {key}")))
    if not entries and not reading.report.bad:
        entries = [(f"{path}: {entry.filename}", path, entry) for path in files_below(reading.source, (".csv",))
                   for entry in _csv_entries(reading, path)]
    attribute = _attribute(reading, [entry for _, _, entry in entries])
    pictures: dict[Path, Picture] = {}
    for place, path, entry in entries:
        with reading.report.collecting():
            image = images.find(entry.filename, [path.parent, path.parent / "images"], place)
            if image in pictures:
                raise InputError(f"{place}: {entry.filename} has a second entry; remove one of them")
            picture = open_picture(reading, image, reading.relative(image), place)
            for number, region in enumerate(entry.each()):
                with reading.report.collecting():
                    _add(reading, picture, region, attribute, f"{place}: regions.{number}")
            pictures[image] = picture
    return Collection(list(pictures.values()), names_in_order(list(pictures.values())))


def _csv_entries(reading: Reading, path: Path) -> list[Entry]:
    """The images of annotations as CSV, which has a line for each region and for each image without one."""
    regions: dict[str, list[Region]] = {}
    csv.field_size_limit(1 << 24)  # characters of a region's points
    with reading.report.collecting():
        lines = csv.reader(io.StringIO(read_text(path), newline=""))
        try:
            names = [name.lstrip("#") for name in next(lines, [])]
            if not set(_COLUMNS) <= set(names):
                raise InputError(f"{path}: not VIA's annotations as CSV, which have the columns {', '.join(_COLUMNS)}; "
                                 "export them again, and leave other CSV files out of the folder")
            for line in filter(None, lines):
                with reading.report.collecting():
                    row = dict(zip(names, line))
                    found = regions.setdefault(row["filename"], [])
                    found += _csv_region(row, f"{path}:{lines.line_num}")
        except csv.Error as error:
            raise InputError(f"{path}:{lines.line_num}: not CSV ({error}); export it again") from error
    return [Entry(filename=name, regions=found) for name, found in regions.items()]


def _csv_region(row: dict[str, str], place: str) -> list[Region]:
    """The region of a line, none where it has no shape."""
    try:
        shape, attributes = (json.loads(row.get(column, "")) for column in _COLUMNS[1:])
    except (ValueError, RecursionError):
        raise InputError(f"{place}: its shape or attributes are no JSON; export it again") from None
    region = {"shape_attributes": shape, "region_attributes": attributes}
    return [checked(Region, region, place)] if shape else []


def _attribute(reading: Reading, entries: list[Entry]) -> str:
    """The region attribute that holds the class; empty where there is none."""
    found = Counter(name for entry in entries for region in entry.each() for name in region.region_attributes)
    asked = reading.options.attribute
    if asked and asked not in found:
        raise InputError(f"--attribute={asked}: no region has it; they have {', '.join(found) or 'none'}")
    likely = [name for name in found if name.lower() in _LIKELY]
    if asked or len(found) == 1 or len(likely) == 1:
        return asked or (next(iter(found)) if len(found) == 1 else likely[0])
    if found:
        raise InputError(f"{reading.source}: regions have the attributes {', '.join(found)}; say which one holds the "
                         f"class with --attribute={next(iter(found))}")
    reading.report.note(f"source without region attributes: all objects are called {OBJECT!r}", reading.source.name)
    return ""


def _add(reading: Reading, picture: Picture, region: Region, attribute: str, place: str) -> None:
    shape, where = region.shape_attributes, place.partition(": ")[0]
    if shape.name in _WITHOUT_AREA:
        reading.report.note(f"regions of type {shape.name} were not taken: they have no area", Path(where).name)
        return
    found = from_polygons(_class(region.region_attributes, attribute, place), [_outline(shape, place)], picture,
                          reading.report, Path(where).name)
    picture.add(found)


def _class(attributes: dict[str, Any], attribute: str, place: str) -> str:
    if not attribute:
        return OBJECT
    value = attributes.get(attribute)
    if isinstance(value, dict):  # check boxes
        value = ", ".join(name for name, on in value.items() if on is True or on == "true")
    if not isinstance(value, (str, int)) or not str(value).strip():
        raise InputError(f"{place}: its attribute {attribute!r} names no class; fill it in, or leave the region "
                         "out with --on_bad=skip")
    return class_name(str(value), f"{place}: {attribute}")


def _outline(shape: Shape, place: str) -> Any:
    if shape.name == "polygon" and len(shape.all_points_x) == len(shape.all_points_y) >= 3:
        return list(zip(shape.all_points_x, shape.all_points_y))
    if shape.name == "rect":
        right, bottom = shape.x + shape.width, shape.y + shape.height
        return [(shape.x, shape.y), (right, shape.y), (right, bottom), (shape.x, bottom)]
    if shape.name in ("circle", "ellipse"):
        radii = (shape.r, shape.r) if shape.name == "circle" else (shape.rx, shape.ry)
        return ellipse((shape.cx, shape.cy), radii, shape.theta)
    raise InputError(f"{place}: a {shape.name!r} with {len(shape.all_points_x)} and {len(shape.all_points_y)} "
                     "coordinates is not known; redraw it as a polygon")
