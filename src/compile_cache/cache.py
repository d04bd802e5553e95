"""The compile cache of this process: serves graphs from entries, or stores those that are compiled.

MindSpore numbers the graphs of a process and keeps them in one folder, whose path it reads once. That folder is private
here: before a graph is compiled, it holds the files of that graph's entry and nothing else, or nothing.
"""
from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import mindspore as ms
import mindspore.nn as nn
import numpy as np
from mindspore.graph.api import _cell_graph_executor

from src.compile_cache import key as keys
from src.compile_cache import private, probe
from src.compile_cache.entries import Entries, Entry
from src.compile_cache.fingerprint import Unknown, fingerprint

log = logging.getLogger(__name__)
NEAR = 4  # parts in which a stored key differs, up to which it is called another version of the same graph
_active: CompileCache | None = None
_recorded = 0  # graphs that this process compiled or loaded while MindSpore's cache was on; MindSpore counts them, too


@dataclass(frozen=True)
class Graph:
    """A graph that is about to be compiled: its cell, its inputs, and its key."""

    what: str
    cell: nn.Cell
    inputs: Sequence[np.ndarray]
    key: Mapping[str, Any]


class CompileCache:
    """Made by `activate`, before anything is compiled. For graphs that no other rank takes part in.

    Args:
        folder: of the entries.
        settings: the resolved configuration, as far as it may shape a graph.
        ranks: (rank, number of ranks).

    Attributes:
        served: whether the graph that was asked for last came from its entry.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], *, ranks: tuple[int, int] = (0, 1)):
        self.entries = Entries(folder)
        self.sources = keys.source_files()
        self.common = {"format": keys.FORMAT, "settings": settings, "ranks": list(ranks), "software": keys.software(),
                       "machine": keys.machine(), "switches": keys.switches(),
                       "sources": keys.digest_of_sources(self.sources)}
        self.known: WeakKeyDictionary[nn.Cell, set] = WeakKeyDictionary()
        self.served = False
        self.work = private.claim()

    def call(self, cell: nn.Cell, inputs: Sequence[ms.Tensor], what: str) -> Any:
        """`cell(*inputs)`; the first call for the inputs' shapes takes the graph from its entry, or stores it there."""
        compilation = self.load(cell, [tensor.asnumpy() for tensor in inputs], what)
        if compilation is None:
            return cell(*inputs)
        with compilation:
            outputs = cell(*inputs)
        compilation.store()
        return outputs

    def load(self, cell: nn.Cell, inputs: Sequence[np.ndarray], what: str) -> Compilation | None:
        """Take a graph from its entry. If it has to be compiled, the result is a context for the call that does it."""
        graph = self._new_graph(cell, inputs, what)
        if graph is None:
            return None
        begun = time.monotonic()
        self.served = self._serve(graph)
        if not self.served:
            return Compilation(self, graph)
        log.info("%s: from the compile cache, checked in %.1f s", what, time.monotonic() - begun)
        return None

    def _new_graph(self, cell: nn.Cell, inputs: Sequence[np.ndarray], what: str) -> Graph | None:
        """None for a graph that this process has, or that no key can be made of."""
        shapes = [[str(array.dtype), list(array.shape)] for array in inputs]
        seen = self.known.setdefault(cell, set())
        if (signature := (cell.training, keys.digest(shapes))) in seen:
            return None
        seen.add(signature)
        self.served = False
        if edited := keys.changed_since(self.sources, keys.STARTED):
            log.warning("%s is not cached: %s was edited after this process began", what, edited[0])
            return None
        try:
            key = {"graph": what, "order": _recorded, "inputs": shapes, "cell": fingerprint(cell), **self.common}
        except Unknown as unknown:
            log.warning("%s is not cached: nothing tells one of these from another: %s", what, unknown)
            return None
        except (ValueError, TypeError, AttributeError, RuntimeError) as error:  # a run does not end for its cache
            log.warning("%s is not cached: no key can be made of it (%s)", what, error)
            return None
        return Graph(what, cell, inputs, key)

    def _serve(self, graph: Graph) -> bool:
        """Load the graph from its entry and probe it."""
        entry = self.entries.read(graph.key)
        if entry is None:
            if 0 < len(names := self.entries.nearest(graph.key)) <= NEAR:
                log.info("%s: compiled anew, since the cached one differs in %s", graph.what, ", ".join(names))
            return False
        self.clear()
        entry.unpack(self.work)
        fault = ""
        with self.entries.serving(graph.key), self.recording():
            try:
                if probe.outcome(graph.cell, probe.drawn_inputs(entry.inputs, graph.inputs)) != entry.outcome:
                    fault = "calculates something else than when it was compiled"
            except (RuntimeError, ValueError, TypeError) as error:
                fault = f"cannot be run ({[*str(error).strip().splitlines(), type(error).__name__][0]})"
        self.clear()
        if fault:
            self.entries.discard(graph.key, fault)
            _forget(graph.cell)
        return not fault

    @contextmanager
    def recording(self) -> Iterator[None]:
        """MindSpore's own cache is on: a graph comes from its folder or is written there."""
        global _recorded
        _recorded += 1
        os.environ |= private.SWITCHES
        try:
            yield
        finally:
            for name in private.SWITCHES:
                os.environ.pop(name, None)

    def clear(self) -> dict[str, bytes]:
        """Empty MindSpore's folder; {path in it: content}."""
        files = {str(path.relative_to(self.work)): path.read_bytes()
                 for path in sorted(self.work.rglob("*")) if path.is_file()}
        for path in self.work.iterdir():
            shutil.rmtree(path, ignore_errors=True)
        return files


class Compilation:
    """Context around the call that compiles a graph; `store` keeps what it compiled."""

    def __init__(self, cache: CompileCache, graph: Graph):
        self.cache = cache
        self.graph = graph
        self.files: Mapping[str, bytes] = {}
        self._recording = cache.recording()

    def __enter__(self) -> None:
        self.cache.clear()
        self._recording.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._recording.__exit__(*error)
        self.files = self.cache.clear()

    def store(self) -> None:
        """Probe the graph and write its entry."""
        cache, graph = self.cache, self.graph
        if not self.files or not cache.entries.writable:
            return
        stored = probe.stored_inputs(graph.inputs)
        try:
            outcome = probe.outcome(graph.cell, probe.drawn_inputs(stored, graph.inputs))
        except (probe.Blind, RuntimeError) as error:
            log.warning("%s is not cached: its probe is %s", graph.what, error)
            return
        if keys.digest_of_sources(cache.sources) != cache.common["sources"]:
            log.warning("%s is not cached: source files were edited while it was compiled", graph.what)
            return
        cache.entries.write(graph.key, Entry(self.files, stored, outcome))


def activate(folder: str | Path, settings: Mapping[str, Any], **ranks: Any) -> CompileCache:
    """Cache the graphs of this process from now on."""
    global _active
    _active = CompileCache(Path(folder), settings, **ranks)
    return _active


def call(cell: nn.Cell, *inputs: ms.Tensor, what: str) -> Any:
    """`cell(*inputs)`, with the compile cache where it is active. `what` names the graph in messages and keys."""
    return cell(*inputs) if _active is None else _active.call(cell, inputs, what)


def active() -> CompileCache | None:
    return _active


def _forget(cell: nn.Cell) -> None:
    """Drop a cell's compiled graphs, so that its next call compiles."""
    _cell_graph_executor.del_net_res(cell, cell.compile_cache)
    cell.compile_cache.clear()
    cell.phase_cache.clear()
