"""PASCAL VOC's segmentation folders, and CVAT's "Segmentation mask 1.1", which has the same folders.

    JPEGImages/  SegmentationClass/  SegmentationObject/  ImageSets/Segmentation/*.txt  [labelmap.txt]

CVAT's labelmap.txt has lines `name:red,green,blue:parts:actions` and decides what the colours mean
(docs.cvat.ai, "Segmentation Mask"). Without it a label holds VOC's indices, as palette, gray or VOC's colours. An
object's pixels have one colour in SegmentationObject; VOC's light border is ignored in both.
"""
from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from src.contract import InputError
from src.data.importers.geometry import from_mask
from src.data.importers.pictures import BACKGROUND, Collection, Picture, Reading, class_name, split_of
from src.data.importers.reading import ImageIndex, files_below, label_size, open_picture, read_text
from src.data.semantic.voc_classes import VOC_CLASSES
from src.data.semantic.voc_layout import read_voc_label

_BORDER = 224 << 16 | 224 << 8 | 192  # the colour of VOC's index 255
_IGNORED = 255

Colours = dict[int, int]  # class index by colour


def read(reading: Reading) -> Collection:
    """The labels of SegmentationClass: as label maps, or as objects where the layout is COCO's."""
    folder = _folder(reading.source)
    labelmap = next((path for path in (folder / "labelmap.txt", reading.source / "labelmap.txt")
                     if path.is_file()), None)
    names, colours = _labelmap(labelmap) if labelmap else (list(reading.options.class_names or VOC_CLASSES), {})
    images, splits, pictures = ImageIndex(reading), _splits(folder), []
    for path in files_below(folder / "SegmentationClass", (".png",)):
        stem = path.relative_to(folder / "SegmentationClass").with_suffix("").as_posix()
        with reading.report.collecting():
            image = images.of_stem(path.stem, (folder / "JPEGImages" / stem).parent)
            if image is None:
                raise InputError(f"{path}: no image JPEGImages/{stem}.*; restore it, or leave the label out with "
                                 "--on_bad=skip")
            picture = open_picture(reading, image, reading.relative(image), str(path), said=label_size(path))
            picture.split = splits.get(stem, "")
            label = partial(_read_label, path, colours)
            if reading.options.layout == "coco":
                _add_objects(reading, picture, label(), folder / f"SegmentationObject/{stem}.png", names)
            else:
                picture.label = label
            pictures.append(picture)
    if reading.options.layout == "coco":
        names = names[1:]
    return Collection(pictures, names, published=labelmap is None)


def _folder(source: Path) -> Path:
    found = [path.parent for path in [source, *sorted(source.glob("*")), *sorted(source.glob("*/*"))]
             for path in [path / "SegmentationClass"] if path.is_dir()]
    if not found:
        raise InputError(f"{source}: has no folder SegmentationClass; give the folder with JPEGImages and "
                         "SegmentationClass")
    return found[0]


def _splits(folder: Path) -> dict[str, str]:
    """Split by name, from the lists that stand for one."""
    found: dict[str, str] = {}
    for path in sorted((folder / "ImageSets/Segmentation").glob("*.txt")):
        if split_of(path.stem):
            found |= {line.strip(): split_of(path.stem) for line in read_text(path).splitlines() if line.strip()}
    return found


def _labelmap(path: Path) -> tuple[list[str], Colours]:
    """Names, the background first, and the class index of each colour."""
    rows: dict[str, int] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colour = (line.split(":") + [""])[:2]
        parts = [part.strip() for part in colour.split(",")]
        if len(parts) != 3 or not all(part.isdecimal() and len(part) < 4 and int(part) < 256 for part in parts):
            raise InputError(f"{path}:{number}: {line[:60]!r} is no line `name:red,green,blue::`; export it again")
        red, green, blue = map(int, parts)
        code = red << 16 | green << 8 | blue
        if code in rows.values():
            raise InputError(f"{path}:{number}: the colour {colour} is there twice; give each label its own in CVAT")
        rows[class_name(name, f"{path}:{number}")] = code
    names = [BACKGROUND, *(name for name in rows if name != BACKGROUND)]
    if len(names) < 2 or len(names) > _IGNORED:
        raise InputError(f"{path}: names {len(names) - 1} labels beside the background; 1 to {_IGNORED - 1} can be")
    colours = {rows.get(BACKGROUND, 0): 0} | {rows[name]: index for index, name in enumerate(names) if index}
    return names, {_BORDER: _IGNORED} | colours


def read_colours(path: Path) -> np.ndarray:
    """(H, W) int32 of a PNG's colours, red << 16 | green << 8 | blue; palettes are applied."""
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"), np.int32)
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise InputError(f"{path}: not an image that can be read ({error}); export it again") from error
    return pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]


def _read_label(path: Path, colours: Colours) -> np.ndarray:
    if not colours:
        return read_voc_label(path)
    codes, inverse = np.unique(read_colours(path), return_inverse=True)
    foreign = [code for code in codes.tolist() if code not in colours]
    if foreign:
        raise InputError(f"{path}: the colour {tuple(foreign[0].to_bytes(3, 'big'))} is not in labelmap.txt; export "
                         "the two together")
    return np.array([colours[code] for code in codes.tolist()], np.uint8)[inverse].reshape(label_size(path))


def _add_objects(reading: Reading, picture: Picture, label: np.ndarray, path: Path, names: list[str]) -> None:
    if not path.is_file():
        raise InputError(f"{path}: no such file, so objects of one class cannot be told apart; take --layout=voc")
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
