"""ADE20K's scene parsing benchmark (ADEChallengeData2016): 150 classes, index 0 of its labels is ignored.

    images/{training,validation}/*.jpg  annotations/{training,validation}/*.png  objectInfo150.txt

The layout is that of github.com/CSAILVision/sceneparsing. The classes are renumbered to 0..149, and 0 becomes 255.
"""
from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from src.contract import InputError
from src.data.importers.pictures import Collection, Reading, class_name, split_of
from src.data.importers.reading import (
    ImageIndex,
    files_below,
    label_size,
    open_picture,
    read_index_map,
    read_text,
)
from src.data.semantic.label_map import read_label_map

_CLASSES = 150


def read(reading: Reading) -> Collection:
    """Every label of `annotations/` with the image of its name."""
    root = next((path.parent for path in [reading.source / "annotations", *sorted(reading.source.glob("*/annotations"))]
                 if path.is_dir()), None)
    if root is None:
        raise InputError(f"{reading.source}: has no folder annotations; give the folder ADEChallengeData2016")
    images, pictures, table = ImageIndex(reading), [], read_label_map("reduce_zero_label")
    for path in files_below(root / "annotations", (".png",)):
        with reading.report.collecting():
            inner = path.relative_to(root / "annotations")
            image = images.of_stem(path.stem, (root / "images" / inner).parent)
            if image is None:
                raise InputError(f"{path}: no image images/{inner.with_suffix('')}.*; restore it, or leave the label "
                                 "out with --on_bad=skip")
            picture = open_picture(reading, image, reading.relative(image), str(path), said=label_size(path))
            picture.split = next(filter(None, map(split_of, inner.parts[:-1])), "")
            picture.label = partial(_read_label, path, table)
            pictures.append(picture)
    return Collection(pictures, _names(root), published=True)


def _read_label(path: Path, table: np.ndarray) -> np.ndarray:
    return table[read_index_map(path)]


def _names(root: Path) -> list[str]:
    """Names by index from objectInfo150.txt, whose last column has them; the first of several synonyms is taken."""
    path = root / "objectInfo150.txt"
    if not path.is_file():
        return [f"class {number}" for number in range(1, _CLASSES + 1)]
    rows = [line.split("\t") for line in read_text(path).splitlines() if line.strip()]
    names = [class_name(row[-1].split(",")[0], f"{path}:{number}") for number, row in enumerate(rows, 1)][1:]
    twice = {name for name in names if names.count(name) > 1}
    return [f"{name} {number}" if name in twice else name for number, name in enumerate(names, 1)]
