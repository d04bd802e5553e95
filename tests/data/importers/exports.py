"""Small exports of every labelling tool, written by the tests: the same four scenes in each format."""
import base64
import io
import json
import zlib
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from src.data.semantic.voc_layout import voc_colours

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


def via(root: Path) -> None:
    entries = {}
    for k in range(4):
        save(root / f"s{k}.png", scene(k))
        regions = [{"shape_attributes": {"name": "polygon", "all_points_x": [x for x, _ in outline],
                                         "all_points_y": [y for _, y in outline]}, "region_attributes": {"pet": name}}
                   for name, outline in objects(k)]
        entries[f"s{k}.png1234"] = {"filename": f"s{k}.png", "size": 1234, "regions": regions, "file_attributes": {}}
    put_json(root / "via_project.json", {"_via_settings": {}, "_via_img_metadata": entries, "_via_attributes": {}})


def supervisely(root: Path) -> None:
    """Polygons, rectangles and bitmaps in turn, all of the same pixels."""
    put_json(root / "meta.json", {"classes": [{"title": name, "shape": "any"} for name in NAMES]})
    for k in range(4):
        save(root / f"ds/img/s{k}.png", scene(k))
        found = []
        for name, ((x1, y1), _, (x2, y2), _) in objects(k):
            corners = [[x1, y1], [x2 - 1, y1], [x2 - 1, y2 - 1], [x1, y2 - 1]]
            kind = ("polygon", "rectangle", "bitmap")[k % 3]
            entry = {"classTitle": name, "geometryType": kind}
            if kind == "bitmap":
                png = io.BytesIO()
                Image.fromarray(np.full((y2 - y1, x2 - x1), 255, np.uint8)).save(png, "PNG")
                entry["bitmap"] = {"origin": [x1, y1],
                                   "data": base64.b64encode(zlib.compress(png.getvalue())).decode()}
            else:
                entry["points"] = {"exterior": corners if kind == "polygon" else corners[::2], "interior": []}
            found.append(entry)
        put_json(root / f"ds/ann/s{k}.png.json", {"size": {"height": HEIGHT, "width": WIDTH}, "objects": found})


def lvis(root: Path) -> None:
    for split, numbers in (("train", (0, 1, 2)), ("val", (3,))):
        content = coco_content(numbers)
        for image in content["images"]:
            name = image.pop("file_name")
            save(root / f"{split}2017/{name}", scene(image["id"]))
            image |= {"coco_url": f"http://images.cocodataset.org/{split}2017/{name}", "neg_category_ids": [2],
                      "not_exhaustive_category_ids": []}
        put_json(root / f"lvis_v1_{split}.json", content)


def instances(number: int) -> np.ndarray:
    """(40, 60) uint8: 1 and 2 for the two objects of a scene."""
    label = np.zeros((HEIGHT, WIDTH), np.uint8)
    for k, (_, outline) in enumerate(objects(number), 1):
        label[mask_of(outline)] = k
    return label


def cvat_masks(root: Path) -> None:
    colours = np.array([(0, 0, 0), (250, 50, 83), (40, 80, 120)], np.uint8)
    rows = zip(["background", *NAMES], colours.tolist())
    root.mkdir(parents=True)
    (root / "labelmap.txt").write_text("# label:color_rgb:parts:actions\n" + "".join(
        f"{name}:{','.join(map(str, colour))}::\n" for name, colour in rows))
    for k in range(4):
        save(root / f"JPEGImages/s{k}.png", scene(k))
        save(root / f"SegmentationClass/s{k}.png", colours[truth(k)])
        save(root / f"SegmentationObject/s{k}.png", colours[instances(k)])
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    (root / "ImageSets/Segmentation/default.txt").write_text("".join(f"s{k}\n" for k in range(4)))


def voc(root: Path) -> None:
    """Palette labels with VOC's classes cat (8) and dog (12)."""
    table = np.array([0, 8, 12], np.uint8)
    for k in range(4):
        save(root / f"JPEGImages/s{k}.png", scene(k))
        for folder, pixels in (("SegmentationClass", table[truth(k)]), ("SegmentationObject", instances(k))):
            image = Image.fromarray(pixels)
            image.putpalette(voc_colours().ravel().tolist())
            (root / folder).mkdir(parents=True, exist_ok=True)
            image.save(root / f"{folder}/s{k}.png")
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    for split, numbers in (("train", (0, 1, 2)), ("val", (3,)), ("trainval", range(4))):
        (root / f"ImageSets/Segmentation/{split}.txt").write_text("".join(f"s{k}\n" for k in numbers))


def cityscapes(root: Path) -> None:
    """Persons (24) and cars (26) on road (7)."""
    for k in range(4):
        split = "train" if k < 3 else "val"
        stem = f"aachen_00000{k}_000019"
        save(root / f"leftImg8bit/{split}/aachen/{stem}_leftImg8bit.png", scene(k))
        save(root / f"gtFine/{split}/aachen/{stem}_gtFine_labelIds.png", np.array([7, 24, 26], np.uint8)[truth(k)])
        ids = np.array([7, 24000, 26001], np.uint16)[truth(k)]
        save(root / f"gtFine/{split}/aachen/{stem}_gtFine_instanceIds.png", ids)
    save(root / "gtFine/test/berlin/berlin_000000_000019_gtFine_labelIds.png", np.zeros((HEIGHT, WIDTH), np.uint8))


def ade20k(root: Path) -> None:
    for k in range(4):
        split = "training" if k < 3 else "validation"
        save(root / f"ADEChallengeData2016/images/{split}/s{k}.png", scene(k))
        save(root / f"ADEChallengeData2016/annotations/{split}/s{k}.png", truth(k))
    rows = ["Idx\tRatio\tTrain\tVal\tStuff\tName"]
    rows += [f"{number}\t0.1\t1\t1\t0\t{name}, pet" for number, name in enumerate(NAMES, 1)]
    (root / "ADEChallengeData2016/objectInfo150.txt").write_text("\n".join(rows))


def masks(root: Path) -> None:
    for k in range(4):
        save(root / f"images/s{k}.png", scene(k))
        for name, outline in objects(k):
            save(root / f"masks/{name}/s{k}.png", mask_of(outline).astype(np.uint8) * 255)


WRITERS = {"labelme": labelme, "yolo": yolo, "coco": cvat_coco, "cvat": cvat_coco, "roboflow": roboflow,
           "label_studio": label_studio, "via": via, "supervisely": supervisely, "lvis": lvis, "cvat_masks": cvat_masks,
           "voc": voc, "cityscapes": cityscapes, "ade20k": ade20k, "masks": masks}
# What the formats that have classes of their own make of background, cat and dog.
LABELS = {"voc": (0, 8, 12), "cityscapes": (0, 11, 13), "ade20k": (255, 0, 1)}
