"""Runs to compare: results with per-image statistics, and the training run that the checkpoint is of.

eval.py, report.py and postprocess.py write such results. A run is named by its results file, or by the folder that
holds one. No MindSpore here.
"""
from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from src.contract import InputError
from src.engine.run_folder import checkpoints_of
from src.metrics.image_statistics import ImageStatistics, MatchStatistics
from src.results.files import is_result_folder, read_json
from src.results.image_files import SUFFIX, beside, read_statistics
from src.wording import some

# What a run was given, by the flag of eval.py that takes it: the first key that has a value.
_VAL_DATA = {"data_root": ("data_root",), "data_lst": ("val_data_lst",), "data_file": ("val_data_file",),
             "coco_root": ("coco_root",), "ann_file": ("val_anno_path",), "val_data_type": ("val_data_type",),
             "device_target": ("device_target",)}


@dataclass(frozen=True)
class Run:
    """One of the runs that are compared.

    Attributes:
        name: as it was given on the command line.
        numbers: the results.
        statistics: of the images.
        training: the configuration of the training run; empty where it is not beside the checkpoint.
        log: the lines of its `metrics.jsonl`, see `src/engine/metrics_log.py`.
    """

    name: str
    numbers: Mapping[str, Any]
    statistics: ImageStatistics
    training: Mapping[str, Any] = field(default_factory=dict)
    log: Sequence[Mapping[str, Any]] = ()


def open_runs(names: Sequence[str]) -> list[Run]:
    """The runs of a command line.

    Raises:
        InputError: fewer than two, one named twice, one without statistics, or runs of different val sets.
    """
    if len(names) < 2:
        raise InputError(f"{len(names)} run to compare; name two or more: results of eval.py, or folders with them")
    paths = [_results_of(Path(name)) for name in names]
    for k, path in enumerate(paths):
        if path in paths[:k]:
            raise InputError(f"{names[k]}: named twice; give different runs")
    runs = [_open(name, path) for name, path in zip(names, paths)]
    for other in runs[1:]:
        refuse_other_truth(runs[0], other)
    return runs


def _results_of(path: Path) -> Path:
    """The results file that a run's name means."""
    if path.is_file():
        results = _json_of(path) if path.name.endswith(SUFFIX) else path
        if results.suffix != ".json":
            raise InputError(f"{path}: no results of eval.py; name its JSON file ({results.stem}.json, for example), "
                             "or the folder that holds it")
    elif path.is_dir():
        found = sorted(path.glob(f"*{SUFFIX}"))
        if len(found) > 1:
            raise InputError(f"{path}: holds several evaluations; name one of {some(_json_of(p) for p in found)}")
        results = _json_of(found[0]) if found else _without_statistics(path)
    else:
        raise InputError(f"{path}: no such file or folder; name results of eval.py, or a folder with them")
    if not results.is_file():
        raise InputError(f"{path}: {results.name} is missing beside {beside(results).name}; evaluate again")
    if not beside(results).is_file():
        raise InputError(f"{path}: has no per-image statistics ({beside(results).name}); write them with\n"
                         f"    {_command_again(results)}")
    return results


def _json_of(statistics: Path) -> Path:
    return statistics.with_name(statistics.name.removesuffix(SUFFIX) + ".json")


def _without_statistics(folder: Path) -> Path:
    """The results in a folder without statistics; without any, an error names the command that makes them."""
    for name in ("eval_result.json", "metrics.json"):
        if (folder / name).is_file():
            return folder / name
    checkpoints = checkpoints_of(folder) or sorted(folder.glob("*.ckpt"))
    if not checkpoints:
        raise InputError(f"{folder}: holds neither results of eval.py nor checkpoints; name another folder")
    raise InputError(f"{folder}: has not been evaluated with per-image statistics; write them with\n"
                     f"    {_command(checkpoints[-1], folder / 'eval_result.json')}")


