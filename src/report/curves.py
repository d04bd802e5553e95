"""A run's log as a picture: losses, learning rate and metric over the steps."""
from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLOURS = ("#2f6fde", "#e2574c", "#2a9d6f", "#b06fd8", "#e0902f", "#5b6b7a", "#1f9ab0", "#9a7b4f")
LEGEND: dict[str, Any] = {"edgecolor": "none", "framealpha": 0.9, "fontsize": 8}  # legible over curves


def smooth(values: Sequence[float], window: int) -> np.ndarray:
    """Mean of the last `window` values at each step, of fewer at the start; values that are not finite are left out."""
    values = np.asarray(values, np.float64)
    good = np.isfinite(values)
    sums, counts = np.cumsum(np.where(good, values, 0)), np.cumsum(good)
    sums[window:], counts[window:] = sums[window:] - sums[:-window], counts[window:] - counts[:-window]
    with np.errstate(invalid="ignore"):
        return sums / counts


def learning_curve(lines: Sequence[Mapping], *, loss_names: Sequence[str], metric: str) -> bytes:
    """The learning curve of a run as PNG bytes.

    Args:
        lines: of `metrics.jsonl`, see `engine.metrics_log`.
        loss_names: keys of "train" lines; each is drawn as a pale curve of its steps and a strong running mean.
        metric: key of "eval" lines; without such lines its panel is left out.

    Raises:
        ValueError: no "train" lines.
    """
    train = [line for line in lines if line["kind"] == "train"]
    evaluated = [line for line in lines if line["kind"] == "eval" and metric in line]
    if not train:
        raise ValueError("a learning curve needs at least one training step")
    panels = 3 if evaluated else 2
    figure = Figure(figsize=(4.2 * panels, 3.1), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, panels)
    steps = [line["step"] for line in train]
    _losses(axes[0], steps, train, loss_names)
    axes[1].plot(steps, [line["learning_rate"] for line in train], color=COLOURS[2], linewidth=1.6)
    axes[1].set_title("learning rate")
    if evaluated:
        points = [line["step"] for line in evaluated], [line[metric] for line in evaluated]
        axes[2].plot(*points, color=COLOURS[1], marker="o", markersize=4, linewidth=1.6)
        axes[2].set(title=f"{metric}, held-out", ylim=(0, 1), xlim=(0, steps[-1] * 1.05))
        axes[2].annotate(f"{points[1][-1]:.3f}", (points[0][-1], points[1][-1]), xytext=(-4, 7),
                         textcoords="offset points", ha="right", fontsize=9)
    for axis in axes:
        axis.set_xlabel("step")
        axis.grid(color="#e8e8ec", linewidth=0.8)
        axis.spines[["top", "right"]].set_visible(False)
    return _png(figure)


def learning_curves(runs: Mapping[str, Sequence[Mapping]], *, loss: str, metric: str) -> bytes:
    """The losses and held-out metrics of several runs in one picture, as PNG bytes.

    Args:
        runs: {name: lines of `metrics.jsonl`}.
        loss: key of "train" lines, drawn as a running mean.
        metric: key of "eval" lines; a run without any is left out of that panel.
    """
    figure = Figure(figsize=(11, 3.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2)
    for (name, lines), colour in zip(runs.items(), cycle(COLOURS)):
        for axis, kind, key in ((axes[0], "train", loss), (axes[1], "eval", metric)):
            points = [(line["step"], line[key]) for line in lines if line["kind"] == kind and line.get(key) is not None]
            if points:
                steps, values = zip(*points)
                marker, shown = ("", smooth(values, max(len(values) // 30, 1))) if kind == "train" else ("o", values)
                axis.plot(steps, shown, color=colour, marker=marker, markersize=4, linewidth=1.6, label=name)
    for axis, title in zip(axes, (f"{loss}, smoothed", f"{metric}, held-out")):
        axis.set(title=title, xlabel="step")
        axis.grid(color="#e8e8ec", linewidth=0.8)
        axis.spines[["top", "right"]].set_visible(False)
        if axis.lines:
            axis.legend(**LEGEND)
    return _png(figure)


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _losses(axis, steps: Sequence[int], train: Sequence[Mapping], loss_names: Sequence[str]) -> None:
    window = max(len(steps) // 30, 1)
    for name, colour in zip(loss_names, COLOURS):
        values = [line[name] for line in train]
        axis.plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
        axis.plot(steps, smooth(values, window), color=colour, linewidth=1.8, label=name)
    axis.set_title("loss, per step and smoothed")
    axis.set_ylim(bottom=0)
    if len(loss_names) > 1:
        axis.legend(**LEGEND)
