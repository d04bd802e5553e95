"""Writing MindIR and AIR files with MindSpore, and running a MindIR file."""
from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import mindspore as ms
import mindspore.nn as nn
import numpy as np

from src.compile_cache.cache import call
from src.contract import InputError
from src.exporting import graph as mindir_graph


def write(cell: nn.Cell, inputs: Sequence[np.ndarray], path: Path, kind: str) -> None:
    """Compile a cell for inputs of these shapes and write it to `path`, readable and writable by its owner.

    Args:
        cell: in evaluation mode.
        inputs: arrays of the shapes and types that the file will take.
        path: ends with the suffix of `kind`.
        kind: "MINDIR", or the deprecated "AIR".
    """
    ms.export(cell, *map(ms.Tensor, inputs), file_name=str(path.with_suffix("")), file_format=kind)
    os.chmod(path, 0o644)  # MindSpore leaves it unwritable


def load(path: Path) -> Callable[..., tuple[np.ndarray, ...]]:
    """A MindIR file as a function of arrays."""
    try:
        cell = nn.GraphCell(ms.load(str(path)))
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{path}: not a readable MindIR file ({str(error).splitlines()[0]})") from error
    return as_function(cell)


def shapes(path: Path) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Shapes of a MindIR file's inputs and outputs."""
    try:
        graph = mindir_graph.read(path)
        return [ref.shape for ref in graph.inputs], [ref.shape for ref in graph.outputs]
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: its graph is none that export.py writes; export the model again") from error


def as_function(cell: nn.Cell) -> Callable[..., tuple[np.ndarray, ...]]:
    """A cell from arrays to a tuple of arrays; the compile cache of this process is used where there is one."""
    def run(*inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        outputs = call(cell, *map(ms.Tensor, inputs), what="the inference graph")
        return tuple(o.asnumpy() for o in (outputs if isinstance(outputs, (tuple, list)) else (outputs,)))

    return run
