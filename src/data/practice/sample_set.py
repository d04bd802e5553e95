"""The practice set: generated pictures in VOC and COCO layout, the same on every machine, without a download.

    JPEGImages/*.jpg  SegmentationClass/*.png (palette)  SegmentationClassGray/*.png (class index)
    ImageSets/Segmentation/{train,val}.txt  labels.txt                                              the VOC layout
    train2017/*.jpg  val2017/*.jpg  annotations/instances_{train,val}2017.json                      the COCO layout
    sample_set.json                                                                                 its parameters

Both layouts show the same pictures, and in both the truth is what nearer shapes leave visible.
`src/data/practice/shapes.py` draws. Imports no MindSpore.
"""
from __future__ import annotations

import functools
import json
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from src.contract import InputError
from src.data.practice.shapes import CLASS_NAMES, IGNORE, Scene, Thing, draw_scene

log = logging.getLogger(__name__)

CATEGORY_IDS = {1: 3, 2: 7, 3: 8, 4: 20, 5: 41}  # class index -> COCO category id; with gaps, as in COCO itself

_SPLITS = ("train", "val")
_SIZES = ((120, 160), (160, 120), (150, 200), (160, 160), (200, 150), (200, 200), (140, 180))
_TINY_SIZES = ((40, 48), (64, 48), (48, 72))
_PARAMETERS = "sample_set.json"
_VERSION = 2  # raised when the same seed draws something else


def write_sample_set(root: str | os.PathLike, *, seed: int = 1, train: int = 240, val: int = 60) -> None:
    """Write the practice set into `root`, all of it or nothing.

    An existing set with the same parameters is left as it is.

    Args:
        root: the folder to make; its parents are made too.
        seed: 0 or more; other seeds draw other pictures.
        train, val: number of pictures in each split, 1 or more.

    Raises:
        InputError: a parameter out of range, or `root` holds something else.
    """
    root = Path(root).resolve()
    parameters = {"version": _VERSION, "seed": seed, "train": train, "val": val}
    for name, least in (("seed", 0), ("train", 1), ("val", 1)):
        if parameters[name] < least:
            raise InputError(f"{name}={parameters[name]}: the practice set needs {name} >= {least}")
    if _is_present(root, parameters):
        log.info("%s: the practice set exists already", root)
        return
    partial = root.parent / f".{root.name}.partial-{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)  # of a killed process that had the same number
    try:
        _write(partial, parameters)
        try:
            os.replace(partial, root)
        except OSError:  # another process may have finished the same set meanwhile
            if not _is_present(root, parameters):
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    log.info("%s: practice set of %d train and %d val images, seed %d", root, train, val, seed)


def draw_split(split: str, *, seed: int, count: int) -> Iterator[tuple[int, Scene]]:
    """Yield (image id, scene) for each picture of "train" or "val"; a picture does not depend on `count`.

    Every 16th has no objects, every 12th has a crowd, every 20th is tiny; the others have three to seven shapes.
    """
    for k in range(count):
        rng = np.random.default_rng([seed, _SPLITS.index(split), k])
        sizes = _TINY_SIZES if k % 20 == 9 else _SIZES
        size = sizes[rng.integers(len(sizes))]
        scene = draw_scene(rng, size, objects=0 if k % 16 == 3 else None, crowd=k % 12 == 5)
        yield 1001 + 3 * k + _SPLITS.index(split), scene


