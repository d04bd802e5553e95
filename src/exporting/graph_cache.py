"""Inference cells translated to ONNX without their weights, kept on disk by a hash of everything that shapes them.

The weights are inputs of a translated graph. So one small file serves every checkpoint of a configuration, and cannot
bring back the weights of another one.
"""
from __future__ import annotations

import hashlib
import json
import logging
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mindspore.nn as nn
import numpy as np

from src.compile_cache import key as keys
from src.contract import InputError
from src.exporting import graph as mindir_graph
from src.exporting import mindir
from src.files import user_cache, write_file

log = logging.getLogger(__name__)
_HASH_BYTES = 32


class NotServable(Exception):
    """A graph cannot be translated; the text says why."""


class GraphCache:
    """The translated graphs of one network's inference cell.

    Args:
        configuration: keys and values that shape the network, and may hold others.

    Attributes:
        folder: where they are kept; None without a home folder.
    """

    def __init__(self, configuration: Mapping[str, Any]):
        self.configuration = configuration
        self.sources = keys.digest_of_sources(keys.source_files())
        self.kept: dict[str, bytes] = {}
        try:
            self.folder: Path | None = user_cache() / "graphs"
        except RuntimeError:
            self.folder = None

    def get(self, cell: nn.Cell, inputs: Sequence[np.ndarray]) -> tuple[bytes, str]:
        """An ONNX file with inputs of these shapes, followed by the weights, and a phrase about where it came from.

        Raises:
            NotServable: the cell has an operation without a translation.
        """
        name = self._hash(cell, inputs)
        if name in self.kept:
            return self.kept[name], "known"
        content = self._read(name)
        origin = f"taken from {self.folder}"
        if content is None:
            started = time.monotonic()
            content = _translate(cell, inputs)
            origin = f"translated in {time.monotonic() - started:.1f} s, {self._write(name, content)}"
        self.kept[name] = content
        return content, origin

    def _hash(self, cell: nn.Cell, inputs: Sequence[np.ndarray]) -> str:
        weights = [(name, p.shape, str(p.dtype)) for name, p in cell.parameters_dict().items()]
        facts = [self.configuration, type(cell).__qualname__, weights, [(a.shape, a.dtype.str) for a in inputs],
                 version("mindspore"), self.sources]
        return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()

    def _path(self, name: str) -> Path | None:
        return self.folder and self.folder / f"{name}.graph"

    def _read(self, name: str) -> bytes | None:
        """What is kept, if it is there and whole: its hash comes first."""
        path = self._path(name)
        try:
            data = path.read_bytes() if path else b""
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("%s: %s; the graph is translated again", path, error.strerror)
            return None
        content = data[_HASH_BYTES:]
        if hashlib.sha256(content).digest() != data[:_HASH_BYTES]:
            log.warning("%s: damaged (%d bytes); the graph is translated again", path, len(data))
            return None
        return content

    def _write(self, name: str, content: bytes) -> str:
        path = self._path(name)
        if path is None:
            return "not kept: there is no home folder, and XDG_CACHE_HOME is not set"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, hashlib.sha256(content).digest() + content)
        except OSError as error:
            return f"not kept in {self.folder} ({error.strerror})"
        return f"kept in {self.folder}"


def _translate(cell: nn.Cell, inputs: Sequence[np.ndarray]) -> bytes:
    from src.exporting.onnx_builder import Untranslatable
    from src.exporting.onnx_file import translate_graph

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "graph.mindir")
        mindir.write(cell, inputs, path, "MINDIR")
        try:
            graph = mindir_graph.read(path, without_weights=True)
            foreign = {ref.name for ref in graph.weights} - cell.parameters_dict().keys()
            if foreign:
                raise NotServable(f"the graph has weights that the network lacks: {', '.join(sorted(foreign))}")
            names = [f"result{i}" for i in range(len(graph.outputs))]
            return translate_graph(graph, names).SerializeToString()
        except (InputError, Untranslatable) as error:
            raise NotServable(str(error)) from error
