"""Opens annotation files; large ones are read once, and an index of them is kept for other processes and later starts.

The index of `instances_train2017.json` is `instances_train2017.json.index.npz` beside it, or in the user's cache where
that folder cannot be written to. It has the table of the annotations and the hash of the file that it belongs to; the
coordinates stay in that file. One process makes it while others that want it wait. No MindSpore here.
"""
from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from src.data.instance.coco_file import FileOnDisk, Texts, read_bytes
from src.data.instance.coco_scan import read_table
from src.data.instance.coco_table import ROW, AnnotationTable, Outcome
from src.data.instance.coco_tidy import Tidy, say
from src.files import replacing, sha256, user_cache

log = logging.getLogger(__name__)
LARGE = 32 << 20  # bytes; smaller files are read and checked in about a second
_DAMAGED = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error)


def open_table(path: str | Path) -> AnnotationTable:
    """The checked annotations of a file in COCO's layout. What was brought into COCO's form is logged.

    Raises:
        InputError: no such file, not JSON, or not COCO's layout.
    """
    path = Path(path)
    is_large = path.is_file() and path.stat().st_size >= LARGE
    table = _indexed(path) if is_large else read_table(read_bytes(path), path)
    say(table.tidy.notes, path)
    return table


def _indexed(path: Path) -> AnnotationTable:
    """The table of a large file, from its index if there is one."""
    beside = path.with_name(f"{path.name}.index.npz")
    index = beside if os.access(path.parent, os.W_OK) else _in_cache(beside)
    table = _load(beside, path) or (_load(index, path) if index and index != beside else None)
    if table:
        return table
    if not index:
        return _made(path)[0]
    with _locked(index):
        return _load(index, path) or _made_and_saved(path, index)


def _in_cache(beside: Path) -> Path | None:
    """The path in the user's cache for an index that cannot be `beside` its file; None where that cannot be either."""
    try:
        folder = user_cache() / "annotations" / hashlib.sha256(os.fsencode(beside.resolve())).hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: there is no home folder
        return None
    return folder / beside.name


def _made_and_saved(path: Path, index: Path) -> AnnotationTable:
    table, head = _made(path)
    try:
        if isinstance(table.texts.buffer, FileOnDisk):
            _save(index, table, head)
    except OSError as error:
        log.warning("%s: the index could not be written (%s): the next start reads and checks the annotations again",
                    index, error.strerror)
    return table


def _made(path: Path) -> tuple[AnnotationTable, dict[str, Any]]:
    """The table of a file that is read and checked now, and what shows later that it belongs to the file."""
    on_disk = FileOnDisk(path)
    log.info("%s: reading and checking %d MB of annotations", path, on_disk.stamp[0] >> 20)
    data = read_bytes(path)
    on_disk.check()
    head = {"program": _program(), "stamp": on_disk.stamp, "sha256": hashlib.sha256(data).hexdigest()}
    table = read_table(data, path)
    if table.texts.buffer is data:  # else it was written anew, in memory
        table = replace(table, texts=Texts(on_disk, table.texts.starts, table.texts.ends))
    return table, head


def _save(index: Path, table: AnnotationTable, head: dict[str, Any]) -> None:
    head |= {"images": table.images, "categories": table.categories, "outcomes": table.outcomes,
             "tidy": asdict(table.tidy)}
    with replacing(index) as unfinished, unfinished.open("wb") as file:
        np.savez(file, head=np.frombuffer(json.dumps(head).encode(), np.uint8), rows=table.rows)


def _load(index: Path, path: Path) -> AnnotationTable | None:
    """The table of an index, if there is one that belongs to the file as it is now."""
    if not index.is_file():
        return None
    try:
        with np.load(index) as stored:
            head = json.loads(stored["head"].tobytes())
            on_disk = FileOnDisk(path)
            if head["program"] != _program() or (head["stamp"] != list(on_disk.stamp)
                                                 and head["sha256"] != sha256(path)):
                return None
            rows = stored["rows"].astype(ROW, casting="no", copy=False)
        outcomes = [Outcome(kind, problem, tuple(map(tuple, repairs))) for kind, problem, repairs in head["outcomes"]]
        return AnnotationTable(Texts(on_disk, rows["start"], rows["end"]), rows, head["images"], head["categories"],
                               Tidy(**head["tidy"]), outcomes)
    except _DAMAGED as error:
        log.warning("%s is damaged (%s) and is made again", index, error)
        return None


@contextmanager
def _locked(index: Path) -> Iterator[None]:
    """Let one process at a time make an index. Where there are no locks each makes its own, and the last one stays."""
    with index.with_name(f".{index.name}.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("waiting for another process that makes %s", index)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            pass
        yield


def _program() -> str:
    """Hash of the modules that make a table: other ones may come to other results."""
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()
