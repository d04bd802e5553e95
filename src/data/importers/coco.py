"""Annotation files in COCO's layout as labelling tools write them: Roboflow, Label Studio, CVAT, labelme2coco, LVIS.

They differ from COCO in where the images lie, in names with folders, in missing sizes and boxes, in rows of categories
that only group others, and in ids that are texts (cocodataset.org/#format-data, lvisdataset.org/dataset).
"""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlparse

from pycocotools import mask as coco_mask

from src.contract import InputError
from src.data.class_names import is_background
from src.data.importers.geometry import from_corners, from_polygons
from src.data.importers.pictures import Annotation, Collection, Picture, Reading, class_name, each_once, first_split
from src.data.importers.reading import ImageIndex, Model, checked, json_files, open_picture
from src.data.instance.coco_check import checked_encoding
from src.data.instance.coco_tidy import SEARCHED

Id = int | str


class Category(Model):
    id: Id
    name: str
    supercategory: str | None = None


class Image(Model):
    id: Id
    file_name: str | None = None
    coco_url: str | None = None
    height: int | None = None
    width: int | None = None
    neg_category_ids: list | None = None
    not_exhaustive_category_ids: list | None = None


class Object(Model):
    image_id: Id
    category_id: Id
    segmentation: Any = None
    bbox: list[float] | None = None
    iscrowd: int | bool | None = 0


class Head(Model):
    images: list[dict]
    annotations: list[dict]
    categories: list[dict]


def read(reading: Reading) -> Collection:
    """Every JSON file below the source that has COCO's three lists; several files are splits of one data set."""
    return read_contents(reading, json_files(reading))


def read_contents(reading: Reading, contents: Iterable[tuple[Path, Any]]) -> Collection:
    """As `read`, of JSON files whose contents are known."""
    images, pictures = ImageIndex(reading), []
    names: dict[str, None] = {}
    for path, content in contents:
        if not isinstance(content, dict) or not {"images", "categories"} & set(content):
            _pass_over(reading, path)
            continue
        with reading.report.collecting():
            file = _File(reading, images, path, checked(Head, content, path))
            pictures += file.pictures()
            names |= dict.fromkeys(file.used_names())
    return Collection(each_once(pictures, reading.report), list(names))


def _pass_over(reading: Reading, path: Path) -> None:
    """Say that a JSON file is not in COCO's layout, which is a fault where its name says that it is."""
    if path.name == "_annotations.coco.json" or path.name.startswith("instances_"):
        reading.report.bad.append(f"{path}: has no images, annotations and categories; export it again")
    else:
        reading.report.note("JSON files that are not in COCO's layout were not read", reading.relative(path))


