"""Folders of binary masks.

    images/NAME.*  masks/NAME.png            one mask an image, also called NAME_mask
    images/NAME.*  masks/CLASS/NAME.png      one mask an image and class; later classes cover earlier ones
    ID/images/ID.png  ID/masks/*.png         one mask an object, as in the 2018 Data Science Bowl

The folder masks may also be called mask, labels or annotations. With `--layout=coco` the connected parts of a mask
become objects.
"""
from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from src.contract import InputError
from src.data.importers.geometry import from_mask
from src.data.importers.pictures import BACKGROUND, Collection, Picture, Reading, class_name, first_split
from src.data.importers.reading import IMAGE_SUFFIXES, ImageIndex, files_below, label_size, open_picture

OBJECT = "object"
_FOLDERS = {"masks", "mask", "labels", "annotations"}
_FEW = 32  # values up to here are indices, not shades of gray
_NEAR = 16  # gray levels from 0 or 255 that lossy compression and smooth edges leave
_SMOOTH = 0.1  # largest share of pixels between them


def read(reading: Reading) -> Collection:
    """The images that have masks, in whichever of the three layouts they are."""
    images = ImageIndex(reading)
    masks = [path for path in files_below(reading.source, IMAGE_SUFFIXES)
             if _FOLDERS & set(path.relative_to(reading.source).parts[:-1])]
    by_image: dict[Path, list[tuple[str, Path]]] = {}
    folders: dict[Path, dict[str, Path]] = {}  # images of each folder by stem
    taken = set(masks)
    for path in masks:
        with reading.report.collecting():
            name, image = _image_of(path, folders)
            by_image.setdefault(image, []).append((name, path))
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
    at = max(k for k, part in enumerate(path.parts[:-1]) if part in _FOLDERS)
    root, inner = Path(*path.parts[:at]), Path(*path.parts[at + 1:])
    if root not in folders:
        folders[root] = {image.relative_to(root / "images").with_suffix("").as_posix(): image
                         for image in files_below(root / "images", IMAGE_SUFFIXES)}
    stems = folders[root]
    whole = inner.with_suffix("").as_posix()
    for stem in (whole, whole.removesuffix("_mask")):
        if stem in stems:
            return "", stems[stem]
    if len(inner.parts) > 1:
        for stem in (Path(*inner.parts[1:]).with_suffix("").as_posix(), inner.stem, inner.stem.removesuffix("_mask")):
            if stem in stems:
                return class_name(inner.parts[0], str(path)), stems[stem]
    if len(stems) == 1:
        return "", next(iter(stems.values()))
    raise InputError(f"{path}: no image of that name in {root / 'images'}; call both alike, or leave the mask out with "
                     "--on_bad=skip")


def read_binary(path: Path) -> np.ndarray:
    """(H, W) bool of a mask file: 0 and any one other value, or dark and bright where it was compressed or smoothed.

    Raises:
        InputError: damaged, or several values, which are indices or shades.
    """
    try:
        pixels = cv2.imdecode(np.frombuffer(path.read_bytes() or b"?", np.uint8), cv2.IMREAD_UNCHANGED)
    except (OSError, cv2.error) as error:
        raise InputError(f"{path}: cannot be read ({error}); restore the file") from error
    if pixels is None:
        raise InputError(f"{path}: not an image that can be read; restore it, or leave it out with --on_bad=skip")
    if pixels.ndim == 3:
        pixels = pixels[..., :3].max(2)
    values = np.unique(pixels)
    if len(values) <= 2 and (values[0] == 0 or len(values) == 1):
        return pixels > 0
    if values[-1] <= _FEW or pixels.dtype != np.uint8:
        raise InputError(f"{path}: has the values {values[:6].tolist()}, which are indices of several classes and no "
                         "binary mask; train on it directly, see docs/own_data.md")
    between = np.count_nonzero((pixels > _NEAR) & (pixels < 255 - _NEAR)) / pixels.size
    if between > _SMOOTH:
        raise InputError(f"{path}: {between:.0%} of its pixels are neither dark nor bright, so it is no mask; restore "
                         "it, or leave it out with --on_bad=skip")
    return pixels > 127


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
