"""Published weights and our own: read under our names, loaded with a report, written back under theirs.

    report = load_weights(network, "deeplab_v3_s16-300_41.ckpt")
    print(report)                       # every name
    report.conventions["colour_order"]  # what the weights need, see `families.py`

This module knows no model: the names of layers are in the tables of `families.py`, those of classifier layers come
from the caller.
"""
from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from src.contract import InputError
from src.weights import names
from src.weights.families import FAMILIES, Family
from src.weights.formats import read_tensors, write_tensors
from src.weights.report import LoadReport

BACKBONE = "backbone."  # prefix of the part of a network that classification weights belong to


@dataclass(frozen=True)
class Weights:
    """A weights file under our names: float32 arrays, and what became of the file's names."""

    tensors: dict[str, np.ndarray]
    report: LoadReport


def read_weights(path: str | Path, family: str = "auto") -> Weights:
    """Read a weights file of any family, converted to our names and layouts.

    Args:
        path: a file that `formats.read_tensors` reads.
        family: a key of `families.FAMILIES`, or "auto": recognised from names and shapes.

    Raises:
        InputError: unreadable, of no known family, two names for one weight, or values that are not finite.
    """
    stored, metadata = read_tensors(path)
    table = names.find_family(stored, family, str(path))
    tensors: dict[str, np.ndarray] = {}
    mapped: dict[str, str] = {}
    transposed, ignored, left_over = [], [], []
    for source, array in stored.items():
        name = names.bare(source)
        to = None if names.matches(name, table.state) else names.to_ours(table, name)
        if names.matches(name, table.state):
            ignored.append(source)
        elif to is None:
            left_over.append(source)
        elif to.name in tensors:
            raise InputError(f"{path}: {source} and {mapped[to.name]} are both {to.name}; remove one of them")
        else:
            tensors[to.name] = _weight(path, source, array, to.transposed)
            mapped[to.name] = source
            if to.transposed:
                transposed.append(to.name)
    missing = sorted(set(names.required(table, tensors, str(path))) - set(tensors)) if table.rows else []
    mismatched = names.strange_shapes(tensors, str(path)) if table.rows else []
    origin, conventions = _conventions(path, table, stored, tensors, metadata)
    return Weights(tensors, LoadReport(str(path), origin, conventions, mapped, transposed, ignored, left_over, missing,
                                       mismatched=mismatched))


def _weight(path: str | Path, name: str, array: np.ndarray, transposed: bool) -> np.ndarray:
    if array.dtype.kind != "f" or (transposed and array.ndim != 2):
        raise InputError(f"{path}: {name} is {array.dtype} {array.shape}, which cannot be a weight of that name; "
                         "weights are float32, float16 or float64")
    with np.errstate(over="ignore"):
        values = np.asarray(array.T if transposed else array, np.float32)
    if not np.isfinite(values).all():
        raise InputError(f"{path}: {name} holds values that are not finite in float32; take an earlier checkpoint")
    return values


# --- conventions ------------------------------------------------------------------------------------------------------

def to_metadata(family: str, conventions: Mapping[str, Any]) -> dict[str, Any]:
    """What our checkpoints say about their weights; `read_weights` reads it as JSON from the metadata "metadata"."""
    return {"family": family, "conventions": dict(conventions)}


