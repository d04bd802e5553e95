"""Histograms as SVG for HTML pages, in the colours of the learning curves."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from src.report.page import text

_WIDTH, _HEIGHT, _LEFT, _BELOW = 340, 120, 4, 18  # of the drawing, pixels
_BAR, _LINE, _INK = "#2f6fde", "#e2574c", "#78787f"


def histogram(title: str, values: Sequence[float], *, marks: Mapping[str, float] | None = None, bins: int = 30,
              logarithmic: bool = False) -> str:
    """A histogram as SVG text, empty where there are no values.

    Args:
        marks: {name: value} of vertical lines, e.g. limits; those outside the values widen the axis.
        logarithmic: the axis; values below 1 then count as 1.
    """
    array = np.asarray(values, np.float64)
    if not len(array):
        return ""
    marks = dict(marks or {})
    low, high = (f([f(array), *marks.values()]) for f in (np.min, np.max))
    if logarithmic:
        array, low, high = np.maximum(array, 1), max(low, 1), max(high, 2)
        edges = np.geomspace(low, max(high, low * 2), bins + 1)
    else:
        edges = np.linspace(low, high if high > low else low + 1, bins + 1)
    counts = np.histogram(np.clip(array, edges[0], edges[-1]), edges)[0]
    across = np.log(edges) if logarithmic else edges

    def x(value: float) -> float:
        at = np.log(max(value, 1)) if logarithmic else value
        return _LEFT + (_WIDTH - 2 * _LEFT) * (at - across[0]) / (across[-1] - across[0])

    bars = "".join(_bar(x(a), x(b), n / counts.max()) for a, b, n in zip(edges, edges[1:], counts) if n)
    lines = "".join(_mark(x(value), f"{name} {value:g}") for name, value in marks.items())
    ends = (f'<text x="{_LEFT}" y="{_HEIGHT + 14}">{edges[0]:.4g}</text>'
            f'<text x="{_WIDTH - _LEFT}" y="{_HEIGHT + 14}" text-anchor="end">{edges[-1]:.4g}</text>')
    return (f'<div><b>{text(title)}</b><svg viewBox="0 0 {_WIDTH} {_HEIGHT + _BELOW}" role="img" '
            f'aria-label="{text(title)}" font-size="11" fill="{_INK}">{bars}{lines}{ends}</svg></div>')


def _bar(left: float, right: float, part: float) -> str:
    height = max(part * (_HEIGHT - 14), 1)
    return (f'<rect x="{left:.1f}" y="{_HEIGHT - height:.1f}" width="{max(right - left - 1, 1):.1f}" '
            f'height="{height:.1f}" fill="{_BAR}"></rect>')


def _mark(at: float, name: str) -> str:
    anchor = "end" if at > _WIDTH / 2 else "start"
    return (f'<line x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="{_HEIGHT}" stroke="{_LINE}" stroke-width="1.5"></line>'
            f'<text x="{at + (-4 if anchor == "end" else 4):.1f}" y="10" text-anchor="{anchor}">{text(name)}</text>')
