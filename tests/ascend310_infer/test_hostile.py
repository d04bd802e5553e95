"""Input that cannot be worked with ends in a message and a status, never in a crash: also under the sanitizers."""
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.ascend310_infer.tiny_models import (
    SPEC,
    changed,
    constant_scores,
    instance_model,
    instance_spec,
    run,
    sanitizers,
    semantic_model,
)

pytestmark = pytest.mark.slow
ARRAYS = {"boxes": np.array([[[1, 1, 9, 9], [2, 2, 5, 5]]], np.float32), "labels": np.array([[1, 2]], np.int32),
          "scores": np.array([[0.9, 0.8]], np.float32), "valid": np.array([[True, True]]),
          "masks": np.ones((1, 2, 28, 28), np.float32)}

# what of preprocess.json is changed -> status and words of the message, which name the key
SPECS = [
    ({"format": "other"}, 2, r"json.format: expected one of"),
    ({"version": 2}, 2, r"version: expected a whole number from 1 to 1, found 2"),
    ({"task": "detection"}, 2, r"task: expected one of: semantic, instance"),
    ({"class_names": []}, 2, r"class_names: no class"),
    ({"class_names": ["x"] * 256}, 2, "class_names: more than 255"),
    ({"class_names": None}, 2, "'class_names' is missing"),
    ({"inputs": []}, 2, r"inputs: expected 1 input"),
    ({"inputs__0__shape": [1, 3, 65]}, 2, r"inputs\[0\].shape: expected \[batch, 3, height, width\]"),
    ({"inputs__0__shape": [1, 3, -65, 65]}, 2, r"shape\[2\]: expected a whole number"),
    ({"inputs__0__shape": [1, 3, 65, 1 << 40]}, 2, r"shape\[3\]: expected a whole number"),
    ({"inputs__0__shape": [1, 3, 1 << 20, 1 << 20]}, 2, "more values than a tensor"),
    ({"inputs__0__shape": [1, 3, 65, 65.5]}, 2, "expected a whole number"),
    ({"inputs__0__shape": "65"}, 2, "expected a list"),
    ({"inputs__0__shape": [1, 3, 97, 97], "outputs__0__shape": [1, 3, 97, 97]}, 2,
     r"'image' is float32 \[1, 3, 65, 65\], preprocess.json says \[1, 3, 97, 97\]"),
    ({"inputs__0__dtype": "int64"}, 2, "expected float32 or uint8"),
    ({"inputs__0__dtype": "uint8"}, 2, "uint8 inputs need in_model"),
    ({"outputs__0__shape": [1, 21, 65, 65]}, 2, r"'scores' has the shape \[1, 21, 65, 65\], expected \[1, 3, 65, 65\]"),
    ({"outputs__0__name": "probabilities"}, 2, "no output is called 'scores'"),
    ({"outputs": [SPEC["outputs"][0], {"name": "more", "shape": [1]}]}, 2,
     r"has 1 output\(s\), preprocess.json names 2"),
    ({"resize__size": [129, 129]}, 2, "resize.size: larger than the input's 65 x 65"),
    ({"resize__size": [64, 65]}, 2, "long_side has a square canvas"),
    ({"resize__rule": "warp"}, 2, "resize.rule: expected one of: long_side"),
    ({"resize__interpolation": "cubic"}, 2, "interpolation: expected one of: bilinear"),
    ({"resize__rule": "slide"}, 2, "'slide_stride' is missing"),
    ({"resize__rule": "slide", "resize__slide_stride": 0}, 2, "slide_stride: expected a whole number from 1 to 65"),
    ({"resize__rule": "slide", "resize__slide_stride": 66}, 2, "slide_stride: expected a whole number from 1 to 65"),
    ({"resize__rule": "slide", "resize__slide_stride": 8, "resize__size": [64, 64]}, 2, "windows of the input's size"),
    ({"resize__rule": "tiles"}, 2, "tiles merge the detections of an instance model"),
    ({"resize__rule": "slide", "resize__slide_stride": 8,
      "outputs": [{"name": "labels", "shape": [1, 65, 65], "dtype": "int32"}]}, 2, "slide averages the scores"),
    ({"normalise__std": [1, 0, 1]}, 2, r"std\[1\]: expected a positive number from 1e-6 to 1e6, found 0"),
    ({"normalise__std": [1, 1, 1e-308]}, 2, r"std\[2\]: expected a positive number from 1e-6"),
    ({"normalise__mean": [1, 1e308, 1]}, 2, r"mean\[1\]: expected a number from -1e6 to 1e6, found 1e\+308"),
    ({"normalise__mean": [1, 2]}, 2, "mean: expected three numbers"),
    ({"decode__colour_order": "GBR"}, 2, "colour_order: expected one of: RGB, BGR"),
    ({"pad": {"position": "centre", "value": "zero_after_normalisation"}}, 2, "position: expected one of"),
    ({"pad__value": "mean"}, 2, "pad.value: .*a model that normalises itself"),
    ({"normalise__in_model": True}, 2, "pad.value: .*padded with .mean. or black"),
    ({"checkpoint": "x"}, 2, "checkpoint: expected an object"),
    ({"postprocess__score_thresholds": {"cat": 0.5}}, 2, "only detections have scores by class"),
]

