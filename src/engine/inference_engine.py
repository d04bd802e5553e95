"""What runs inference networks on a CPU, MindSpore or OpenVINO: the one place that chooses.

OpenVINO takes about half of MindSpore's time. Both calculate in float32, but not in the same order, so results differ
in the last digits. No MindSpore is imported until a network runs.
"""
from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

from src.contract import InputError
from src.exporting.runners import with_version

if TYPE_CHECKING:
    import mindspore.nn as nn
    import numpy as np

log = logging.getLogger(__name__)
Choice = Literal["auto", "mindspore", "openvino"]
CHOICES: tuple[str, ...] = get_args(Choice)
Run = Callable[..., "tuple[np.ndarray, ...]"]
_PACKAGES = ("openvino", "onnx")
_WAY_OUT = "use --inference_engine=mindspore"


def missing_packages() -> list[str]:
    """What OpenVINO needs and is not installed."""
    return [name for name in _PACKAGES if not importlib.util.find_spec(name)]


def check(choice: str, device_target: str) -> None:
    """Raise InputError if OpenVINO is asked for and cannot be had."""
    if choice != "openvino":
        return
    if device_target != "CPU":
        raise InputError(f"--inference_engine=openvino: OpenVINO runs on a CPU, not on --device_target={device_target}"
                         f"; {_WAY_OUT}, or give --device_target=CPU")
    if missing_packages():
        raise InputError(f"--inference_engine=openvino: not installed: {', '.join(missing_packages())}; "
                         f"pip install -r requirements/export.txt, or {_WAY_OUT}")


def hint(settings: Any) -> str:
    """The end of a line about the engine, where another one would be faster; empty elsewhere."""
    if settings.inference_engine != "mindspore" or settings.device_target != "CPU" or missing_packages():
        return ""
    return (" (--inference_engine=openvino takes about half of the time on this CPU, and gives the same metrics to the "
            "fourth digit)")


class InferenceEngine:
    """Runs the inference cells of a task.

    Args:
        choice: "mindspore"; "openvino"; or "auto" for OpenVINO where the device is a CPU, the packages are installed
            and the network can be translated, and MindSpore elsewhere.
        device_target: "CPU" or "Ascend".
        configuration: of the network, see `GraphCache`.

    Attributes:
        name: engine and version; what was chosen, and from the first batch on what runs.
    """

    def __init__(self, choice: str, device_target: str, configuration: Mapping[str, Any]):
        self.choice = choice
        self.device_target = device_target
        self.configuration = configuration
        self.takes_openvino = choice == "openvino" or (
            choice == "auto" and device_target == "CPU" and not missing_packages())
        self.graphs: Any = None

    @property
    def gains_from_batches(self) -> bool:
        """Whether a batch of a detection network takes less time than its images one by one; on a CPU it does not."""
        return self.device_target != "CPU"

    @property
    def name(self) -> str:
        return with_version("OpenVINO" if self.takes_openvino else "MindSpore")

    def function(self, cell: nn.Cell) -> Run:
        """The cell, in evaluation mode, as a function from arrays to a tuple of arrays.

        OpenVINO takes the weights of the moment of the first call, so each evaluation during training needs a new
        function.

        Raises:
            InputError: see `check`; and from the function, if OpenVINO was asked for and cannot run the cell.
        """
        check(self.choice, self.device_target)
        from src.exporting.mindir import as_function

        return self._openvino(cell) if self.takes_openvino else as_function(cell)

    def _openvino(self, cell: nn.Cell) -> Run:
        from src.exporting.graph_cache import GraphCache, NotServable
        from src.exporting.mindir import as_function
        from src.exporting.openvino_cell import OpenVINOCell

        self.graphs = self.graphs or GraphCache(self.configuration)
        in_openvino, in_mindspore = OpenVINOCell(cell, self.graphs), as_function(cell)

        def run(*inputs: np.ndarray) -> tuple[np.ndarray, ...]:
            if not self.takes_openvino:
                return in_mindspore(*inputs)
            try:
                return in_openvino(*inputs)
            except NotServable as error:
                if self.choice == "openvino":
                    raise InputError(f"--inference_engine=openvino: {error}; {_WAY_OUT}") from error
                log.warning("the network runs in MindSpore: %s", error)
                self.takes_openvino = False
                return in_mindspore(*inputs)

        return run
