"""Command lines: a parser that suggests the nearest flag, flags typed by their defaults, errors without traceback."""
from __future__ import annotations

import argparse
import contextlib
import difflib
import logging
import os
import re
import sys
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pydantic

from src.contract import InputError

# A variable: the launcher's file for a rank's process id and the status of its program, before Python itself ends.
STATUS_FILE = "LAUNCH_STATUS_FILE"


class Parser(argparse.ArgumentParser):
    """argparse without abbreviations, which suggests the nearest flag for an unknown one.

    `elsewhere` maps flags of other entry scripts to a remark, which explains such a flag in the wrong place.
    """

    def __init__(self, *args: Any, elsewhere: Mapping[str, str] | None = None, **kwargs: Any):
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)
        self.elsewhere = elsewhere or {}

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.error(self._explain(unknown[0]))
        return parsed

    def _explain(self, word: str) -> str:
        if not word.startswith("-"):
            return f"unexpected word {word!r}; flags are written --name=value"
        name = word.split("=")[0]
        if name in self.elsewhere:
            return f"{name} {self.elsewhere[name]}"
        return f"unknown flag {name}{nearest(name, self._option_string_actions)}"

    def error(self, message: str) -> typing.NoReturn:
        print(f"{self.prog}: error: {message} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(2)


def parse_bool(text: str | bool) -> bool:
    """True for true, yes, on and 1, False for false, no, off and 0, in upper or lower case.

    Raises:
        ArgumentTypeError: any other text.
    """
    try:
        return pydantic.TypeAdapter(bool).validate_python(text.lower() if isinstance(text, str) else text)
    except pydantic.ValidationError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a boolean; write True or False") from None


def number_in(kind: type, least: int, most: int = 2 ** 31 - 1) -> Callable[[str], int | float]:
    """The `type` of a flag whose value is an int or a float from `least` to `most`."""
    def convert(text: str) -> int | float:
        try:
            value = kind(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= most:  # nor is "nan"
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a number from {least} to {most}")
        return value
    return convert


def add_flag(parser: argparse.ArgumentParser, name: str, default: Any, text: str, **kwargs: Any) -> None:
    """Add `--name` with the type of `default` to a tool's parser; a bool works bare, `=True` and `=False`."""
    if isinstance(default, bool):
        kwargs |= {"nargs": "?", "const": True, "type": parse_bool, "metavar": "True|False"}
    elif default is not None:
        kwargs.setdefault("type", type(default))
    parser.add_argument(f"--{name}", default=default, help=f"{text} (default: {default})".replace("%", "%%"), **kwargs)


def nearest(name: str, names: Iterable[str]) -> str:
    """`; did you mean X?` for the nearest of `names`, or an empty string."""
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


def entry_point(main: Callable[[], int | None]) -> typing.NoReturn:
    """Run `main` as a program: an InputError ends it with a message and status 2 instead of a traceback.

    The log goes to standard output; with `--print_config`, whose output is YAML alone, to standard error.
    """
    status_file = os.environ.pop(STATUS_FILE, "")  # not for the programs that this one starts
    printing = any(word.partition("=")[0] == "--print_config" for word in sys.argv[1:])
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr if printing else sys.stdout)
    try:
        status = main()
    except (InputError, OSError, RuntimeError) as error:
        message = _user_message(error)
        if message is None:
            raise
        print(f"error: {message}", file=sys.stderr, flush=True)
        status = 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        status = 130
    if status_file:
        with contextlib.suppress(OSError):  # the exit status stands, then
            Path(status_file).write_text(f"{os.getpid()} {status or 0}")
    raise SystemExit(status or 0)


def _user_message(error: BaseException) -> str | None:
    """The message of an InputError, also where a data pipeline wrapped it in a RuntimeError of its own."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    found = re.search(r".*InputError: (.*?)(?:\n\s*\n|\n-{5,}|\Z)", str(error), re.S)  # after any traceback
    return found.group(1).strip() if found else None
