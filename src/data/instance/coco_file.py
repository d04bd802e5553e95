"""Annotation files in COCO's layout: their images and categories as lists, their annotations as JSON texts.

Annotations are most of a large file, and as Python's objects they take six times its size. So they stay text, of which
few are decoded at a time. No MindSpore here.
"""
from __future__ import annotations

import codecs
import io
import json
import os
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from src.contract import InputError

_PARTS = ("images", "annotations", "categories")
_BETWEEN = b", \t\r\n"  # what stands between the entries of a list
_BLOCK = 16 << 20  # bytes whose characters are checked at a time


class Texts:
    """The JSON texts of a list's entries: row k is `buffer[starts[k]:ends[k]]`.

    Attributes:
        buffer: the whole text, or the `FileOnDisk` that holds it.
        starts, ends: (N,) int64.
    """

    def __init__(self, buffer: bytes | FileOnDisk, starts: np.ndarray, ends: np.ndarray):
        self.buffer = buffer
        self.starts = starts
        self.ends = ends

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, row: int) -> bytes:
        return self.buffer[int(self.starts[row]):int(self.ends[row])]

    def span(self, first: int, last: int) -> bytes:
        """Rows first..last-1, as the text of a list."""
        return b"[" + self.buffer[int(self.starts[first]):int(self.ends[last - 1])] + b"]"


class FileOnDisk:
    """The bytes of a file, read slice by slice when they are asked for. Safe in several threads at once.

    Attributes:
        stamp: size in bytes, and time of the last change in ns.
    """

    def __init__(self, path: str | Path):
        self.path = str(path)
        with _explained(path):
            self._file = io.FileIO(path)
        weakref.finalize(self, self._file.close)
        self.stamp = self._stamp()

    def __getitem__(self, part: slice) -> bytes:
        data = os.pread(self._file.fileno(), part.stop - part.start, part.start)
        self.check()
        return data

    def check(self) -> None:
        """Raise InputError if the file was changed since this object was made."""
        if self._stamp() != self.stamp:
            raise InputError(f"{self.path}: was changed while it was in use; start again")

    def _stamp(self) -> tuple[int, int]:
        state = os.fstat(self._file.fileno())
        return state.st_size, state.st_mtime_ns


@dataclass(frozen=True)
class AnnotationFile:
    """The three lists of an annotation file as they are written there, the annotations as texts."""

    images: list[Any]
    categories: list[Any]
    annotations: Texts


class _Layout(msgspec.Struct):
    images: list[Any]
    annotations: list[msgspec.Raw]
    categories: list[Any]


def read_bytes(path: str | Path) -> bytes:
    """The contents of an annotation file; InputError where it cannot be read."""
    with _explained(path):
        return Path(path).read_bytes()


@contextmanager
def _explained(path: str | Path) -> Iterator[None]:
    """Turn errors of opening and reading a file into InputError."""
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{path}: no such annotation file; check --coco_root, the data type and --instance_set"
                         ) from None
    except OSError as error:
        raise InputError(f"{path}: {str(error.strerror).lower()}; give an annotation file") from error


def split(data: bytes) -> AnnotationFile:
    """The parts of an annotation file with the contents `data`.

    Raises:
        ValueError, RecursionError: something that msgspec does not take; `split_slowly` takes it, or says what it is.
    """
    _check_characters(data)
    layout = msgspec.json.decode(data, type=_Layout)
    content = _checked({name: getattr(layout, name) for name in _PARTS}, "")
    return AnnotationFile(content["images"], content["categories"], _texts(data, layout.annotations))


def split_slowly(data: bytes, path: str | Path) -> AnnotationFile:
    """As `split`, by Python's own module, which also takes NaN, UTF-16 and the like, and names the line of a mistake.

    Raises:
        InputError: not JSON, or not COCO's layout.
    """
    content = _content(data, path)
    texts = [json.dumps(entry).encode() for entry in content["annotations"]]
    return AnnotationFile(content["images"], content["categories"], _written(texts))


def _content(data: bytes, path: str | Path) -> dict[str, list]:
    try:
        content = json.loads(data)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}:{error.colno}: not JSON ({error.msg.lower()}); restore the file, it "
                         "may be truncated") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text file (byte {error.start}); give a JSON file in COCO's layout") from error
    except ValueError as error:
        raise InputError(f"{path}: a number with thousands of digits; correct the file") from error
    except RecursionError:
        raise InputError(f"{path}: lists or objects nested too deep; give a JSON file in COCO's layout") from None
    if not isinstance(content, dict):
        hint = "this looks like a file of results" if isinstance(content, list) else "it holds one value"
        raise InputError(f"{path}: no object with {', '.join(_PARTS)} ({hint}); give the annotation file")
    return _checked(content, path)


def _checked(content: dict[str, Any], path: str | Path) -> dict[str, list]:
    for part in _PARTS:
        if not isinstance(content.get(part), list):
            raise InputError(f"{path}: has no list {part!r}; an annotation file has {', '.join(_PARTS)}")
        if not content[part] and part != "annotations":
            raise InputError(f"{path}: the list {part!r} is empty; restore the file")
    return content


def _check_characters(data: bytes) -> None:
    """Raise UnicodeDecodeError for what is not UTF-8: msgspec does not look into the strings that it skips."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(data), _BLOCK):
        decoder.decode(memoryview(data)[start:start + _BLOCK])
    decoder.decode(b"", final=True)


def _texts(data: bytes, entries: Sequence[msgspec.Raw]) -> Texts:
    """Where the entries, which are views of `data` one after another, stand in it."""
    starts, ends = np.empty((2, len(entries)), np.int64)
    position = _address(entries[0]) - _address(data) if entries else 0
    for row, entry in enumerate(entries):
        while data[position] in _BETWEEN:
            position += 1
        starts[row] = position
        ends[row] = position = position + memoryview(entry).nbytes
    return Texts(data, starts, ends)


def _address(data: bytes | msgspec.Raw) -> int:
    return np.frombuffer(data, np.uint8).__array_interface__["data"][0]


def _written(texts: Sequence[bytes]) -> Texts:
    """`texts` one after another, with commas between them."""
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    ends = (lengths + 1).cumsum() - 1
    return Texts(b",".join(texts), ends - lengths, ends)
