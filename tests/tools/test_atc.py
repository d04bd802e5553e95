"""The atc command of an exported model, AIPP's arithmetic, and what becomes of its preprocess.json."""
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from src.deeplabv3.config import DeepLabV3Config
from src.deeplabv3.preprocess import Preprocess
from src.exporting import onnx_check
from src.tools.atc import aipp_config, atc_command, default_precision, om_spec

ROOT = Path(__file__).parents[2]
SPEC = {"format": "mindseg.preprocess", "version": 1, "checkpoint": {"sha256": "0"}, "files": {"ONNX": "m.onnx"},
        "inputs": [{"name": "image", "shape": [1, 3, 64, 96], "dtype": "float32", "layout": "NCHW"},
                   {"name": "image_size", "shape": [1, 2], "dtype": "float32"}],
        "normalise": {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375], "in_model": False},
        "pad": {"position": "bottom_right", "value": "zero_after_normalisation"}}


def values(text: str, name: str) -> np.ndarray:
    return np.array([float(v) for v in re.findall(rf"{name}_chn_\d: (\S+)", text)])


def test_the_command_has_the_shapes_of_preprocess_json():
    command = atc_command(Path("m.onnx"), SPEC, Path("om/m"), "Ascend310", Path("om/aipp.cfg"), "allow_fp32_to_fp16")
    assert command == ["atc", "--model=m.onnx", "--framework=5", "--output=om/m", "--soc_version=Ascend310",
                       "--input_shape=image:1,3,64,96;image_size:1,2", "--input_format=NCHW",
                       "--precision_mode=allow_fp32_to_fp16", "--insert_op_conf=om/aipp.cfg"]


def test_aipp_normalises_as_the_recipe_does():
    text = aipp_config(SPEC)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    preprocess = Preprocess("RGB", SPEC["normalise"]["mean"], SPEC["normalise"]["std"])
    ours = (pixels - values(text, "min")) * values(text, "var_reci")
    np.testing.assert_allclose(ours.transpose(2, 0, 1), preprocess.normalise(pixels, (5, 7)), atol=1e-5)


def test_the_file_in_the_tree_is_that_of_the_default_recipe():
    config = DeepLabV3Config()
    spec = SPEC | {"normalise": {"mean": list(config.image_mean), "std": list(config.image_std)}}
    text = (ROOT / "src/aipp.cfg").read_text()
    assert text[text.index("aipp_op"):] == aipp_config(spec)


def test_preprocess_json_of_a_model_that_normalises_itself():
    spec = om_spec(SPEC, "m.om", True)
    assert spec["files"] == {"OM": "m.om"}
    assert spec["normalise"]["in_model"] is True
    assert spec["pad"]["value"] == "mean"
    assert (spec["inputs"][0]["shape"], spec["inputs"][0]["dtype"]) == ([1, 64, 96, 3], "uint8")
    assert om_spec(SPEC, "m.om", False) == SPEC | {"files": {"OM": "m.om"}}


def test_without_atc_the_line_is_printed_and_with_it_run(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"x")
    (tmp_path / "preprocess.json").write_text(json.dumps(SPEC))
    command = [sys.executable, ROOT / "src/tools/atc.py", "m.onnx", "--aipp"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={"PATH": ""})
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("atc --model=m.onnx --framework=5"), ran.stderr
    assert "atc is not installed here" in ran.stdout
    assert json.loads((tmp_path / "om/preprocess.json").read_text())["normalise"]["in_model"] is True
    atc = tmp_path / "bin/atc"
    atc.parent.mkdir()
    atc.write_text("#!/bin/sh\necho started $1\nexit 3\n")
    atc.chmod(0o755)
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={"PATH": f"{tmp_path}/bin:/bin"})
    assert ran.returncode == 2
    assert "started --model=m.onnx" in ran.stdout
    assert "atc ended with status 3" in ran.stderr


@pytest.mark.parametrize(("name", "message"), [
    ("m.mindir", "atc takes .onnx and .air files"), ("m.onnx", "no such file")])
def test_wrong_models_are_refused(name, message, tmp_path):
    ran = subprocess.run([sys.executable, ROOT / "src/tools/atc.py", name], cwd=tmp_path, capture_output=True,
                         text=True)
    assert ran.returncode == 2
    assert message in ran.stderr


@pytest.mark.parametrize(("soc_version", "mode"), [
    ("Ascend310P3", "allow_fp32_to_fp16"), ("Ascend310", "allow_fp32_to_fp16"), ("Ascend310B4", "allow_fp32_to_fp16"),
    ("Ascend910B3", "must_keep_origin_dtype"), ("Ascend910_9391", "must_keep_origin_dtype")])
