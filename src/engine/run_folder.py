"""The files of a run in its folder, and whether a folder is free for a run. No MindSpore is imported here."""
from __future__ import annotations

import re
from pathlib import Path

from src.contract import InputError


def checkpoints_of(folder: Path, model: str = "") -> list[Path]:
    """The checkpoints of a model, or of any, in a folder, `{model}-{epoch}_{step}.ckpt`, the oldest first."""
    pattern = re.compile((re.escape(model) or r"[^.].*") + r"-(\d+)_(\d+)\.ckpt")
    found = [(m, p) for p in folder.glob("*.ckpt") if (m := pattern.fullmatch(p.name))]
    return [p for _, p in sorted((tuple(map(int, m.groups())), p) for m, p in found)]


def check_free(folder: Path, model: str, *, resume: bool) -> None:
    """Refuse a folder with results of another run: a folder belongs to one run.

    Raises:
        InputError: checkpoints of another model, or an earlier run that is not resumed.
    """
    own = checkpoints_of(folder, model)
    others = [p.name for p in checkpoints_of(folder) if p not in own]
    if others:
        raise InputError(f"--output_dir={folder}: holds checkpoints of another model ({others[0]}); name another "
                         "folder")
    if (own or (folder / "metrics.jsonl").exists()) and not resume:
        raise InputError(f"--output_dir={folder}: holds checkpoints or logs of an earlier run; go on with --resume or "
                         "name another folder")
