"""CVAT's own XML, version 1.1: "CVAT for images" and "CVAT for video" (docs.cvat.ai, XML annotation format).

    annotations.xml   images/NAME   of a video: images/frame_000000.png ...

Polygons, boxes, ellipses and masks become objects, in the order of `z_order`; shapes of one label and `group_id` are
one object, as in CVAT's export to COCO. Of a video's tracks, the frames count that are not `outside`.
"""
from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from src.contract import InputError
from src.data.importers.geometry import ellipse, from_mask, from_polygons, turned
from src.data.importers.pictures import (
    Annotation,
    Collection,
    Picture,
    Reading,
    class_name,
    each_once,
    first_split,
    names_in_order,
    split_of,
)
from src.data.importers.reading import ImageIndex, open_picture, read_xml

_AREAS = ("polygon", "box", "mask", "ellipse")
_WITHOUT_AREA = ("polyline", "points", "cuboid", "skeleton", "tag")
_MOST_PIXELS = 1 << 28  # of a mask
_NO_GROUP = ("", "0")
_FRAME = re.compile(r"frame_(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Shape:
    """A shape's element, with the label and group that it or its track has."""

    place: str
    label: str
    group: str
    element: ElementTree.Element

    @property
    def kind(self) -> str:
        return self.element.tag

    def number(self, key: str, default: float | None = None) -> float:
        text = self.element.get(key)
        return default if text is None and default is not None else _finite(text or "", f"{self.place}: {key}")


@dataclass
class Frame:
    """An image of a file: its name, (H, W) if known, split, and shapes."""

    name: str
    place: str
    size: tuple[int, int] | None
    split: str = ""
    shapes: list[Shape] = field(default_factory=list)


def read(reading: Reading, paths: list[Path]) -> Collection:
    """The files `paths`, whose root is `annotations`."""
    images, pictures = ImageIndex(reading), []
    names: dict[str, None] = {}
    for path in paths:
        with reading.report.collecting():
            root = read_xml(path)
            names |= dict.fromkeys(class_name(label.findtext("name", ""), f"{path}: labels")
                                   for label in root.iterfind("meta//labels/label")
                                   if label.findtext("type", "") != "skeleton")
            for frame in _frames(root, path, images):
                with reading.report.collecting():
                    pictures.append(_picture(reading, images, path, frame))
    pictures, used = each_once(pictures, reading.report), names_in_order(pictures)
    return Collection(pictures, [*names, *(name for name in used if name not in names)] or used)


def _frames(root: ElementTree.Element, path: Path, images: ImageIndex) -> Iterator[Frame]:
    for position, entry in enumerate(root.iterfind("image")):
        place = f"{path}: image {entry.get('id', position)}"
        frame = Frame(entry.get("name", ""), place, _size(entry.get("width"), entry.get("height"), place),
                      split_of(entry.get("subset") or ""))
        frame.shapes = [Shape(f"{place}: {shape.tag} {k}", shape.get("label", ""), shape.get("group_id", ""), shape)
                        for k, shape in enumerate(entry)]
        yield frame
    if root.find("track") is not None:
        yield from _video(root, path, images)


def _video(root: ElementTree.Element, path: Path, images: ImageIndex) -> Iterator[Frame]:
    """The frames of a video: those that tracks have, and images without an object."""
    size = root.find("meta//original_size")
    said = None if size is None else _size(size.findtext("width"), size.findtext("height"), f"{path}: original_size")
    files = {int(found[1]): image for image in images.paths if (found := _FRAME.fullmatch(image.stem))
             and image.is_relative_to(path.parent)}
    frames = {number: Frame(image.name, f"{path}: frame {number}", said) for number, image in files.items()}
    for position, track in enumerate(root.iterfind("track")):
        place = f"{path}: track {track.get('id', position)}"
        for element in track:
            shape = Shape(place, track.get("label", ""), track.get("group_id", ""), element)
            number = int(shape.number("frame"))
            if element.get("outside") != "1":
                frame = frames.setdefault(number, Frame(f"frame_{number:06d}.png", f"{path}: frame {number}", said))
                frame.shapes.append(replace(shape, place=f"{place}, frame {number}"))
    yield from (frame for _, frame in sorted(frames.items()))


def _picture(reading: Reading, images: ImageIndex, path: Path, frame: Frame) -> Picture:
    places = [path.parent / "images", path.parent]
    image = images.find(frame.name, [*(place / frame.split for place in places if frame.split), *places], frame.place)
    picture = open_picture(reading, image, reading.relative(image), frame.place, said=frame.size)
    picture.split = frame.split or first_split(Path(frame.name).parts[:-1])
    groups: dict[tuple, list[Shape]] = defaultdict(list)
    where = reading.relative(path)
    for position, shape in enumerate(sorted(frame.shapes, key=lambda shape: shape.number("z_order", 0))):
        if shape.kind in _WITHOUT_AREA:
            reading.report.note(f"shapes of type {shape.kind} were not taken: they have no area", where)
        elif shape.kind in _AREAS:
            alone = shape.group in _NO_GROUP or shape.kind == "mask"
            groups[(position,) if alone else (shape.label, shape.group)].append(shape)
        else:
            reading.report.bad.append(f"{shape.place}: a shape {shape.kind!r} is not known; redraw it as a polygon, or "
                                      "leave it out with --on_bad=skip")
    for group in groups.values():
        with reading.report.collecting():
            picture.add(_annotation(reading, picture, group, where))
    return picture


def _annotation(reading: Reading, picture: Picture, group: list[Shape], where: str) -> Annotation | None:
    name = class_name(group[0].label, group[0].place)
    if group[0].kind == "mask":
        mask, origin = _mask(group[0])
        return from_mask(name, mask, picture, reading.report, where, origin=origin)
    return from_polygons(name, list(map(_outline, group)), picture, reading.report, where)


def _outline(shape: Shape) -> np.ndarray:
    """(N, 2) corners of a polygon, box or ellipse; `rotation` is in degrees, clockwise, around the middle."""
    if shape.kind == "polygon":
        return np.array([[_finite(value, shape.place) for value in _pair(point, shape.place)]
                         for point in shape.element.get("points", "").split(";")])
    angle = math.radians(shape.number("rotation", 0))
    if shape.kind == "ellipse":
        return ellipse(list(map(shape.number, ("cx", "cy"))), list(map(shape.number, ("rx", "ry"))), angle)
    x1, y1, x2, y2 = map(shape.number, ("xtl", "ytl", "xbr", "ybr"))
    corners, middle = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]]), np.array([x1 + x2, y1 + y2]) / 2
    return turned(corners - middle, angle) + middle if angle else corners


def _mask(shape: Shape) -> tuple[np.ndarray, tuple[int, int]]:
    """(h, w) bool and the (x, y) of its first pixel. `rle` has the lengths of runs along the rows, background first."""
    left, top, width, height = (int(shape.number(key)) for key in ("left", "top", "width", "height"))
    try:
        runs = [int(word) for word in shape.element.get("rle", "").split(",")]
    except ValueError:
        runs = []
    if min(width, height) < 1 or width * height > _MOST_PIXELS or not runs or min(runs) < 0 \
            or sum(runs) != width * height:
        raise InputError(f"{shape.place}: its rle does not cover {width} x {height} pixels; export it again")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width), (left, top)


def _pair(text: str, place: str) -> list[str]:
    pair = text.split(",")
    if len(pair) != 2:
        raise InputError(f"{place}: {text[:40]!r} is no point x,y; export it again")
    return pair


def _finite(text: str, place: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= 1e7:
        raise InputError(f"{place}: {text[:40]!r} is no coordinate; export it again")
    return value


def _size(width: str | None, height: str | None, place: str) -> tuple[int, int] | None:
    if width is None or height is None:
        return None
    return int(_finite(height, f"{place}: height")), int(_finite(width, f"{place}: width"))
