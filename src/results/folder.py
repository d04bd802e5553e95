"""A folder of predictions: overlays to look at, label maps or detections to work with, and an index of all.

    overlays/NAME.jpg      the image under what was found in it; NAME.mp4 for a video
    labels/NAME.png        label map, one class index a pixel, in the image's size
    detections/NAME.json   instances with boxes and run-length encoded masks, in the image's frame
    index.json             every input with its result, or why there is none; written last

NAME is the input's path with "/" as "__" and without suffix; frames of a video are NAME_000001 and so on.
"""
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from src.contract import InputError, LabelMap
from src.files import replacing, sha256, write_file
from src.inference.collecting import frames
from src.results.files import read_json, write_json

ProgressCallback = Callable[[str, int, int], None]
RUN = "run.json"  # in the output folder, from the start on: whose results it holds
_RESULTS = ("index.json", "overlays", "labels", "detections")


def claim(folder: Path, model: Path) -> None:
    """Mark a folder as holding the results of a model file; the same file may overwrite its own.

    Raises:
        InputError: it holds results of another one, or nothing says of which.
    """
    own = {"format": "mindseg.predict", "version": 1, "model_file": model.name, "model_sha256": sha256(model)}
    found = next((name for name in (RUN, *_RESULTS) if (folder / name).exists()), None)
    if found == RUN:
        before = read_json(folder / RUN)
        if not isinstance(before, dict) or before.get("model_sha256") != own["model_sha256"]:
            raise InputError(f"--output_dir={folder}: holds results of another model ({RUN} names it); give "
                             "another folder, or move that one away")
    elif found:
        raise InputError(f"--output_dir={folder}: holds {found}, and no {RUN} says of which model; give another "
                         "folder, or move that one away")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / RUN, own)


class PredictionFolder:
    """Predicts with `model` (a `src.inference.model.Model`) and writes into `path`."""

    def __init__(self, path: Path, model: Any, *, score_threshold: float = 0.5,
                 progress: ProgressCallback = lambda phase, done, total: None):
        if path.exists() and not path.is_dir():
            raise InputError(f"--output_dir={path}: a file; name a folder")
        self.path, self.model, self.score_threshold, self.progress = path, model, score_threshold, progress
        self.index: list[dict[str, Any]] = []

    def add_images(self, images: dict[str, Path]) -> None:
        for done, (name, prediction) in enumerate(zip(images, self.model.predict(images.values())), 1):
            picture = self.model.draw(prediction, score_threshold=self.score_threshold)
            self._write(f"overlays/{name}.jpg", cv2.imencode(".jpg", picture[..., ::-1])[1].tobytes())
            self.index.append({"input": str(images[name]), "result": self._result(name, prediction.found)})
            self.progress("images", done, len(images))

    def add_video(self, name: str, file: Path) -> None:
        capture = cv2.VideoCapture(str(file))
        count = max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 1)
        rate = capture.get(cv2.CAP_PROP_FPS) or 25.0
        target, writer, done = self.path / f"overlays/{name}.mp4", None, 0
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as unfinished:
            for done, prediction in enumerate(self.model.predict(frames(capture)), 1):
                picture = self.model.draw(prediction, score_threshold=self.score_threshold)
                if writer is None:
                    size = picture.shape[1::-1]
                    writer = cv2.VideoWriter(str(unfinished), cv2.VideoWriter_fourcc(*"mp4v"), rate, size)
                writer.write(np.ascontiguousarray(picture[..., ::-1]))
                self._result(f"{name}_{done:06d}", prediction.found)
                self.progress("frames", done, max(count, done))
            capture.release()
            if writer is None:
                raise InputError(f"{file}: no frame can be read; it is damaged, or of a kind that OpenCV does not know")
            writer.release()
        self.index.append({"input": str(file), "result": f"overlays/{name}.mp4", "frames": done})

    def finish(self, bad: dict[str, str]) -> None:
        """Write the index, with what could not be read. Names that are not UTF-8 become JSON's escapes.

        `os.fsencode` makes the file's name of them again.
        """
        entries = self.index + [{"input": path, "result": None, "error": reason} for path, reason in bad.items()]
        content = {"class_names": list(self.model.class_names), "inputs": entries}
        self._write("index.json", (json.dumps(content, indent=1, ensure_ascii=False) + "\n")
                    .encode("utf-8", "backslashreplace"))

    def _result(self, name: str, found: Any) -> str:
        """Write what was found and return its name in the folder."""
        if isinstance(found, LabelMap):
            result, data = f"labels/{name}.png", cv2.imencode(".png", found.labels)[1].tobytes()
        else:
            result, data = f"detections/{name}.json", json.dumps(self.model.detections(found)).encode()
        self._write(result, data)
        return result

    def _write(self, name: str, data: bytes) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, data)
