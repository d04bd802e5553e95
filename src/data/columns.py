r"""Columns of list files: separated by blanks, names with blanks in double quotes, in every list of the project.

Inside quotes, \" is a quote and \\ a backslash, as C++'s `std::quoted` writes them. Earlier lists doubled quotes ("")
and are read too; other backslashes stand for themselves. No MindSpore here.
"""
from __future__ import annotations

import re
from typing import Any

from src.contract import InputError

_COLUMN = re.compile(r'"((?:[^"\\]|\\.|"")*)"(?=\s|$)|(\S+)')


def columns(line: str) -> list[str]:
    """The columns of a line; InputError for a quote that does not end."""
    found = _COLUMN.findall(line)
    if any(plain.startswith('"') for _, plain in found):
        raise InputError('a double quote that does not end in front of a blank; write "A NAME"')
    return [plain or _plain(inside) for inside, plain in found]


def quoted(name: Any) -> str:
    """A file name as a column.

    Raises:
        InputError: no text, or one that no line of a file in UTF-8 can hold; the caller adds the place.
    """
    if not isinstance(name, str) or not name or re.search("[\0\n\r\ud800-\udfff]", name):
        raise InputError(f"file_name {name!r} cannot be written to a list; rename the image")
    if not name.startswith('"') and not any(map(str.isspace, name)):
        return name
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def lines(text: str) -> list[str]:
    """The lines of a file; unlike `str.splitlines`, names may hold the separators that Unicode has for typesetting."""
    return re.split(r"\r\n|\n|\r", text)


def _plain(inside: str) -> str:
    return re.sub(r'\\(["\\])|""', lambda found: found[1] or '"', inside)
