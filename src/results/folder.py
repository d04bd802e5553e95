"""Folders of results: who may write into one, and the writer of predict.py. For the format see `src/results/files.py`.

A folder holds the results of one model file with one preprocessing. `run.json`, written before any result, says which:

    {"format": "mindseg.run", "version": 3, "model_file": CHECKSUM, "preprocess": preprocess.json without "files"}

CHECKSUM is the CRC-32 of the model file and its size, "89abcdef-1234". A folder without results may be used by anyone;
one with results only by a run with an equal run.json, whether predict.py or ascend310_infer wrote it.
"""
from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from src.contract import InputError, LabelMap
from src.files import replacing, write_file
from src.inference.collecting import Input, frames
from src.metrics.coco_results import result_rows
from src.results import files
from src.results.files import read_json, write_json

ProgressCallback = Callable[[str, int, int], None]
RUN = "run.json"
_RESULTS = (files.INDEX, files.COCO_RESULTS, "labels", "detections", "overlays", "fingerprints.txt")


def checksum(path: Path) -> str:
    """CRC-32 and size of a file: enough to tell model files apart, but no protection against forgery."""
    crc, size = 0, 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            crc, size = zlib.crc32(block, crc), size + len(block)
    return f"{crc:08x}-{size}"


def claim(folder: Path, model_file: Path, preprocess: Mapping[str, Any]) -> None:
    """Mark a folder as holding the results of a model file; the same file may write there again.

    Args:
        preprocess: how the model's input is made, as `src/exporting/preprocess_spec.py` describes it.

    Raises:
        InputError: it holds results of another model file, preprocessing or version, or of an unknown one.
    """
    stable = {key: value for key, value in preprocess.items() if key != "files"}  # another export adds a file
    own = {"format": "mindseg.run", "version": 3, "model_file": checksum(model_file),
           "preprocess": json.loads(json.dumps(stable))}
    found = next((name for name in (RUN, *_RESULTS) if (folder / name).exists()), None)
    if found == RUN:
        if read_json(folder / RUN) != own:
            raise InputError(f"--output_dir={folder}: holds results of another model or preprocessing, or of an "
                             f"earlier version ({RUN}); give another folder, or move that one away")
    elif found:
        raise InputError(f"--output_dir={folder}: holds {found}, and no {RUN} says of which model; give another "
                         "folder, or move that one away")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / RUN, own)


def _jpeg(picture: np.ndarray) -> memoryview:
    """Encode RGB pixels without a copy of them, for which there may be no memory: they are BGR afterwards."""
    for row in picture:
        row[:] = row[:, ::-1].copy()
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].data


class PredictionFolder:
    """Predicts with a model and writes into a folder that was claimed by `claim`.

    Args:
        path: the folder.
        model: a `src.inference.model.Model`.
        image_ids: COCO image id by file_name.
        category_ids: COCO category id of each class index; by default the model's.
        score_threshold: least score of instances that are drawn, see `Model.draw`.
        progress: called with phase, done and total.
    """

    def __init__(self, path: Path, model: Any, *, image_ids: Mapping[str, int] | None = None,
                 category_ids: Sequence[int] = (), score_threshold: float | None = None,
                 progress: ProgressCallback = lambda phase, done, total: None):
        if path.exists() and not path.is_dir():
            raise InputError(f"--output_dir={path}: a file; name a folder")
        self.path = path
        self.model = model
        self.score_threshold = score_threshold
        self.progress = progress
        self.image_ids = image_ids or {}
        self.category_ids = list(category_ids or model.category_ids)
        self.images: list[dict[str, Any]] = []
        self.videos: list[dict[str, Any]] = []

    def add_images(self, images: Sequence[Input]) -> None:
        predictions = self.model.predict(image.path for image in images)
        for done, image in enumerate(images, 1):
            # Not zip, which would keep a prediction, and its perhaps large image, until the next one is there.
            self._add_image(image, next(predictions))
            self.progress("images", done, len(images))

    def _add_image(self, image: Input, prediction: Any) -> None:
        picture = self.model.draw(prediction, score_threshold=self.score_threshold, in_place=True)
        self._write(f"overlays/{image.name}.jpg", _jpeg(picture))
        result = self._result(image.name, image.file_name, prediction)
        self.images.append(self._entry(image, result=result))

    def add_video(self, video: Input) -> None:
        capture = cv2.VideoCapture(str(video.path))
        count = max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 1)
        rate = capture.get(cv2.CAP_PROP_FPS) or 25.0
        target, writer, done = self.path / f"overlays/{video.name}.mp4", None, 0
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as unfinished:
            for done, prediction in enumerate(self.model.predict(frames(capture)), 1):
                picture = self.model.draw(prediction, score_threshold=self.score_threshold)
                if writer is None:
                    size = picture.shape[1::-1]
                    writer = cv2.VideoWriter(str(unfinished), cv2.VideoWriter_fourcc(*"mp4v"), rate, size)
                writer.write(np.ascontiguousarray(picture[..., ::-1]))
                self._result(f"{video.name}_{done:06d}", f"{video.file_name}#{done}", prediction)
                self.progress("frames", done, max(count, done))
            capture.release()
            if writer is None:
                raise InputError(f"{video.path}: no frame can be read; it is damaged, or of a kind that OpenCV does "
                                 "not know")
            writer.release()
        self.videos.append({"file_name": video.file_name, "path": str(video.path.absolute()), "frames": done,
                            "overlay": f"overlays/{video.name}.mp4"})

    def finish(self, bad: Sequence[tuple[Input, str]]) -> dict[str, Any]:
        """Write detections.json and the index, with what could not be read and why; return the index."""
        images = self.images + [self._entry(image, error=reason) for image, reason in bad]
        index = {"format": files.FORMAT, "version": files.VERSION, "task": self.model.task, "model": self.model.name,
                 "checkpoint_sha256": self.model.preprocess["checkpoint"]["sha256"],
                 "inference_engine": self.model.inference_engine, "class_names": list(self.model.class_names)}
        if self.model.task == "instance":
            index |= {"category_ids": self.category_ids, "score_thresholds": self.model.score_thresholds,
                      "coco_results": files.gather_coco_results(self.path, images)}
        index |= {"images": images, "videos": self.videos}
        write_json(self.path / files.INDEX, index)
        return index

    def _entry(self, image: Input, *, result: str | None = None, error: str | None = None) -> dict[str, Any]:
        return {"file_name": image.file_name, "path": str(image.path.absolute()),
                "image_id": self.image_ids.get(image.file_name), "result": result, "error": error}

    def _result(self, name: str, file_name: str, prediction: Any) -> str:
        """Write what was found in an image and return its name in the folder."""
        found = prediction.found
        if isinstance(found, LabelMap):
            result, data = f"labels/{name}.png", cv2.imencode(".png", found.labels)[1].tobytes()
        else:
            result, data = f"detections/{name}.json", self._detections(file_name, prediction)
        self._write(result, data)
        return result

    def _detections(self, file_name: str, prediction: Any) -> bytes:
        height, width = prediction.image.shape[:2]
        image_id, labels = self.image_ids.get(file_name), prediction.found.labels
        rows = result_rows(prediction.found, dict(enumerate(self.category_ids)))
        own = {"image_id": file_name if image_id is None else image_id}
        rows = [row | own | {"label": int(label), "name": self.model.class_names[label]}
                for row, label in zip(rows, labels)]
        content = {"file_name": file_name, "image_id": image_id, "height": height, "width": width, "detections": rows}
        return (json.dumps(content, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")

    def _write(self, name: str, data: bytes | memoryview) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, data)
