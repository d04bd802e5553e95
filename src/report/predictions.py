"""A folder of predictions: overlays to look at, label maps or detections to work with, and an index of all.

    overlays/NAME.jpg      the image under what was found in it; NAME.mp4 for a video
    labels/NAME.png        label map, one class index a pixel, in the image's size
    detections/NAME.json   instances with boxes and run-length encoded masks, in the image's frame
    index.json             every input with its result, or why there is none; written last

NAME is the input's path with "/" as "__" and without suffix; frames of a video are NAME_000001 and so on.
"""
from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from src.contract import InputError, LabelMap
from src.data.decode import decode_image
from src.files import replacing, write_file

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm")
Progress = Callable[[str, int, int], None]


def collect(inputs: Sequence[str]) -> tuple[dict[str, Path], dict[str, Path], dict[str, str]]:
    """Images and videos by name, and the files that are neither readable images nor videos with the reason.

    Raises:
        InputError: an input does not exist, two have one name, or nothing can be read.
    """
    images: dict[str, Path] = {}
    videos: dict[str, Path] = {}
    bad: dict[str, str] = {}
    for word in inputs:
        path = Path(word)
        if not path.exists():
            raise InputError(f"{path}: no such file or folder")
        found = sorted(filter(_is_input, path.rglob("*"))) if path.is_dir() else [path]
        for file in found:
            place = videos if file.suffix.lower() in VIDEOS else images
            inside = file.relative_to(path) if path.is_dir() else Path(file.name)
            name = str(inside.with_suffix("")).replace("/", "__")
            if name in images or name in videos:
                raise InputError(f"{file}: its results would be called {name}, as those of another input; predict them "
                                 "into different folders")
            reason = _unreadable(file, decode=place is images)
            if reason:
                bad[str(file)] = reason
            else:
                place[name] = file
    if not images and not videos:
        raise InputError(f"{', '.join(inputs)}: no image or video that can be read"
                         + "".join(f"\n{path}: {reason}" for path, reason in bad.items()))
    return images, videos, bad


def _is_input(path: Path) -> bool:
    """Whether something in a folder is taken: by its suffix, and not where it is a folder, pipe or device."""
    return path.suffix.lower() in IMAGES + VIDEOS and (path.is_file() or not path.exists())


def _unreadable(file: Path, *, decode: bool) -> str:
    """Why a file cannot be read, or an empty string; with `decode` as an image."""
    if file.exists() and not file.is_file():  # reading a pipe would wait for ever
        return "is no regular file; copy what it holds into one"
    try:
        if decode:
            decode_image(file.read_bytes())
        else:
            str(file).encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8, which OpenCV opens no video with; rename it"
    except InputError as error:
        return str(error)
    except OSError as error:
        return error.strerror or str(error)
    return ""


class PredictionFolder:
    """Predicts with `model` (a `src.prediction.Model`) and writes into `path`."""

    def __init__(self, path: Path, model: Any, *, least_score: float = 0.5,
                 progress: Progress = lambda phase, done, total: None):
        if path.exists() and not path.is_dir():
            raise InputError(f"--output_dir={path}: a file; name a folder")
        self.path, self.model, self.least_score, self.progress = path, model, least_score, progress
        self.index: list[dict[str, Any]] = []

    def add_images(self, images: dict[str, Path]) -> None:
        for done, (name, prediction) in enumerate(zip(images, self.model.predict(images.values())), 1):
            picture = self.model.draw(prediction, least_score=self.least_score)
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
            for done, prediction in enumerate(self.model.predict(_frames(capture)), 1):
                picture = self.model.draw(prediction, least_score=self.least_score)
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


def _frames(capture: cv2.VideoCapture) -> Iterator[np.ndarray]:
    while True:
        there, frame = capture.read()
        if not there:
            return
        yield np.ascontiguousarray(frame[..., ::-1])
