"""The formats that can be imported, each with its reader. A new importer is a file beside this one and a row here."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from src.data.importers import coco, labelme, yolo
from src.data.importers.pictures import Collection, Reading


@dataclass(frozen=True)
class Format:
    """One format: its reader, the layouts that it can become (its own first), and what the source folder holds."""

    read: Callable[[Reading], Collection]
    layouts: tuple[str, ...]
    holds: str


_OBJECTS = ("coco", "voc")

FORMATS = {
    "labelme": Format(labelme.read, _OBJECTS, "images with a JSON file beside each"),
    "yolo": Format(yolo.read, _OBJECTS, "data.yaml, images/ and labels/ of YOLO segmentation"),
    "coco": Format(coco.read, _OBJECTS, "annotation files in COCO's layout and their images, wherever they are"),
    "roboflow": Format(coco.read, _OBJECTS, "an export in COCO format: train/_annotations.coco.json ..."),
    "label_studio": Format(coco.read, _OBJECTS, "an export in COCO format: result.json and images/"),
}
