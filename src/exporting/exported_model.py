"""Read an exported file with the preprocess.json beside it, and check that the two belong together.

Other programs read the keys of preprocess.json itself, whereas here the task is built from `conventions`. Both must
agree, so that one file cannot give two results: what the task would write is compared with what is there.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from src.contract import InputError, Task
from src.engine.settings import BEFORE_THE_KEYS
from src.exporting import preprocess_spec

# Settings that act after the exported graph and can therefore still be changed.
CHANGEABLE = ("workers", "mask_thr_binary", "mask_paste_pad", "score_thresholds")
VIEWS = ("scales", "flip")  # several runs of the network for one image
_KEYS = {"model": str, "class_names": list, "conventions": dict, "inputs": list, "outputs": list,
         "decode": dict, "resize": dict, "pad": dict, "normalise": dict, "postprocess": dict}
_WAY_OUT = "undo the edit, or export the model again"


def read(model: Path) -> dict[str, Any]:
    """The preprocess.json of an exported file.

    Raises:
        InputError: it is missing or incomplete, or does not name this file.
    """
    place = model.with_name(preprocess_spec.FILE_NAME)
    spec = preprocess_spec.read(place)
    for key, kind in _KEYS.items():
        if not isinstance(spec.get(key), kind):
            found = f"is {spec[key]!r:.60}" if key in spec else "is missing"
            raise InputError(f"{place}: the key {key!r} {found}, expected a JSON "
                             f"{ {str: 'string', list: 'list', dict: 'object'}[kind]}; {_WAY_OUT}")
    for key in ("inputs", "outputs"):
        if not spec[key] or not all(map(_is_tensor, spec[key])):
            raise InputError(f"{place}: the key {key!r} is not a list of tensors (name, dtype, shape); {_WAY_OUT}")
    if model.name not in spec["files"].values():
        raise InputError(f"{model}: {place.name} beside it describes "
                         f"{', '.join(map(str, spec['files'].values())) or 'no file'}; keep each model with its own")
    return spec


def _is_tensor(entry: Any) -> bool:
    return (isinstance(entry, dict) and isinstance(entry.get("name"), str) and isinstance(entry.get("dtype"), str)
            and isinstance(entry.get("shape"), list) and all(type(n) is int and n > 0 for n in entry["shape"]))


def refuse_fixed(model: Path, settings: Mapping[str, Any], config: Any) -> None:
    """Raise InputError for another value of a setting that is built into an exported file: all but `CHANGEABLE`.

    Args:
        config: with the values that the file was exported with.
    """
    for name in sorted(settings.keys() - set(CHANGEABLE)):
        own = getattr(config, name, None)
        own = list(own) if isinstance(own, tuple) and isinstance(settings[name], list) else own
        if name in VIEWS and settings[name] != own:
            raise InputError(f"{name} has no effect on {model}: an exported file looks at an image once; predict with "
                             f"the checkpoint instead, or leave --{name} out")
        if settings[name] != own:
            raise InputError(f"{name} has no effect on {model}: an exported file has its settings built in, here "
                             f"{name}={own}. Give it to export.py and export again, or load the checkpoint with it; "
                             f"after the graph come only {', '.join(CHANGEABLE)}")


def settings_of(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration that an exported file needs: conventions of its weights, and what they were exported with."""
    image, output = spec["inputs"][0], spec["outputs"][-1]
    values = {"model": spec["model"], **BEFORE_THE_KEYS, **spec["conventions"], "export_batch_size": image["shape"][0]}
    if output["dtype"] in ("float16", "float32"):
        values["precision"] = output["dtype"]
    if spec.get("task") == "semantic":
        return values | {"output": output["name"], "input_size": image["shape"][-1]}
    return values | {"mask_thr_binary": spec["postprocess"].get("mask_threshold")}


def refuse_contradictions(model: Path, spec: Mapping[str, Any], task: Task) -> None:
    """Raise InputError unless the recipe of the task of `settings_of` is the one that `spec` has."""
    place, wanted = model.with_name(preprocess_spec.FILE_NAME), task.export.preprocess_spec()
    for key in ("task", "class_names", "inputs", "outputs", "resize", "pad", "normalise", "postprocess"):
        found, expected = (_compared(key, part.get(key)) for part in (spec, wanted))
        if found != expected:
            raise InputError(f"{place}: {key} is {found}, but conventions and outputs of the same file give "
                             f"{expected}: which of them counts is not clear; {_WAY_OUT}")
    for key, found, expected in (("model", spec["model"], task.config.model),
                                 ("decode.colour_order", spec["decode"].get("colour_order"),
                                  wanted["decode"]["colour_order"]),
                                 ("decode.exif_orientation", spec["decode"].get("exif_orientation", "ignored"),
                                  wanted["decode"]["exif_orientation"]),
                                 ("decode.bits16", spec["decode"].get("bits16", "upper byte"),
                                  wanted["decode"]["bits16"])):
        if found != expected:
            raise InputError(f"{place}: {key} is {found!r}, conventions have {expected!r}; {_WAY_OUT}")


def _compared(key: str, value: Any) -> Any:
    return [(t["name"], t["shape"], t["dtype"]) for t in value] if key in ("inputs", "outputs") else value


def refuse_other_model(model: Path, spec: Mapping[str, Any], inputs: Sequence[Sequence[int]],
                       outputs: Sequence[Sequence[int]]) -> None:
    """Raise InputError unless a file has the inputs and outputs (shapes, in order) that `spec` says."""
    for key, shapes in (("inputs", inputs), ("outputs", outputs)):
        expected, found = [list(entry["shape"]) for entry in spec[key]], [list(shape) for shape in shapes]
        if expected != found:
            raise InputError(f"{model}: does not fit the {preprocess_spec.FILE_NAME} beside it: {key} of the shapes "
                             f"{expected} expected, {found} found. Keep each model with its own, or export it again")
