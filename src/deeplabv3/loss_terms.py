"""The terms of the loss as the key `loss` names them. No MindSpore here."""
from __future__ import annotations

import math
from collections.abc import Sequence

from src.command_line import nearest

TERMS = ("ce", "ohem", "dice", "lovasz")  # what each computes is in `src/deeplabv3/loss.py`
_FORM = "expected NAME:WEIGHT, or NAME for a weight of 1, such as ce:1,dice:0.5"


def read_terms(entries: Sequence[str]) -> dict[str, float]:
    """{name of a term: its weight} of entries `NAME` or `NAME:WEIGHT`.

    Raises:
        ValueError: no entry, an unknown or repeated name, or a weight that is not a positive number.
    """
    terms: dict[str, float] = {}
    for entry in entries:
        name, colon, text = str(entry).partition(":")
        if name not in TERMS:
            raise ValueError(f"unknown loss {name!r}{nearest(name, TERMS) or ';'} losses are {', '.join(TERMS)}; "
                             f"{_FORM}")
        if name in terms:
            raise ValueError(f"{name} is given twice; add its weights up in one entry")
        terms[name] = _weight(entry, text) if colon else 1.0
    if not terms:
        raise ValueError(f"no loss; {_FORM}")
    return terms


def _weight(entry: str, text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 < weight < math.inf:
        raise ValueError(f"{entry!r} has the weight {text!r}; expected a number above 0; leave out a loss of weight 0")
    return weight


def written(terms: dict[str, float]) -> tuple[str, ...]:
    """The entries of `read_terms` in their one spelling."""
    return tuple(f"{name}:{weight!r}".removesuffix(".0") for name, weight in terms.items())
