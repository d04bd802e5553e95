"""Where the calls of a graph run on an Ascend chip, by the vendor's tables: no device and no CANN are needed.

`ascend_operators.yaml` holds the facts, each with its source. A verdict names one of four places:

- "AI Core": the chip has a kernel for these element types.
- "cast": the AI Core has it in float16 alone, the graph asks for float32.
- "AI CPU": only the chip's slow general processors have it.
- "nowhere": neither has it, or the graph engine cannot build it.
"""
from __future__ import annotations

import functools
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from src.contract import InputError
from src.exporting.calls import Call, TensorType

CHIPS = ("310", "310B", "310P", "910", "910B", "A3")
TRAINING_CHIPS = ("910", "910B", "A3")
PLACES = ("AI Core", "cast", "AI CPU", "nowhere")
TABLE = Path(__file__).with_name("ascend_operators.yaml")
_FAMILIES = {r"910(_93|C).*": "A3", r"910B.*": "910B", r"910[A-Z]*": "910", r"310P.*": "310P", r"310B.*": "310B"}
_SHORT = {"bf16": "bfloat16", "f16": "float16", "f32": "float32", "f64": "float64", "bool": "bool",
          **{f"{sign}{bits}": f"{name}int{bits}" for sign, name in (("i", ""), ("u", "u")) for bits in (8, 16, 32, 64)}}


@dataclass(frozen=True)
class Verdict:
    """Where one call runs, and why where that is not the AI Core."""

    place: str
    detail: str = ""


@dataclass(frozen=True)
class Operator:
    """A CANN operator: types of each input by chip (empty where it chooses them), and whether the AI CPU has it."""

    name: str
    types: Mapping[str, tuple[frozenset[str], ...]]
    on_ai_cpu: bool
    ran_on: Mapping[str, str]


@dataclass(frozen=True)
class Rule:
    """How a primitive or an ONNX operator becomes a CANN operator; see the table's own comments."""

    operator: str
    inputs: tuple[int | None, ...] = ()
    variadic: bool = False
    graph_engine: bool = True


@dataclass(frozen=True)
class Allowance:
    """A verdict other than "AI Core" that is known and accepted, up to `elements` a step."""

    names: tuple[str, ...]
    chips: tuple[str, ...]
    place: str
    elements: int
    reason: str


@dataclass
class Row:
    """All calls of one primitive with the same types.

    Attributes:
        elements: of the largest tensor of each call, summed.
        accepted: the reason, where the verdict is a known exception.
    """

    name: str
    operator: str
    dtypes: tuple[str, ...]
    verdict: Verdict
    calls: int = 0
    elements: int = 0
    accepted: str = ""
    ran_on: str = ""
    places: set[str] = field(default_factory=set)

    @property
    def is_problem(self) -> bool:
        return self.verdict.place != "AI Core" and not self.accepted


@dataclass(frozen=True)
class Table:
    """The facts of `ascend_operators.yaml`."""

    operators: Mapping[str, Operator]
    primitives: Mapping[str, Rule]
    onnx: Mapping[str, Rule]
    skipped: frozenset[str]
    exceptions: tuple[Allowance, ...]


def family(soc_version: str) -> str:
    """The chip family of a name as `npu-smi info` or atc's --soc_version has it.

    Raises:
        InputError: a name of no family in the table.
    """
    name = soc_version.removeprefix("Ascend").upper()
    if name in CHIPS:
        return name
    for start, chip in _FAMILIES.items():
        if re.fullmatch(start, name):
            return chip
    raise InputError(f"soc version {soc_version!r}: none of the families in the table ({', '.join(CHIPS)}); give "
                     "one of them or a name such as Ascend910B2 or Ascend310P3")


@functools.cache
def table(path: Path = TABLE) -> Table:
    """Read the table once."""
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    rules = {key: {name: _rule(value) for name, value in data[key].items()} for key in ("primitives", "onnx")}
    return Table({name: _operator(name, entry) for name, entry in data["operators"].items()}, rules["primitives"],
                 rules["onnx"], frozenset((*data["views"], *data["collectives"], *data["onnx_views"])),
                 tuple(Allowance(tuple(e["names"]), tuple(map(str, e["chips"])), e["place"],
                                 sys.maxsize if e["elements"] == "any" else e["elements"], e["reason"])
                       for e in data["exceptions"]))


def _operator(name: str, entry: Mapping[str, Any]) -> Operator:
    types = {}
    for key, text in entry.items():
        for chip in str(key).split():
            if chip in CHIPS:
                types[chip] = tuple(frozenset(_SHORT[t] for t in part.split() if t != "-") for part in text.split(","))
    return Operator(name, types, entry.get("AI CPU", False), entry.get("ran_on", {}))


def _rule(value: str | Mapping[str, Any]) -> Rule:
    if isinstance(value, str):
        return Rule(value)
    return Rule(value["operator"], tuple(value.get("inputs", ())), value.get("variadic", False),
                value.get("graph_engine", True))


def keeps_float32(chip: str) -> bool:
    """Whether all that an exported graph does in floating point can be done in float32 on the chip's AI Core."""
    facts = table()
    inputs = [types for rule in facts.onnx.values() for types in facts.operators[rule.operator].types.get(chip, ())]
    return all("float32" in types for types in inputs if "float16" in types)


