"""Writing pictures in VOC's or COCO's folders, as `src/data/semantic/voc.py` and `src/data/instance/coco.py` read them.

    coco   train/ val/ [test/]   annotations/instances_{train,val,test}.json
    voc    JPEGImages/ SegmentationClassGray/   ImageSets/Segmentation/*.txt   voc_{train,val,test}_lst.txt   labels.txt
"""
from __future__ import annotations

import io
import json
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from src.contract import InputError
from src.data.importers.geometry import to_encoding, to_mask
from src.data.importers.pictures import IGNORE, Annotation, Options, Picture
from src.data.instance.coco import CocoDataset
from src.data.semantic.voc import ListDataset

SPLITS = ("train", "val", "test")
IGNORED = 255
_TURNS = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
          5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
          8: Image.Transpose.ROTATE_90}  # what shows an image with this EXIF orientation upright
Counts = dict[str, Counter[str]]  # by split, by class: objects or pixels


def unique_names(pictures: Sequence[Picture]) -> list[str]:
    """A file name for each picture, without folders and blanks; no two have the same stem, whatever their case."""
    stems = [_clean(PurePosixPath(picture.name).stem) for picture in pictures]
    often = Counter(stem.lower() for stem in stems)
    taken: set[str] = set()
    names = []
    for picture, stem in zip(pictures, stems):
        path = PurePosixPath(picture.name)
        if often[stem.lower()] > 1:
            stem = _clean("_".join(path.with_suffix("").parts))
        numbered, number = stem, 1
        while numbered.lower() in taken:
            number += 1
            numbered = f"{stem}_{number}"
        taken.add(numbered.lower())
        names.append(numbered + (".png" if picture.orientation != 1 else path.suffix.lower()))
    return names


def _clean(stem: str) -> str:
    return re.sub(r"[^\w.+=@-]", "_", stem).lstrip(".-")[:120] or "image"


def write_image(picture: Picture, path: Path, how: str) -> None:
    """The image file as it is (`how`: "copy" or "link"); one with an EXIF orientation as a PNG in the frame of its
    annotations, so that whoever reads it, with or without regard to the tag, sees the same."""
    if picture.orientation != 1:
        with Image.open(io.BytesIO(picture.read())) as image:
            turn = _TURNS[picture.orientation] if picture.upright and image.format != "TIFF" else None
            pixels = image.copy() if turn is None else image.transpose(turn)
        pixels.info.clear()
        (pixels if pixels.mode in ("1", "L", "P", "RGB", "RGBA", "I;16") else pixels.convert("RGB")).save(path)
    elif isinstance(picture.image, bytes):
        path.write_bytes(picture.image)
    elif how == "link":
        path.symlink_to(picture.image.resolve())
    else:
        shutil.copyfile(picture.image, path)


def by_split(pictures: Sequence[Picture], names: Sequence[str]) -> dict[str, list[tuple[Picture, str]]]:
    """Pictures and their written names, in the order of the splits; splits without a picture are left out."""
    found = {split: [(p, n) for p, n in zip(pictures, names) if p.split == split] for split in SPLITS}
    return {split: rows for split, rows in found.items() if rows}


# --- COCO -------------------------------------------------------------------------------------------------------------

def write_coco(root: Path, pictures: Sequence[Picture], class_names: Sequence[str], options: Options) -> Counts:
    """Write COCO's folders into `root`; category ids are 1, 2, ... in the order of `class_names`.

    Returns:
        The number of objects by split and class.
    """
    ids = {name: number for number, name in enumerate(class_names, 1)}
    categories = [{"id": number, "name": name, "supercategory": ""} for name, number in ids.items()]
    (root / "annotations").mkdir(parents=True)
    counts: Counts = {}
    image_id = annotation_id = 0
    for split, rows in by_split(pictures, unique_names(pictures)).items():
        (root / split).mkdir()
        images, annotations = [], []
        counts[split] = Counter()
        for picture, name in rows:
            image_id += 1
            write_image(picture, root / split / name, options.images)
            images.append({"id": image_id, "file_name": name, "height": picture.size[0], "width": picture.size[1],
                           "source": picture.name})
            for annotation in picture.annotations:
                annotation_id += 1
                counts[split][annotation.name] += 1
                annotations.append({"id": annotation_id, "image_id": image_id, "category_id": ids[annotation.name],
                                    **_entry(annotation, picture.size)})
        content = {"images": images, "annotations": annotations, "categories": categories}
        path = root / f"annotations/instances_{split}.json"
        path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        CocoDataset(path, root / split)  # reads back what was written
    return counts