TILED = {"resize__rule": "tiles", "resize__tile_rule": "canvas", "resize__tile_size": [32, 64],
         "resize__tile_overlap": 8}
INSTANCE_SPECS = [
    ({"category_ids": [1]}, 2, "category_ids: expected one for each of the 3 class_names"),
    ({"inputs__1__shape": [1, 3]}, 2, r"inputs\[1\]: expected float32 \[batch, 2\]"),
    ({"outputs__4__shape": [1, 2, 28, 14]}, 2, "'masks' are not square"),
    ({"outputs__2__shape": [1, 7]}, 2, r"'scores' has the shape \[1, 7\], expected \[1, 2\]"),
    ({"resize__rule": "slide"}, 2, "slide averages the scores of a semantic model"),
    ({"resize__rule": "tiles"}, 2, "'tile_rule' is missing"),
    (TILED | {"resize__tile_rule": "tiles"}, 2, "tile_rule: expected one of: canvas, stretch"),
    (TILED | {"resize__tile_size": [64]}, 2, r"tile_size: expected \[height, width\]"),
    (TILED | {"resize__tile_size": [0, 9]}, 2, r"tile_size\[0\]: expected a whole number from 1"),
    (TILED | {"resize__tile_overlap": 32}, 2, "tile_overlap: expected a whole number from 0 to 31"),
    (TILED | {"postprocess__merged_max_per_img": -1}, 2, "merged_max_per_img: expected a whole number from 0"),
    ({"postprocess__paste_pad": 3}, 2, "paste_pad: expected a whole number from 0 to 1"),
    ({"postprocess__score_thresholds": {"cow": 0.5}}, 2, r"score_thresholds.cow: class_names has no such class"),
    ({"postprocess__score_thresholds": {"background": 0.5}}, 2, r"background: class_names has no such class"),
    ({"postprocess__score_thresholds": {"cat": 1.5}}, 2, "cat: expected a score from 0 to 1, found 1.5"),
    ({"postprocess__score_thresholds": {"cat": "0.5"}}, 2, r"score_thresholds.cat: expected a number"),
    ({"postprocess__score_thresholds": [0.5, 0.5]}, 2, r"score_thresholds: expected an object"),
]

FLAGS = [
    ([], 2, "--model_path is missing"),
    (["--modelpath=x"], 2, "--modelpath: unknown flag, did you mean --model_path"),
    (["stray"], 2, "stray: unexpected word"),
    (["--model_path="], 2, "--model_path is empty"),
    (["--device_type=GPU"], 2, "--device_type=GPU.*expected one of: Ascend CPU"),
    (["--device_type=Ascent"], 2, "did you mean Ascend"),
    (["--device_id=-1"], 2, "--device_id=-1: expected a whole number"),
    (["--device_id=1x"], 2, "--device_id=1x: expected a whole number"),
    (["--threads=0"], 2, "--threads=0: expected a whole number from 1"),
    (["--backend=onnx"], 2, "--backend=onnx.*expected one of: openvino mindspore"),
]


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    (folder / "a.png").write_bytes(cv2.imencode(".png", np.full((20, 30, 3), 90, np.uint8))[1].tobytes())
    return folder


@pytest.fixture(params=["program", "sanitized"])
def built(request) -> Path:
    return request.getfixturevalue(request.param)


def expect(ran: subprocess.CompletedProcess, status: int, words: str) -> None:
    assert ran.returncode == status, ran.stderr
    assert re.search(words, ran.stderr, re.S), ran.stderr
    assert "Sanitizer" not in ran.stderr
    assert "runtime error" not in ran.stderr
    assert "terminate" not in ran.stderr


def test_flags(built):
    for words, status, message in FLAGS:
        expect(subprocess.run([built, *words], capture_output=True, text=True), status, message)
    helped = subprocess.run([built, "--help"], capture_output=True, text=True)
    assert helped.returncode == 0
    assert "--dump_inputs" in helped.stdout


