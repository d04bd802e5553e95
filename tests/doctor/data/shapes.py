"""Small data sets with known answers for the data doctor: rectangles on plain ground."""
from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

HEIGHT, WIDTH = 64, 96


def picture(seed: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A smooth picture like no other of another seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def rectangle(number: int, image_id: int, box: Sequence[float], category: int = 1, **changes: Any) -> dict[str, Any]:
    """An annotation whose polygon fills its box [x, y, width, height]."""
    x, y, w, h = box
    return {"id": number, "image_id": image_id, "category_id": category, "bbox": list(box), "area": w * h, "iscrowd": 0,
            "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]]} | changes


def write_split(root: Path, split: str, annotations: Sequence[dict], pictures: dict[str, np.ndarray], *,
                categories: Sequence[str] = ("cat", "dog")) -> None:
    """One split in COCO's layout; image ids count from 1 in the order of `pictures`."""
    (root / split).mkdir(parents=True)
    (root / "annotations").mkdir(exist_ok=True)
    images = []
    for number, (name, pixels) in enumerate(pictures.items(), 1):
        cv2.imwrite(str(root / split / name), pixels)
        images.append({"id": number, "file_name": name, "height": pixels.shape[0], "width": pixels.shape[1]})
    content = {"images": images, "annotations": list(annotations),
               "categories": [{"id": k, "name": name} for k, name in enumerate(categories, 1)]}
    (root / f"annotations/instances_{split}.json").write_text(json.dumps(content))


def write_instances(root: Path) -> Path:
    """Train: a.png with 2 cats, b.png with a dog and a crowd, c.png without. Val: a cat in d.png."""
    write_split(root, "train", [rectangle(1, 1, [0, 0, 20, 10]), rectangle(2, 1, [40, 30, 30, 30]),
                                rectangle(3, 2, [10, 10, 40, 20], 2), rectangle(4, 2, [60, 0, 30, 60], iscrowd=1)],
                {"a.png": picture(1), "b.png": picture(2), "c.png": picture(3)})
    write_split(root, "val", [rectangle(1, 1, [5, 5, 32, 32])], {"d.png": picture(4)})
    return root


def write_labels(root: Path, names: Sequence[str] = ("a", "b"), first_seed: int = 1, list_name: str = "train.txt",
                 value: int = 1) -> Path:
    """Label maps that are 0, `value` in 12 x 12 pixels, and 255 in the lowest row; returns the list."""
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(names, first_seed):
        label = np.zeros((HEIGHT, WIDTH), np.uint8)
        label[10:22, 20:32], label[-1] = value, 255
        cv2.imwrite(str(root / f"images/{name}.png"), picture(seed))
        cv2.imwrite(str(root / f"labels/{name}.png"), label)
    path = root / list_name
    path.write_text("".join(f"images/{name}.png labels/{name}.png\n" for name in names))
    return path
