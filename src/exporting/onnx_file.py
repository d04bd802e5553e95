"""From a MindIR file to an ONNX file with the same arithmetic, operation by operation.

MindSpore's own exporter writes opset 11 with sequence operators, which OpenVINO does not take, and follows other ties
and scopes; the translation of the exported graph covers both models and keeps what the parity check compares.
"""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx

from src.contract import InputError
from src.exporting import graph as mindir_graph
from src.exporting.onnx_builder import Builder, Untranslatable
from src.exporting.onnx_ops import TABLE


def translate(mindir: Path, outputs: Sequence[str]) -> onnx.ModelProto:
    """Translate a MindIR file.

    Args:
        mindir: the file.
        outputs: names for the results, in order.

    Raises:
        InputError: an operation has no translation; names it and the cells that it comes from.
    """
    try:
        return translate_graph(mindir_graph.read(mindir), outputs)
    except Untranslatable as error:
        raise InputError(f"--file_format=ONNX: {error}. Add a translation to src/exporting/onnx_ops.py, or export "
                         "MINDIR") from error


def translate_graph(graph: mindir_graph.Graph, outputs: Sequence[str]) -> onnx.ModelProto:
    """Translate a graph; its `weights` become inputs of the model, after its own.

    Raises:
        Untranslatable: an operation has no translation; names it and the cells that it comes from.
    """
    unknown = {op.primitive: op.place for op in graph.operations if op.primitive not in TABLE}
    if unknown:
        listed = "; ".join(f"{primitive} of {place}" for primitive, place in unknown.items())
        raise Untranslatable(f"no translation of {listed}")
    builder = Builder(graph, outputs)
    for op in graph.operations:
        try:
            TABLE[op.primitive](builder, op)
        except Untranslatable as error:
            raise Untranslatable(f"no translation of {op.primitive} of {op.place}: {error}") from error
    model = builder.model()
    onnx.checker.check_model(model, full_check=True)
    return model


def write(mindir: Path, path: Path, outputs: Sequence[str]) -> None:
    """Translate a MindIR file into the file `path`. See `translate`."""
    path.write_bytes(translate(mindir, outputs).SerializeToString())
    path.chmod(0o644)