def test_recipes(built, images, tmp_path):
    semantic = semantic_model(tmp_path / "s")
    spec = instance_spec(ARRAYS, height=64, width=96)
    instance = instance_model(tmp_path / "i", spec, ARRAYS)
    cases = [(semantic, changed(SPEC, **c), s, m) for c, s, m in SPECS]
    cases += [(instance, changed(spec, **c), s, m) for c, s, m in INSTANCE_SPECS]
    for n, (model, content, status, message) in enumerate(cases):
        path = tmp_path / f"{n}.json"
        path.write_text(json.dumps(content))
        expect(run(built, model, images, tmp_path / "r", f"--preprocess={path}"), status, message)
    for text, message in (("{", "is not valid JSON.*export the model again"), ("[]", "expected an object"),
                          ("\0\xff", "is not valid JSON"), ("[" * 100_000, "is not valid JSON")):
        (tmp_path / "x.json").write_text(text, encoding="latin-1")
        expect(run(built, semantic, images, tmp_path / "r", f"--preprocess={tmp_path / 'x.json'}"), 2, message)
    assert not (tmp_path / "r").exists()


def test_models(built, images, tmp_path):
    good = semantic_model(tmp_path)
    data = good.read_bytes()
    for name, content in (("cut.onnx", data[:len(data) // 2]), ("empty.onnx", b""), ("noise.onnx", os.urandom(5000)),
                          ("text.onnx", b"no model")):
        (tmp_path / name).write_bytes(content)
        expect(run(built, tmp_path / name, images, tmp_path / "r"), 2, f"{name}: OpenVINO cannot load it")
    (tmp_path / "m.pth").write_bytes(data)
    expect(run(built, tmp_path / "m.pth", images, tmp_path / "r"), 2, "unknown kind of model")
    expect(run(built, tmp_path / "gone.onnx", images, tmp_path / "r"), 2, "no such file")
    expect(run(built, tmp_path, images, tmp_path / "r"), 2, "a folder; give a file")
    expect(run(built, good, images, tmp_path / "r", "--device_type=Ascend"), 4, "OpenVINO runs models on a CPU")
    (tmp_path / "m.mindir").write_bytes(data)
    if not (built.parent / "libmindseg_backend_mindspore.so").exists():
        expect(run(built, tmp_path / "m.mindir", images, tmp_path / "r"), 4, "mindspore was not built.*MS_LITE_HOME")
    other = semantic_model(tmp_path / "other", changed(SPEC, inputs__0__shape=[1, 3, 33, 33],
                                                       outputs__0__shape=[1, 3, 33, 33]))
    expect(run(built, other, images, tmp_path / "r", f"--preprocess={tmp_path / 'preprocess.json'}"), 2,
           "from different exports")


def test_folders_and_lists(built, images, tmp_path):
    model = semantic_model(tmp_path / "m")
    (tmp_path / "file").write_text("a file")
    (tmp_path / "void").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/index.json").write_text("{}")
    expect(run(built, model, tmp_path / "gone", tmp_path / "r"), 2, "--dataset_path=.*no such folder")
    expect(run(built, model, tmp_path / "void", tmp_path / "r"), 2, "contains no image")
    expect(run(built, model, images, tmp_path / "file"), 2, "file: the folder cannot be created")
    expect(run(built, model, images, tmp_path / "file/r"), 2, "the folder cannot be created")
    expect(run(built, model, images, Path("/proc/r")), 2, "the folder cannot be created")
    expect(run(built, model, images, tmp_path / "other"), 2, "holds index.json, and no run.json says of which model")
    for n, (text, status, message) in enumerate([
            (b"", 2, "names no image"), (b"\n \n", 2, "names no image"), (b"a\0b", 2, "list:1: is not text"),
            (b"a.png\na.jpg", 3, "a.jpg: no such file"),
            (b'a.png\n"portrait.jpg label.png', 2, "list:2: a name in double quotes that is empty or does not end"),
            (b'a.png\n\n"" label.png', 2, "list:3: a name in double quotes"),
            (b"a.png\n" + b"a" * 5000, 3, "name.*1 of 2 images have no result"),
            (b"\xff\xfe.png", 3, "no such file"),
            (b"/dev/zero", 3, "not a regular file"), (b"../" * 50 + b"etc/passwd", 3, "is not an image"),
            (b"a.png " + b"x" * 100_000, 0, "")]):
        (tmp_path / "list").write_bytes(text)
        expect(run(built, model, images, tmp_path / f"r{n}", f"--image_list={tmp_path / 'list'}"), status, message)
    expect(run(built, model, images, tmp_path / "r", f"--image_list={tmp_path}"), 2, "a folder; give a file")
    for length in (235, 236):
        shutil.copy(images / "a.png", tmp_path / "void" / f"{'x' * length}.png")
    expect(run(built, model, tmp_path / "void", tmp_path / "r"), 3, "longer than 235 bytes; rename it.*1 of 2 images")
    assert [path.name for path in (tmp_path / "r/labels").iterdir()] == [f"{'x' * 235}.png"]


def test_what_may_not_be_read_is_named(built, images, tmp_path):
    """A root's rights over all files are taken away, where these tests run as root."""
    if os.geteuid() == 0 and not shutil.which("setpriv"):
        pytest.skip("needs setpriv, or another user than root")
    capabilities = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    model = semantic_model(tmp_path / "m")
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed.png").write_bytes((images / "a.png").read_bytes())
    (tmp_path / "list").write_text("closed.png")
    words = {"model_path": model, "dataset_path": images, "result_path": tmp_path / "r", "device_type": "CPU"}
    for closed, changes, status, message in [
            (tmp_path / "closed", {"dataset_path": tmp_path / "closed"}, 2,
             r"--dataset_path=\S+closed: cannot be listed \(Permission denied\); grant read access"),
            (model, {}, 2, r"--model_path=\S+: cannot be read \(Permission denied\); grant read access"),
            (tmp_path / "closed.png", {"dataset_path": tmp_path, "image_list": tmp_path / "list"}, 3,
             "closed.png: cannot be read; grant read access")]:
        mode = closed.stat().st_mode
        closed.chmod(0)
        ran = subprocess.run([*capabilities, built, *(f"--{k}={v}" for k, v in (words | changes).items())], text=True,
                             capture_output=True, env=os.environ | sanitizers())
        closed.chmod(mode)
        expect(ran, status, message)


def test_scores_that_are_not_finite(built, images, tmp_path):
    for n, value in enumerate((np.nan, np.inf, -np.inf, 3e38)):
        scores = np.zeros((3, 65, 65), np.float32)
        scores[1, 2, 3] = value
        model = constant_scores(tmp_path / f"m{n}", scores)
        expect(run(built, model, images, tmp_path / f"r{n}"), 0 if n == 3 else 3, "" if n == 3 else "not finite")
        assert (tmp_path / f"r{n}/labels/a.png").exists() == (n == 3)


def test_results_that_cannot_be_written(built, images, tmp_path):
    model = semantic_model(tmp_path / "m")
    for blocked in ("labels/a.png", "index.json", "labels/.unfinished-a.png"):
        results = tmp_path / blocked.replace("/", "_")
        assert run(built, model, images, results).returncode == 0
        (results / "labels/a.png").unlink()
        (results / blocked).unlink(missing_ok=True)
        (results / blocked / "full").mkdir(parents=True)  # a folder where a file has to go
        expect(run(built, model, images, results), 2, "cannot be written")
    (results / "run.json").write_text("{")
    expect(run(built, model, images, results), 2, "run.json: is not valid JSON.*give another --result_path")
    expect(run(built, model, images, tmp_path / "r", "--dump_inputs=/dev/null/x"), 2, "the folder cannot be created")


def test_outputs_that_are_no_detections(built, images, tmp_path):
    for n, (changes, message) in enumerate([
            ({"labels": np.array([[1, 99]], np.int32)}, "the network returned class 99"),
            ({"labels": np.array([[-1, 1]], np.int32)}, "the network returned class -1"),
            ({"boxes": np.array([[[np.nan, 1, 9, 9], [2, 2, 5, 5]]], np.float32)}, "not finite"),
            ({"boxes": np.array([[[1, 1, 9, 9], [2, 2, np.inf, 5]]], np.float32)}, None),
            ({"boxes": np.array([[[9, 9, 1, 1], [-1e30, -1e30, 1e30, 1e30]]], np.float32)}, None),
            ({"scores": np.array([[np.nan, 0.1]], np.float32)}, "not finite"),
            ({"masks": np.full((1, 2, 28, 28), np.nan, np.float32)}, None)]):
        for pad in (None, 0, 1):
            arrays = ARRAYS | changes
            spec = instance_spec(arrays, height=64, width=96, paste_pad=pad)
            ran = run(built, instance_model(tmp_path / f"m{n}{pad}", spec, arrays), images, tmp_path / f"r{n}{pad}")
            expect(ran, 3 if message else 0, message or "")
