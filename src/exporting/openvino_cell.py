"""An inference cell of MindSpore as a function of arrays that OpenVINO runs, in float32."""
from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import mindspore.nn as nn
import numpy as np
import openvino
from openvino import opset13

from src.exporting.graph_cache import GraphCache, NotServable
from src.exporting.runners import FLOAT32, all_instructions, with_version

log = logging.getLogger(__name__)


class OpenVINOCell:
    """Arrays -> tuple of arrays, compiled once for each shape of the inputs.

    Args:
        cell: in evaluation mode. Its weights are read when it is first called.
        graphs: its translations.
    """

    def __init__(self, cell: nn.Cell, graphs: GraphCache):
        self.cell = cell
        self.graphs = graphs
        self.weights: dict[str, np.ndarray] = {}  # OpenVINO shares their memory
        self.models: dict[tuple, openvino.CompiledModel] = {}

    def __call__(self, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        """Run the cell.

        Raises:
            NotServable: at the first call with inputs of these shapes: OpenVINO cannot run it.
        """
        shapes = tuple(array.shape for array in inputs)
        if shapes not in self.models:
            self.models[shapes] = self._compile(inputs)
        return self.models[shapes](list(inputs), share_inputs=True).to_tuple()

    def _compile(self, inputs: Sequence[np.ndarray]) -> openvino.CompiledModel:
        if not self.weights:
            self.weights = {name: p.asnumpy() for name, p in self.cell.parameters_dict().items()}
        graph, origin = self.graphs.get(self.cell, inputs)
        started = time.monotonic()
        try:
            model = _compile(graph, self.weights)
        except Exception as error:  # its classes are below Exception; the first line says what is wrong
            raise NotServable(f"OpenVINO does not take the graph ({str(error).strip().splitlines()[0]})") from error
        log.info("%s: input %s: graph %s; compiled in %.1f s", with_version("OpenVINO"),
                 " x ".join(map(str, inputs[0].shape)), origin, time.monotonic() - started)
        return model


def _compile(graph: bytes, weights: Mapping[str, np.ndarray]) -> Any:
    """Compile an ONNX file whose inputs of these names are replaced by constants."""
    core = openvino.Core()
    model = core.read_model(graph)
    for parameter in model.get_parameters():
        weight = weights.get(parameter.get_friendly_name())
        if weight is not None:
            constant = opset13.constant(weight, shared_memory=True)
            parameter.output(0).replace(constant.output(0))
            model.remove_parameter(parameter)
    with all_instructions():
        return core.compile_model(model, "CPU", FLOAT32)
