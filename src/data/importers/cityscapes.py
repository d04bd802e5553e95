"""Cityscapes: gtFine's labelIds become the 19 trainIds, and its instanceIds the objects of the 8 classes of things.

The names and ids are those of cityscapesScripts (helpers/labels.py); the test set's labels are blank and not taken.
"""
from __future__ import annotations

from functools import partial
from pathlib import Path

import cv2
import numpy as np

from src.contract import InputError
from src.data.importers.geometry import from_mask
from src.data.importers.pictures import Collection, Picture, Reading, split_of
from src.data.importers.reading import ImageIndex, files_below, label_size, open_picture, read_index_map
from src.data.semantic.label_map import read_label_map

NAMES = ("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation",
         "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
_FIRST_THING = 11  # trainIds from here on have instances
_ENDS = ("_labelIds.png", "_labelTrainIds.png")


def read(reading: Reading) -> Collection:
    """Every `*_gtFine_labelIds.png` (or labelTrainIds) with its `*_leftImg8bit.png`."""
    images, pictures, table = ImageIndex(reading), [], read_label_map("cityscapes")
    end = next((end for end in _ENDS if files_below(reading.source, (end.lower(),))), _ENDS[0])
    for path in files_below(reading.source, (end.lower(),)):
        split, city = path.parent.parent.name, path.parent.name
        if split_of(split) == "test":
            reading.report.note("images of the test set were not taken: their labels are blank", reading.relative(path))
            continue
        with reading.report.collecting():
            stem = path.name[:-len(end)].rpartition("_")[0]
            places = [reading.source / f"leftImg8bit/{split}/{city}", path.parent]
            image = images.find(f"{stem}_leftImg8bit.png", places, str(path))
            picture = open_picture(reading, image, reading.relative(image), str(path), said=label_size(path))
            picture.split = split_of(split)
            if reading.options.layout == "coco":
                _add_objects(reading, picture, path.with_name(path.name.replace(end, "_instanceIds.png")), table)
            else:
                picture.label = partial(_read_label, path, table if end == _ENDS[0] else None)
            pictures.append(picture)
    names = NAMES[_FIRST_THING:] if reading.options.layout == "coco" else NAMES
    return Collection(pictures, list(names), published=True)


def _read_label(path: Path, table: np.ndarray | None) -> np.ndarray:
    label = read_index_map(path)
    return label if table is None else table[label]


def _add_objects(reading: Reading, picture: Picture, path: Path, table: np.ndarray) -> None:
    """An instanceId is 1000 times the labelId plus a number, or the labelId alone for a group: a crowd."""
    ids = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() and label_size(path) == picture.size \
        else None
    if ids is None or ids.ndim != 2:
        raise InputError(f"{path}: missing, damaged or of another size; unpack gtFine again, or take --layout=voc")
    for value in np.unique(ids).tolist():
        label_id = value if value < 1000 else value // 1000
        index = int(table[label_id]) if label_id < 256 else 255
        if _FIRST_THING <= index < len(NAMES):
            found = from_mask(NAMES[index], ids == value, picture, reading.report, reading.relative(path),
                              crowd=value < 1000)
            picture.annotations += [found] if found else []
