#!/usr/bin/env bash
# ONNX: a Resize by scales has one size in the model and another in the runtime.
#
# The output's size is floor(size * scale), with scales in float32. ONNX's shape inference multiplies in float64,
# where 10 * float32(0.7) is 6.9999998: 6. ONNX Runtime multiplies in float32: 7. Its session declares the first and returns
# the second. Of all scales k / n with n up to 64, a third of them, the two differ. Giving sizes instead avoids it.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.31.1 numpy==1.26.4
cat >"$folder/finding.py" <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


def session(size, scale):
    graph = helper.make_graph(
        [helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="linear")], "resize",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 1, 1, size))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array([1, 1, 1, scale], np.float32), "scales")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    inferred = onnx.shape_inference.infer_shapes(model).graph.output[0].type.tensor_type.shape.dim[3].dim_value
    ort = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return inferred, ort.get_outputs()[0].shape[3], ort.run(None, {"x": np.ones((1, 1, 1, size), np.float32)})[0].shape[3]


print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__)
seen = session(10, 0.7)
print("10 pixels by 0.7: inferred by onnx {}, declared by the session {}, returned {}".format(*seen))
cases = [(n, k) for n in range(2, 65) for k in range(1, n)]
wrong = [(n, k) for n, k in cases
         if int(n * float(np.float32(k / n))) != int(np.float32(n) * np.float32(k / n))]
print(f"the two ways of multiplying differ for {len(wrong)} of {len(cases)} scales k / n, n up to 64")
assert seen == (6, 6, 7), "the sizes have changed"
PYTHON
"$folder/bin/python" "$folder/finding.py"
