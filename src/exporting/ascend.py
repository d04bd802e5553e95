"""Where the calls of a graph run on an Ascend chip, by the vendor's tables: no device and no CANN are needed.

A verdict names one of four places:

- "AI Core": the chip has a kernel for these element types.
- "cast": the AI Core has it in float16 alone, the graph asks for float32.
- "AI CPU": only the chip's slow general processors have it.
- "nowhere": neither has it, or the graph engine cannot build it.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from src.contract import InputError
from src.exporting.ascend_table import FILE, Operator, Rule, table
from src.exporting.calls import Call, TensorType

PLACES = ("AI Core", "cast", "AI CPU", "nowhere")
KERNEL_BY_KERNEL = ("910B", "A3")  # chips on which MindSpore needs no graph engine


@dataclass(frozen=True)
class Verdict:
    """Where one call runs, and why where that is not the AI Core."""

    place: str
    detail: str = ""


@dataclass
class Row:
    """All calls of one primitive with the same types.

    Attributes:
        elements: of the largest tensor of each call, summed.
        accepted: the reason, where the verdict is a known exception.
        places: the cells that the calls come from.
    """

    name: str
    operator: Operator
    dtypes: tuple[str, ...]
    verdict: Verdict
    calls: int = 0
    elements: int = 0
    accepted: str = ""
    places: set[str] = field(default_factory=set)

    @property
    def is_problem(self) -> bool:
        return self.verdict.place != "AI Core" and not self.accepted


def keeps_float32(chip: str) -> bool:
    """Whether all that an exported graph does in floating point can be done in float32 on the chip's AI Core."""
    facts = table()
    inputs = [types for rule in facts.onnx.values() for types in facts.operators[rule.operator].types.get(chip, ())]
    return all("float32" in types for types in inputs if "float16" in types)


def judge(operator: Operator, dtypes: Sequence[str | None], chip: str) -> Verdict:
    """Where an operator with these input types runs; None is no tensor, and inputs that the table lacks are free."""
    known = operator.types.get(chip)
    if known is None:
        return Verdict("AI CPU", "no AI Core kernel") if operator.on_ai_cpu else Verdict("nowhere", "no kernel")
    missing = [(dtype, types) for dtype, types in zip(dtypes, known) if dtype and types and dtype not in types]
    if not missing:
        return Verdict("AI Core")
    if all(dtype == "float16" and "float32" in types for dtype, types in missing):
        return Verdict("AI Core", "calculated in float32")
    if all(dtype == "float32" and "float16" in types for dtype, types in missing):
        return Verdict("cast", "float16 alone on the AI Core" + ("; the AI CPU has it" if operator.on_ai_cpu else ""))
    detail = f"no AI Core kernel for {', '.join(sorted({dtype for dtype, _ in missing}))}"
    return Verdict("AI CPU", detail) if operator.on_ai_cpu else Verdict("nowhere", detail)


def verdict(rule: Rule, inputs: Sequence[TensorType | None], chip: str, *, graph_engine: bool) -> Verdict:
    """Where a call that follows `rule` runs."""
    if graph_engine and not rule.graph_engine:
        return Verdict("nowhere", "the graph engine has no adapter for it")
    dtypes = [t.dtype if t else None for t in inputs]
    types = sorted({dtype for dtype in dtypes if dtype})
    if len(types) > 1 and (rule.variadic or (graph_engine and rule.operator in table().one_type)):
        return Verdict("nowhere", f"inputs of different types ({', '.join(types)})")
    if rule.variadic:
        dtypes = types
    elif rule.inputs:
        dtypes = [None if i is None or i >= len(dtypes) else dtypes[i] for i in rule.inputs]
    return judge(table().operators[rule.operator_in(graph_engine)], dtypes, chip)


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
    rules = table().onnx if onnx else table().primitives
    graph_engine = chip not in KERNEL_BY_KERNEL if graph_engine is None else graph_engine
    calls = [call for call in calls if call.primitive not in table().skipped]
    _refuse_unknown(calls, rules)
    found: dict[tuple, Row] = {}
    for call in calls:
        rule, dtypes = rules[call.primitive], tuple(t.dtype if t else None for t in call.inputs)
        key = call.primitive, frozenset(dtypes) if rule.variadic else dtypes
        if key not in found:
            operator = table().operators[rule.operator_in(graph_engine)]
            found[key] = Row(call.primitive, operator, tuple(filter(None, dtypes)),
                             verdict(rule, call.inputs, chip, graph_engine=graph_engine))
        row = found[key]
        row.calls, row.elements = row.calls + 1, row.elements + call.size
        row.places.add(call.place)
    for row in found.values():
        row.accepted = _accepted(row, chip)
    return sorted(found.values(), key=lambda row: (-PLACES.index(row.verdict.place), -row.elements, row.name))


def _refuse_unknown(calls: Iterable[Call], rules: Mapping[str, Rule]) -> None:
    unknown = {call.primitive: call.place for call in calls if call.primitive not in rules}
    if unknown:
        listed = "; ".join(f"{name} of {place}" for name, place in sorted(unknown.items()))
        raise InputError(f"{FILE.name} does not know {listed}. Add what the vendor's tables say of "
                         f"{'it' if len(unknown) == 1 else 'them'}, with the source")


def _accepted(row: Row, chip: str) -> str:
    return next((e.reason for e in table().exceptions if row.name in e.names and chip in e.chips
                 and e.place == row.verdict.place and row.elements <= e.elements), "")


def report(found: Sequence[Row], chip: str) -> str:
    """The rows as a table for people, with the reasons of accepted exceptions, and what the verdicts stand on."""
    lines = [f"{'primitive':34} {'operator':30} {'types':34} {'calls':>5} {'elements':>12}  where"]
    for row in found:
        types = " ".join(dict.fromkeys(row.dtypes)) or "-"
        where = row.verdict.place + (f" ({row.verdict.detail})" if row.verdict.detail else "")
        notes = {"accepted": row.accepted, "in": min(row.places) if row.is_problem else "",
                 "ran": row.operator.ran_on.get(chip, "")}
        lines.append(f"{row.name:34} {row.operator.name:30} {types:34} {row.calls:5} {row.elements:12,}  {where}"
                     + "".join(f"; {name}: {text}" for name, text in notes.items() if text))
    counts = ", ".join(f"{sum(row.verdict.place == place for row in found)} {place}" for place in PLACES)
    lines.append(f"{len(found)} kinds of calls: {counts}; {sum(row.is_problem for row in found)} not accepted")
    return "\n".join([*lines, *_evidence({row.operator.name: row.operator for row in found}, chip)])


def _evidence(operators: Mapping[str, Operator], chip: str) -> list[str]:
    """What the verdicts stand on: the toolkit's table, the newer public sources (which 310 is not in), a device."""
    newer = {name: operator.newer for name, operator in operators.items() if operator.newer is not None}
    both = [name for name, chips in newer.items() if chip in chips]
    without, toolkit = newer.keys() - {*both}, operators.keys() - newer.keys()
    never = [name for name, operator in operators.items() if chip not in operator.ran_on]
    return [f"by the toolkit's table and the newer source: {len(both)} of {len(operators)} operators",
            f"by the toolkit's table; the newer source lists the operator without {chip}: {_listed(without)}",
            f"by the toolkit's table; the newer source does not have the operator: {_listed(toolkit)}",
            f"never run on a device: {len(never)} of {len(operators)} operators"]


def _listed(names: Iterable[str]) -> str:
    return " ".join(sorted(names)) or "none"