def test_float32_stays_where_the_chip_has_it(soc_version, mode):
    assert default_precision(soc_version) == mode


def write_onnx(path: Path, nodes: list, shape=(1, 3, 8, 8), constants=(), rank=4) -> Path:
    """A model from `x` to `y`."""
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * rank)], list(constants))
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def constant(name: str, value) -> onnx.TensorProto:
    return onnx.numpy_helper.from_array(np.asarray(value), name)


def suppression(*extra: str) -> list:
    return [helper.make_node("Reshape", ["x", "shape"], ["scores"]),
            helper.make_node("NonMaxSuppression", ["boxes", "scores", "most", "iou", *extra], ["kept"], name="nms"),
            helper.make_node("Cast", ["kept"], ["y"], to=TensorProto.FLOAT)]


def test_a_suppression_without_all_inputs_is_a_trap(tmp_path):
    constants = [constant("shape", np.array([1, 1, 6])), constant("boxes", np.zeros((1, 6, 4), np.float32)),
                 constant("most", np.array([6])), constant("iou", np.array([0.5], np.float32)),
                 constant("low", np.array([0], np.float32))]
    four = onnx_check.check(write_onnx(tmp_path / "four.onnx", suppression(), (6,), constants, 2), "310P")
    assert ["NonMaxSuppression nms has 4 of 5 inputs" in trap for trap in four.traps] == [True]
    assert "segmentation fault" in onnx_check.report(four)
    five = write_onnx(tmp_path / "five.onnx", suppression("low"), (6,), constants, 2)
    assert (onnx_check.check(five, "310P").traps, onnx_check.check(five, "310P").is_problem) == ([], False)
    assert [row.name for row in onnx_check.check(five, "910B").rows if row.is_problem] == ["NonMaxSuppression"]


def test_open_shapes_control_flow_and_foreign_domains_are_traps(tmp_path):
    relu = [helper.make_node("Relu", ["x"], ["y"])]
    found = onnx_check.check(write_onnx(tmp_path / "a.onnx", relu, ("N", 3), rank=2), "310P")
    assert found.traps == ["input x leaves sides of its shape open: give atc --input_shape, or export with fixed sizes"]
    body = helper.make_graph([helper.make_node("Identity", ["x"], ["z"])], "b", [],
                             [helper.make_tensor_value_info("z", TensorProto.FLOAT, (1, 3, 8, 8))])
    branch = helper.make_node("If", ["flag"], ["y"], name="choice", then_branch=body, else_branch=body)
    found = onnx_check.check(write_onnx(tmp_path / "b.onnx", [branch], constants=[constant("flag", True)]), "310P")
    assert found.is_problem
    assert found.traps[0].startswith("If choice: control flow")
    fancy = helper.make_node("Fancy", ["x"], ["y"], name="own", domain="com.example")
    path = write_onnx(tmp_path / "c.onnx", [fancy])
    model = onnx.load(path)
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    onnx.save(model, path)
    assert onnx_check.check(path, "310P").traps == [
        "Fancy own is of the domain com.example, which ATC has no parser for"]


def test_check_needs_no_atc_and_writes_nothing(tmp_path):
    write_onnx(tmp_path / "good.onnx", [helper.make_node("Relu", ["x"], ["y"])])
    write_onnx(tmp_path / "odd.onnx", [helper.make_node("Erf", ["x"], ["y"])])
    (tmp_path / "no.onnx").write_bytes(b"no model")

    def run(*words):
        return subprocess.run([sys.executable, ROOT / "src/tools/atc.py", "--check", *words], cwd=tmp_path, text=True,
                              capture_output=True)
    before = sorted(tmp_path.iterdir())
    good = run("good.onnx", "--soc_version=Ascend310P3")
    assert good.returncode == 0, good.stderr
    assert "good.onnx on Ascend310P3, --precision_mode=allow_fp32_to_fp16" in good.stdout
    assert "1 kinds of calls: 1 AI Core" in good.stdout
    for words, message in ((["odd.onnx"], "does not know Erf of y"), (["no.onnx"], "no.onnx: not a valid ONNX file"),
                           (["good.onnx", "--soc_version=H100"], "none of the families in the table")):
        ran = run(*words)
        assert (ran.returncode, "Traceback" in ran.stderr) == (2, False)
        assert message in ran.stderr
    assert sorted(tmp_path.iterdir()) == before
