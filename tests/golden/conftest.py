"""Reference arrays of the published networks, which lie beside the project where it is developed."""
from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest


class Golden:
    """Arrays that a reference implementation computed, and the weights that it did so with."""

    def __init__(self, folder: Path):
        self.folder = folder

    def shapes(self, name: str) -> dict[str, tuple[int, ...]]:
        return json.loads((self.folder / f"{name}.shapes.json").read_text())

    def names(self) -> list[str]:
        return sorted(path.name.removesuffix(".shapes.json") for path in self.folder.glob("*.shapes.json"))

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        with np.load(self.folder / f"{name}.npz") as file:
            return {key: file[key] for key in file.files}

    def weights(self, name: str) -> dict[str, np.ndarray]:
        """The reference's parameters under the names in its own files, made from the names it had when it ran."""
        spec = importlib.util.spec_from_file_location("golden_weights", self.folder / "weights.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return {key: module.fill({key.removeprefix("network."): shape})[key.removeprefix("network.")]
                for key, shape in self.shapes(name).items()}


@pytest.fixture(scope="session")
def golden(shared) -> Golden:
    return Golden(shared / "golden")
