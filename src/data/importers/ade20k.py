"""ADE20K in its three forms: 150 classes of the scene parsing benchmark, 100 of its instances, or the full data set.

    images/{training,validation}/*.jpg  annotations/{training,validation}/*.png  objectInfo150.txt
    images/{training,validation}/*.jpg  annotations_instance/{training,validation}/*.png  categoryMapping.txt
    images/ADE/{training,validation}/SCENE/*.jpg and *.json

The first two are ADEChallengeData2016 (github.com/CSAILVision/sceneparsing, placeschallenge): labels are renumbered to
0..149, where 0 becomes 255; instances have the category 1..100 as red and a number as green. The third is ADE20K_2021
(github.com/CSAILVision/ADE20K): polygons of every object; its parts of objects are not taken.
"""
from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from src.contract import InputError
from src.data import decode
from src.data.importers.geometry import from_mask, from_polygons
from src.data.importers.pictures import Collection, Picture, Reading, class_name, first_split, names_in_order
from src.data.importers.reading import (
    ImageIndex,
    Model,
    Number,
    checked,
    files_below,
    label_size,
    open_picture,
    read_index_map,
    read_json,
    read_text,
)
from src.data.semantic.label_map import read_label_map

_CLASSES, _CATEGORIES = 150, 100
_LABELS, _INSTANCES = "annotations", "annotations_instance"


class Parts(Model):
    part_level: int = 0


class Polygon(Model):
    x: list[Number]
    y: list[Number]


class Shape(Model):
    name: str
    parts: Parts | None = None
    polygon: Polygon


class Content(Model):
    filename: str
    object: list[Shape] | Shape


class File(Model):
    annotation: Content


def read(reading: Reading) -> Collection:
    """The form that is there; of the benchmark, labels for `--layout=voc` and instances for `--layout=coco`."""
    folder = _INSTANCES if reading.options.layout == "coco" else _LABELS
    root = next((path.parent for path in [reading.source / folder, *sorted(reading.source.glob(f"*/{folder}"))]
                 if path.is_dir()), None)
    if root:
        return _benchmark(reading, root, folder)
    if reading.options.layout == "coco":
        files = files_below(reading.source, (".json",))
        if files:
            return _full(reading, files)
        raise InputError(f"{reading.source}: has neither {_INSTANCES}/ nor ADE20K_2021's JSON files; unpack "
                         f"{_INSTANCES}.tar beside {_LABELS}/, or take --layout=voc")
    raise InputError(f"{reading.source}: has no folder {_LABELS}; give the folder ADEChallengeData2016, or take "
                     "--layout=coco for the full data set")


def _benchmark(reading: Reading, root: Path, folder: str) -> Collection:
    images, pictures, table = ImageIndex(reading), [], read_label_map("reduce_zero_label")
    names = _names(root) if folder == _LABELS else _categories(root)
    for path in files_below(root / folder, (".png",)):
        with reading.report.collecting():
            inner = path.relative_to(root / folder)
            image = images.of_stem(path.stem, (root / "images" / inner).parent)
            if image is None:
                raise InputError(f"{path}: no image images/{inner.with_suffix('')}.*; restore it, or leave the label "
                                 "out with --on_bad=skip")
            picture = open_picture(reading, image, reading.relative(image), str(path), said=label_size(path))
            picture.split = first_split(inner.parts[:-1])
            if folder == _LABELS:
                picture.label = partial(read_index_map, path, table)
            else:
                _add_instances(reading, picture, path, names)
            pictures.append(picture)
    return Collection(pictures, names, published=True)


def _add_instances(reading: Reading, picture: Picture, path: Path, names: list[str]) -> None:
    """The objects of an RGB label: category by red, and number, whatever the category, by green."""
    try:
        pixels = decode.decode_image(path.read_bytes())
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    codes = pixels[..., 0].astype(np.int32) << 8 | pixels[..., 1]
    for code in np.unique(codes).tolist():
        category, number = divmod(code, 256)
        if not category or not number:
            continue
        if category > len(names):
            raise InputError(f"{path}: has category {category}, but there are 1..{len(names)}; restore the file, or "
                             "leave its image out with --on_bad=skip")
        picture.add(from_mask(names[category - 1], codes == code, picture, reading.report, reading.relative(path)))


def _names(root: Path) -> list[str]:
    """Names by index from objectInfo150.txt, whose last column has them; the first of several synonyms is taken."""
    path = root / "objectInfo150.txt"
    if not path.is_file():
        return [f"class {number}" for number in range(1, _CLASSES + 1)]
    return _unique([(row[-1], f"{path}:{number}") for number, row in _rows(path)])


def _categories(root: Path) -> list[str]:
    """Names of the instances' categories from categoryMapping.txt, by the number in its first column."""
    path = next((found for found in (root / "categoryMapping.txt", root / _INSTANCES / "categoryMapping.txt")
                 if found.is_file()), None)
    if not path:
        return [f"class {number}" for number in range(1, _CATEGORIES + 1)]
    rows = [(row[-1], f"{path}:{number}") for number, row in _rows(path)]
    numbers = [row[0] for _, row in _rows(path)]
    if numbers != [str(number) for number in range(1, len(rows) + 1)]:
        raise InputError(f"{path}: its first column does not count from 1; restore the file")
    return _unique(rows)


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """(number, columns) of the lines behind the head."""
    lines = [(number, line) for number, line in enumerate(read_text(path).splitlines(), 1) if line.strip()]
    return [(number, line.split("\t") if "\t" in line else line.split()) for number, line in lines[1:]]


def _unique(rows: list[tuple[str, str]]) -> list[str]:
    names = [class_name(text.split(",")[0], place) for text, place in rows]
    return [f"{name} {number}" if names.count(name) > 1 else name for number, name in enumerate(names, 1)]


def _full(reading: Reading, files: list[Path]) -> Collection:
    """ADE20K_2021: the polygons in the JSON file beside each image; names are the first of several synonyms."""
    images, pictures = ImageIndex(reading), []
    for path in files:
        with reading.report.collecting():
            content = checked(File, read_json(path, fallback="latin-1"), path).annotation
            image = images.find(content.filename, [path.parent], str(path))
            picture = open_picture(reading, image, reading.relative(image), str(path))
            picture.split = first_split(path.relative_to(reading.source).parts[:-1])
            shapes = content.object if isinstance(content.object, list) else [content.object]
            for number, shape in enumerate(shapes):
                _add_polygon(reading, picture, shape, f"{path}: object.{number}")
            pictures.append(picture)
    return Collection(pictures, names_in_order(pictures), published=True)


def _add_polygon(reading: Reading, picture: Picture, shape: Shape, place: str) -> None:
    if shape.parts and shape.parts.part_level > 0:
        reading.report.note("parts of objects were not taken", picture.name)
        return
    if len(shape.polygon.x) != len(shape.polygon.y):
        raise InputError(f"{place}: has {len(shape.polygon.x)} x and {len(shape.polygon.y)} y; restore the file")
    outline = np.stack([shape.polygon.x, shape.polygon.y], 1)
    found = from_polygons(class_name(shape.name.split(",")[0], place), [outline], picture, reading.report, picture.name)
    picture.add(found)
