"""The file that was probably meant by a name that does not exist: a hint for messages. No MindSpore here."""
from __future__ import annotations

import os
from collections.abc import Callable
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
    inner, base = os.path.split(os.path.join(folder, name))
    same = next((other for other in sorted(listing(inner)) if other.lower() == base.lower()), None)
    if same:
        return f"{same} does (capitals matter here); rename the file, or correct the name"
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
