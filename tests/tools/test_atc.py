"""The atc command of an exported model, AIPP's arithmetic, and what becomes of its preprocess.json."""
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from src.deeplabv3.config import DeepLabV3Config
from src.deeplabv3.preprocess import Preprocess
from src.tools.atc import aipp_config, atc_command, om_spec

ROOT = Path(__file__).parents[2]
SPEC = {"format": "mindseg.preprocess", "version": 1, "checkpoint": {"sha256": "0"}, "files": {"ONNX": "m.onnx"},
        "inputs": [{"name": "image", "shape": [1, 3, 64, 96], "dtype": "float32", "layout": "NCHW"},
                   {"name": "image_size", "shape": [1, 2], "dtype": "float32"}],
        "normalise": {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375], "in_model": False},
        "pad": {"position": "bottom_right", "value": "zero_after_normalisation"}}


def values(text: str, name: str) -> np.ndarray:
    return np.array([float(v) for v in re.findall(rf"{name}_chn_\d: (\S+)", text)])


def test_the_command_has_the_shapes_of_preprocess_json():
    command = atc_command(Path("m.onnx"), SPEC, Path("om/m"), "Ascend310", Path("om/aipp.cfg"))
    assert command == ["atc", "--model=m.onnx", "--framework=5", "--output=om/m", "--soc_version=Ascend310",
                       "--input_shape=image:1,3,64,96;image_size:1,2", "--input_format=NCHW",
                       "--precision_mode=allow_mix_precision", "--insert_op_conf=om/aipp.cfg"]


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
