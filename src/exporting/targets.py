"""The files that an export will write, and checks that need no MindSpore. Nothing is written here."""
from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from src.contract import InputError
from src.exporting import preprocess_spec

SUFFIXES = {"MINDIR": ".mindir", "AIR": ".air", "ONNX": ".onnx"}
IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


def targets(file_name: str, checkpoint: Path, kinds: Sequence[str]) -> dict[str, Path]:
    """{format: the file to write}."""
    stem = Path(file_name or checkpoint.stem)
    if stem.suffix in SUFFIXES.values():
        stem = stem.with_suffix("")
    return {kind: stem.with_name(stem.name + SUFFIXES[kind]) for kind in dict.fromkeys(kinds)}


def refuse_impossible(files: dict[str, Path], device_target: str, sample_images: str) -> None:
    """Raise InputError if a format cannot be written here, a file is in the way, or there is no image to check on.

    Args:
        files: `targets`. A file may be replaced only by another export of the same checkpoint, whose preprocess.json
            names it.
    """
    if "AIR" in files and device_target != "Ascend":
        raise InputError("--file_format=AIR: MindSpore writes this deprecated format on Ascend devices only. Run this "
                         "line there with --device_target=Ascend, or export MINDIR (Ascend, MindSpore Lite) or ONNX "
                         "(ONNX Runtime, OpenVINO, ATC) here")
    if "ONNX" in files and not importlib.util.find_spec("onnx"):
        raise InputError("--file_format=ONNX: the package onnx is missing; pip install -r requirements/export.txt")
    path = next(iter(files.values())).parent / preprocess_spec.FILE_NAME
    known = preprocess_spec.read(path)["files"].values() if path.exists() else ()
    for target in files.values():
        if target.exists() and target.name not in known:
            raise InputError(f"{target}: exists, and no preprocess.json says that it is of this checkpoint; give "
                             "another --file_name or move it away")
    if sample_images:
        sample_files(sample_images)


def sample_files(sample_images: str) -> list[Path]:
    """The image files of --sample_images: one file, or all in a folder.

    Raises:
        InputError: there is none.
    """
    path = Path(sample_images)
    if not path.exists():
        raise InputError(f"--sample_images={path}: no such file or folder")
    found = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGES) if path.is_dir() else [path]
    if not found:
        raise InputError(f"--sample_images={path}: holds no image ({', '.join(IMAGES)})")
    return found
