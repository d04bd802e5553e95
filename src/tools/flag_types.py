"""Types of the tools' flags: what a text on the command line is turned into, and what is refused."""
from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable


def number_in(kind: type, least: int, most: int = 2 ** 31 - 1) -> Callable[[str], int | float]:
    """The `type` of a flag that takes an int or a float from `least` to `most`."""
    def convert(text: str) -> int | float:
        try:
            value = kind(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= most:  # nor is "nan"
            raise ArgumentTypeError(f"{text[:40]!r} is not a number from {least} to {most}")
        return value
    return convert
