"""Pieces of messages that every package needs. Bottom layer."""
from __future__ import annotations

from collections.abc import Iterable


def some(values: Iterable[object], limit: int = 8) -> str:
    """The first values as text, and how many more there are: "3, 4, 7 and 12 more"."""
    texts = list(map(str, values))
    more = f" and {len(texts) - limit} more" if len(texts) > limit else ""
    return ", ".join(texts[:limit]) + more
