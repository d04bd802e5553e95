"""Numbers of several runs on the same images, with intervals, and their differences from the first run's."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from src.metrics.bootstrap import LEAST_IMAGES, Samples, Shape, bootstrap, holm
from src.metrics.image_statistics import Name
from src.metrics.tables import HEADLINES
from src.results.runs import Run

Interval = tuple[float, float]
SIZES = {(kind, key): f"{title} of {size} objects" for kind, title in (("bbox", "box AP"), ("segm", "mask AP"))
         for key, size in (("APs", "small"), ("APm", "medium"), ("APl", "large"))}
_TITLES = HEADLINES | {("pixel_accuracy",): "pixel accuracy", ("mean_accuracy",): "mean accuracy"} | {
    (kind, key): f"{title}{key[2:]}" for kind, title in (("bbox", "box AP"), ("segm", "mask AP"))
    for key in ("AP50", "AP75")} | SIZES

_OF_A_START = ("output_dir", "resume", "print_config", "workers", "device_id", "replay")  # they change no numbers


@dataclass(frozen=True)
class Cell:
    """A number of one run; without an interval where there is none, without a difference for the first run.

    Attributes:
        p_value: of the difference, corrected by Holm's method over the numbers that are tested together.
    """

    value: float | None
    interval: Interval | None = None
    difference: float | None = None
    difference_interval: Interval | None = None
    p_value: float | None = None


@dataclass(frozen=True)
class Comparison:
    """What there is to say about runs.

    Attributes:
        names: of the runs; the others are compared with the first.
        images: how many each was evaluated on.
        samples, seed: of the bootstrap.
        whole: {title: a cell a run} of numbers over all classes, and by size.
        classes: {title: {class: a cell a run}}.
        configurations: {key: a value a run} where they differ.
        left_out: titles of numbers over all classes that some runs have and others do not, such as masks' AP.
    """

    names: list[str]
    images: int
    samples: int
    seed: int
    whole: dict[str, list[Cell]]
    classes: dict[str, dict[str, list[Cell]]]
    configurations: dict[str, list[Any]]
    left_out: list[str]


def compare(runs: Sequence[Run], *, samples: int, seed: int) -> Comparison:
    """Compare runs of the same images. Too few images, or no samples: there are values and differences alone."""
    images = len(runs[0].statistics)
    drawn = [bootstrap(run.statistics, samples if images >= LEAST_IMAGES else 0, seed) for run in runs]
    whole = {title: _corrected({"": _cells(name, drawn)})[""] for name, title in _TITLES.items()
             if all(name in one for one in drawn)}
    classes = {title: _corrected({_class_of(name): _cells(name, drawn) for name in names})
               for title, names in _by_class(drawn).items()}
    left_out = [title for name, title in _TITLES.items() if title not in whole and any(name in one for one in drawn)]
    return Comparison([run.name for run in runs], images, samples, seed, whole, classes, differing(runs), left_out)


def _by_class(drawn: Sequence[Mapping[Name, Samples]]) -> dict[str, list[Name]]:
    """{title: names of the numbers of single classes that all runs have}."""
    titles: dict[str, list[Name]] = {}
    for name in drawn[0]:
        if all(name in one for one in drawn) and name[0] in ("iou", "classes"):
            title = "IoU" if name[0] == "iou" else HEADLINES[name[2], "AP"]
            titles.setdefault(f"{title} by class", []).append(name)
    return titles


def _class_of(name: Name) -> str:
    return name[1]


def _cells(name: Name, drawn: Sequence[Mapping[Name, Samples]]) -> list[Cell]:
    own, differences = [one[name] for one in drawn], [one[name] - drawn[0][name] for one in drawn[1:]]
    cells = [Cell(*_value_and_interval(own[0]))]
    for samples, difference in zip(own[1:], differences):
        shape = Shape.of(difference)
        cells.append(Cell(*_value_and_interval(samples), *_value_and_interval(difference), shape and shape.p_value()))
    return cells


def _value_and_interval(samples: Samples) -> tuple[float | None, Interval | None]:
    shape = Shape.of(samples)
    return (samples.value if samples.value == samples.value else None), shape and shape.interval()


def _corrected(rows: dict[str, list[Cell]]) -> dict[str, list[Cell]]:
    """The rows with p-values corrected over all of them together."""
    tested = [(name, k) for name, cells in rows.items() for k, cell in enumerate(cells) if cell.p_value is not None]
    p_values = holm([float(rows[name][k].p_value or 0) for name, k in tested])
    for (name, k), p_value in zip(tested, p_values):
        cell = rows[name][k]
        rows[name][k] = Cell(cell.value, cell.interval, cell.difference, cell.difference_interval, p_value)
    return rows


def differing(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """{key: its value in each run} of the keys in which the runs' configurations differ, and the weights' names."""
    found = {f"evaluation: {key}": [run.numbers.get(key) for run in runs] for key in ("checkpoint", "inference_engine")}
    settings = [run.numbers.get("configuration") or {} for run in runs]
    for title, configurations in (("evaluation", settings), ("training", [run.training for run in runs])):
        if all(configurations):
            keys = dict.fromkeys(key for one in configurations for key in one if key not in _OF_A_START)
            found |= {f"{title}: {key}": [one.get(key) for one in configurations] for key in keys}
    return {key: values for key, values in found.items() if any(value != values[0] for value in values[1:])}


# --- as text and JSON -------------------------------------------------------------------------------------------------

def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def ends(interval: Interval | None, *, signed: bool = False) -> str:
    return "" if interval is None else "({} to {})".format(*(f"{v:+.4f}" if signed else f"{v:.4f}" for v in interval))


def p_text(p_value: float | None) -> str:
    if p_value is None:
        return ""
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def difference_text(cell: Cell) -> str:
    """The difference with its interval and p-value; empty for the first run and where there is none."""
    if cell.difference is None:
        return ""
    return " ".join(filter(None, (f"{cell.difference:+.4f}", ends(cell.difference_interval, signed=True),
                                  p_text(cell.p_value))))


def as_text(comparison: Comparison) -> str:
    """Everything as tables to print."""
    width = max(map(len, comparison.names))
    lines = [head(comparison)]
    for title, cells in comparison.whole.items():
        lines += ["", title]
        for name, cell in zip(comparison.names, cells):
            text = f"{number(cell.value)} {ends(cell.interval)}"
            lines.append(f"  {name:<{width}}  {text:<26} {difference_text(cell)}".rstrip())
    for title, rows in comparison.classes.items():
        for k, name in enumerate(comparison.names[1:], 1):
            lines += ["", f"{title}: {name} against {comparison.names[0]}"]
            lines += [f"  {row:<20} {number(cells[0].value):>7} {number(cells[k].value):>7}  "
                      f"{difference_text(cells[k])}".rstrip() for row, cells in rows.items()]
    if comparison.configurations:
        lines += ["", "configurations differ in"]
        lines += [f"  {key}: {' | '.join(map(str, values))}" for key, values in comparison.configurations.items()]
    return "\n".join(lines)


def head(comparison: Comparison) -> str:
    """What the numbers are, and which are left out."""
    missing = f"; not every run has {', '.join(comparison.left_out)}: left out" if comparison.left_out else ""
    if comparison.images < LEAST_IMAGES or not comparison.samples:
        why = f"{comparison.images} images are too few" if comparison.samples else "--bootstrap=0"
        return f"{comparison.images} images, no intervals: {why}; differences from {comparison.names[0]}{missing}"
    return (f"{comparison.images} images, {comparison.samples} bootstrap samples, seed {comparison.seed}; in brackets "
            "95 % intervals, where enough images decide a number; differences from "
            f"{comparison.names[0]} on the same images, p-values after Holm{missing}")


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Everything as JSON."""
    def row(cells: Sequence[Cell]) -> list[dict[str, Any]]:
        return [vars(cell) for cell in cells]

    return {"runs": comparison.names, "images": comparison.images,
            "bootstrap": {"samples": comparison.samples, "seed": comparison.seed, "level": 0.95},
            "numbers": {title: row(cells) for title, cells in comparison.whole.items()},
            "classes": {title: {name: row(cells) for name, cells in rows.items()}
                        for title, rows in comparison.classes.items()},
            "left_out": comparison.left_out, "configurations": comparison.configurations}
