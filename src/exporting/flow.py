"""Export from beginning to end: write files aside, run them against the checkpoint, and only then give them names."""
from __future__ import annotations

import importlib.util
import logging
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from src.contract import InputError, Task
from src.data.decode import decode_image
from src.data.practice.sample_set import draw_split
from src.exporting import mindir, parity, preprocess_spec, runners
from src.exporting.fold import fold_batch_norms
from src.exporting.mindir import SUFFIXES

log = logging.getLogger(__name__)
SAMPLES = 4  # of the practice set
_IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


def targets(file_name: str, checkpoint: Path, kinds: Sequence[str]) -> dict[str, Path]:
    """{format: the file to write}; its folder is made where it is missing."""
    stem = Path(file_name or checkpoint.stem)
    if stem.suffix in SUFFIXES.values():
        stem = stem.with_suffix("")
    stem.parent.mkdir(parents=True, exist_ok=True)
    return {kind: stem.with_name(stem.name + SUFFIXES[kind]) for kind in dict.fromkeys(kinds)}


def export(task: Task, network: Any, spec: dict[str, Any], files: dict[str, Path], *, sample_images: str = "") -> None:
    """Write the exported files and preprocess.json, all of them or none.

    Args:
        task: of the network.
        network: with its weights; its batch norms are folded here, so it cannot be trained afterwards.
        spec: `preprocess_spec.complete`.
        files: `targets`.
        sample_images: image or folder to compare results on; by default pictures of the practice set.

    Raises:
        InputError: a target is taken, a format cannot be written here, or a file's results differ from the network's.
    """
    folder = next(iter(files.values())).parent
    spec = preprocess_spec.merge(spec, folder, {kind: path.name for kind, path in files.items()})
    _refuse_taken(files, folder)
    if "AIR" in files:
        mindir.refuse_air()
    if "ONNX" in files and not importlib.util.find_spec("onnx"):
        raise InputError("--file_format=ONNX: the package onnx is missing; pip install -r requirements/export.txt")
    batches = _batches(task, _pictures(sample_images), spec["inputs"][0]["shape"][0])
    run = mindir.as_function(task.export.cell(network).set_train(False))
    expected = [run(*batch) for batch in batches]
    with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=folder) as aside:
        written = _write(task, network, spec, files, batches[0], Path(aside))
        for kind, path in written.items():
            _check(path, files[kind], spec, batches, expected)
        for kind, path in written.items():
            os.replace(path, files[kind])
    preprocess_spec.write(spec, folder / preprocess_spec.FILE_NAME)
    for path in files.values():
        log.info("%s: %.1f MB", path, path.stat().st_size / 1e6)
    _tell_what_is_lost(spec, expected)


def _tell_what_is_lost(spec: dict[str, Any], expected: list[tuple[np.ndarray, ...]]) -> None:
    """Say what the check cannot see, and which results differ by design from those of evaluation."""
    names = [entry["name"] for entry in spec["outputs"]]
    if names == ["labels"]:
        log.info("--output=labels: label maps of the input's size are enlarged to the image's by nearest neighbour, so "
                 "borders of classes are coarser than in eval.py; --output=scores gives eval.py's numbers")
    if "valid" in names and not any(outputs[names.index("valid")].any() for outputs in expected):
        log.warning("no detection was compared: in these images the checkpoint finds nothing above "
                    "test_score_thr=%g. Give --sample_images=FOLDER with images that have objects, or a smaller "
                    "--test_score_thr", spec["postprocess"]["score_threshold"])


def _refuse_taken(files: dict[str, Path], folder: Path) -> None:
    """A file may be replaced by another export of the same checkpoint alone, which preprocess.json then names."""
    path = folder / preprocess_spec.FILE_NAME
    known = preprocess_spec.read(path)["files"].values() if path.exists() else ()
    for target in files.values():
        if target.exists() and target.name not in known:
            raise InputError(f"{target}: exists, and no preprocess.json says that it is of this checkpoint; give "
                             "another --file_name or move it away")


def _pictures(sample_images: str) -> list[np.ndarray]:
    """Images to compare results on, (H, W, 3) uint8 RGB."""
    if not sample_images:
        return [scene.image for _, scene in draw_split("val", seed=1, count=SAMPLES)]
    path = Path(sample_images)
    if not path.exists():
        raise InputError(f"--sample_images={path}: no such file or folder")
    found = sorted(p for p in path.rglob("*") if p.suffix.lower() in _IMAGES) if path.is_dir() else [path]
    if not found:
        raise InputError(f"--sample_images={path}: holds no image ({', '.join(_IMAGES)})")
    pictures = []
    for p in found:
        try:
            pictures.append(decode_image(p.read_bytes()))
        except InputError as error:
            raise InputError(f"--sample_images: {p} {error}") from error
    return pictures


def _batches(task: Task, pictures: list[np.ndarray], size: int) -> list[tuple[np.ndarray, ...]]:
    """The model's inputs for all pictures; the last one fills up the last batch."""
    pictures = pictures + pictures[-1:] * (-len(pictures) % size)
    inputs = [task.export.inputs(picture) for picture in pictures]
    return [tuple(np.stack(column) for column in zip(*inputs[i:i + size])) for i in range(0, len(inputs), size)]


def _write(task: Task, network: Any, spec: dict[str, Any], files: dict[str, Path], batch: tuple[np.ndarray, ...],
           aside: Path) -> dict[str, Path]:
    """Write every format under its own name in the folder `aside`."""
    started = time.monotonic()
    folded = fold_batch_norms(network)
    cell = task.export.cell(network).set_train(False)
    paths = {kind: aside / path.name for kind, path in files.items()}
    if "AIR" in paths:
        mindir.write(cell, batch, paths["AIR"], "AIR")
    mindir_path = paths.get("MINDIR", aside / "graph.mindir")
    if {"MINDIR", "ONNX"} & paths.keys():
        mindir.write(cell, batch, mindir_path, "MINDIR")
    if "ONNX" in paths:
        from src.exporting import onnx_file

        onnx_file.write(mindir_path, paths["ONNX"], [entry["name"] for entry in spec["outputs"]])
    log.info("written in %.0f s, %d batch norms folded", time.monotonic() - started, folded)
    return paths


def _check(path: Path, target: Path, spec: dict[str, Any], batches: list[tuple[np.ndarray, ...]],
           expected: list[tuple[np.ndarray, ...]]) -> None:
    """Run one file in every runtime for it that is installed, and compare."""
    runtimes = runners.runtimes_for(path)
    if not runtimes:
        log.warning("%s: not checked, nothing here runs it", target.name)
    for runtime in runtimes:
        run = runners.load(path, runtime)
        difference = parity.worst([parity.compare(a, run(*batch), spec) for batch, a in zip(batches, expected)])
        log.info("%s in %s against the checkpoint, %d images: %s", target.name, runtime,
                 len(batches) * spec["inputs"][0]["shape"][0], difference)
        if not difference.acceptable:
            raise InputError(
                f"{target.name} in {runtime} does not give the checkpoint's results ({difference}; allowed: "
                f"{parity.LIMITS}); nothing was kept")
