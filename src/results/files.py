"""What offline inference leaves: index.json, label maps and detections (written by `ascend310_infer`).

    RESULT_PATH/index.json               task, model, class_names, category_ids, speed; each image's result or error
    RESULT_PATH/labels/NAME.png          8-bit class indices in the original image's size (task "semantic")
    RESULT_PATH/detections/NAME.json     {"file_name", "height", "width", "detections": [{"label", "category_id",
                                         "score", "bbox": [x, y, w, h], "segmentation": compressed RLE}]} ("instance")

No MindSpore here.
"""
from __future__ import annotations

import json
import os
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from src.contract import InputError, Instances, LabelMap
from src.data.decode import decode_label
from src.data.instance.coco_check import checked_encoding, is_number
from src.files import write_file

INDEX = "index.json"


@dataclass(frozen=True)
class ResultFiles:
    """A folder of results.

    Attributes:
        folder: where they are.
        task: "semantic" or "instance".
        class_names: of the model, index 0 first.
        paths: result file by image name (relative to the data set); None where the image could not be read.
    """

    folder: Path
    task: str
    class_names: tuple[str, ...]
    paths: dict[str, Path | None]

    def label_map(self, file_name: str, image_id: int) -> LabelMap | None:
        """The label map of an image, None where it has no result."""
        path = self._path(file_name)
        if path is None:
            return None
        try:
            return LabelMap(image_id, decode_label(path.read_bytes()))
        except FileNotFoundError:
            raise InputError(f"{path}: does not exist, though {INDEX} names it; run the inference again") from None
        except (InputError, OSError) as error:
            raise InputError(f"{path}: {error}; delete it and run the inference again") from error

    def instances(self, file_name: str, image_id: int, labels: Mapping[int, int]) -> Instances | None:
        """The detections of an image, None where it has no result.

        Args:
            file_name, image_id: of the image.
            labels: class index of the truth by class index of the model, which may number them otherwise.
        """
        path = self._path(file_name)
        return None if path is None else _instances(read_json(path), path, image_id, labels)

    def _path(self, file_name: str) -> Path | None:
        return self.paths.get(os.path.normpath(file_name))


def is_result_folder(folder: str | Path) -> bool:
    return (Path(folder) / INDEX).is_file()


def read_index(folder: str | Path) -> ResultFiles:
    """Read index.json.

    Raises:
        InputError: there is none, because the inference did not end, or it is no index.
    """
    path = Path(folder) / INDEX
    if not path.is_file():
        raise InputError(f"--result_path={folder}: holds no {INDEX}; run the inference to its end first (it goes on "
                         "where it stopped)")
    index = read_json(path)
    try:
        if index["format"] != "mindseg.results" or index["version"] != 1:
            raise InputError(f"{path}: format {index['format']!r} version {index['version']!r} is not known here")
        paths = {os.path.normpath(image["file_name"]): image["result"] and Path(folder) / image["result"]
                 for image in index["images"]}
        return ResultFiles(Path(folder), index["task"], tuple(index["class_names"]), paths)
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: is no index of results ({error}); run the inference again") from error


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path}: does not exist; run the inference again") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read ({error}); delete it and run the inference again") from error


def write_json(path: Path, content: dict | list) -> None:
    """Write a file whole or not at all; a list, which may be long, without line breaks."""
    write_file(path, json.dumps(content, indent=2 if isinstance(content, dict) else None) + "\n")


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


def _instances(content: dict, path: Path, image_id: int, labels: Mapping[int, int]) -> Instances:
    try:
        size, rows = (content["height"], content["width"]), content["detections"]
        unknown = {row["label"] for row in rows} - labels.keys()
        if unknown:
            raise InputError(f"{path}: classes {sorted(unknown)} of the model are not in the annotations, which have "
                             f"{sorted(labels)}; score with annotations of all the model's classes")
        found = [_checked_row(row, size, f"{path}: detections[{k}]") for k, row in enumerate(rows)]
        xywh = np.array([d["bbox"] for d in found], np.float32).reshape(-1, 4)
        return Instances(image_id, np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1),
                         np.array([labels[d["label"]] for d in found], np.int32),
                         np.array([d["score"] for d in found], np.float32), [d["segmentation"] for d in found])
    except InputError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: holds no detections ({error}); delete it and run the inference again") from error


def _checked_row(row: Mapping[str, Any], size: tuple[int, int], place: str) -> dict[str, Any]:
    try:
        return checked_detection(row, size)
    except InputError as error:
        raise InputError(f"{place}: {error}; delete the file and run the inference again") from error