@functools.cache
def colour_map() -> list[int]:
    """VOC's palette as 768 numbers: the bits of an index, dealt out to red, green and blue from the highest down."""
    palette = []
    for index in range(256):
        palette += [sum((index >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(3)) for channel in range(3)]
    return palette


def encode_mask(mask: np.ndarray, *, crowd: bool = False) -> list | dict:
    """COCO's `segmentation` of `mask` (H, W) bool; it decodes to exactly `mask`.

    A crowd becomes a plain run-length encoding, a mask with one outline a polygon along the pixels' edges, a mask with
    holes or in several pieces a compressed run-length encoding.
    """
    rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    if crowd:
        return {"size": rle["size"], "counts": _run_lengths(mask)}
    # Three times enlarged, the outline through pixel centres says on which side of a pixel the edge runs.
    enlarged = mask.astype(np.uint8).repeat(3, axis=0).repeat(3, axis=1)
    outlines, _ = cv2.findContours(enlarged, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if len(outlines) > 1:
        return {"size": rle["size"], "counts": rle["counts"].decode("ascii")}
    points = (outlines[0][:, 0] + 1) // 3
    return [points[np.any(points != np.roll(points, 1, axis=0), axis=1)].ravel().tolist()]


def _run_lengths(mask: np.ndarray) -> list[int]:
    """Lengths of the runs of `mask` (H, W), column by column, beginning with zeros."""
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lengths = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    return [0, *lengths] if flat[0] else lengths


def _is_present(root: Path, parameters: dict) -> bool:
    """Whether `root` already holds this set; InputError if it holds something else."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    try:
        found = json.loads((root / _PARAMETERS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(f"{root}: exists and is not a practice set; name another folder or move it away") from None
    if found != parameters:
        raise InputError(f"{root}: holds a practice set of other parameters ({found}, not {parameters}); "
                         "name another folder or move it away")
    return True


def _write(root: Path, parameters: dict) -> None:
    for folder in ("JPEGImages", "SegmentationClass", "SegmentationClassGray", "ImageSets/Segmentation", "annotations"):
        (root / folder).mkdir(parents=True)
    lines = [f"{k} {name}\n" for k, name in enumerate(CLASS_NAMES)] + [f"{IGNORE} void (ignore)\n"]
    (root / "labels.txt").write_text("".join(lines), encoding="utf-8")
    for split in _SPLITS:
        _write_split(root, split, seed=parameters["seed"], count=parameters[split])
    (root / _PARAMETERS).write_text(json.dumps(parameters) + "\n", encoding="utf-8")


def _write_split(root: Path, split: str, *, seed: int, count: int) -> None:
    (root / f"{split}2017").mkdir()
    stems, images = [], []
    annotations: list[dict] = []
    for image_id, scene in draw_split(split, seed=seed, count=count):
        stem = f"{image_id:06d}"
        _write_picture(root, split, stem, scene)
        height, width = scene.ids.shape
        stems.append(stem)
        images.append({"id": image_id, "file_name": f"{stem}.jpg", "height": height, "width": width})
        for crowd, things in enumerate((scene.instances, scene.crowds)):
            for thing in things:
                annotations.append({"id": 10 * (len(annotations) + 1), "image_id": image_id, "iscrowd": crowd,
                                    **_annotation(thing, crowd=bool(crowd))})
    categories = [{"id": CATEGORY_IDS[k], "name": CLASS_NAMES[k], "supercategory": "shape"} for k in CATEGORY_IDS]
    content = {"info": {"description": "MindSeg practice set", "version": str(_VERSION)}, "licenses": [],
               "images": images, "annotations": annotations, "categories": categories}
    (root / f"annotations/instances_{split}2017.json").write_text(json.dumps(content), encoding="utf-8")
    listing = "".join(f"{stem}\n" for stem in stems)
    (root / f"ImageSets/Segmentation/{split}.txt").write_text(listing, encoding="utf-8")


def _annotation(thing: Thing, *, crowd: bool) -> dict:
    rle = coco_mask.encode(np.asfortranarray(thing.mask, np.uint8))
    return {"category_id": CATEGORY_IDS[thing.category],
            "segmentation": encode_mask(thing.mask, crowd=crowd),
            "area": int(coco_mask.area(rle)), "bbox": coco_mask.toBbox(rle).tolist()}


def _write_picture(root: Path, split: str, stem: str, scene: Scene) -> None:
    path = root / f"JPEGImages/{stem}.jpg"
    Image.fromarray(scene.image).save(path, quality=92)
    shutil.copyfile(path, root / f"{split}2017/{stem}.jpg")
    label = Image.fromarray(scene.label())
    label.save(root / f"SegmentationClassGray/{stem}.png")
    label.putpalette(colour_map())
    label.save(root / f"SegmentationClass/{stem}.png")