def _conventions(path: str | Path, table: Family, stored: Mapping[str, np.ndarray], tensors: Mapping[str, np.ndarray],
                 metadata: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """(original family, conventions): from the metadata of our files, from the table for published ones."""
    if not table.rows:
        try:
            said = json.loads(metadata.get("metadata", "{}"))
            family, conventions = said.get("family", table.name), said.get("conventions", {})
        except (ValueError, AttributeError, RecursionError) as error:
            raise InputError(f"{path}: its metadata is damaged ({error!s:.100}); convert the weights again") from error
        if not isinstance(family, str) or family not in FAMILIES or not isinstance(conventions, dict):
            raise InputError(f"{path}: its metadata names the family {str(family)[:40]!r}; convert the weights again")
        return family, {**names.measured(tensors), **conventions}
    result = dict(table.conventions)
    for glob, options in table.variants:
        if not any(names.matches(name, [glob]) for name in stored):
            result |= options
    return table.name, {**result, **names.measured(tensors)}


# --- into a network ---------------------------------------------------------------------------------------------------

def load_weights(network: Any, path: str | Path, *, family: str = "auto", expect_missing: Sequence[str] = (),
                 expect_unexpected: Sequence[str] = (), classifier: Sequence[str] = (),
                 replace_classifier: bool | str = False, remedy: str = "") -> LoadReport:
    """Load a weights file into a network's parameters, completely or not at all.

    Classification weights go into a network's `backbone.`; their own classifier is left over. Weights of the other
    model give their backbone. Both may lack the rest of the network only where the classifier may be replaced, that
    is, at the start of training.

    Args:
        network: an `nn.Cell` with our parameter names.
        path, family: see `read_weights`.
        expect_missing: globs of network parameters that the file may lack.
        expect_unexpected: globs of names (ours or the file's) that the network may lack.
        classifier: globs of the layers whose shapes follow the number of classes.
        replace_classifier: True keeps the initial values of the layers of `classifier`; "mismatched" does so if the
            number of classes differs.
        remedy: see `LoadReport.check`.

    Raises:
        InputError: a name is left over, missing or of another shape, and was not named as expected.
    """
    weights = read_weights(path, family)
    parameters = dict(network.parameters_and_names())
    expected = [*expect_missing, *expect_unexpected]
    tensors, mapped = weights.tensors, weights.report.mapped
    if not any(name.startswith(BACKBONE) for name in tensors):
        expected.append("fc.*")
        if BACKBONE + "conv1.weight" in parameters:
            tensors = {_inside(name): array for name, array in tensors.items()}
            mapped = {_inside(name): source for name, source in mapped.items()}
            if replace_classifier:
                expected += [name for name in parameters if not name.startswith(BACKBONE)]
    elif replace_classifier and _of_another_model(tensors, parameters):
        expected += [name for name in (*tensors, *parameters) if not name.startswith(BACKBONE)]
    mismatched = [(name, array.shape, tuple(parameters[name].shape)) for name, array in tensors.items()
                  if name in parameters and array.shape != tuple(parameters[name].shape)]
    differs = any(names.matches(name, classifier) for name, *_ in mismatched)
    replaced = [name for name in parameters if names.matches(name, classifier)] if (
        replace_classifier is True or (replace_classifier == "mismatched" and differs)) else []
    loaded = [name for name in tensors if name in parameters and name not in replaced]
    surplus = [name for name in tensors if name not in parameters]
    expected += [mapped[name] for name in surplus if names.matches(name, expected)]
    report = dataclasses.replace(
        weights.report, mapped={name: mapped[name] for name in loaded}, replaced=replaced, expected=expected,
        transposed=[name for name in weights.report.transposed if name in loaded],
        left_over=[*weights.report.left_over, *(mapped[name] for name in surplus)],
        missing=[name for name in parameters if name not in tensors and name not in replaced],
        mismatched=[entry for entry in mismatched if entry[0] not in replaced])
    report.check(remedy)
    _set(parameters, {name: tensors[name] for name in loaded})
    return report


def _of_another_model(tensors: Iterable[str], parameters: Iterable[str]) -> bool:
    """Whether two networks have a backbone, and nothing but it in common."""
    common = set(tensors) & set(parameters)
    return bool(common) and all(name.startswith(BACKBONE) for name in common)


def _inside(name: str) -> str:
    return name if name.startswith("fc.") else BACKBONE + name


def _set(parameters: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> None:
    import mindspore as ms

    for name, array in tensors.items():
        parameters[name].set_data(ms.Tensor(array, parameters[name].dtype))


# --- into a file ------------------------------------------------------------------------------------------------------

def write_weights(weights: Weights, path: str | Path) -> None:
    """Write weights under our names, with their conventions as metadata."""
    said = to_metadata(weights.report.family, weights.report.conventions)
    write_tensors(path, weights.tensors, {"metadata": json.dumps(said)})


def write_published(weights: Weights, path: str | Path, publisher: str) -> tuple[Family, list[str]]:
    """Write weights under the names and in the layouts of "torchvision" or "zoo".

    Returns:
        The family written, and the conventions in which these weights differ from it. If there are any, the
        publisher's own network loads the file but computes something else than ours.

    Raises:
        InputError: that publisher has no network with these layers.
    """
    table, renames = _target(weights, publisher)
    tensors = {}
    for ours, array in weights.tensors.items():
        to = renames[ours]
        tensors[to.name] = array.T if to.transposed else array
    for name in names.counters(table, list(tensors)):
        tensors[name] = np.zeros((), np.int64)
    write_tensors(path, tensors, {"format": "pt"} if publisher == "torchvision" else {})
    return table, [f"{key}: {value!r} here, {table.conventions[key]!r} in {table.name}"
                   for key, value in weights.report.conventions.items()
                   if key in table.conventions and not _agree(value, table.conventions[key])]


def _agree(value: Any, published: Any) -> bool:
    """Whether a value is the published one, or one of several that are published for different output strides."""
    return value == published or (isinstance(published, dict) and value in published.values())


def _target(weights: Weights, publisher: str) -> tuple[Family, dict[str, names.Rename]]:
    """The publisher's family that has a name for every tensor, and those names."""
    place, reasons = weights.report.place, []
    for table in FAMILIES.values():
        if table.publisher != publisher or not table.rows:
            continue
        places = {ours: names.from_ours(table, ours) for ours in weights.tensors}
        renames = {ours: to for ours, to in places.items() if to is not None}
        lost = [ours for ours in places if ours not in renames]
        missing = set() if lost else set(names.required(table, weights.tensors, place)) - set(weights.tensors)
        if not lost and not missing:
            return table, renames
        reasons.append((len(lost) or len(missing), f"{table.name} has no place for {lost[0]}" if lost
                        else f"{table.name} needs {min(missing)}, which is not there"))
    raise InputError(f"{place}: cannot be written for {publisher}: {min(reasons)[1]}" if reasons else
                     f"--family={publisher}: no such publisher; expected zoo or torchvision")
