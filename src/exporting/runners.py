"""Exported files as functions of arrays: MindIR in MindSpore, ONNX in ONNX Runtime or OpenVINO, all in float32."""
from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np

from src.contract import InputError

Shapes = list[tuple[int | None, ...]]  # None where a file leaves a side open
Run = Callable[..., tuple[np.ndarray, ...]]
RUNTIMES = {".mindir": ("MindSpore",), ".onnx": ("OpenVINO", "ONNX Runtime")}  # the fastest first
FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32"}  # OpenVINO's default is bfloat16 where the processor has it
_MODULES = {"MindSpore": "mindspore", "ONNX Runtime": "onnxruntime", "OpenVINO": "openvino"}


def runtimes_for(path: Path) -> list[str]:
    """Names of the installed runtimes that take this file."""
    return [name for name in RUNTIMES.get(path.suffix, ()) if importlib.util.find_spec(_MODULES[name])]


def runtime_of(path: Path, inference_engine: str) -> str:
    """The runtime of a file by the flag --inference_engine; "auto" is the first that is installed.

    Raises:
        InputError: that engine does not take such a file, or none is installed.
    """
    wanted = {"mindspore": "MindSpore", "openvino": "OpenVINO"}.get(inference_engine, "")
    if wanted and wanted not in RUNTIMES[path.suffix]:
        raise InputError(f"--inference_engine={inference_engine}: {path} runs in {' or '.join(RUNTIMES[path.suffix])}; "
                         "leave the flag out, or give the checkpoint")
    return wanted or _installed(path)


def with_version(runtime: str) -> str:
    """"OpenVINO 2026.4.1"."""
    return f"{runtime} {version(_MODULES[runtime])}"


def _installed(path: Path, runtime: str = "") -> str:
    """`runtime`, or the first that is installed for this file."""
    installed = runtimes_for(path)
    if not installed or (runtime and runtime not in installed):
        wanted = runtime or " or ".join(RUNTIMES.get(path.suffix, ())) or "a runtime"
        raise InputError(f"{path}: needs {wanted}; pip install -r requirements/export.txt")
    return runtime or installed[0]


def load(path: Path, runtime: str = "", *, threads: int = 0) -> Run:
    """A function from the model's inputs to its outputs, in their order in preprocess.json.

    Args:
        path: a .mindir or .onnx file.
        runtime: a name of `RUNTIMES`, by default the first that is installed.
        threads: 0 for all processors.

    Raises:
        InputError: no such file, none of its runtimes is installed, or the runtime refuses the file.
    """
    return load_with_shapes(path, runtime, threads=threads)[0]


def load_with_shapes(path: Path, runtime: str = "", *, threads: int = 0) -> tuple[Run, Shapes, Shapes]:
    """See `load`; with the shapes of the inputs and of the outputs that the file itself has."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    runtime = _installed(path, runtime)
    if runtime == "MindSpore":
        from src.exporting import mindir

        return mindir.load(path), *mindir.shapes(path)
    try:
        return (_onnx_runtime if runtime == "ONNX Runtime" else _openvino)(path, threads)
    except Exception as error:  # each runtime has its own classes, all of them below Exception
        raise InputError(f"{path}: {runtime} does not take it ({str(error).strip().splitlines()[0]})") from error


def _onnx_runtime(path: Path, threads: int) -> tuple[Run, Shapes, Shapes]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    shapes = ([tuple(side if isinstance(side, int) else None for side in entry.shape) for entry in entries]
              for entries in (session.get_inputs(), session.get_outputs()))
    return lambda *inputs: tuple(session.run(None, dict(zip(names, inputs)))), *shapes


@contextlib.contextmanager
def all_instructions() -> Iterator[None]:
    """Hide MindSpore's convolution switch (`src/__init__.py`), under which OpenVINO compiles code that crashes."""
    switch = os.environ.pop("ONEDNN_MAX_CPU_ISA", None)
    try:
        yield
    finally:
        if switch is not None:
            os.environ["ONEDNN_MAX_CPU_ISA"] = switch


def _openvino(path: Path, threads: int) -> tuple[Run, Shapes, Shapes]:
    import openvino

    core = openvino.Core()
    options = FLOAT32 | ({"INFERENCE_NUM_THREADS": threads} if threads else {})
    with all_instructions():
        model = core.compile_model(core.read_model(path), "CPU", options)

    def run(*inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        results = model(list(inputs))
        return tuple(results[output].copy() for output in model.outputs)

    shapes = ([tuple(side.get_length() if side.is_static else None for side in port.partial_shape) for port in ports]
              for ports in (model.inputs, model.outputs))
    return run, *shapes
