"""Manifest and lock of a MindRecord build.

The manifest `NAME.manifest.json` lists the finished shards. It is rewritten atomically after every step, so a build
that was killed at any moment can continue from it. No MindSpore here.
"""
from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from src.contract import InputError, Record
from src.files import write_file

log = logging.getLogger(__name__)

SUFFIX = ".manifest.json"
VERSION = 1


@dataclass
class Shard:
    """One shard file: the part of the dataset that it holds and, once written, its size.

    Attributes:
        file: file name, in the manifest's folder.
        first, last: half-open range of positions in the (shuffled) dataset.
        records: records in the file; fewer than `last - first` where bad ones were left out.
        bytes: sum of image and target bytes of the records.
        largest: the largest record's bytes.
        source_hash: of every record of the range as it was read, bad ones included.
        content_hash: of the records in the file.
        histogram: label value -> pixels, summed over the records (empty where the check counts none).
        bad: messages of the records that were left out.
        skipped: their sample ids in the dataset.
        file_bytes: size of the finished file; None until it is in place.
        file_hash, index_hash: of the finished file and of its index `file`.db.
    """

    file: str
    first: int
    last: int
    records: int = 0
    bytes: int = 0
    largest: int = 0
    source_hash: str = ""
    content_hash: str = ""
    histogram: dict[int, int] = field(default_factory=dict)
    bad: list[str] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)
    file_bytes: int | None = None
    file_hash: str = ""
    index_hash: str = ""


@dataclass
class Manifest:
    """All shards of a build, its options (`request`) and its totals."""

    request: dict[str, Any]
    page_size: int = 0
    header_size: int = 0
    complete: bool = False
    left_out: list[str] = field(default_factory=list)
    shards: list[Shard] = field(default_factory=list)
    version: int = VERSION

    @property
    def records(self) -> int:
        return sum(shard.records for shard in self.shards)

    @property
    def bytes(self) -> int:
        return sum(shard.bytes for shard in self.shards)

    @property
    def bad(self) -> list[str]:
        """Messages of every record that is not in the shards."""
        return self.left_out + [message for shard in self.shards for message in shard.bad]

    @property
    def histogram(self) -> dict[int, int]:
        """Label value -> pixels over all records."""
        total: Counter[int] = Counter()
        for shard in self.shards:
            total.update(shard.histogram)
        return dict(sorted(total.items()))

    @property
    def content_hash(self) -> str:
        """Of all records in their order."""
        return hashlib.sha256("".join(shard.content_hash for shard in self.shards).encode()).hexdigest()

    def unfinished(self, folder: Path) -> list[str]:
        """Names of the shards that are not written, not there or not of the size that was written."""
        return [shard.file for shard in self.shards if not is_finished(shard, folder)]

    def save(self, dst: Path) -> None:
        """Write `dst`'s manifest atomically."""
        totals = {"records": self.records, "bytes": self.bytes, "content_hash": self.content_hash,
                  "histogram": self.histogram, "bad": self.bad}
        write_file(manifest_path(dst), json.dumps(totals | asdict(self), indent=1, ensure_ascii=False) + "\n")


def manifest_path(dst: Path) -> Path:
    """Path of the manifest of the records `dst`."""
    return dst.with_name(dst.name + SUFFIX)


def load(path: Path) -> Manifest:
    """Read a manifest.

    Raises:
        InputError: it is not a manifest, or another version's.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["version"] != VERSION:
            raise InputError(f"{path}: version {values['version']} of the manifest, this program reads {VERSION}; "
                             "build the records again under another --dst_path")
        shards = [Shard(**shard | {"histogram": {int(k): v for k, v in shard["histogram"].items()}})
                  for shard in values["shards"]]
        manifest = Manifest(**{key: values[key] for key in Manifest.__dataclass_fields__} | {"shards": shards})
        if (values["records"], values["bytes"]) != (manifest.records, manifest.bytes):
            raise ValueError(f"{values['records']} records of {values['bytes']} bytes, the shards have "
                             f"{manifest.records} of {manifest.bytes}")
        return manifest
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: damaged manifest ({error}); remove it and build the records again") from error


def find(path: Path) -> Path | None:
    """The manifest for `path`, which is a manifest, a build's dst_path or one of its shards; None if there is none."""
    if path.name.endswith(SUFFIX):
        return path
    if manifest_path(path).is_file():
        return manifest_path(path)
    stem = path.name.rstrip("0123456789")
    for candidate in sorted(path.parent.glob(f"{glob_escape(stem)}*{SUFFIX}")):
        if path.name in [shard.file for shard in load(candidate).shards]:
            return candidate
    return None


def shard_files(path: Path) -> set[str]:
    """Names of the shards that a manifest lists, whatever its version; none if it is damaged."""
    try:
        return {shard["file"] for shard in json.loads(path.read_text(encoding="utf-8"))["shards"]}
    except (ValueError, KeyError, TypeError, OSError):
        return set()


def glob_escape(text: str) -> str:
    """`text` as a glob pattern that matches only itself."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in text)


def is_finished(shard: Shard, folder: Path) -> bool:
    """Whether the shard and its index are in `folder`, at the size that was written."""
    path = folder / shard.file
    return (shard.file_bytes is not None and path.is_file() and path.stat().st_size == shard.file_bytes
            and path.with_name(path.name + ".db").is_file())


def shard_names(name: str, num_shards: int) -> list[str]:
    """Names as MindSpore's FileWriter gives them: `name`, or `name0..name9`, or `name00..`."""
    if num_shards == 1:
        return [name]
    digits = len(str(num_shards - 1))
    return [f"{name}{index:0{digits}d}" for index in range(num_shards)]


def record_digest(record: Record) -> bytes:
    """SHA-256 of everything in a record but its place."""
    head = f"{record.image_id}\0{record.file_name}\0{len(record.image)}\0"
    digest = hashlib.sha256(head.encode())
    digest.update(record.image)
    digest.update(record.target)
    return digest.digest()


def combined(digests: Iterable[bytes]) -> str:
    """One hash of records in their order."""
    return hashlib.sha256(b"".join(digests)).hexdigest()


@contextmanager
def exclusive(dst: Path, wait_seconds: float) -> Iterator[bool]:
    """Hold the lock on building `dst`; yields True if it had to wait for another process.

    It is an operating system lock, released when its process ends for whatever reason; the lock file stays.

    Raises:
        InputError: the other process was not done after `wait_seconds`; names it and the missing shards.
    """
    deadline, waited = time.monotonic() + wait_seconds, False
    with open(dst.with_name(f".{dst.name}.lock"), "a+", encoding="utf-8") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                _wait(file, dst, deadline, wait_seconds, first=not waited)
                waited = True
            except OSError as error:
                raise InputError(f"{dst.parent}: this file system has no locks ({error.strerror}); build on another "
                                 "one and copy the files, manifest included") from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield waited


def _wait(file: Any, dst: Path, deadline: float, wait_seconds: float, *, first: bool) -> None:
    file.seek(0)
    holder = file.read().strip() or "another process"
    if first:
        log.info("waiting for %s, which builds %s", holder, dst)
    if time.monotonic() > deadline:
        path = manifest_path(dst)
        missing = ", ".join(load(path).unfinished(dst.parent)) if path.is_file() else "all shards (it checks the input)"
        raise InputError(f"{dst}: waited {wait_seconds:g} s for {holder} to build it; still missing: "
                         f"{missing or 'the final manifest'}. Wait longer (--wait_seconds), or stop that process and "
                         "start again: finished shards are kept")
    time.sleep(0.1)
