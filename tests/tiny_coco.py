"""Small detection data for tests: an annotation file in COCO's layout with images, and the same as a text file."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.tiny_seg import image, jpeg

HEIGHT, WIDTH = 24, 32
CATEGORIES = [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}, {"id": 12, "name": "fish"}]

# All three kinds of mask on pixels 4..12 (x) by 6..11 (y); the encodings say the same 8 columns of 5 rows.
POLYGON = [[4, 6, 12, 6, 12, 11, 4, 11]]
RUNS = [4 * 24 + 6] + [5, 19] * 7 + [5, 24 * 20 + 13]


def annotation(number: int, image_id: int, category_id: int = 3, **changes: Any) -> dict[str, Any]:
    return {"id": number, "image_id": image_id, "category_id": category_id, "bbox": [4, 6, 8, 5], "area": 40,
            "iscrowd": 0, "segmentation": POLYGON} | changes


def content(count: int = 3) -> dict[str, Any]:
    """Images 10, 20, ..., each with a dog and a cat, but the last, which has no object."""
    images = [{"id": 10 * n, "file_name": f"{n}.jpg", "height": HEIGHT, "width": WIDTH} for n in range(1, count + 1)]
    annotations = []
    for entry in images[:-1]:
        number = 100 * entry["id"]
        annotations += [annotation(number, entry["id"]),
                        annotation(number + 1, entry["id"], 7, bbox=[1.5, 2, 20, 10.5], area=210,
                                   segmentation=[[1.5, 2, 21.5, 2, 21.5, 12.5, 1.5, 12.5]])]
    return {"images": images, "annotations": annotations, "categories": CATEGORIES}


def write_coco(root: Path, data: dict[str, Any] | None = None, *, split: str = "val") -> Path:
    """Write `ROOT/SPLIT/*.jpg` and `ROOT/annotations/instances_SPLIT.json`; return the latter."""
    data = data or content()
    (root / split).mkdir(parents=True)
    (root / "annotations").mkdir(exist_ok=True)
    for n, entry in enumerate(data["images"]):
        (root / split / entry["file_name"]).write_bytes(jpeg(image(n, entry["height"], entry["width"])))
    path = root / f"annotations/instances_{split}.json"
    path.write_text(json.dumps(data, indent=1))
    return path


def write_txt(root: Path, lines: list[str] | None = None) -> Path:
    """Write `ROOT/images/{1,2,3}.jpg` and `ROOT/list.txt`; return the latter."""
    (root / "images").mkdir(parents=True)
    for n in (1, 2, 3):
        (root / f"images/{n}.jpg").write_bytes(jpeg(image(n, HEIGHT, WIDTH)))
    path = root / "list.txt"
    path.write_text("\n".join(lines or ["1.jpg 4,6,12,11,1 1,2,21.5,12,2", "2.jpg", "3.jpg 0,0,32,24,1"]) + "\n")
    return path
