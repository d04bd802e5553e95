"""Images and videos that a command line names, and the names of their results."""
from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from src.contract import InputError
from src.data.checks import dark_samples, evenly
from src.data.columns import columns
from src.data.columns import lines as lines_of
from src.data.decode import decode_image
from src.inference.reading import IMAGES, UNREADABLE, VIDEOS, read_image
from src.results.files import result_names

log = logging.getLogger(__name__)
_LONGEST_NAME = 235  # bytes; file names have 255, a frame's number, a suffix and ".unfinished-" come to it


@dataclass(frozen=True)
class Input:
    """An image or a video.

    Attributes:
        file_name: its name in the results: the path from the data set's folder or from the folder that was searched, or
            only its file name.
        path: of the file.
        name: NAME of its result files (`src.results.files.result_names`).
        image_id: COCO's id, where a list says it.
    """

    file_name: str
    path: Path
    name: str = ""
    image_id: int | None = None


@dataclass
class Inputs:
    """The inputs that a command line names. `bad` are those that cannot be read, each with the reason."""

    images: list[Input] = field(default_factory=list)
    videos: list[Input] = field(default_factory=list)
    bad: list[tuple[Input, str]] = field(default_factory=list)

    def listed_ids(self) -> dict[str, int]:
        """COCO image id by file_name, of the images whose list says it."""
        return {one.file_name: one.image_id for one in self.images if one.image_id is not None}


def collect(words: Sequence[str], *, dataset_path: str = "", image_list: str = "") -> Inputs:
    """The images and videos of files, folders (searched through) and a list, each once.

    Args:
        words: files and folders.
        dataset_path: folder that file names of the results, and the list's paths, start from.
        image_list: file with an image a line, see `read_list`.

    Raises:
        InputError: an input does not exist, or nothing can be read.
    """
    found = [*_listed(image_list, dataset_path), *(one for word in words for one in _named(word, dataset_path))]
    unique = list({os.path.abspath(one.path): one for one in found}.values())
    inputs = Inputs()
    for one in _with_names(unique):
        is_video = one.path.suffix.lower() in VIDEOS
        reason = _unreadable(one, is_video)
        if reason:
            inputs.bad.append((one, reason))
        else:
            (inputs.videos if is_video else inputs.images).append(one)
    if not inputs.images and not inputs.videos:
        raise InputError(f"{', '.join(filter(None, [*words, image_list]))}: no image or video that can be read"
                         + "".join(f"\n{one.path}: {reason}" for one, reason in inputs.bad))
    return inputs


def read_list(path: str) -> list[tuple[str, int | None]]:
    """(file name, COCO image id or None) of each line of a list of images.

    The first word is the image's path, in double quotes where it has blanks; a whole number behind it is its id.
    The rest of a line, for example a label's path, is ignored.

    Raises:
        InputError: no such file, no text, no image, or an open quote.
    """
    try:
        lines = lines_of(Path(path).read_bytes().decode("utf-8-sig", errors="surrogateescape"))
    except OSError as error:
        raise InputError(f"--image_list={path}: {error.strerror}") from error
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            name, *rest = columns(line)
        except InputError:
            name = ""
        if not name or "\0" in line:
            raise InputError(f'--image_list={path}:{number}: {line[:60]!r} is no image; write PATH, or "A PATH"')
        rows.append((name, int(rest[0]) if rest and re.fullmatch(r"-?\d{1,18}", rest[0]) else None))
    if not rows:
        raise InputError(f"--image_list={path}: names no image")
    return rows


def _listed(image_list: str, dataset_path: str) -> list[Input]:
    if not image_list:
        return []
    return [Input(_from_dataset(Path(dataset_path, name), dataset_path) or os.path.normpath(name),
                  Path(dataset_path, name), image_id=image_id) for name, image_id in read_list(image_list)]


def _named(word: str, dataset_path: str) -> list[Input]:
    path = Path(word)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    found = sorted(filter(_is_input, path.rglob("*"))) if path.is_dir() else [path]
    return [Input(_from_dataset(file, dataset_path) or str(file.relative_to(path) if path.is_dir() else file.name),
                  file) for file in found]


def _from_dataset(file: Path, dataset_path: str) -> str:
    """The path of a file from the data set's folder; empty if it is elsewhere or there is no such folder."""
    name = os.path.relpath(file, dataset_path) if dataset_path else ".."
    return "" if name.split("/")[0] == ".." else name


def _is_input(path: Path) -> bool:
    """Whether a folder's entry is an input: a picture or video by suffix or content, not a folder, pipe or device."""
    suffix = path.suffix.lower()
    if suffix not in IMAGES + VIDEOS + UNREADABLE:
        return path.is_file() and not suffix and _looks_like_image(path)
    return path.is_file() or not path.exists()


def _looks_like_image(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            start = file.read(32)
    except OSError:
        return False
    return start.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"II*\0", b"MM\0*")) or \
        start[8:12] == b"WEBP" or start[4:12] in (b"ftypheic", b"ftypavif", b"ftypmif1")


def _with_names(found: Sequence[Input]) -> list[Input]:
    """Inputs with the names of their result files; inputs that share a file_name are named by their whole path."""
    uses = Counter(one.file_name for one in found)
    file_names = [one.file_name if uses[one.file_name] == 1 else os.path.normpath(one.path) for one in found]
    names = result_names(file_names)
    return [Input(file_name, one.path, _apart_from_frames(name, one, names), one.image_id)
            for one, file_name, name in zip(found, file_names, names)]


def _apart_from_frames(name: str, one: Input, names: Sequence[str]) -> str:
    """A video's NAME, changed if an image has the name of one of its frames."""
    while one.path.suffix.lower() in VIDEOS and any(re.fullmatch(re.escape(name) + r"_\d{6,}", n) for n in names):
        name += "_frames"
    return name


def _unreadable(one: Input, is_video: bool) -> str:
    """Why an image or video cannot be read, or an empty string. Reads the pixels, so that no later step fails."""
    if one.path.exists() and not one.path.is_file():  # reading a pipe would wait for ever
        return "is no regular file; copy what it holds into one"
    if one.path.suffix.lower() in UNREADABLE:
        return f"is a {one.path.suffix.lower()[1:].upper()} file, which is not read; convert it to PNG or JPEG"
    if len(os.fsencode(one.name)) > _LONGEST_NAME:
        return f"the name of its results, its path with __ for /, is above {_LONGEST_NAME} bytes; rename it"
    try:
        if is_video:
            str(one.path).encode()
            if next(frames(cv2.VideoCapture(str(one.path))), None) is None:
                return "no frame of it can be read; it is damaged, or of a kind that OpenCV does not know"
        else:
            decode_image(read_image(one.path))
    except UnicodeEncodeError:
        return "its name is not UTF-8, which OpenCV opens no video with; rename it"
    except InputError as error:
        return str(error)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def warn_of_dark_inputs(images: Sequence[Input], bit_depth: int) -> None:
    """Warn where 16-bit images use far fewer bits than a model's `bit_depth`; looks at some of them."""
    looked_at = (read_image(images[k].path) for k in evenly(len(images)))
    found = dark_samples(looked_at, bit_depth) if images else None
    if found:
        log.warning("%s: scale them to 16 bits, or predict with a model that was trained with --bit_depth=%d (this one "
                    "was with %d)", *found, bit_depth)


def frames(capture: cv2.VideoCapture) -> Iterator[np.ndarray]:
    """The frames of an opened video, (H, W, 3) uint8 RGB."""
    while True:
        there, frame = capture.read()
        if not there:
            return
        yield np.ascontiguousarray(frame[..., ::-1])
