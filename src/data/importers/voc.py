"""PASCAL VOC's segmentation folders, and what CVAT ("Segmentation mask 1.1") and labelme2voc.py write like them.

    JPEGImages/  SegmentationClass/  SegmentationObject/  ImageSets/Segmentation/*.txt
    labelmap.txt   CVAT: the colours and names of the classes (docs.cvat.ai, "Segmentation Mask")
    labels.txt, class_names.txt, classes.txt   the names of the classes, by index

Without labelmap.txt a label holds class indices, as palette, gray or VOC's colours, and without names these are VOC's
classes. An object's pixels have one colour in SegmentationObject; VOC's light border is ignored in both.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from src.contract import InputError
from src.data.class_names import is_background
from src.data.importers.geometry import from_mask
from src.data.importers.pictures import BACKGROUND, Collection, Picture, Reading, class_name, split_of
from src.data.importers.reading import ImageIndex, files_below, label_size, open_picture, read_text
from src.data.semantic.class_list import names_beside
from src.data.semantic.colour_table import FILE_NAME, ColourTable, read_labelmap
from src.data.semantic.voc_classes import VOC_CLASSES
from src.data.semantic.voc_layout import read_voc_label

_BORDER = 224 << 16 | 224 << 8 | 192  # the colour of VOC's index 255
_IGNORED = 255
_BLACK = (0, 0, 0)


def read(reading: Reading) -> Collection:
    """The labels of SegmentationClass: as label maps, or as objects where the layout is COCO's."""
    folder = _folder(reading.source)
    names, read_label, published = _classes(reading, folder)
    images, splits, pictures = ImageIndex(reading), _splits(folder), []
    labels, ending = _labels(folder)
    if reading.options.layout == "coco" and not (folder / f"SegmentationObject{ending}").is_dir():
        raise InputError(f"{folder}: has no folder SegmentationObject{ending}, so objects of one class cannot be told "
                         "apart; take --layout=voc")
    for path in labels:
        stem = path.relative_to(folder / f"SegmentationClass{ending}").with_suffix("").as_posix()
        with reading.report.collecting():
            image = images.of_stem(path.stem, (folder / "JPEGImages" / stem).parent)
            if image is None:
                raise InputError(f"{path}: no image JPEGImages/{stem}.*; restore it, or leave the label out with "
                                 "--on_bad=skip")
            picture = open_picture(reading, image, reading.relative(image), str(path), said=label_size(path))
            picture.split = splits.get(stem, "")
            label = partial(read_label, path)
            if reading.options.layout == "coco":
                objects = folder / f"SegmentationObject{ending}/{stem}.png"
                _add_objects(reading, picture, label(), objects, names)
            else:
                picture.label = label
            pictures.append(picture)
    if reading.options.layout == "coco":
        names = names[1:]
    return Collection(pictures, names, published=published)


def _folder(source: Path) -> Path:
    found = [path.parent for path in [source, *sorted(source.glob("*")), *sorted(source.glob("*/*"))]
             for path in [path / "SegmentationClass"] if path.is_dir()]
    if not found:
        raise InputError(f"{source}: has no folder SegmentationClass; give the folder with JPEGImages and "
                         "SegmentationClass")
    return found[0]


def _labels(folder: Path) -> tuple[list[Path], str]:
    """The label files, and how the names of their folders end: with PNG in earlier versions of labelme2voc.py."""
    for ending in ("", "PNG"):
        found = files_below(folder / f"SegmentationClass{ending}", (".png", ".bmp"))
        if found:
            return found, ending
    return [], ""


def _classes(reading: Reading, folder: Path) -> tuple[list[str], Callable[[Path], np.ndarray], bool]:
    """The names by class index, what reads a label, and whether the data are VOC's own."""
    given, places = list(reading.options.class_names), (folder, reading.source)
    labelmap = next((path for place in places if (path := place / FILE_NAME).is_file()), None)
    if labelmap:
        table = _with_background(read_labelmap(labelmap))
        return list(table.class_names), table.indices, False
    beside = None if given else names_beside(places)
    if beside:
        names = [class_name(name, str(beside[0])) for name in beside[1]]
        return [BACKGROUND, *names[1:]] if is_background(names[0]) else names, read_voc_label, False
    if not given:
        reading.report.note("source names no classes: they are called as VOC's (--class_names names others)",
                            reading.source.name)
    return given or list(VOC_CLASSES), read_voc_label, not given


def _with_background(table: ColourTable) -> ColourTable:
    """The table with the class 0 called "background", which is black where the table has no such class."""
    names = [class_name(name, table.place) for name in table.class_names]
    if is_background(names[0]):
        return replace(table, class_names=(BACKGROUND, *names[1:]))
    return ColourTable(table.place, {_BLACK: 0} | {colour: index + 1 for colour, index in table.index.items()},
                       (BACKGROUND, *names))


def _splits(folder: Path) -> dict[str, str]:
    """Split by name, from the lists that stand for one."""
    found: dict[str, str] = {}
    for path in sorted((folder / "ImageSets/Segmentation").glob("*.txt")):
        if split_of(path.stem):
            found |= {line.strip(): split_of(path.stem) for line in read_text(path).splitlines() if line.strip()}
    return found


def read_colours(path: Path) -> np.ndarray:
    """(H, W) int32 of a PNG's colours, red << 16 | green << 8 | blue; palettes are applied."""
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"), np.int32)
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise InputError(f"{path}: not an image that can be read ({error}); export it again") from error
    return pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]


def _add_objects(reading: Reading, picture: Picture, label: np.ndarray, path: Path, names: list[str]) -> None:
    if not path.is_file():
        raise InputError(f"{path}: no such file, so objects of one class cannot be told apart; restore it, or "
                         "take --layout=voc")
    if label_size(path) != label.shape:
        raise InputError(f"{path}: has another size than its class label; export the two together")
    codes = read_colours(path)
    for code in np.unique(codes).tolist():
        inside = codes == code
        values = np.bincount(label[inside], minlength=256)
        values[[0, _IGNORED]] = 0
        if code in (0, _BORDER) or not values.any():
            continue
        index = int(values.argmax())
        if index >= len(names):
            raise InputError(f"{picture.place}: class {index}, but there are {len(names)} names; give all with "
                             "--class_names")
        picture.add(from_mask(names[index], inside, picture, reading.report, reading.relative(path)))
