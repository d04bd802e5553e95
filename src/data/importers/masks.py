"""Folders of binary masks.

    images/NAME.*  masks/NAME.png            one mask an image, also called NAME_mask, mask_NAME, NAME.jpg and the like
    images/NAME.*  masks/CLASS/NAME.png      one mask an image and class; later classes cover earlier ones
    ID/images/ID.png  ID/masks/*.png         one mask an object, as in the 2018 Data Science Bowl

The folder masks may also be called mask, labels, annotations or gt, whatever the capitals. With `--layout=coco` the
connected parts of a mask become objects.
"""
from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from src.contract import InputError
from src.data.checks import ordered_map
from src.data.importers.geometry import from_mask
from src.data.importers.mask_files import FEW, LOSSY, object_value, read_binary
from src.data.importers.pictures import BACKGROUND, Collection, Picture, Reading, class_name, first_split
from src.data.importers.reading import IMAGE_SUFFIXES, ImageIndex, files_below, label_size, open_picture

OBJECT = "object"
_FOLDERS = {"masks", "mask", "labels", "label", "annotations", "gt"}
_IMAGES = ("images", "image", "imgs", "img")
_SUFFIXES = (*IMAGE_SUFFIXES, ".gif")  # of masks
_MARK = "masks?|seg|segmentation|labels?|gt"
_MARKED = re.compile(rf"(?:(?:{_MARK})[_-])?(.+?)(?:[_-](?:{_MARK}))?", re.IGNORECASE)  # NAME_mask, mask-NAME


def read(reading: Reading) -> Collection:
    """The images that have masks, in whichever of the three layouts they are."""
    images = ImageIndex(reading, unreadable=(".heic", ".heif", ".avif"))  # masks may be GIF files
    masks = [path for path in files_below(reading.source, _SUFFIXES)
             if any(part.lower() in _FOLDERS for part in path.relative_to(reading.source).parts[:-1])]
    by_image: dict[Path, list[tuple[str, Path]]] = {}
    folders: dict[Path, dict[str, Path]] = {}  # images of each folder by stem
    taken = set(masks)
    for path in masks:
        with reading.report.collecting():
            name, image = _image_of(path, folders)
            by_image.setdefault(image, []).append((name, path))
    _check_one_class(reading, [path for rows in by_image.values() for name, path in rows if not name])
    for image in images.paths:
        if image not in by_image and image not in taken:
            reading.report.note("images without a mask were not taken", reading.relative(image))
    given = [class_name(name, "--class_names") for name in reading.options.class_names if name != BACKGROUND]
    found = sorted({name for rows in by_image.values() for name, _ in rows} - {""})
    names = given or found or [OBJECT]
    pictures = []
    for image, rows in sorted(by_image.items()):
        with reading.report.collecting():
            rows = [(name or names[0], path) for name, path in rows]
            picture = open_picture(reading, image, reading.relative(image), str(rows[0][1]),
                                   said=label_size(rows[0][1]))
            _check_sizes(picture, [path for _, path in rows])
            picture.split = first_split(image.relative_to(reading.source).parts[:-1])
            if reading.options.layout == "coco":
                _add_objects(reading, picture, rows)
            else:
                picture.label = partial(_label, [row for row in rows if row[0] in names], names)
            pictures.append(picture)
    return Collection(pictures, names if reading.options.layout == "coco" else [BACKGROUND, *names])


def _image_of(path: Path, folders: dict[Path, dict[str, Path]]) -> tuple[str, Path]:
    """(class or "", image) of a mask."""
    at = max(k for k, part in enumerate(path.parts[:-1]) if part.lower() in _FOLDERS)
    root, inner = Path(*path.parts[:at]), Path(*path.parts[at + 1:])
    place = _images_in(root)
    if root not in folders:
        folders[root] = {image.relative_to(place).with_suffix("").as_posix(): image
                         for image in files_below(place, IMAGE_SUFFIXES)}
    stems = folders[root]
    for stem in _stems(inner):
        if stem in stems:
            return "", stems[stem]
    if len(inner.parts) > 1:
        for stem in (*_stems(Path(*inner.parts[1:])), *_stems(Path(inner.name))):
            if stem in stems:
                return class_name(inner.parts[0], str(path)), stems[stem]
    if len(stems) == 1:
        return "", next(iter(stems.values()))
    raise InputError(f"{path}: no image of that name in {place}; call both alike, or leave the mask out with "
                     "--on_bad=skip")


def _images_in(root: Path) -> Path:
    """The folder of the images beside a folder of masks."""
    present = {path.name.lower(): path for path in sorted(root.iterdir(), reverse=True) if path.is_dir()}
    return next((present[name] for name in _IMAGES if name in present), root / "images")


def _stems(mask: Path) -> list[str]:
    """The names, without suffix, that the image of a mask may have: as it is, without a mark, without a suffix."""
    inner = mask.with_suffix("")
    found = _MARKED.fullmatch(inner.name)
    names = [inner.name, found[1] if found else inner.name]
    names += [str(Path(name).with_suffix("")) for name in names if name.lower().endswith(IMAGE_SUFFIXES)]
    return [(inner.parent / name).as_posix() for name in dict.fromkeys(names)]


def _check_one_class(reading: Reading, paths: Sequence[Path]) -> None:
    """Note it as a fault where the masks of different images have objects of different indices or colours."""
    exact = [path for path in paths if path.suffix.lower() not in LOSSY]
    first: dict[int, Path] = {}
    for path, value in zip(exact, ordered_map(object_value, exact, 2)):
        if 0 < value <= FEW or value > 255:
            first.setdefault(value, path)
    if len(first) > 1:
        one, other = list(first.values())[:2]
        reading.report.bad.append(f"{other}: its object has another value or colour than that of {one}, so these are "
                                  "several classes and no binary masks; put those of a class into masks/CLASS/, or see "
                                  "docs/own_data.md for label maps")


def _label(rows: Sequence[tuple[str, Path]], names: Sequence[str]) -> np.ndarray:
    label: np.ndarray | None = None
    for name, path in sorted(rows, key=lambda row: names.index(row[0])):
        mask = read_binary(path)
        label = np.zeros(mask.shape, np.uint8) if label is None else label
        label[mask] = names.index(name) + 1
    if label is None:
        raise InputError("none of the masks is of a class of --class_names; name another")
    return label


def _check_sizes(picture: Picture, paths: Sequence[Path]) -> None:
    """Headers alone: a damaged one may announce more pixels than memory has."""
    for path in paths:
        if label_size(path) != picture.size:
            raise InputError(f"{path}: has another size than its image {picture.name}; export them again")


def _add_objects(reading: Reading, picture: Picture, rows: Sequence[tuple[str, Path]]) -> None:
    """The connected parts of each mask; where an image has several masks of one class, each of them is an object."""
    classes = [name for name, _ in rows]
    for name, path in rows:
        mask = read_binary(path)
        count, parts = (2, mask) if classes.count(name) > 1 else cv2.connectedComponents(mask.astype(np.uint8))
        for number in range(1, count):
            picture.add(from_mask(name, parts == number, picture, reading.report, reading.relative(path)))
