"""Pictures of operating points: precision, recall and F1 curves, reliability diagrams, average precision lost."""
from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from src.metrics.calibration import BINS
from src.metrics.coco_matches import RECALLS, Matches
from src.metrics.precision_recall import SCORES, Curve, average_precision, curve_of, precision_at_recalls
from src.report.curves import COLOURS, LEGEND

IOU = 0.5  # of the panels by class
_SHOWN_IOUS = (0.5, 0.75, 0.9)
_MOST = 8  # classes that are drawn; of more, the best and the worst ones
_PAPER, _INK = "#e8e8ec", "#55555c"


def detection_curves(matches: Matches, thresholds: Mapping[str, float]) -> bytes | None:
    """PNG of precision over recall by IoU and by class, and of F1 over the score; None without objects.

    Args:
        matches: at all of COCO's IoUs.
        thresholds: score threshold by class name, drawn as points.
    """
    labels = [label for label, objects in matches.objects.items() if objects]
    if not labels:
        return None
    figure, axes = _panels(3)
    for iou, colour in zip(_SHOWN_IOUS, COLOURS):
        mean = np.mean([precision_at_recalls(*matches.of_class(k, iou), matches.objects[k]) for k in labels], 0)
        axes[0].plot(RECALLS, mean, color=colour, label=f"IoU {iou:g}: AP {mean.mean():.3f}")
    axes[0].set_title("mean of all classes")
    shown = _some(matches, labels)
    _by_class(matches, shown, thresholds, axes[1:])
    rest = "" if len(shown) == len(labels) else f" ({len(shown)} of {len(labels)} classes)"
    axes[1].set_title(f"IoU {IOU:g}{rest}")
    axes[2].set_title(f"F1, IoU {IOU:g}")
    for axis in axes[:2]:
        axis.set(xlabel="recall", ylabel="precision")
    axes[2].set(xlabel="score threshold", ylabel="F1")
    axes[0].set_ylim(0, 1.3)  # room for the legend, which no corner of this panel is sure to have
    axes[0].legend(**LEGEND, loc="upper right")
    axes[2].legend(**LEGEND)
    return _png(figure)


def _by_class(matches: Matches, labels: Sequence[int], thresholds: Mapping[str, float], axes: Sequence[Axes]) -> None:
    for label, colour in zip(labels, COLOURS):
        name, found = matches.class_names[label], curve_of(matches, label, IOU)
        precision = precision_at_recalls(*matches.of_class(label, IOU), matches.objects[label])
        axes[0].plot(RECALLS, precision, color=colour, linewidth=1.5)
        f1 = [found.at(score)["f1"] for score in SCORES]
        axes[1].plot(SCORES, f1, color=colour, linewidth=1.5, label=f"{name}: best {found.f1.max(initial=0):.2f}")
        if name in thresholds:
            _mark(axes, found, thresholds[name], colour)


def _mark(axes: Sequence[Axes], found: Curve, threshold: float, colour: str) -> None:
    at = found.at(threshold)
    if at["precision"] is not None:
        axes[0].plot(at["recall"], at["precision"], "o", color=colour)
    axes[1].plot(threshold, at["f1"], "o", color=colour)


def _some(matches: Matches, labels: list[int]) -> list[int]:
    """At most `_MOST` classes: half of them those of the best AP, half those of the worst, in order."""
    if len(labels) <= _MOST:
        return labels
    ranked = sorted(labels, key=lambda label: average_precision(matches, label, IOU))
    return sorted(ranked[:_MOST // 2] + ranked[-_MOST // 2:])


def reliability_diagram(numbers: Mapping[str, Any], what: str) -> bytes | None:
    """PNG of `Reliability.compute()`: share of right answers by confidence, and how many there are; None without any.

    Args:
        what: the answers, in words: "pixels".
    """
    if numbers["ece"] is None:
        return None
    figure, axes = _panels(2)
    edges = np.arange(BINS) / BINS
    axes[0].plot([0, 1], [0, 1], color=_INK, linewidth=1, linestyle="--", label="calibrated")
    right = [0 if value is None else value for value in numbers["accuracies"]]
    axes[0].bar(edges, right, 1 / BINS, align="edge", color=COLOURS[0], edgecolor="white", label="right")
    gaps = [(k, a, c) for k, (a, c) in enumerate(zip(numbers["accuracies"], numbers["confidences"])) if a is not None]
    axes[0].bar([edges[k] for k, _, _ in gaps], [c - a for _, a, c in gaps], 1 / BINS, align="edge",
                bottom=[a for _, a, _ in gaps], color="none", edgecolor=COLOURS[1], hatch="///", linewidth=0.8,
                label="gap to the mean confidence")
    axes[0].set(title=f"expected calibration error {numbers['ece']:.4f}", xlabel="confidence", ylabel=f"right {what}")
    axes[0].legend(**LEGEND, loc="upper left")
    share = np.array(numbers["counts"]) / max(sum(numbers["counts"]), 1)
    axes[1].bar(edges, share, 1 / BINS, align="edge", color=COLOURS[5], edgecolor="white")
    for value, name, colour in ((numbers["accuracy"], "right", COLOURS[0]),
                                (numbers["mean_confidence"], "mean confidence", COLOURS[1])):
        axes[1].axvline(value, color=colour, linewidth=1.5, label=f"{name} {value:.3f}")
    axes[1].set(title=f"{sum(numbers['counts'])} {what}", xlabel="confidence", ylabel="share",
                ylim=(0, 1.35 * share.max()))
    axes[1].legend(**LEGEND, loc="upper left")
    return _png(figure)


def lost_precision(numbers: Mapping[str, Any]) -> bytes | None:
    """PNG of `ErrorKinds.compute()`: the AP lost to each kind, and how many errors there are; None without objects."""
    if numbers["ap"] is None:
        return None
    kinds = numbers["kinds"]
    figure = Figure(figsize=(8.4, 2.9), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2)
    for axis, key, title, form in ((axes[0], "ap_lost", f"AP lost (AP at IoU 0.5 is {numbers['ap']:.3f})", "{:.3f}"),
                                   (axes[1], "count", "errors", "{:d}")):
        values = [kind[key] for kind in kinds.values()]
        bars = axis.barh(list(kinds), values, color=COLOURS[:len(kinds)])
        axis.bar_label(bars, [form.format(value) for value in values], padding=3, fontsize=9)
        axis.invert_yaxis()
        axis.set_title(title)
        axis.set_xlim(0, max([*values, 1e-3]) * 1.18)
        axis.spines[["top", "right"]].set_visible(False)
    return _png(figure)


def _panels(count: int) -> tuple[Figure, Sequence[Axes]]:
    """A figure with square panels whose axes are from 0 to 1."""
    figure = Figure(figsize=(4.2 * count, 3.7), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, count)
    for axis in axes:
        axis.set(xlim=(0, 1.005), ylim=(0, 1.005))
        axis.grid(color=_PAPER, linewidth=0.8)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
