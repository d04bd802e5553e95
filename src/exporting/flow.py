"""Export: write files to a temporary folder, compare them with the checkpoint, then move them into place."""
from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from src.contract import InputError, Task
from src.data.decode import decode_image
from src.data.practice.sample_set import draw_split
from src.exporting import mindir, parity, preprocess_spec, runners
from src.exporting.fold import fold_batch_norms
from src.exporting.targets import sample_files

log = logging.getLogger(__name__)
SAMPLES = 4  # of the practice set


def export(task: Task, network: Any, spec: dict[str, Any], files: dict[str, Path], *, sample_images: str = "") -> None:
    """Write the exported files and preprocess.json, all of them or none.

    Args:
        task: of the network.
        network: with its weights; its batch norms are folded here, so it cannot be trained afterwards.
        spec: `preprocess_spec.complete`.
        files: `targets.targets`, which `targets.refuse_impossible` has nothing against.
        sample_images: image or folder to compare results on; by default pictures of the practice set.

    Raises:
        InputError: a target is of another checkpoint, or a file's results differ from the network's.
    """
    folder = next(iter(files.values())).parent
    spec = preprocess_spec.merge(spec, folder, {kind: path.name for kind, path in files.items()})
    with made(folder), tempfile.TemporaryDirectory(prefix=".unfinished-", dir=folder) as aside:
        batches = _batches(task, _pictures(sample_images), spec["inputs"][0]["shape"][0])
        run = mindir.as_function(task.export.cell(network).set_train(False))
        expected = [run(*batch) for batch in batches]
        written = _write(task, network, spec, files, batches[0], Path(aside))
        for kind, path in written.items():
            _check(path, files[kind], spec, batches, expected)
        for kind, path in written.items():
            os.replace(path, files[kind])
        preprocess_spec.write(spec, folder / preprocess_spec.FILE_NAME)
    for path in files.values():
        log.info("%s: %.1f MB", path, path.stat().st_size / 1e6)
    _tell_what_is_lost(spec, expected)


@contextmanager
def made(folder: Path) -> Iterator[None]:
    """Make a folder and its parents; if the block fails, those that were made are removed again, unless in use."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for path in missing:
            with suppress(OSError):
                path.rmdir()
        raise


def _tell_what_is_lost(spec: dict[str, Any], expected: list[tuple[np.ndarray, ...]]) -> None:
    """Log what the check cannot see, and which results differ by design from those of evaluation."""
    names = [entry["name"] for entry in spec["outputs"]]
    if names == ["labels"]:
        log.info("--output=labels: label maps of the input's size are enlarged to the image's by nearest neighbour, so "
                 "borders of classes are coarser than in eval.py; --output=scores gives eval.py's numbers")
    if "valid" in names and not any(outputs[names.index("valid")].any() for outputs in expected):
        log.warning("no detection was compared: in these images the checkpoint finds nothing above "
                    "test_score_thr=%g. Give --sample_images=FOLDER with images that have objects, or a smaller "
                    "--test_score_thr", spec["postprocess"]["score_threshold"])


def _pictures(sample_images: str) -> list[np.ndarray]:
    """The images for the comparison, (H, W, 3) uint8 RGB."""
    if not sample_images:
        return [scene.image for _, scene in draw_split("val", seed=1, count=SAMPLES)]
    pictures = []
    for p in sample_files(sample_images):
        try:
            pictures.append(decode_image(p.read_bytes()))
        except InputError as error:
            raise InputError(f"--sample_images: {p} {error}") from error
    return pictures


def _batches(task: Task, pictures: list[np.ndarray], size: int) -> list[tuple[np.ndarray, ...]]:
    """The model's inputs for all pictures; the last picture is repeated to fill the last batch."""
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
    """Run one file in every installed runtime for its format, and compare the results."""
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
