"""Recognise the family of a weights file and translate its names to ours and back, by the tables of `families.py`."""
from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from src.contract import InputError
from src.weights.families import (
    BACKBONES,
    COUNTER,
    FAMILIES,
    LEAVES,
    NUM_CLASSES_BY,
    PARTS,
    PREFIXES,
    Family,
)

NORM = ("gamma", "beta", "moving_mean", "moving_variance")
_BASIC = ("resnet18", "resnet34")  # two convolutions a block


class Rename(NamedTuple):
    """A tensor's name on the other side, and whether its two axes are exchanged."""

    name: str
    transposed: bool


def matches(name: str, globs: Iterable[str]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)


def bare(name: str) -> str:
    """The name without the prefixes of training wrappers."""
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name


def find_family(tensors: Mapping[str, np.ndarray], wanted: str, place: str) -> Family:
    """The family of these tensors, or the one that `wanted` names if they match its signature.

    Raises:
        InputError: an unknown name, or tensors of no known family or of another one.
    """
    if wanted not in ("auto", *FAMILIES):
        close = difflib.get_close_matches(wanted, FAMILIES, n=1)
        raise InputError(f"--family={wanted}: expected auto or one of {', '.join(FAMILIES)}"
                         + (f"; did you mean {close[0]}?" if close else ""))
    shapes = {bare(name): tensor.shape for name, tensor in tensors.items()}
    found = [f for f in FAMILIES.values() if any(_signed(shapes, signature) for signature in f.signatures)]
    if wanted != "auto" and FAMILIES[wanted] not in found:
        expected = " or ".join(str(list(s)) for s in FAMILIES[wanted].signatures)
        raise InputError(f"{place}: not {wanted}: it lacks {expected} of that family's shapes; "
                         + (f"it looks like {found[0].name}" if found else "use --family=auto"))
    if wanted == "auto" and len(found) != 1:
        names = ", ".join(sorted(shapes)[:3])
        what = f"of several families ({', '.join(f.name for f in found)})" if found else "of no known family"
        raise InputError(f"{place}: weights {what}, with names such as {names}. Known families: {', '.join(FAMILIES)}")
    return FAMILIES[wanted] if wanted != "auto" else found[0]


def _signed(shapes: Mapping[str, tuple[int, ...]], signature: Mapping[str, tuple[int | None, ...]]) -> bool:
    return all(name in shapes and len(shapes[name]) == len(shape)
               and all(b in (None, a) for a, b in zip(shapes[name], shape)) for name, shape in signature.items())


def to_ours(family: Family, name: str) -> Rename | None:
    """Our name of a family's tensor; None if the family's table does not have it."""
    return _renamed(family, name, side=0)


def from_ours(family: Family, name: str) -> Rename | None:
    """The family's name of one of our tensors; None if its network has no such layer."""
    return _renamed(family, name, side=1)


def _renamed(family: Family, name: str, *, side: int) -> Rename | None:
    if not family.rows:
        return Rename(name, False)
    for pattern, other, leaves in _compiled(family.name, side):
        found = pattern.fullmatch(name)
        if found and found["leaf"] in leaves:
            leaf, transposed = leaves[found["leaf"]]
            return Rename(other.format(**found.groupdict()) + "." + leaf, transposed)
    return None


def counters(family: Family, names: Iterable[str]) -> list[str]:
    """The family's names of the counters that its networks keep for each norm among `names`."""
    if f"*.{COUNTER}" not in family.state:
        return []
    return [f"{name.removesuffix(family.norm[2])}{COUNTER}" for name in names if name.endswith(f".{family.norm[2]}")]


@cache
def _compiled(family: str, side: int) -> list[tuple[re.Pattern[str], str, dict[str, tuple[str, bool]]]]:
    """Rows as (pattern of the names read, template of those written, {leaf read: (leaf written, transposed)})."""
    table = FAMILIES[family]
    norm = tuple((theirs, ours, False) for theirs, ours in zip(table.norm, NORM))
    rows = []
    for row in table.rows:
        leaves = norm if row[2] == "norm" else LEAVES[row[2]]
        pattern = re.sub(r"\\{(\w)\\}", r"(?P<\1>\\d+)", re.escape(row[side]))
        rows.append((re.compile(pattern + r"\.(?P<leaf>\w+)"), row[1 - side],
                     {(theirs, ours)[side]: ((ours, theirs)[side], transposed) for theirs, ours, transposed in leaves}))
    return rows


