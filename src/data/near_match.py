"""The file that was probably meant by a name that does not exist: a hint for messages. No MindSpore here."""
from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from urllib.parse import unquote


def files_in(folder: str) -> set[str]:
    """Names of the files in a folder; none where it cannot be listed."""
    try:
        return {entry.name for entry in os.scandir(folder) if entry.is_file()}
    except (OSError, ValueError):
        return set()


def near_match(folder: str, name: str, listing: Callable[[str], set[str]]) -> str:
    """The file that was probably meant by `name`, which `folder` lacks, as a hint for a message; "" without one.

    Args:
        listing: folder -> names of the files in it, empty where it is none.
    """
    slashes = name.replace("\\", "/")
    for spelling, how in ((slashes, "with / in place of \\"), (unquote(name), "with %20 and the like decoded"),
                          (unquote(slashes), "with / in place of \\, and %20 and the like decoded")):
        inner, base = os.path.split(os.path.join(folder, spelling))
        if spelling != name and base in listing(inner):
            return f"{spelling} does ({how}); correct the name"
    alike = _alike(folder, name, listing)
    if alike:
        how = "accents are encoded otherwise" if _composed(alike) == _composed(name) else "capitals matter"
        return f"{alike} does ({how} here); rename the file, or correct the name"
    inner, base = os.path.split(os.path.join(folder, name))
    stem = next((other for other in sorted(listing(inner)) if os.path.splitext(other)[0] == os.path.splitext(base)[0]),
                None)
    if stem:
        return f"{stem} does; correct the name"
    parts = name.replace("\\", "/").split("/")
    for place, shorter in ((folder, "/".join(parts[1:])), (folder, parts[-1]), (os.path.dirname(folder), name)):
        inner, base = os.path.split(os.path.join(place, shorter))
        if base and (place, shorter) != (folder, name) and base in listing(inner):
            return f"{os.path.join(place, shorter)} does; correct the name, or give another folder"
    return ""


def _alike(folder: str, name: str, listing: Callable[[str], set[str]]) -> str:
    """The path below `folder` that differs from `name` in capitals or in the encoding of accents alone, or ""."""
    parts: list[str] = []
    *folders, base = name.split("/")
    for part in folders:
        here = _folders_in(os.path.join(folder, *parts))
        found = part if part in here else next((other for other in here if _key(other) == _key(part)), None)
        if found is None:
            return ""
        parts.append(found)
    files = listing(os.path.join(folder, *parts))
    found = base if base in files else next((other for other in sorted(files) if _key(other) == _key(base)), None)
    return "/".join([*parts, found]) if found else ""


@lru_cache(maxsize=256)  # for a few thousand names of one folder
def _folders_in(folder: str) -> tuple[str, ...]:
    try:
        return tuple(sorted(entry.name for entry in os.scandir(folder) if entry.is_dir()))
    except (OSError, ValueError):
        return ()


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _key(text: str) -> str:
    return _composed(text).lower()
