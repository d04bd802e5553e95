"""The one format of results on disk. Whoever predicts writes it: `predict.py` and `ascend310_infer`.

    RESULTS/run.json               whose results these are; written first (`src/results/folder.py`)
    RESULTS/index.json             every image with its result or the reason why there is none; written last
    RESULTS/labels/NAME.png        task "semantic": 8-bit class indices, in the image's size
    RESULTS/detections/NAME.json   task "instance": the detections of one image
    RESULTS/detections.json        task "instance": one COCO results file of all images whose id is known
    RESULTS/overlays/NAME.jpg      predict.py: the image under what was found in it; NAME.mp4 of a video

index.json, version 2:

    format, version      "mindseg.results", 2
    task, model          "semantic" or "instance"; the model's name
    checkpoint_sha256    of the checkpoint, whether the model was one or was exported from it
    inference_engine     predict.py: what ran the network, with its version
    class_names          index 0 first
    category_ids         instance: the COCO category id of each class, 0 for the background
    score_thresholds     instance: {class: least score that was written}; a class without one has all its detections
    images               [{file_name, image_id, result, error}] and from predict.py `path`, the image's absolute path;
                         file_name starts at the data set's folder, image_id is null where it is not known, and one of
                         result (a path in the folder) and error is null
    videos               predict.py: [{file_name, path, frames, overlay}]; their frames are NAME_000001 and so on
    coco_results         instance: {file, images, images_without_id, reason}; without any id, file is null and reason
                         says why
    images_per_second, latency_ms      of the C++ program

detections/NAME.json is {file_name, image_id, height, width, detections}, and each of the detections a valid entry of
COCO's results format (image_id, which is the file_name where no id is known, category_id, bbox [x, y, width, height],
score, segmentation as compressed RLE) with the class index `label` and its `name`. detections.json holds the COCO keys
alone, one entry a line; pycocotools' loadRes takes it as it is.

NAME is the file_name with "/" as "__" and without suffix. Images that would share it keep their suffixes; what is then
still shared gets _2, _3 and so on in the order of the images.

Version 1 is read too: the C++ program's, whose entries have no image_id, and predict.py's, whose index has the key
`inputs`. No MindSpore here.
"""
from __future__ import annotations

import json
import os
import reprlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from src.contract import InputError, Instances, LabelMap
from src.data.decode import decode_label
from src.data.instance.coco_check import checked_encoding, is_number
from src.files import replacing, write_file

FORMAT, VERSION = "mindseg.results", 2
INDEX, COCO_RESULTS = "index.json", "detections.json"
_COCO_KEYS = ("image_id", "category_id", "bbox", "score", "segmentation")
_AGAIN = "run the inference again"


# --- names ------------------------------------------------------------------------------------------------------------

def result_names(file_names: Sequence[str]) -> list[str]:
    """NAME of each image's result files, all different."""
    plain = [_flat(str(PurePosixPath(name).with_suffix(""))) for name in file_names]
    uses = Counter(plain)
    taken: set[str] = set()
    names = []
    for file_name, stem in zip(file_names, plain):
        wanted = stem if uses[stem] == 1 else _flat(file_name)
        name, number = wanted, 1
        while name in taken:
            number += 1
            name = f"{wanted}_{number}"
        taken.add(name)
        names.append(name)
    return names


def _flat(path: str) -> str:
    return path.lstrip("/").replace("/", "__")


# --- writing ----------------------------------------------------------------------------------------------------------

def write_json(path: Path, content: dict | list) -> None:
    """Write a JSON file in one step; a list, which may be long, without line breaks.

    File names that are not UTF-8 become JSON's escapes, of which `os.fsencode` makes the name again.
    """
    text = json.dumps(content, indent=2 if isinstance(content, dict) else None, ensure_ascii=False) + "\n"
    write_file(path, text.encode("utf-8", "backslashreplace"))