# --- contents of a complete file --------------------------------------------------------------------------------------

def measured(tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Conventions that the tensors show: backbone (None if it is not one of ours), num_classes, auxiliary."""
    root = "backbone." if "backbone.conv1.weight" in tensors else ""
    blocks = tuple(sum(f"{root}layer{stage}.{b}.conv1.weight" in tensors for b in range(100)) for stage in range(1, 5))
    small = f"{root}layer1.0.conv3.weight" not in tensors
    known = [name for name, counts in BACKBONES.items() if counts == blocks and small == (name in _BASIC)]
    result: dict[str, Any] = {"backbone": known[0] if known else None}
    for name in NUM_CLASSES_BY:
        if name in tensors:
            result["num_classes"] = len(tensors[name])
    if root and "classifier.weight" in tensors:
        result["auxiliary"] = "auxiliary.classifier.weight" in tensors
    return result


def required(family: Family, names: Iterable[str], place: str) -> list[str]:
    """Our names of everything that a complete file of `family` has, given the names that are there.

    The number of blocks in the third stage decides the backbone's depth, so that a missing block is noticed.
    """
    names = set(names)
    root, depth = _find_backbone(names, place)
    modules = [(root + module, kind) for module, kind in _backbone(depth)]
    for part, members in PARTS.items():
        if part in family.parts or any(name.startswith(members[0][0] + ".") for name in names):
            modules += members
    return [f"{module}.{leaf}" for module, kind in modules
            for leaf in (NORM if kind == "norm" else [leaf[1] for leaf in LEAVES[kind]])]


def strange_shapes(tensors: Mapping[str, np.ndarray], place: str) -> list[tuple[str, tuple, tuple]]:
    """(our name, shape, expected shape) of the convolutions whose shape is wrong for a ResNet of this depth."""
    root, depth = _find_backbone(tensors, place)
    expected = {root + name: shape for name, shape in convolution_shapes(depth).items()}
    return [(name, tensors[name].shape, shape) for name, shape in expected.items()
            if name in tensors and tensors[name].shape != shape]


def convolution_shapes(depth: str) -> dict[str, tuple[int, ...]]:
    """{our name: (C_out, C_in, k, k)} of the convolutions of a ResNet ("resnet18", ...)."""
    kernels, expansion = ((3, 3), 1) if depth in _BASIC else ((1, 3, 1), 4)
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (64, 3, 7, 7)}
    before = 64
    for stage, count in enumerate(BACKBONES[depth], start=1):
        width = 32 << stage
        for block in range(count):
            at, channels = f"layer{stage}.{block}.", before
            if block == 0 and before != expansion * width:
                shapes[f"{at}downsample.0.weight"] = (expansion * width, before, 1, 1)
            for k, side in enumerate(kernels, start=1):
                out = expansion * width if k == len(kernels) else width
                shapes[f"{at}conv{k}.weight"] = (out, channels, side, side)
                channels = out
            before = expansion * width
    return shapes


def _find_backbone(names: Iterable[str], place: str) -> tuple[str, str]:
    """(prefix of the backbone's names, its name in `BACKBONES`)."""
    root = "backbone." if any(name.startswith("backbone.") for name in names) else ""
    numbers = [re.match(rf"{root}layer3\.(\d+)\.", name) for name in names]
    third = max((int(found[1]) + 1 for found in numbers if found), default=0)
    basic = not any(re.match(rf"{root}layer\d\.\d+\.conv3\.", name) for name in names)
    depth = next((d for d, counts in BACKBONES.items() if counts[2] == third and basic == (d in _BASIC)), None)
    if depth is None:
        raise InputError(f"{place}: a ResNet with {third} blocks in its third stage; known are {', '.join(BACKBONES)}")
    return root, depth


def _backbone(depth: str) -> list[tuple[str, str]]:
    """(module, kind) of a ResNet's layers in our names."""
    modules = [("conv1", "conv"), ("bn1", "norm")]
    convolutions = 2 if depth in _BASIC else 3
    for stage, count in enumerate(BACKBONES[depth], start=1):
        for block in range(count):
            at = f"layer{stage}.{block}."
            modules += [(f"{at}{m}{k}", kind) for k in range(1, convolutions + 1)
                        for m, kind in (("conv", "conv"), ("bn", "norm"))]
            if block == 0 and (stage > 1 or convolutions == 3):
                modules += [(f"{at}downsample.0", "conv"), (f"{at}downsample.1", "norm")]
    return modules
