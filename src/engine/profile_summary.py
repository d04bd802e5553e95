"""One page about a profile: the most expensive operators, and the wait for data. No MindSpore is imported."""
from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from src.contract import InputError

LINES = 10  # of each table
# File in MindSpore's folder, and its columns: kind, name, number of calls (None: a line is a call), time, unit in ms.
_CPU = ("FRAMEWORK/cpu_op_detail_info_*.csv", "op_type", "full_op_name", "op_occurrences", "op_total_time(ms)", 1.0)
_ASCEND = ("ASCEND_PROFILER_OUTPUT/kernel_details.csv", "Type", "Name", None, "Duration(us)", 1e-3)


@dataclass(frozen=True)
class Operator:
    """An operator of the graph, or all of a kind, over the steps of a profile."""

    kind: str
    name: str
    calls: int
    milliseconds: float


@dataclass(frozen=True)
class StepTimes:
    """Seconds of the steps of a profile, waiting and working, and how many steps they were."""

    steps: int
    waiting: float
    working: float


def read_operators(folder: Path) -> list[Operator]:
    """The operators that MindSpore's profiler wrote into `folder`, on a CPU or on Ascend.

    Raises:
        InputError: it wrote none.
    """
    for pattern, kind, name, calls, time, unit in (_ASCEND, _CPU):
        for path in sorted(folder.rglob(pattern)):
            with path.open(newline="", encoding="utf-8") as file:
                found = [Operator(row[kind], row[name].strip(), int(row[calls]) if calls else 1,
                                  float(row[time]) * unit) for row in csv.DictReader(file)]
            if found:
                return summed(found, lambda operator: operator.name)
    raise InputError(f"{folder}: the profiler left no times of operators; is the disk full? What it says is in its "
                     "folder logs/")


def summed(operators: Iterable[Operator], key: Callable[[Operator], str]) -> list[Operator]:
    """Operators of one key added up, the most expensive one first."""
    totals: dict[str, Operator] = {}
    for one in operators:
        old = totals.get(key(one), Operator(one.kind, one.name, 0, 0.0))
        totals[key(one)] = Operator(one.kind, one.name, old.calls + one.calls, old.milliseconds + one.milliseconds)
    return sorted(totals.values(), key=lambda operator: -operator.milliseconds)


def page(title: str, operators: Sequence[Operator], times: StepTimes) -> str:
    """The page as text.

    Args:
        operators: see `read_operators`.
    """
    total, steps = sum(operator.milliseconds for operator in operators) or 1.0, times.steps
    seconds = times.waiting + times.working
    share = times.waiting / seconds if seconds else 0.0
    lines = [title, "", f"A step took {seconds / steps:.4g} s: {times.waiting / steps:.4g} s ({share:.0%}) waiting for "
             f"data, {times.working / steps:.4g} s in the training step.",
             f"Its operators took {total / steps / 1000:.4g} s; operators that ran side by side count in full.", ""]
    tables = (("kinds of operators", summed(operators, lambda one: one.kind), lambda one: one.kind),
              ("operators", operators, lambda one: one.name))
    for what, found, label in tables:
        lines.append(f"The {min(LINES, len(found))} most expensive {what} of {len(found)}:")
        lines.append(f"{'share':>7} {'ms a step':>11} {'calls a step':>13}  name")
        lines += [f"{one.milliseconds / total:7.1%} {one.milliseconds / steps:11.3f} {one.calls / steps:13.4g}  "
                  f"{label(one)}" for one in found[:LINES]]
        lines.append("")
    return "\n".join(lines)