def write_coco_results(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a COCO results file in one step, one entry a line; keys that are not COCO's are left out."""
    with replacing(path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        separator = "["
        for row in rows:
            file.write(f"{separator}\n" + json.dumps({key: row[key] for key in _COCO_KEYS if key in row}))
            separator = ","
        file.write("[]\n" if separator == "[" else "\n]\n")


def gather_coco_results(folder: Path, images: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Write detections.json from the images' own files, one of them in memory at a time.

    Args:
        folder: of the results.
        images: `images` of index.json.

    Returns:
        The index's `coco_results`.
    """
    done = [image for image in images if image["result"]]
    known = [image for image in done if image["image_id"] is not None]
    missing = len(done) - len(known)
    if not known:
        return {"file": None, "images": 0, "images_without_id": missing,
                "reason": "the COCO id of no image is known; give predict.py --ann_file=JSON, or a list of images "
                          "(--image_list) with the id behind each name, as src/tools/list_coco_images.py writes it"}
    write_coco_results(folder / COCO_RESULTS, (
        row | {"image_id": image["image_id"]} for image in known
        for row in read_json(folder / image["result"])["detections"]))
    return {"file": COCO_RESULTS, "images": len(known), "images_without_id": missing, "reason": None}


# --- reading ----------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class ResultFiles:
    """A folder of results.

    Attributes:
        folder: where they are.
        task: "semantic" or "instance".
        class_names: of the model, index 0 first.
        paths: result file by image name, normalised; None where the image could not be read.
        labels: class index by category id, for entries without `label`.
        score_thresholds: {class name: least score of a detection that was written}.
        lists: whether an image's file is the list of its detections alone (predict.py's version 1).
        left_out: how many detections `instances` left out, by the name of their class.
    """

    folder: Path
    task: str
    class_names: tuple[str, ...]
    paths: dict[str, Path | None]
    labels: dict[int, int] = field(default_factory=dict)
    lists: bool = False
    score_thresholds: dict[str, float] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)

    def label_map(self, file_name: str, image_id: int) -> LabelMap | None:
        """The label map of an image, None where it has no result."""
        path = self._path(file_name)
        if path is None:
            return None
        try:
            return LabelMap(image_id, decode_label(path.read_bytes()))
        except FileNotFoundError:
            raise InputError(f"{path}: does not exist, though {INDEX} names it; {_AGAIN}") from None
        except (InputError, OSError) as error:
            raise InputError(f"{path}: {error}; delete it and {_AGAIN}") from error

    def instances(self, file_name: str, image_id: int, labels: Mapping[int, int]) -> Instances | None:
        """The detections of an image, None where it has no result.

        Args:
            file_name, image_id: of the image.
            labels: class index of the truth by class index of the model, which may number them otherwise. Detections
                of other classes are left out and counted in `left_out`.
        """
        path = self._path(file_name)
        return None if path is None else self._instances(read_json(path), path, image_id, labels)

    def _path(self, file_name: str) -> Path | None:
        return self.paths.get(os.path.normpath(file_name))

    def _instances(self, content: Any, path: Path, image_id: int, labels: Mapping[int, int]) -> Instances:
        try:
            size, rows = _size_and_rows(content, self.lists)
            found = [_checked_row(row, size, f"{path}: detections[{k}]") for k, row in enumerate(rows)]
            classes = [row["label"] if "label" in row else self.labels[row["category_id"]] for row in rows]
            known = [k for k, label in enumerate(classes) if label in labels]
            self.left_out.update(self.class_names[label] for label in classes if label not in labels)
            found, classes = [found[k] for k in known], [classes[k] for k in known]
            boxes = np.array([d["bbox"] for d in found], np.float64).reshape(-1, 4)
            boxes[:, 2:] += boxes[:, :2]
            masks = [d["segmentation"] for d in found] if any("segmentation" in d for d in found) else []
            return Instances(image_id, boxes.astype(np.float32), np.array([labels[c] for c in classes], np.int32),
                             np.array([d["score"] for d in found], np.float32), masks)
        except InputError:
            raise
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise InputError(f"{path}: holds no detections ({error}); delete it and {_AGAIN}") from error


def is_result_folder(folder: str | Path) -> bool:
    return (Path(folder) / INDEX).is_file()


def read_index(folder: str | Path, image_root: str | Path = "") -> ResultFiles:
    """Read index.json.

    Args:
        folder: of the results.
        image_root: folder that the truth's image names start from: images are also found by their path in it.

    Raises:
        InputError: there is none, because the inference did not end, or it is no index.
    """
    folder = Path(folder)
    path = folder / INDEX
    if not path.is_file():
        raise InputError(f"--result_path={folder}: holds no {INDEX}; run the inference to its end first (it goes on "
                         "where it stopped)")
    index = read_json(path)
    try:
        if "format" not in index and "inputs" in index:
            return _predict_version_1(folder, index)
        if index["format"] != FORMAT or index["version"] not in (1, VERSION):
            raise InputError(f"{path}: format {index['format']!r} version {index['version']!r} is not known here")
        category_ids = index.get("category_ids") or range(len(index["class_names"]))
        return ResultFiles(folder, index["task"], tuple(index["class_names"]),
                           _by_name(folder, index["images"], image_root),
                           {number: label for label, number in enumerate(category_ids) if label},
                           score_thresholds=dict(index.get("score_thresholds") or {}))
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: is no index of results ({error}); {_AGAIN}") from error


def _by_name(folder: Path, images: Sequence[Mapping[str, Any]], image_root: str | Path) -> dict[str, Path | None]:
    """Result file by name, and by the image's path in `image_root` where the index says where the image was."""
    results = [image["result"] and folder / image["result"] for image in images]
    paths = {os.path.normpath(image["file_name"]): result for image, result in zip(images, results)}
    root = os.path.realpath(image_root)
    for image, result in zip(images, results):
        if image.get("path"):
            paths.setdefault(image["path"], result)
            paths.setdefault(os.path.relpath(os.path.realpath(image["path"]), root), result)
    return paths


def _predict_version_1(folder: Path, index: Mapping[str, Any]) -> ResultFiles:
    """The index that predict.py wrote first. It names inputs as they were given: any unique end of that counts."""
    ends: dict[str, list[Path]] = {}
    for entry in index["inputs"]:
        if str(entry["result"]).startswith(("labels/", "detections/")):
            parts = PurePosixPath(os.path.normpath(entry["input"])).parts
            for k in range(len(parts)):
                ends.setdefault(str(PurePosixPath(*parts[k:])), []).append(folder / entry["result"])
    task = "instance" if (folder / "detections").is_dir() else "semantic"
    return ResultFiles(folder, task, tuple(index["class_names"]),
                       {name: found[0] for name, found in ends.items() if len(found) == 1}, lists=True)


def _size_and_rows(content: Any, is_list: bool) -> tuple[tuple[int, int], list[Mapping[str, Any]]]:
    """(H, W) and the detections of an image's file."""
    if not is_list:
        return (content["height"], content["width"]), content["detections"]
    masks = [row["segmentation"] for row in content if "segmentation" in row]
    return tuple(masks[0]["size"]) if masks else (1, 1), content


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path}: does not exist; {_AGAIN}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read ({error}); delete it and {_AGAIN}") from error


def checked_detection(row: Mapping[str, Any], size: tuple[int, int] | None) -> dict[str, Any]:
    """A detection with `score` and perhaps `bbox` and `segmentation` as in COCO's results, its mask compressed.

    Args:
        row: the detection; its other keys are not looked at.
        size: (H, W) of its image, pixels; None where it is not known: then the mask is not looked at.

    Raises:
        InputError: says what is wrong; the caller adds the place.
    """
    if not is_number(row.get("score")):
        raise InputError(f"score is {row.get('score')!r}; it must be a finite number")
    box = row.get("bbox", [0, 0, 0, 0])
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)) or min(box[2:]) < 0:
        raise InputError(f"bbox is {box!r}; it must be four numbers x, y, width, height, the sides not negative")
    if size is None or "segmentation" not in row:
        return dict(row)
    mask = row["segmentation"]
    if not isinstance(mask, dict):
        raise InputError(f"segmentation is {reprlib.repr(mask)}; it must be a run-length encoding, an object with size "
                         "and counts")
    return dict(row) | {"segmentation": checked_encoding(mask, size)}


def _checked_row(row: Mapping[str, Any], size: tuple[int, int], place: str) -> dict[str, Any]:
    try:
        return checked_detection(row, size)
    except InputError as error:
        raise InputError(f"{place}: {error}; delete the file and {_AGAIN}") from error
