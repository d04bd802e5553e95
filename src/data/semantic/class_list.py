"""Class names in a text file beside label maps: one on each line, by class index. No MindSpore here.

    labels.txt       `INDEX NAME`, or names alone
    class_names.txt  labelme's labelme2voc.py: names alone, `_background_` first
    classes.txt      names alone
"""
from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from src.contract import InputError

FILE_NAMES = ("labels.txt", "class_names.txt", "classes.txt")
_IGNORED = 255
_NUMBERED = re.compile(r"(\d{1,3})[\s:=,;]+(\S.*)")
_IGNORE = "__ignore__"  # labelme calls the index -1 like this, which is in no label


def names_beside(folders: Iterable[Path]) -> tuple[Path, list[str]] | None:
    """The first file of class names in one of `folders`, and its names by class index; None without one.

    Raises:
        InputError: the file is no list of names.
    """
    path = next((path for folder in folders for name in FILE_NAMES if (path := folder / name).is_file()), None)
    return (path, read_class_names(path)) if path else None


def read_class_names(path: Path) -> list[str]:
    """The names in a file, by class index; 255, which is ignored, may be named too.

    Raises:
        InputError: unreadable, without a name, or numbers that are not 0, 1, 2, ...
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not readable as a list of class names ({error}); restore or remove it") from error
    lines = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    numbered = [_NUMBERED.fullmatch(line) for line in lines]
    if all(numbered):
        rows = [(int(found[1]), found[2].strip()) for found in numbered if found]
        names = [name for number, name in sorted(rows) if number != _IGNORED]
        if sorted(number for number, _ in rows if number != _IGNORED) != list(range(len(names))):
            raise InputError(f"{path}: the numbers of its classes are not 0, 1, 2, ...; name every class once")
    else:
        names = [line for line in lines if line != _IGNORE]
    if not names or len(names) > _IGNORED:
        raise InputError(f"{path}: names {len(names)} classes; 1 to {_IGNORED} can be: correct it, or remove it")
    return names
