"""Cityscapes: gtFine's labels become the 19 trainIds, and its instances the objects of the 8 classes of things.

    gtFine/SPLIT/CITY/*_gtFine_labelIds.png (or labelTrainIds) and *_gtFine_instanceIds.png, or *_gtFine_polygons.json
    leftImg8bit/SPLIT/CITY/*_leftImg8bit.png

Where there are polygons alone, they are drawn as cityscapesScripts does (preparation/json2labelImg.py and
json2instanceImg.py, whose names and ids are those of helpers/labels.py). The test set's labels are blank and not taken.
"""
from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw

from src.contract import InputError
from src.data.importers.geometry import from_mask
from src.data.importers.pictures import Collection, Picture, Reading, split_of
from src.data.importers.reading import (
    ImageIndex,
    Model,
    Point,
    Side,
    checked,
    files_below,
    label_size,
    open_picture,
    read_index_map,
    read_json,
)
from src.data.semantic.label_map import read_label_map

NAMES = ("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation",
         "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
_FIRST_THING = 11  # trainIds from here on have instances
_LABELS, _TRAIN_IDS, _POLYGONS = "_labelIds.png", "_labelTrainIds.png", "_polygons.json"
# In the order of their labelIds, from 0; the last one, a licence plate, is never drawn.
_IDS = {name: number for number, name in enumerate((
    "unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground", "road", "sidewalk",
    "parking", "rail track", "building", "wall", "fence", "guard rail", "bridge", "tunnel", "pole", "polegroup",
    "traffic light", "traffic sign", "vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus",
    "caravan", "trailer", "train", "motorcycle", "bicycle"))} | {"license plate": -1}
_WITH_INSTANCES = {*range(24, 34)}  # labelIds


class Polygon(Model):
    label: str
    polygon: list[Point]
    deleted: bool = False


class File(Model):
    imgHeight: Side
    imgWidth: Side
    objects: list[Polygon]


def read(reading: Reading) -> Collection:
    """Every label of gtFine with its image, in whichever form the labels are there."""
    images, pictures, table = ImageIndex(reading), [], read_label_map("cityscapes")
    end = next((end for end in (_LABELS, _TRAIN_IDS, _POLYGONS) if files_below(reading.source, (end.lower(),))),
               _LABELS)
    for path in files_below(reading.source, (end.lower(),)):
        split, city = path.parent.parent.name, path.parent.name
        if split_of(split) == "test":
            reading.report.note("images of the test set were not taken: their labels are blank", reading.relative(path))
            continue
        with reading.report.collecting():
            stem = path.name[:-len(end)].rpartition("_")[0]
            places = [reading.source / f"leftImg8bit/{split}/{city}", path.parent]
            image = images.find(f"{stem}_leftImg8bit.png", places, str(path))
            polygons = checked(File, read_json(path), path) if end == _POLYGONS else None
            said = (polygons.imgHeight, polygons.imgWidth) if polygons else label_size(path)
            picture = open_picture(reading, image, reading.relative(image), str(path), said=said)
            picture.split = split_of(split)
            if reading.options.layout == "coco":
                ids = drawn(polygons, path, instances=True) if polygons else _instance_ids(path, end, picture)
                _add_objects(reading, picture, ids, table, reading.relative(path))
            elif polygons:
                picture.label = partial(_draw_label, polygons, path, table)
            else:
                picture.label = partial(read_index_map, path, table if end == _LABELS else None)
            pictures.append(picture)
    names = NAMES[_FIRST_THING:] if reading.options.layout == "coco" else NAMES
    return Collection(pictures, list(names), published=True)


def _draw_label(polygons: File, path: Path, table: np.ndarray) -> np.ndarray:
    return table[drawn(polygons, path, instances=False)]


def drawn(file: File, path: Path, *, instances: bool) -> np.ndarray:
    """(H, W) int32 of labelIds, or of instanceIds: 1000 times the labelId plus a number, the labelId alone of a group.

    Later polygons cover earlier ones.

    Raises:
        InputError: a label that Cityscapes does not have.
    """
    canvas = Image.new("I", (file.imgWidth, file.imgHeight), 0)
    pen, numbers = ImageDraw.Draw(canvas), Counter[int]()
    for number, shape in enumerate(file.objects):
        name, place = shape.label, f"{path}: objects.{number}"
        is_group = name not in _IDS and name.endswith("group")
        name = name.removesuffix("group") if is_group else name
        if name not in _IDS:
            raise InputError(f"{place}: label {shape.label!r} is none of Cityscapes; correct it")
        value = _IDS[name]
        if shape.deleted or value < 0:
            continue
        if len(shape.polygon) < 2:
            raise InputError(f"{place}: a polygon of {len(shape.polygon)} points; correct or remove it")
        if instances and value in _WITH_INSTANCES and not is_group:
            numbers[value] += 1
            value = 1000 * value + numbers[value] - 1
        pen.polygon(shape.polygon, fill=value)
    return np.asarray(canvas)


def _instance_ids(path: Path, end: str, picture: Picture) -> np.ndarray:
    path = path.with_name(path.name.replace(end, "_instanceIds.png"))
    ids = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() and label_size(path) == picture.size \
        else None
    if ids is None or ids.ndim != 2:
        raise InputError(f"{path}: missing, damaged or of another size; unpack gtFine again, or take --layout=voc")
    return ids


def _add_objects(reading: Reading, picture: Picture, ids: np.ndarray, table: np.ndarray, place: str) -> None:
    """The objects of instanceIds; a group, which has the labelId alone, is a crowd."""
    for value in np.unique(ids).tolist():
        label_id = value if value < 1000 else value // 1000
        index = int(table[label_id]) if label_id < 256 else 255
        if _FIRST_THING <= index < len(NAMES):
            picture.add(from_mask(NAMES[index], ids == value, picture, reading.report, place, crowd=value < 1000))
