"""Score thresholds by class: instances below that of their class are no result. Evaluation never applies them.

They are written NAME=NUMBER, one class after another, or as a JSON file with them under the key `score_thresholds`, as
`src/tools/score_thresholds.py` writes it. A class without a threshold keeps all its instances. No MindSpore here.
"""
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from src.command_line import nearest
from src.contract import InputError, Instances
from src.wording import some

KEY = "score_thresholds"
_WRITE = f"write --{KEY}=NAME=NUMBER,... or --{KEY}=FILE.json"


def entries(values: Any) -> Any:
    """The entries NAME=NUMBER of what a configuration's key was given, with files replaced by what is in them.

    Raises:
        ValueError: an unreadable file.
    """
    if isinstance(values, Mapping):
        return tuple(f"{name}={number}" for name, number in values.items())
    if isinstance(values, str):
        values = [values]
    if not isinstance(values, (list, tuple)):
        return values
    found: list[Any] = []
    for value in values:
        is_file = isinstance(value, str) and value.endswith(".json") and "=" not in Path(value).name
        found += entries(_read(Path(value))) if is_file else [value] * (value != "")
    return tuple(found)


def parse(values: Sequence[str]) -> dict[str, float]:
    """{class name: threshold} of entries NAME=NUMBER.

    Raises:
        ValueError: one without a class or a number from 0 to 1, or a class that is given twice.
    """
    thresholds: dict[str, float] = {}
    for value in values:
        name, _, number = value.rpartition("=")
        if not name:
            raise ValueError(f"{KEY}: {value!r} has no class; {_WRITE}")
        try:
            threshold = float(number)
        except ValueError:
            raise ValueError(f"{KEY}: {value!r} has no number behind the class; {_WRITE}") from None
        if not 0 <= threshold <= 1:
            raise ValueError(f"{KEY}: {value!r}: scores are from 0 to 1; give a number in this range")
        if name in thresholds:
            raise ValueError(f"{KEY}: {name!r} is given twice; leave one of them out")
        thresholds[name] = threshold
    return thresholds


def by_label(thresholds: Mapping[str, float], class_names: Sequence[str]) -> dict[int, float]:
    """{class index: threshold}; the background, index 0, has none.

    Raises:
        InputError: unknown classes.
    """
    known = list(class_names[1:])
    for name in thresholds:
        if name not in known:
            raise InputError(f"{KEY}: {name!r} is no class of the model{nearest(name, known)} It has "
                             f"{some(known, 20)}; correct the name, or leave it out")
    return {known.index(name) + 1: threshold for name, threshold in thresholds.items()}


def keep(found: Instances, thresholds: Mapping[int, float], *, otherwise: float = 0.0) -> Instances:
    """The instances of at least their class's threshold, or `otherwise` where the class has none, in their order."""
    labels = np.asarray(found.labels, np.int64)
    least = np.full(max(int(labels.max(initial=0)), *thresholds, 0) + 1, otherwise, np.float64)
    least[list(thresholds)] = list(thresholds.values())
    chosen = np.flatnonzero(np.asarray(found.scores, np.float64) >= least[labels])
    if len(chosen) == len(labels):
        return found
    return Instances(found.image_id, found.boxes_image[chosen], found.labels[chosen], found.scores[chosen],
                     [found.rles[k] for k in chosen] if found.rles else [])


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; src/tools/score_thresholds.py writes it") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: not readable as JSON ({error}); write it again") from error
    if not isinstance(content, dict) or not isinstance(content.get(KEY), dict):
        raise ValueError(f"{path}: has no key {KEY!r} with a number for each class; write it with "
                         "src/tools/score_thresholds.py")
    return content[KEY]