def judge(operator: Operator, dtypes: Sequence[str | None], chip: str) -> Verdict:
    """Where an operator with these input types runs; None is no tensor, and what the table has no entry for is free."""
    known = operator.types.get(chip)
    if known is None:
        return Verdict("AI CPU", "no AI Core kernel") if operator.on_ai_cpu else Verdict("nowhere", "no kernel")
    missing = {dtype: types for dtype, types in zip(dtypes, known) if dtype and types and dtype not in types}
    if not missing:
        return Verdict("AI Core")
    if all(dtype == "float16" and "float32" in types for dtype, types in missing.items()):
        return Verdict("AI Core", "calculated in float32")
    if all(dtype == "float32" and "float16" in types for dtype, types in missing.items()):
        return Verdict("cast", "float16 alone on the AI Core" + ("; the AI CPU has it" if operator.on_ai_cpu else ""))
    detail = f"no AI Core kernel for {', '.join(sorted(missing))}"
    return Verdict("AI CPU", detail) if operator.on_ai_cpu else Verdict("nowhere", detail)


def verdict(rule: Rule, inputs: Sequence[TensorType | None], chip: str, *, graph_engine: bool) -> Verdict:
    """Where a call that follows `rule` runs."""
    if graph_engine and not rule.graph_engine:
        return Verdict("nowhere", "the graph engine has no adapter for it")
    operator = table().operators[rule.operator]
    dtypes = [t.dtype if t else None for t in inputs]
    if rule.variadic:
        found = sorted({d for d in dtypes if d})
        if len(found) > 1:
            return Verdict("nowhere", f"inputs of different types ({', '.join(found)})")
        dtypes = found
    elif rule.inputs:
        dtypes = [None if i is None or i >= len(dtypes) else dtypes[i] for i in rule.inputs]
    return judge(operator, dtypes, chip)


def rows(calls: Iterable[Call], chip: str, *, graph_engine: bool | None = None, onnx: bool = False) -> list[Row]:
    """The verdicts on a graph, the worst first.

    Args:
        calls: of `src.exporting.calls` or `src.exporting.onnx_check`.
        chip: one of `CHIPS`.
        graph_engine: whether MindSpore builds the graph with it; by default on all chips but 910B and A3.
        onnx: the calls are ONNX operators.

    Raises:
        InputError: an operator that the table does not know.
    """
    facts = table()
    rules = facts.onnx if onnx else facts.primitives
    graph_engine = chip not in ("910B", "A3") if graph_engine is None else graph_engine
    found: dict[tuple, Row] = {}
    unknown: dict[str, str] = defaultdict(str)
    for call in calls:
        if call.primitive in facts.skipped:
            continue
        if call.primitive not in rules:
            unknown[call.primitive] = call.place
            continue
        rule = rules[call.primitive]
        dtypes = tuple(t.dtype for t in call.inputs if t)
        key = (call.primitive, tuple(sorted(set(dtypes))) if rule.variadic else dtypes)
        if key not in found:
            said = verdict(rule, call.inputs, chip, graph_engine=graph_engine)
            found[key] = Row(call.primitive, rule.operator, key[1], said,
                             ran_on=facts.operators[rule.operator].ran_on.get(chip, ""))
        row = found[key]
        row.calls, row.elements = row.calls + 1, row.elements + call.size
        row.places.add(call.place)
    if unknown:
        listed = "; ".join(f"{name} of {place}" for name, place in sorted(unknown.items()))
        raise InputError(f"{TABLE.name} does not know {listed}. Add what the vendor's tables say of "
                         f"{'it' if len(unknown) == 1 else 'them'}, with the source")
    for row in found.values():
        row.accepted = _accepted(row, chip)
    return sorted(found.values(), key=lambda row: (-PLACES.index(row.verdict.place), -row.elements, row.name))


def _accepted(row: Row, chip: str) -> str:
    return next((e.reason for e in table().exceptions if row.name in e.names and chip in e.chips
                 and e.place == row.verdict.place and row.elements <= e.elements), "")


def report(found: Sequence[Row]) -> str:
    """The rows as a table for people, with the accepted exceptions' reasons and what was never run on a device."""
    lines = [f"{'primitive':34} {'operator':30} {'types':34} {'calls':>5} {'elements':>12}  where"]
    for row in found:
        types = " ".join(dict.fromkeys(row.dtypes)) or "-"
        where = row.verdict.place + (f" ({row.verdict.detail})" if row.verdict.detail else "")
        notes = {"accepted": row.accepted, "in": min(row.places) if row.is_problem else "", "ran": row.ran_on}
        lines.append(f"{row.name:34} {row.operator:30} {types:34} {row.calls:5} {row.elements:12,}  {where}"
                     + "".join(f"; {name}: {text}" for name, text in notes.items() if text))
    operators = {row.operator: row.ran_on for row in found}
    never = sorted(name for name, ran in operators.items() if not ran)
    counts = ", ".join(f"{sum(row.verdict.place == place for row in found)} {place}" for place in PLACES)
    lines.append(f"{len(found)} kinds of calls: {counts}; {sum(row.is_problem for row in found)} not accepted")
    lines.append(f"never run on a device: {len(never)} of {len(operators)} operators: {' '.join(never)}")
    return "\n".join(lines)
