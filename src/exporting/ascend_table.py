"""What the vendor's tables say of the operators that our graphs use: `ascend_operators.yaml`, read.

The file has the facts, each with its source; nothing in it comes from a run on a device.
"""
from __future__ import annotations

import functools
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from src.contract import InputError

CHIPS = ("310", "310B", "310P", "910", "910B", "A3")
TRAINING_CHIPS = ("910", "910B", "A3")
FILE = Path(__file__).with_name("ascend_operators.yaml")
_FAMILIES = {r"910(_93|C).*": "A3", r"910B.*": "910B", r"910[A-Z]*": "910", r"310P.*": "310P", r"310B.*": "310B"}
_SHORT = {"bf16": "bfloat16", "f16": "float16", "f32": "float32", "f64": "float64", "bool": "bool",
          **{f"{sign}{bits}": f"{name}int{bits}" for sign, name in (("i", ""), ("u", "u")) for bits in (8, 16, 32, 64)}}


@dataclass(frozen=True)
class Operator:
    """One of CANN's operators.

    Attributes:
        types: by chip, the element types of each input on the AI Core; an empty set where the operator chooses them.
        on_ai_cpu: whether the AI CPU has it; its types are not known.
        newer: the chips that the newer public source lists, None where it does not have the operator.
        ran_on: {chip: where it ran}, entered by who has a device.
    """

    name: str
    types: Mapping[str, tuple[frozenset[str], ...]] = field(default_factory=dict)
    on_ai_cpu: bool = False
    newer: frozenset[str] | None = None
    ran_on: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Rule:
    """How a primitive or an ONNX operator becomes an operator of CANN; see the comments in the file.

    `graph_engine` is the operator that the graph engine takes: True for the same, False for none.
    """

    operator: str
    inputs: tuple[int | None, ...] = ()
    variadic: bool = False
    graph_engine: bool | str = True


    def operator_in(self, graph_engine: bool) -> str:
        """The operator's name in the graph engine, or kernel by kernel."""
        return self.graph_engine if graph_engine and isinstance(self.graph_engine, str) else self.operator


@dataclass(frozen=True)
class Allowance:
    """A verdict other than "AI Core" that is known and accepted, up to `elements` a step."""

    names: tuple[str, ...]
    chips: tuple[str, ...]
    place: str
    elements: int
    reason: str


@dataclass(frozen=True)
class Table:
    """All facts.

    `skipped`: what needs no kernel of the chip: views, constants and collectives. `one_type`: operators whose inputs
    have one type, which the graph engine does not bring about by itself.
    """

    operators: Mapping[str, Operator]
    primitives: Mapping[str, Rule]
    onnx: Mapping[str, Rule]
    skipped: frozenset[str]
    one_type: frozenset[str]
    exceptions: tuple[Allowance, ...]


def family(soc_version: str) -> str:
    """The chip family of a name as `npu-smi info` or atc's --soc_version has it.

    Raises:
        InputError: a name of no family in the table.
    """
    name = soc_version.removeprefix("Ascend").upper()
    if name in CHIPS:
        return name
    for pattern, chip in _FAMILIES.items():
        if re.fullmatch(pattern, name):
            return chip
    raise InputError(f"soc version {soc_version!r}: none of the families in the table ({', '.join(CHIPS)}); give "
                     "one of them or a name such as Ascend910B2 or Ascend310P3")


@functools.cache
def table() -> Table:
    """The table, read once."""
    data = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return Table(operators={name: _operator(name, entry) for name, entry in data["operators"].items()},
                 primitives={name: _rule(value) for name, value in data["primitives"].items()},
                 onnx={name: _rule(value) for name, value in data["onnx"].items()},
                 skipped=frozenset((*data["views"], *data["collectives"], *data["onnx_views"])),
                 one_type=frozenset(data["one_type"]),
                 exceptions=tuple(_allowance(entry) for entry in data["exceptions"]))


def _operator(name: str, entry: Mapping[str, Any]) -> Operator:
    types = {}
    for key, text in entry.items():
        for chip in {*str(key).split()} & {*CHIPS}:
            types[chip] = tuple(frozenset(_SHORT[t] for t in part.split() if t != "-") for part in text.split(","))
    newer = frozenset(entry["newer"].split(": ")[1].split()) & {*CHIPS} if "newer" in entry else None
    return Operator(name, types, entry.get("AI CPU", False), newer, entry.get("ran_on", {}))


def _rule(value: str | Mapping[str, Any]) -> Rule:
    if isinstance(value, str):
        return Rule(value)
    return Rule(**{key: tuple(item) if isinstance(item, list) else item for key, item in value.items()})


def _allowance(entry: Mapping[str, Any]) -> Allowance:
    most = sys.maxsize if entry["elements"] == "any" else entry["elements"]
    return Allowance(tuple(entry["names"]), tuple(map(str, entry["chips"])), entry["place"], most, entry["reason"])
