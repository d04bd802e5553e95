"""Where a data set in COCO's format keeps its annotation files and images: COCO's folders and those of labelling tools.

    COCO               annotations/instances_NAME.json   NAME/
    CVAT               annotations/instances_default.json   images/default/
    Roboflow           NAME/_annotations.coco.json   NAME/
    labelme2coco       annotations.json   (names start with a folder)
    Label Studio       result.json   images/

No MindSpore here.
"""
from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from src.contract import InputError

log = logging.getLogger(__name__)

STANDARD = "annotations/instances_{}.json"
_FORMS = (STANDARD, "{}/_annotations.coco.json", "annotations/{}.json", "{}.json")
_WHOLE = ("annotations/instances_default.json", "annotations.json", "result.json", "_annotations.coco.json")
_OTHER_NAMES = {"train": ("train2017", "train"), "val": ("val2017", "val", "valid", "validation", "test")}
_SAMPLE = 50  # file names that are looked up to find the folder that they start from


def coco_layout(coco_root: str | Path, data_type: str, instance_set: str) -> tuple[Path, Path]:
    """The annotation file and the image folder of a split.

    Where they are not in COCO's folders, those of widespread labelling tools are looked for; what is taken is said.

    Args:
        coco_root: folder of the data set.
        data_type: name of the split and of its image folder, e.g. "train2017".
        instance_set: annotation file relative to coco_root; "{}" in it stands for the data type.

    Raises:
        InputError: there is no such root folder.
    """
    root = Path(coco_root)
    if not root.is_dir():
        raise InputError(f"--coco_root={coco_root}: no such folder; give the one with {data_type} and annotations")
    path = root / instance_set.replace("{}", data_type)
    if path.is_file() or instance_set != STANDARD:
        return path, _image_folder(root, path, data_type)
    found = _elsewhere(root, data_type)
    if not found:
        return path, root / data_type
    _say_once(logging.INFO, f"{path}: no such file; {found} is taken")
    return found, _image_folder(root, found, data_type)


def image_folder_of(ann_file: str | Path) -> Path:
    """The image folder that belongs to an annotation file: `ROOT/NAME` of `ROOT/annotations/instances_NAME.json`."""
    path = Path(ann_file).absolute()
    return _image_folder(path.parent.parent, path, path.stem.removeprefix("instances_"))


def _elsewhere(root: Path, data_type: str) -> Path | None:
    """The annotation file of a split in another tool's layout."""
    kind = next((kind for kind, names in _OTHER_NAMES.items() if data_type in names), "")
    names = [data_type, *(name for name in _OTHER_NAMES.get(kind, ()) if name != data_type)]
    paths = [root / form.replace("{}", name) for name in names for form in _FORMS]
    found = next((path for path in paths if path.is_file()), None)
    if found or (kind != "train" and _has_split(root)):
        return found
    whole = next((root / name for name in _WHOLE if (root / name).is_file()), None)
    if whole and kind == "val":
        _say_once(logging.WARNING, f"{whole} is the only annotation file: what is evaluated on it was trained on, if "
                  "that was trained with it; make a split of its own")
    return whole if kind else None


@cache  # a command asks for a split several times
def _say_once(level: int, message: str) -> None:
    log.log(level, "%s", message)


def _has_split(root: Path) -> bool:
    return any((root / form.replace("{}", name)).is_file() for form in _FORMS for name in _OTHER_NAMES["train"])


def _image_folder(root: Path, ann_file: Path, data_type: str) -> Path:
    """The first folder that is there of those that layouts have for a split's images."""
    name = ann_file.stem.removeprefix("instances_")
    if name == "_annotations.coco" or ann_file.parent == root:
        return ann_file.parent
    places = [root / data_type, root / name, root / "images" / data_type, root / "images" / name, root / "images"]
    return next((place for place in places if place.is_dir()), root / data_type)


def names_start_from(image_dir: str, file_names: Sequence[str]) -> str:
    """The folder that an annotation file's names start from: `image_dir`, or the one above where names hold it."""
    if not os.path.isdir(image_dir):
        return image_dir
    sample = file_names[::max(len(file_names) // _SAMPLE, 1)][:_SAMPLE]
    above = os.path.dirname(os.path.abspath(image_dir))

    def count(folder: str) -> int:
        return sum(os.path.isfile(os.path.join(folder, name)) for name in sample)

    if count(image_dir) or not count(above):
        return image_dir
    _say_once(logging.INFO, f"{image_dir}: image names start from the folder above it, {above}")
    return above
