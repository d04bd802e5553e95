"""Atomic file writes (a temporary name, then a rename) and file hashes."""
from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, with the same suffix; when the block ends, the file is renamed to `path`.

    If the block fails, the temporary file is removed and an existing `path` stays. A killed process leaves
    `.unfinished-*`.
    """
    unfinished = path.with_name(f".unfinished-{os.getpid()}-{path.name}")
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_file(path: Path, content: bytes | memoryview | str) -> None:
    """Write a file in one step, text as UTF-8."""
    with replacing(path) as unfinished:
        unfinished.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


def user_cache() -> Path:
    """The project's folder among the user's caches, which need not exist.

    Raises:
        RuntimeError: there is no home folder, and XDG_CACHE_HOME is not set.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mindseg"


def sha256(path: Path) -> str:
    """Hash of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
