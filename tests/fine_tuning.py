"""What the tests of fine-tuning share: files in publishers' names, a run of train.py that leaves weights as they are.

A learning rate of nearly 0 makes the checkpoint after the first step hold the weights that the first loss was of.
"""
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from zlib import crc32

import numpy as np

from src.weights.families import FAMILIES
from src.weights.formats import write_tensors
from src.weights.load import read_weights
from src.weights.names import from_ours

ROOT = Path(__file__).parents[1]
STATISTICS = ("moving_mean", "moving_variance")


def random_weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Weights by our names: such that activations neither vanish nor explode, and no two layers are alike."""
    result = {}
    for name, shape in shapes.items():
        rng, leaf = np.random.default_rng(crc32(name.encode())), name.rsplit(".", 1)[-1]
        if leaf in ("gamma", "moving_variance"):
            result[name] = rng.uniform(0.4, 0.9, shape).astype(np.float32)
        else:
            scale = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.1
            result[name] = rng.normal(0, scale, shape).astype(np.float32)
    return result


def publish(path: Path, family: str, ours: dict[str, np.ndarray], more: dict[str, np.ndarray] | None = None) -> Path:
    """Write weights in our names as a file of `family`."""
    tensors = {}
    for name, array in ours.items():
        to = from_ours(FAMILIES[family], name)
        tensors[to.name] = array.T if to.transposed else array
    write_tensors(path, tensors | (more or {}), {})
    return path


def first_step(folder: Path, weights: Path, *flags: str) -> tuple[dict, dict[str, np.ndarray], str]:
    """One step of train.py from `weights` on a CPU: (its line of the log, its weights, what it printed)."""
    run = folder / "run"
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), "--device_target=CPU", f"--pretrained={weights}", "--epochs=1",
         "--base_lr=1e-30", "--warmup_steps=0", "--workers=1", f"--output_dir={run}", *flags],
        cwd=folder, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    line, *others = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    assert line["kind"] == "train"
    assert not others
    checkpoint, = run.glob("*-1_1.ckpt")
    return line, read_weights(checkpoint).tensors, done.stdout


def check_taken_over(after: dict[str, np.ndarray], before: dict[str, np.ndarray], replaced: set[str]) -> None:
    """Every weight but `replaced` is the file's; the running statistics, which a step moves, are not looked at."""
    for name, array in before.items():
        if name.endswith(STATISTICS):
            continue
        same = array.shape == after[name].shape and np.array_equal(array, after[name])
        assert same != (name in replaced), name
