"""Callbacks that take the training graph from the compile cache, or store it."""
from __future__ import annotations

import mindspore.nn as nn
from mindspore.train import Callback

from src.compile_cache.cache import Compilation, CompileCache


class CachedFirstStep(Callback):
    """Loads and checks the graph before the first step, or watches over its compilation. The first of the callbacks.

    Args:
        step_cell: the training step; a check leaves its parameters as they are, bit by bit.
        cache: of this process.
    """

    def __init__(self, step_cell: nn.Cell, cache: CompileCache):
        super().__init__()
        self.step_cell = step_cell
        self.cache = cache
        self.begun = False
        self.compilation: Compilation | None = None

    def on_train_step_begin(self, run_context) -> None:
        if not self.begun:
            self.begun = True
            batch = [column.asnumpy() for column in run_context.original_args().train_dataset_element]
            self.compilation = self.cache.load(self.step_cell, batch, "the training graph")
            if self.compilation:
                self.compilation.__enter__()

    def on_train_step_end(self, run_context) -> None:
        if self.compilation and not self.compilation.files:
            self.compilation.__exit__(None, None, None)


class StoreGraph(Callback):
    """Stores a graph that the first step compiled, when the other callbacks have seen the step."""

    def __init__(self, first: CachedFirstStep):
        super().__init__()
        self.first = first

    def on_train_step_end(self, run_context) -> None:
        if self.first.compilation:
            self.first.compilation.store()
            self.first.compilation = None