def _entry(annotation: Annotation, size: tuple[int, int]) -> dict:
    area = float(coco_mask.area(to_encoding(annotation, size))) if annotation.segmentation else \
        annotation.box[2] * annotation.box[3]
    entry = {"bbox": annotation.box, "area": area, "iscrowd": int(annotation.crowd)}
    return entry | ({"segmentation": annotation.segmentation} if annotation.segmentation else {})


# --- VOC --------------------------------------------------------------------------------------------------------------

def write_voc(root: Path, pictures: Sequence[Picture], class_names: Sequence[str], options: Options) -> Counts:
    """Write VOC's folders into `root`, label maps as gray PNGs, with the lists that training takes.

    Args:
        class_names: by class index.

    Returns:
        The number of pixels by split and class; ignored ones are called "ignore".

    Raises:
        InputError: a label has a value that is no class.
    """
    for folder in ("JPEGImages", "SegmentationClassGray", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    lines = [f"{index} {name}\n" for index, name in enumerate(class_names)] + [f"{IGNORED} {IGNORE}\n"]
    (root / "labels.txt").write_text("".join(lines), encoding="utf-8")
    counts: Counts = {}
    for split, rows in by_split(pictures, unique_names(pictures)).items():
        pixels, listed, stems = np.zeros(256, np.int64), [], []
        for picture, name in rows:
            label = picture.label() if picture.label else painted(picture, class_names)
            pixels += np.bincount(checked_label(label, picture, len(class_names)).ravel(), minlength=256)
            stems.append(PurePosixPath(name).stem)
            write_image(picture, root / "JPEGImages" / name, options.images)
            cv2.imwrite(str(root / f"SegmentationClassGray/{stems[-1]}.png"), label)
            listed.append(f"JPEGImages/{name} SegmentationClassGray/{stems[-1]}.png\n")
        (root / f"ImageSets/Segmentation/{split}.txt").write_text("".join(f"{s}\n" for s in stems), encoding="utf-8")
        (root / f"voc_{split}_lst.txt").write_text("".join(listed), encoding="utf-8")
        ListDataset(root, root / f"voc_{split}_lst.txt")  # looks up what was written
        names = {**dict(enumerate(class_names)), IGNORED: IGNORE}
        counts[split] = Counter({names[value]: int(pixels[value]) for value in np.flatnonzero(pixels).tolist()})
    return counts


def painted(picture: Picture, class_names: Sequence[str]) -> np.ndarray:
    """(H, W) uint8: the objects painted over background in their order, later ones over earlier ones."""
    label = np.zeros(picture.size, np.uint8)
    for annotation in picture.annotations:
        index = IGNORED if annotation.name == IGNORE or annotation.crowd else class_names.index(annotation.name)
        label[to_mask(annotation, picture.size)] = index
    return label


def checked_label(label: np.ndarray, picture: Picture, classes: int) -> np.ndarray:
    """The label; InputError where it does not fit its image, or holds values that are no class."""
    if label.shape != picture.size:
        raise InputError(f"{picture.place}: the label is {label.shape[0]}x{label.shape[1]} (H x W), its image "
                         f"{picture.size[0]}x{picture.size[1]}; pair each image with its own label")
    wrong = sorted(set(np.unique(label).tolist()) - {*range(classes), IGNORED})
    if wrong:
        raise InputError(f"{picture.place}: the label has values {wrong[:5]}, but there are {classes} classes; name "
                         "them all with --class_names, or correct the label")
    return label
