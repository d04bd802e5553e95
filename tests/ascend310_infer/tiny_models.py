"""Models of a few operators with their preprocess.json, and how the program is run over images."""
import copy
import importlib.util
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

SPEC = {
    "format": "mindseg.preprocess", "version": 1, "task": "semantic", "model": "deeplab_v3_s16", "family": "mindseg",
    "checkpoint": {"file": "a.ckpt", "sha256": "ab" * 32}, "class_names": ["background", "cat", "dog"],
    "files": {"ONNX": "model.onnx"},
    "inputs": [{"name": "image", "shape": [1, 3, 65, 65], "dtype": "float32", "layout": "NCHW"}],
    "outputs": [{"name": "scores", "shape": [1, 3, 65, 65], "dtype": "float32"}],
    "decode": {"colour_order": "RGB"},
    "resize": {"rule": "long_side", "size": [65, 65], "rounding": "floor", "interpolation": "bilinear"},
    "pad": {"position": "bottom_right", "value": "zero_after_normalisation"},
    "normalise": {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375], "in_model": False},
    "postprocess": {"done_in_model": ["softmax"], "resize_back": "bilinear"},
}


def sanitizers() -> dict[str, str]:
    """Environment of a program with sanitizers; a finding is a crash. Leaks of OpenVINO's statics are not asked for.

    TBB, below OpenCV and OpenVINO, loads a helper in a way that the address sanitizer refuses, unless it is told of it;
    OpenVINO's own TBB listens, Debian's is too old.
    """
    spec = importlib.util.find_spec("openvino")
    own = [str(Path(spec.origin).parent / "libs")] if spec else []
    return {"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1", "TBB_ENABLE_SANITIZERS": "1",
            "LD_LIBRARY_PATH": ":".join([*filter(None, [os.environ.get("LD_LIBRARY_PATH")]), *own])}


def run(program: Path, model: Path, images: Path, results: Path, *flags: str,
        cwd: Path | None = None) -> subprocess.CompletedProcess:
    """Run the program."""
    command = [program, f"--model_path={model}", f"--dataset_path={images}", f"--result_path={results}",
               "--device_type=CPU", "--threads=1", *flags]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=300, cwd=cwd,
                          env=os.environ | sanitizers())


def changed(spec: dict, **changes) -> dict:
    """A copy of `spec` with values replaced at dotted keys, `outputs__0__shape=[...]`; None removes the key."""
    spec = copy.deepcopy(spec)
    for key, value in changes.items():
        *path, last = [int(word) if word.isdigit() else word for word in key.split("__")]
        node = spec
        for word in path:
            node = node[word]
        if value is None:
            del node[last]
        else:
            node[last] = value
    return spec


def semantic_model(folder: Path, spec: dict = SPEC, *, seed: int = 0) -> Path:
    """A 1x1 convolution and a softmax, with `preprocess.json`: returns the model's path."""
    import onnx
    from onnx import helper

    shape, classes = spec["inputs"][0]["shape"], len(spec["class_names"])
    weight = np.random.default_rng(seed).normal(0, 1, (classes, 3, 1, 1)).astype(np.float32)
    nodes = [helper.make_node("Conv", ["image", "weight"], ["logits"], kernel_shape=[1, 1], strides=[1, 1],
                              dilations=[1, 1]),
             helper.make_node("Softmax", ["logits"], ["scores"], axis=1)]
    return save(folder, spec, nodes, {"image": shape}, {"scores": [shape[0], classes, *shape[2:]]},
                [onnx.numpy_helper.from_array(weight, "weight")])


