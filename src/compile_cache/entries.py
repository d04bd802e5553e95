"""Entries on disk: written in one step, read only when every byte is as written. No MindSpore is imported here."""
from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from src.compile_cache import key as keys

log = logging.getLogger(__name__)
MANIFEST = "manifest.json"
INPUTS = "inputs.npz"
KEPT = 64  # entries; the least recently used go first


class Damaged(Exception):
    """An entry is not what was written."""


@dataclass(frozen=True)
class Entry:
    """A complete entry, read into memory and checked.

    Attributes:
        files: MindSpore's own, {path in its folder: content}.
        inputs: of the probe; those that are drawn again are None.
        outcome: of the probe, when the graph had been compiled.
    """

    files: Mapping[str, bytes]
    inputs: Sequence[np.ndarray | None]
    outcome: str

    def unpack(self, folder: Path) -> None:
        """Write MindSpore's files into its folder."""
        for name, content in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)


class Entries:
    """The entries of a folder, which several processes and hosts may share."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.writable = self._is_writable()

    def read(self, key: Mapping[str, Any]) -> Entry | None:
        """The entry of a key; None if there is none, or none that is as written (which is logged and removed)."""
        path = self.path(key)
        if not path.is_dir():
            return None
        try:
            self._refuse_deadly(path)
            return _read(path, key)
        except (Damaged, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            self.discard(key, f"is damaged ({error})" if not isinstance(error, Damaged) else str(error))
            return None

    def write(self, key: Mapping[str, Any], entry: Entry) -> bool:
        """Store an entry under its key unless there is one; whether it could be written."""
        if not self.writable:
            return False
        unfinished = None
        try:
            unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=self.folder))
            _write(unfinished, key, entry)
            unfinished.chmod(0o755)
            with contextlib.suppress(OSError):  # of another process that was faster: the same entry
                unfinished.rename(self.path(key))
            self._prune()
            return True
        except OSError as error:
            log.warning("%s: a compiled graph could not be stored (%s)", self.folder, error)
            return False
        finally:
            if unfinished:
                shutil.rmtree(unfinished, ignore_errors=True)

    def discard(self, key: Mapping[str, Any], reason: str) -> None:
        """Remove an entry and say why."""
        path = self.path(key)
        log.warning("%s: this compiled graph %s; it is thrown away and the graph compiled anew", path, reason)
        with contextlib.suppress(OSError):
            gone = path.with_name(f".unfinished-{os.getpid()}-{path.name}")
            path.rename(gone)  # nobody finds half an entry
            shutil.rmtree(gone, ignore_errors=True)
        if path.exists():
            log.warning("%s could not be removed", path)

    @contextlib.contextmanager
    def serving(self, key: Mapping[str, Any]) -> Iterator[None]:
        """A mark that stays if this process dies while it runs the entry's graph, so that no other one does."""
        mark = self.path(key) / f"serving-{socket.gethostname()}-{os.getpid()}"
        with contextlib.suppress(OSError):
            mark.write_text(str(psutil.Process().create_time()))
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                mark.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                os.utime(self.path(key) / MANIFEST)  # used now

    def nearest(self, key: Mapping[str, Any]) -> list[str]:
        """In what a key differs from the stored one that is most like it; empty without one."""
        found = []
        for path in self.folder.glob(f"[!.]*/{MANIFEST}"):
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
                other = json.loads(path.read_text(encoding="utf-8"))["key"]
                if other["graph"] == key["graph"]:
                    found.append(keys.difference(key, other))
        return min((names for names in found if names), key=len, default=[])

    def path(self, key: Mapping[str, Any]) -> Path:
        return self.folder / keys.digest(key)[:32]

    def _refuse_deadly(self, path: Path) -> None:
        for mark in path.glob(f"serving-{socket.gethostname()}-*"):
            if not _is_running(mark) and mark.exists():  # else that process has removed it just now
                raise Damaged("was being checked when its process died")

    def _prune(self) -> None:
        used = []
        for manifest in self.folder.glob(f"[!.]*/{MANIFEST}"):  # a dot: another process's, unfinished
            with contextlib.suppress(OSError):  # it is gone by now
                used.append((manifest.stat().st_mtime, manifest.parent))
        for _, path in sorted(used)[:-KEPT]:
            shutil.rmtree(path, ignore_errors=True)

    def _is_writable(self) -> bool:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                return True
        except OSError as error:
            log.warning("%s: cannot be written (%s): graphs that are compiled now are not kept", self.folder, error)
            return False


def _is_running(mark: Path) -> bool:
    """Whether the process that wrote a mark still runs; another one may have its number by now."""
    try:
        begun = psutil.Process(int(mark.name.rpartition("-")[2])).create_time()
        return begun <= float(mark.read_text() or begun) + 1  # empty: it is being written
    except (psutil.NoSuchProcess, FileNotFoundError):
        return False


def _write(folder: Path, key: Mapping[str, Any], entry: Entry) -> None:
    """The manifest last, with the hashes of the other files and its own."""
    content = {f"graph/{name}": data for name, data in entry.files.items()}
    content[INPUTS] = _packed({str(k): array for k, array in enumerate(entry.inputs) if array is not None})
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    manifest = {"key": dict(key), "outcome": entry.outcome, "inputs": len(entry.inputs),
                "files": {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}}
    (folder / MANIFEST).write_text(json.dumps(manifest | {"seal": keys.digest(manifest)}), encoding="utf-8")


def _read(path: Path, key: Mapping[str, Any]) -> Entry:
    manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    if keys.digest({name: value for name, value in manifest.items() if name != "seal"}) != manifest["seal"]:
        raise Damaged("has a damaged manifest")
    if keys.digest(manifest["key"]) != keys.digest(key):
        raise Damaged("is in the folder of another one")
    content = {name: (path / name).read_bytes() for name in manifest["files"]}
    for name, data in content.items():
        if hashlib.sha256(data).hexdigest() != manifest["files"][name]:
            raise Damaged(f"has a damaged file, {name}")
    with np.load(io.BytesIO(content.pop(INPUTS)), allow_pickle=False) as stored:
        inputs = [stored.get(str(k)) for k in range(manifest["inputs"])]
    return Entry({name.removeprefix("graph/"): data for name, data in content.items()}, inputs, manifest["outcome"])


def _packed(arrays: Mapping[str, np.ndarray]) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()