def _command_again(results: Path) -> str:
    """The line that writes results again, with statistics; in the folder of an inference that of postprocess.py."""
    checkpoint = _numbers(results).get("checkpoint", "")
    if not checkpoint and is_result_folder(str(results.parent)):
        return f"python postprocess.py --result_path={shlex.quote(str(results.parent))} VAL_DATA_FLAGS"
    return _command(Path(checkpoint or "CHECKPOINT"), results)


def _command(checkpoint: Path, results: Path) -> str:
    """The line that evaluates a checkpoint on the val data of its run, as far as that is known."""
    trained, flags = _configuration(checkpoint.parent), []
    for flag, keys in _VAL_DATA.items():
        value = next((trained[key] for key in keys if trained.get(key)), None)
        if value:
            flags.append(f"--{flag}={shlex.quote(str(value))}")
    return " ".join(["python eval.py", f"--ckpt_path={shlex.quote(str(checkpoint))}",
                     *(flags or ["VAL_DATA_FLAGS"]), f"--result_path={shlex.quote(str(results))}"])


def _open(name: str, results: Path) -> Run:
    numbers = _numbers(results)
    folder = _training_folder(results, str(numbers.get("checkpoint", "")))
    statistics = read_statistics(beside(results))
    if not len(statistics):
        raise InputError(f"{name}: is of no image at all; evaluate a val set with images")
    if isinstance(statistics, MatchStatistics) and not statistics.matches:
        raise InputError(f"{name}: its {len(statistics)} images have no object to find, so there is no AP to compare; "
                         "evaluate a val set with objects")
    return Run(name, numbers, statistics, _configuration(folder) if folder else {},
               _log(folder / "metrics.jsonl") if folder else ())


def _numbers(results: Path) -> dict[str, Any]:
    numbers = read_json(results)
    if not isinstance(numbers, dict):
        raise InputError(f"{results}: holds no results of eval.py; evaluate again")
    return numbers


def _training_folder(results: Path, checkpoint: str) -> Path | None:
    """The folder that train.py wrote the evaluated checkpoint into: its path may start at the results' folder."""
    places = [Path(checkpoint).parent, (results.parent / checkpoint).parent, results.parent] if checkpoint else []
    return next((place for place in places if (place / "config.yaml").is_file()), None)


def _configuration(folder: Path) -> dict[str, Any]:
    path = folder / "config.yaml"
    if not path.is_file():
        return {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not readable as YAML ({' '.join(str(error).split())}); move it away") from error
    return content if isinstance(content, dict) else {}


def _log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log up to the first that a killed process left incomplete."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines


def refuse_other_truth(first: Run, other: Run) -> None:
    """Raise InputError, which says what differs, unless two runs were evaluated on the same images and truth."""
    one, two = first.statistics, other.statistics
    between = f"{first.name} and {other.name} cannot be compared: "
    way_out = "; evaluate both on the same val set"
    if one.kind != two.kind:
        raise InputError(f"{between}one has label maps, the other instances{way_out}")
    if one.class_names != two.class_names:
        raise InputError(f"{between}classes {some(one.class_names)} against {some(two.class_names)}{way_out}")
    if one.image_ids.tolist() != two.image_ids.tolist():
        ids = set(one.image_ids.tolist()), set(two.image_ids.tolist())
        only = [f"{len(own)} images only in {run.name} ({some(sorted(own))})"
                for run, own in ((first, ids[0] - ids[1]), (other, ids[1] - ids[0])) if own]
        raise InputError(f"{between}{' and '.join(only)}, {len(ids[0] & ids[1])} in both{way_out}")
    differing = one.image_ids[one.truths != two.truths].tolist()
    if differing:
        raise InputError(f"{between}the truth of {len(differing)} of {len(one)} images differs, ids {some(differing)}"
                         f"{way_out}, with the same labels{' and --ignore_label' * (one.kind == 'confusion')}")
    if isinstance(one, MatchStatistics) and isinstance(two, MatchStatistics) and (
            one.max_detections != two.max_detections):
        raise InputError(f"{between}--eval_max_detections={one.max_detections} against {two.max_detections}{way_out}, "
                         "with the same --eval_max_detections")