def slide_model(folder: Path, *, batch: int, stride: int, classes: int = 3, side: int = 65):
    """A model whose scores depend on the place in its input, so that windows that overlap differ.

    Returns its path and what it computes, a function from (B, 3, side, side) to (B, classes, side, side).
    """
    import onnx
    from onnx import helper

    rng = np.random.default_rng(1)
    weight = rng.normal(0, 1, (classes, 3, 1, 1)).astype(np.float32)
    place = rng.normal(0, 1, (classes, side, side)).astype(np.float32)
    spec = changed(SPEC, class_names=[f"c{k}" for k in range(classes)], inputs__0__shape=[batch, 3, side, side],
                   outputs__0__shape=[batch, classes, side, side],
                   resize={"rule": "slide", "size": [side, side], "slide_stride": stride})
    nodes = [helper.make_node("Conv", ["image", "weight"], ["colours"], kernel_shape=[1, 1]),
             helper.make_node("Add", ["colours", "place"], ["logits"]),
             helper.make_node("Softmax", ["logits"], ["scores"], axis=1)]
    constants = [onnx.numpy_helper.from_array(weight, "weight"), onnx.numpy_helper.from_array(place[None], "place")]
    path = save(folder, spec, nodes, {"image": spec["inputs"][0]["shape"]}, {"scores": spec["outputs"][0]["shape"]},
                constants)

    def probabilities(images: np.ndarray) -> np.ndarray:
        logits = np.einsum("kc,bchw->bkhw", weight[..., 0, 0], images) + place
        exponentials = np.exp(logits - logits.max(1, keepdims=True))
        return exponentials / exponentials.sum(1, keepdims=True)

    return path, probabilities


def constant_scores(folder: Path, scores: np.ndarray) -> Path:
    """A DeepLabV3 that finds `scores` (K, S, S) in every image."""
    import onnx
    from onnx import helper

    nodes = [helper.make_node("ReduceMax", ["image"], ["top"], keepdims=0),
             helper.make_node("Mul", ["top", "zero"], ["nothing"]),
             helper.make_node("Add", ["nothing", "in"], ["scores"])]
    names = [f"c{k}" for k in range(len(scores))]
    side = scores.shape[1]
    spec = changed(SPEC, class_names=names, outputs__0__shape=[1, *scores.shape], inputs__0__shape=[1, 3, side, side],
                   resize__size=[side, side])
    constants = [onnx.numpy_helper.from_array(scores[None], "in"), onnx.numpy_helper.from_array(np.float32(0), "zero")]
    return save(folder, spec, nodes, {"image": [1, 3, side, side]}, {"scores": [1, *scores.shape]}, constants)


def instance_spec(arrays: dict[str, np.ndarray], *, height: int, width: int, **postprocess) -> dict:
    """preprocess.json of a model that returns `arrays` for every image, on a canvas of height x width."""
    outputs = [{"name": name, "shape": list(array.shape), "dtype": str(array.dtype)} for name, array in arrays.items()]
    return SPEC | {
        "task": "instance", "model": "mask_rcnn_r50", "category_ids": [0, 17, 18], "outputs": outputs,
        "inputs": [{"name": "image", "shape": [1, 3, height, width], "dtype": "float32", "layout": "NCHW"},
                   {"name": "image_size", "shape": [1, 2], "dtype": "float32"}],
        "resize": {"rule": "canvas", "size": [height, width], "rounding": "round", "interpolation": "bilinear"},
        "postprocess": {"mask_threshold": 0.5, "paste_pad": None} | postprocess}


def instance_model(folder: Path, spec: dict, arrays: dict[str, np.ndarray]) -> Path:
    """A model that returns `arrays`, whatever it is given; the boxes depend on the inputs by nothing but a zero."""
    import onnx
    from onnx import helper

    nodes = [helper.make_node("ReduceMax", ["image"], ["top"], keepdims=0),
             helper.make_node("ReduceMax", ["image_size"], ["side"], keepdims=0),
             helper.make_node("Add", ["top", "side"], ["sum"]), helper.make_node("Mul", ["sum", "zero"], ["nothing"]),
             helper.make_node("Add", ["nothing", "in_boxes"], ["boxes"])]
    nodes += [helper.make_node("Identity", [f"in_{name}"], [name]) for name in arrays if name != "boxes"]
    constants = [onnx.numpy_helper.from_array(array, f"in_{name}") for name, array in arrays.items()]
    constants.append(onnx.numpy_helper.from_array(np.float32(0), "zero"))
    return save(folder, spec, nodes, {i["name"]: i["shape"] for i in spec["inputs"]}, arrays, constants)


def save(folder: Path, spec: dict, nodes: list, inputs: dict, outputs: dict, constants: list) -> Path:
    onnx = pytest.importorskip("onnx")
    helper, dtype = onnx.helper, onnx.helper.np_dtype_to_tensor_dtype
    graph = helper.make_graph(
        nodes, "graph", [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, dtype(getattr(s, "dtype", np.dtype("float32"))), getattr(s, "shape", s))
         for n, s in outputs.items()], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "model.onnx")
    (folder / "preprocess.json").write_text(json.dumps(spec))
    return folder / "model.onnx"