class _File:
    """One annotation file: its categories and images by id, its annotations by image."""

    def __init__(self, reading: Reading, images: ImageIndex, path: Path, head: Head):
        self.reading, self.images, self.path = reading, images, path
        entries = [checked(Image, entry, f"{path}: images.{k}") for k, entry in enumerate(head.images)]
        self.entries = {str(entry.id): entry for entry in entries}
        if len(self.entries) < len(entries):
            raise InputError(f"{path}: images: an id is there twice; export the annotations again")
        self.objects: dict[str, list[tuple[str, Object]]] = defaultdict(list)
        for k, entry in enumerate(head.annotations):
            with reading.report.collecting():
                place = f"{path}: annotations.{k}"
                found = checked(Object, entry, place)
                if str(found.image_id) not in self.entries:
                    raise InputError(f"{place}: image_id {found.image_id!r} is no image of the file; remove it")
                self.objects[str(found.image_id)].append((place, found))
        self.names = self._names([checked(Category, entry, f"{path}: categories.{k}")
                                  for k, entry in enumerate(head.categories)])

    def _names(self, categories: list[Category]) -> dict[str, str]:
        """Name by category id; rows without an object that only group others or repeat a name are dropped."""
        used = {str(found.category_id) for group in self.objects.values() for _, found in group}
        groups = {category.supercategory for category in categories}
        names: dict[str, str] = {}
        for k, category in enumerate(categories):
            place, key = f"{self.path}: categories.{k}", str(category.id)
            name = class_name(category.name, place)
            if key in names:
                raise InputError(f"{place}: id {key} is there twice; give each category its own")
            if key not in used and (category.name in groups or is_background(name) or name in names.values()):
                self.reading.report.note("categories without an object that only group others, or repeat a name, were "
                                         "not taken", f"{name} in {self.reading.relative(self.path)}")
                continue
            if name in names.values():
                self.reading.report.note("categories of the same name became one", name)
            names[key] = name
        return names

    def used_names(self) -> list[str]:
        """The categories' names in the order of their ids."""
        def order(item: tuple[str, str]) -> tuple[bool, int, str]:
            return not item[0].isdecimal(), int(item[0]) if item[0].isdecimal() else 0, item[0]
        return [name for _, name in sorted(self.names.items(), key=order)]

    def pictures(self) -> list[Picture]:
        found = []
        for key, entry in self.entries.items():
            with self.reading.report.collecting():
                found.append(self._picture(entry, self.objects.get(key, [])))
        return found

    def _picture(self, entry: Image, objects: list[tuple[str, Object]]) -> Picture:
        place = f"{self.path}: image {entry.id}"
        name = entry.file_name or PurePosixPath(urlparse(entry.coco_url or "").path).name
        if not name:
            raise InputError(f"{place}: has neither file_name nor coco_url; export the annotations again")
        image = self.images.find(name, self._places(entry), place)
        known = (entry.height or 0) > 0 and (entry.width or 0) > 0  # VIA writes -1 for images that it did not load
        said = (entry.height, entry.width) if known else None
        picture = open_picture(self.reading, image, self.reading.relative(image), place,
                               said=said)  # type: ignore[arg-type]
        folders = PurePosixPath(picture.name).parts[:-1]
        picture.split = first_split((self.path.stem, self.path.parent.name, *folders))
        if entry.neg_category_ids is not None or entry.not_exhaustive_category_ids is not None:
            self.reading.report.note(f"images say which categories were looked for in them: {SEARCHED}", picture.name)
        for where, found in objects:
            with self.reading.report.collecting():
                picture.add(self._annotation(found, picture, where))
        return picture

    def _places(self, entry: Image) -> list[Path]:
        """Folders where the images may lie, by tool: beside the file, or in a folder named like it."""
        folder, split = self.path.parent, self.path.stem.removeprefix("instances_").removeprefix("lvis_v1_")
        roots = [folder, folder.parent] if folder.name.lower() == "annotations" else [folder]
        inner = [split, f"images/{split}", "images", "."]
        if entry.coco_url and not entry.file_name:  # LVIS: .../train2017/000000391895.jpg
            inner.insert(0, PurePosixPath(urlparse(entry.coco_url).path).parent.name)
        return [root / part for root in roots for part in inner]

    def _annotation(self, found: Object, picture: Picture, place: str) -> Annotation | None:
        name = self.names.get(str(found.category_id))
        if name is None:
            raise InputError(f"{place}: category_id {found.category_id!r} is no category of the file; correct it")
        where, shape = self.reading.relative(self.path), found.segmentation
        if isinstance(shape, dict):
            return self._encoded(name, shape, picture, place, crowd=bool(found.iscrowd))
        if shape:
            outlines = [self._outline(part, place) for part in (shape if isinstance(shape, list) else [shape])]
            annotation = from_polygons(name, outlines, picture, self.reading.report, where)
        elif found.bbox is not None and len(found.bbox) == 4 and min(found.bbox[2:]) >= 0:
            x, y, width, height = (self._number(value, place) for value in found.bbox)
            self.reading.report.note("objects have a box and no mask", where)
            annotation = from_corners(name, [(x, y), (x + width, y + height)], picture, self.reading.report, where,
                                      mask=False)
        else:
            raise InputError(f"{place}: has neither a segmentation nor a bbox of x, y, width, height; remove it")
        if annotation and found.iscrowd:
            return Annotation(annotation.name, annotation.segmentation, annotation.box, crowd=True)
        return annotation

    def _outline(self, part: Any, place: str) -> list[tuple[float, float]]:
        if not isinstance(part, list) or len(part) % 2 or not all(type(value) in (int, float) for value in part):
            raise InputError(f"{place}: segmentation: {str(part)[:40]!r} is no list of numbers x1, y1, x2, y2, ...; "
                             "correct or remove it")
        numbers = [self._number(value, place) for value in part]
        return list(zip(numbers[::2], numbers[1::2]))

    @staticmethod
    def _number(value: float, place: str) -> float:
        if not abs(value) <= 1e7:
            raise InputError(f"{place}: {str(value)[:40]} is no coordinate; correct or remove the annotation")
        return float(value)

    def _encoded(self, name: str, shape: dict, picture: Picture, place: str, *, crowd: bool) -> Annotation | None:
        try:
            rle = checked_encoding(shape, picture.size)
        except InputError as error:
            raise InputError(f"{place}: {error}; export it again") from error
        if not coco_mask.area(rle):
            self.reading.report.note("shapes without an area were not taken", self.reading.relative(self.path))
            return None
        return Annotation(name, rle, coco_mask.toBbox(rle).tolist(), crowd)
