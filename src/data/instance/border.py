"""Boxes at the border of an image: what rounding may put beyond it, and what is clipped. No MindSpore here."""
from __future__ import annotations

from collections.abc import Sequence

TOLERANCE = 1.0  # pixels that rounding may put a box or polygon beyond the image's border


def fit_box(box: tuple[float, ...], size: tuple[int, int]) -> tuple[float, ...] | None:
    """A box x1, y1, x2, y2 in an image of `size` (H, W): as it is where it is inside but for rounding, clipped where at
    least half of it is inside, else None."""
    low, high = box[:2], box[2:]
    if within(low, high, size):
        return box
    return (max(low[0], 0), max(low[1], 0), min(high[0], size[1]), min(high[1], size[0])) \
        if mostly_within(low, high, size) else None


def within(low: Sequence[float], high: Sequence[float], size: tuple[int, int]) -> bool:
    """Whether the box from `low` to `high` (x, y) is inside the image, but for rounding."""
    return min(low) >= -TOLERANCE and high[0] <= size[1] + TOLERANCE and high[1] <= size[0] + TOLERANCE


def mostly_within(low: Sequence[float], high: Sequence[float], size: tuple[int, int]) -> bool:
    """Whether at least half of the box from `low` to `high` (x, y) is inside the image."""
    inside = max(min(high[0], size[1]) - max(low[0], 0), 0) * max(min(high[1], size[0]) - max(low[1], 0), 0)
    return inside > 0 and 2 * inside >= (high[0] - low[0]) * (high[1] - low[1])
