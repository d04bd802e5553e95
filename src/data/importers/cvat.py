"""CVAT: its own XML where the export has an annotations.xml, else COCO 1.0. For Segmentation mask 1.1 see `voc`."""
from __future__ import annotations

from src.data.importers import coco, cvat_xml
from src.data.importers.pictures import Collection, Reading
from src.data.importers.reading import files_below


def read(reading: Reading) -> Collection:
    """Every XML file below the source; without one, annotation files in COCO's layout."""
    paths = files_below(reading.source, (".xml",))
    return cvat_xml.read(reading, paths) if paths else coco.read(reading)
