"""The formats that can be imported, each with its reader. A new importer is a file beside this one and a row here."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from src.data.importers import ade20k, cityscapes, coco, cvat, label_studio, labelme, masks, supervisely, via, voc, yolo
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
    "label_studio": Format(label_studio.read, _OBJECTS, "an export as JSON, JSON-MIN or COCO, beside its images"),
    "cvat": Format(cvat.read, _OBJECTS, "an export as CVAT 1.1 (images or video) or COCO 1.0, with images"),
    "cvat_masks": Format(voc.read, _LABELS, "an export as Segmentation mask 1.1: labelmap.txt, SegmentationClass/"),
    "via": Format(via.read, _OBJECTS, "a project or its annotations as JSON or CSV, beside the images"),
    "supervisely": Format(supervisely.read, _OBJECTS, "a project: meta.json and data sets with img/ and ann/"),
    "lvis": Format(coco.read, _OBJECTS, "lvis_v1_train.json, lvis_v1_val.json and train2017/, val2017/"),
    "voc": Format(voc.read, _LABELS, "JPEGImages/, SegmentationClass/ and SegmentationObject/ of PASCAL VOC"),
    "cityscapes": Format(cityscapes.read, _LABELS, "gtFine/ and leftImg8bit/"),
    "ade20k": Format(ade20k.read, _LABELS, "ADEChallengeData2016 (annotations/, annotations_instance/) or ADE20K_2021"),
    "masks": Format(masks.read, _LABELS, "images/ and binary masks/, of an image, a class, or an object"),
}
