"""The formats that can be imported, each with its reader. A new importer is a file beside this one and a row here."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from src.data.importers import ade20k, cityscapes, coco, labelme, masks, supervisely, via, voc, yolo
from src.data.importers.pictures import Collection, Reading


@dataclass(frozen=True)
class Format:
    """One format: its reader, the layouts that it can become (its own first), and what the source folder holds."""

    read: Callable[[Reading], Collection]
    layouts: tuple[str, ...]
    holds: str


_OBJECTS, _LABELS = ("coco", "voc"), ("voc", "coco")

FORMATS = {
    "labelme": Format(labelme.read, _OBJECTS, "images with a JSON file beside each"),
    "yolo": Format(yolo.read, _OBJECTS, "data.yaml, images/ and labels/ of YOLO segmentation"),
    "coco": Format(coco.read, _OBJECTS, "annotation files in COCO's layout and their images, wherever they are"),
    "roboflow": Format(coco.read, _OBJECTS, "an export in COCO format: train/_annotations.coco.json ..."),
    "label_studio": Format(coco.read, _OBJECTS, "an export in COCO format: result.json and images/"),
    "cvat": Format(coco.read, _OBJECTS, "an export in COCO 1.0 format with images"),
    "cvat_masks": Format(voc.read, _LABELS, "an export as Segmentation mask 1.1: labelmap.txt, SegmentationClass/"),
    "via": Format(via.read, _OBJECTS, "a project or its annotations as JSON, beside the images"),
    "supervisely": Format(supervisely.read, _OBJECTS, "a project: meta.json and data sets with img/ and ann/"),
    "lvis": Format(coco.read, _OBJECTS, "lvis_v1_train.json, lvis_v1_val.json and train2017/, val2017/"),
    "voc": Format(voc.read, _LABELS, "JPEGImages/, SegmentationClass/ and SegmentationObject/ of PASCAL VOC"),
    "cityscapes": Format(cityscapes.read, _LABELS, "gtFine/ and leftImg8bit/"),
    "ade20k": Format(ade20k.read, ("voc",), "ADEChallengeData2016: images/, annotations/, objectInfo150.txt"),
    "masks": Format(masks.read, _LABELS, "images/ and binary masks/, of an image, a class, or an object"),
}
