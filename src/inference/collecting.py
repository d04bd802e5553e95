"""Images, folders and videos that a command line names, by the names of their results."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from src.contract import InputError
from src.data.decode import decode_image

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm")


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


def frames(capture: cv2.VideoCapture) -> Iterator[np.ndarray]:
    """The frames of an opened video, (H, W, 3) uint8 RGB."""
    while True:
        there, frame = capture.read()
        if not there:
            return
        yield np.ascontiguousarray(frame[..., ::-1])
