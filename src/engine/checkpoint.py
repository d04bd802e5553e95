"""Checkpoints: everything that a resumed run needs (weights, optimizer state, loss scale, metadata) in one file."""
from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

import mindspore as ms
import mindspore.nn as nn

from src.contract import InputError
from src.engine.averaging import PREFIX as AVERAGE
from src.engine.run_folder import checkpoints_of
from src.files import replacing

log = logging.getLogger(__name__)
# The schedule is a function of the configuration. No overflow is pending between two updates, when checkpoints are
# written, and skipped steps are counted from the start of a process: these two exist on devices alone.
NOT_SAVED = ("learning_rate*", "state.overflows_seen", "state.skipped")
RAW = "state.raw."  # of the weights that are trained, in a file where their averages have the plain names


def save(path: Path, cell: nn.Cell, metadata: Mapping) -> None:
    """Write all parameters of `cell` and `metadata` (as JSON) to `path` atomically.

    The averages of weights, where the run has them, get the plain names, which are the weights to whoever reads the
    file: evaluation, export, and runs that start from it.
    """
    data = [{"name": name, "data": p} for name, p in saved(cell).items()]
    with _unfinished(path) as unfinished:
        ms.save_checkpoint(data, str(unfinished), append_dict={"metadata": json.dumps(dict(metadata))},
                           crc_check=True)
        os.chmod(unfinished, 0o644)


def copy(path: Path, to: Path) -> None:
    """Copy a checkpoint atomically."""
    with _unfinished(to) as unfinished:
        shutil.copyfile(path, unfinished)


def rewrite(path: Path, to: Path, change: Callable[[dict], dict]) -> None:
    """Copy a checkpoint with other metadata: what `change` makes of its own."""
    values, metadata = load(path)
    changed = change(metadata)
    with _unfinished(to) as unfinished:
        ms.save_checkpoint([{"name": name, "data": value} for name, value in values.items()], str(unfinished),
                           append_dict={"metadata": json.dumps(changed)}, crc_check=True)
        os.chmod(unfinished, 0o644)


@contextmanager
def _unfinished(path: Path) -> Iterator[Path]:
    """`replacing`, with the file flushed to disk before it is renamed. Failures become InputErrors."""
    try:
        with replacing(path) as unfinished:
            try:
                yield unfinished
                _sync(unfinished)
            finally:
                unfinished.with_suffix(".tmp").unlink(missing_ok=True)  # MindSpore writes there first
    except (OSError, RuntimeError) as error:
        raise InputError(f"{path}: the checkpoint could not be written ({_first_line(error)}); is the disk full? "
                         "Earlier checkpoints are untouched") from error


def load(path: Path) -> tuple[dict[str, ms.Parameter], dict]:
    """Read a checkpoint: ({name: Parameter}, metadata).

    Raises:
        InputError: missing, truncated or not a checkpoint.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint")
    try:
        values = ms.load_checkpoint(str(path), crc_check=True)
    except (ValueError, RuntimeError, TypeError, OSError) as error:
        raise InputError(f"{path}: not a complete checkpoint, or damaged since it was written "
                         f"({_first_line(error)})") from error
    metadata = values.pop("metadata", "{}")
    return {k: v for k, v in values.items() if isinstance(v, ms.Parameter)}, json.loads(str(metadata))


def restore(cell: nn.Cell, values: Mapping[str, ms.Parameter], path: Path) -> None:
    """Load the whole training state of a checkpoint into `cell`.

    Raises:
        InputError: the checkpoint is of another network or other training options; the differing names are listed.
    """
    own = saved(cell)
    given = {k: v for k, v in values.items() if not _left_out(k)}
    wrong = sorted(own.keys() ^ given.keys()) + sorted(
        k for k in own.keys() & given.keys() if own[k].shape != given[k].shape)
    if wrong:
        raise InputError(f"{path}: cannot be resumed with these settings: {len(wrong)} parameters differ, first "
                         f"{', '.join(wrong[:5])}. Use the settings of the run (config.yaml beside the checkpoint)")
    for name, parameter in own.items():
        parameter.set_data(ms.Tensor(given[name].asnumpy(), parameter.dtype))


def _left_out(name: str) -> bool:
    return any(fnmatchcase(name, glob) for glob in NOT_SAVED)


def saved(cell: nn.Cell) -> dict[str, ms.Parameter]:
    """{name in the file: parameter} of what a checkpoint of `cell` holds."""
    own = {p.name: p for p in cell.get_parameters() if not _left_out(p.name)}
    averaged = {name.removeprefix(AVERAGE) for name in own if name.startswith(AVERAGE)}
    return {RAW + name if name in averaged else name.removeprefix(AVERAGE): p for name, p in own.items()}


class CheckpointFolder:
    """The checkpoints of one run: `{model}-{epoch}_{step}.ckpt`, epoch from 1, step from 1 within the epoch.

    The newest `keep_max` are kept, and `{model}_best.ckpt`. Only files with such names are ever removed.
    """

    def __init__(self, folder: Path, model: str, keep_max: int):
        self.folder = folder
        self.model = model
        self.keep_max = keep_max

    def path(self, epoch: int, step: int) -> Path:
        return self.folder / f"{self.model}-{epoch}_{step}.ckpt"

    @property
    def best(self) -> Path:
        return self.folder / f"{self.model}_best.ckpt"

    def existing(self) -> list[Path]:
        """Oldest first."""
        return checkpoints_of(self.folder, self.model)

    def save(self, cell: nn.Cell, metadata: Mapping, epoch: int, step: int) -> Path:
        path = self.path(epoch, step)
        save(path, cell, metadata)
        for old in self.existing()[: -self.keep_max or None]:
            old.unlink()
        return path

    def newest(self) -> tuple[Path, dict[str, ms.Parameter], dict] | None:
        """The newest complete checkpoint and its contents, or None. Broken ones are logged and skipped.

        Raises:
            InputError: all checkpoints are broken.
        """
        paths = self.existing()
        for older, path in reversed(list(enumerate(paths))):
            try:
                return (path, *load(path))
            except InputError as error:
                log.warning("%s%s", error, "; going on from an older one" if older else "")
        if paths:
            raise InputError(f"{self.folder}: none of its {len(paths)} checkpoints is complete; name another folder")
        return None

    def clear_unfinished(self) -> None:
        """Remove files that a killed process left half-written; only for the process that has locked the folder."""
        for ending in ("ckpt", "tmp", "jsonl"):
            for path in self.folder.glob(f".unfinished-*.{ending}"):
                path.unlink()
                log.warning("%s: removed, the process that wrote it was killed", path)


def _sync(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
