#!/usr/bin/env bash
# OpenVINO: the attribute antialias of ONNX's Resize has no effect, and nothing says so.
#
# With antialias=1 (opset 18; what PyTorch exports for interpolate(antialias=True)) a linear or cubic Resize that makes an
# image smaller averages all pixels below it. ONNX Runtime does. OpenVINO reads the file without a word and interpolates
# between the nearest pixels as if antialias were 0: here one bright row in four vanishes.
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
from onnx import TensorProto, helper, numpy_helper

image = np.zeros((1, 1, 16, 16), np.float32)
image[:, :, ::4] = 1


def resize(antialias):
    node = helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], mode="linear", antialias=antialias)
    graph = helper.make_graph(
        [node], "resize", [helper.make_tensor_value_info("x", TensorProto.FLOAT, image.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 1, 4, 4))],
        [numpy_helper.from_array(np.array([1, 1, 4, 4]), "sizes")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    data = model.SerializeToString()
    core = openvino.Core()
    return (onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, {"x": image})[0],
            core.compile_model(core.read_model(data), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([image])[0])


print("onnxruntime", onnxruntime.__version__, "openvino", openvino.__version__)
for antialias in (0, 1):
    ort, ov = resize(antialias)
    print(f"antialias={antialias}: mean {ort.mean():.3f} in ONNX Runtime, {ov.mean():.3f} in OpenVINO")
assert ort.mean() > 0.2, "ONNX Runtime has changed"
assert (ov == resize(0)[1]).all(), "OpenVINO now takes notice of antialias"
PYTHON
"$folder/bin/python" "$folder/finding.py"
