"""Small exports of every labelling tool, written by the tests: the same four scenes in each format."""
import json
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

HEIGHT, WIDTH = 40, 60
NAMES = ["cat", "dog"]
# Outlines along the edges of pixels, so that every tool's filling rule gives the same pixels.
BOXES = [("cat", 5, 6, 20, 18), ("dog", 30, 10, 52, 34)]


def scene(number: int) -> np.ndarray:
    """(40, 60, 3) uint8 noise that resembles no other scene."""
    coarse = np.random.default_rng(number).integers(0, 255, (8, 12, 3), np.uint8)
    return np.kron(coarse, np.ones((5, 5, 1), np.uint8))


def objects(number: int) -> list[tuple[str, list[tuple[float, float]]]]:
    """(class, outline) of a scene's objects; every scene has them elsewhere."""
    return [(name, [(x1 + number, y1), (x2 + number, y1), (x2 + number, y2), (x1 + number, y2)])
            for name, x1, y1, x2, y2 in BOXES]


def mask_of(outline) -> np.ndarray:
    (x1, y1), _, (x2, y2), _ = outline
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[int(y1):int(y2), int(x1):int(x2)] = True
    return mask


def truth(number: int) -> np.ndarray:
    """(40, 60) uint8 label map of a scene: 0 background, 1 cat, 2 dog."""
    label = np.zeros((HEIGHT, WIDTH), np.uint8)
    for name, outline in objects(number):
        label[mask_of(outline)] = NAMES.index(name) + 1
    return label


def save(path: Path, pixels: np.ndarray, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def put_json(path: Path, content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def labelme(root: Path) -> None:
    for k in range(4):
        save(root / f"s{k}.png", scene(k))
        shapes = [{"label": name, "points": outline, "shape_type": "polygon", "group_id": None, "flags": {}}
                  for name, outline in objects(k)]
        put_json(root / f"s{k}.json", {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": f"s{k}.png",
                                       "imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH})


def yolo(root: Path) -> None:
    for k in range(4):
        split = "train" if k < 3 else "val"
        save(root / f"images/{split}/s{k}.png", scene(k))
        lines = [" ".join([str(NAMES.index(name)), *(f"{x / WIDTH:.9f} {y / HEIGHT:.9f}" for x, y in outline)])
                 for name, outline in objects(k)]
        (root / f"labels/{split}").mkdir(parents=True, exist_ok=True)
        (root / f"labels/{split}/s{k}.txt").write_text("\n".join(lines) + "\n")
    (root / "data.yaml").write_text(yaml.safe_dump(
        {"path": "../somewhere/else", "train": "images/train", "val": "images/val", "names": dict(enumerate(NAMES))}))


def coco_content(numbers) -> dict:
    annotations = [{"id": 10 * k + j, "image_id": k, "category_id": NAMES.index(name) + 1, "iscrowd": 0,
                    "segmentation": [[float(v) for point in outline for v in point]]}
                   for k in numbers for j, (name, outline) in enumerate(objects(k))]
    return {"images": [{"id": k, "file_name": f"s{k}.png", "height": HEIGHT, "width": WIDTH} for k in numbers],
            "annotations": annotations, "categories": [{"id": 0, "name": "pets", "supercategory": "none"}] + [
                {"id": j + 1, "name": name, "supercategory": "pets"} for j, name in enumerate(NAMES)]}


def roboflow(root: Path) -> None:
    for split, numbers in (("train", (0, 1, 2)), ("valid", (3,))):
        for k in numbers:
            save(root / f"{split}/s{k}.png", scene(k))
        put_json(root / f"{split}/_annotations.coco.json", coco_content(numbers))


def label_studio(root: Path) -> None:
    content = coco_content(range(4))
    for k, image in enumerate(content["images"]):
        save(root / f"images/s{k}.png", scene(k))
        image["file_name"] = f"images\\s{k}.png"
    put_json(root / "result.json", content)


def cvat_coco(root: Path) -> None:
    for k in range(4):
        save(root / f"images/default/batch{k}/s0.png", scene(k))
    content = coco_content(range(4))
    for k, image in enumerate(content["images"]):
        image["file_name"] = f"batch{k}/s0.png"
    put_json(root / "annotations/instances_default.json", content)


WRITERS = {"labelme": labelme, "yolo": yolo, "coco": cvat_coco, "roboflow": roboflow, "label_studio": label_studio}
