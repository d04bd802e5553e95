#!/usr/bin/env bash
# ONNX: RoiAlign with mode=max takes the maximum before interpolating, in ONNX Runtime and in ONNX's own reference.
#
# One expects the bilinear value at each sampling point, and then the largest of them, as OpenVINO computes it. ONNX
# Runtime takes the largest product of a pixel and its weight: in a feature map of ones, where every average is 1, the
# result is below 1. ONNX Runtime logs that this "will be fixed in the next ORT 1.13 release".
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.31.1 openvino==2026.4.1 numpy==1.26.4
cat >"$folder/finding.py" <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

ones = np.ones((1, 1, 8, 8), np.float32)
box = np.array([[1.3, 1.3, 5.1, 5.1]], np.float32)
index = np.zeros(1, np.int64)


def align(mode):
    node = helper.make_node("RoiAlign", ["x", "box", "index"], ["y"], mode=mode, output_height=2, output_width=2,
                            sampling_ratio=2)
    graph = helper.make_graph(
        [node], "align", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ones.shape),
                          helper.make_tensor_value_info("box", TensorProto.FLOAT, box.shape),
                          helper.make_tensor_value_info("index", TensorProto.INT64, index.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 1, 2, 2))])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    data, feed = model.SerializeToString(), {"x": ones, "box": box, "index": index}
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(data), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return {f"onnx {onnx.__version__}": ReferenceEvaluator(model).run(None, feed)[0],
            f"onnxruntime {onnxruntime.__version__}": onnxruntime.InferenceSession(data).run(None, feed)[0],
            f"openvino {openvino.__version__}": compiled(feed)[0]}


for mode in ("avg", "max"):
    seen = align(mode)
    for runtime, result in seen.items():
        print(f"mode={mode}, feature map of ones, {runtime}: {result.ravel().round(4).tolist()}")
reference, ort, ov = seen.values()
assert np.allclose(ov, 1), "OpenVINO has changed"
assert (ort < 0.9).all(), "ONNX Runtime has changed"
assert np.allclose(reference, ort), "the reference has changed"
PYTHON
"$folder/bin/python" "$folder/finding.py"
