"""Windows over large images in the C++ program against Python's: label maps, the border, images that fail."""
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from src.contract import Record
from src.deeplabv3.preprocess import Preprocess
from src.deeplabv3.slide import SlidePredictor
from tests.ascend310_infer.tiny_models import SPEC, constant_scores, run, slide_model

pytestmark = pytest.mark.slow
# A window exactly, a pixel more, a border that windows reach by themselves, large, smaller than a window.
SIZES = [(65, 65), (66, 65), (105, 145), (375, 500), (300, 40), (1, 1), (1, 200), (64, 66)]
MEAN, STD = tuple(SPEC["normalise"]["mean"]), tuple(SPEC["normalise"]["std"])


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """A folder of SIZES and a file that is no image, in the middle."""
    folder = tmp_path_factory.mktemp("images")
    for n, (height, width) in enumerate(SIZES):
        small = np.random.default_rng(n).integers(0, 256, (height // 6 + 2, width // 6 + 2, 3), np.uint8)
        image = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
        (folder / f"{n}.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    (folder / "3a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


def labels(folder: Path, name: str) -> np.ndarray:
    return cv2.imread(str(folder / f"labels/{name}.png"), cv2.IMREAD_UNCHANGED)


@pytest.mark.parametrize(("build", "batch", "stride"), [("program", 1, 40), ("sanitized", 3, 65), ("sanitized", 4, 22)])
def test_label_maps_are_those_of_python(build, batch, stride, request, images, tmp_path):
    model, probabilities = slide_model(tmp_path / "m", batch=batch, stride=stride)
    ran = run(request.getfixturevalue(build), model, images, tmp_path / "r", "--threads=2")
    assert ran.returncode == 3, ran.stderr
    assert "3a.png: is not an image" in ran.stderr
    records = [Record(n, "", (images / f"{n}.png").read_bytes(), b"") for n in range(len(SIZES))]
    predictor = SlidePredictor(probabilities, preprocess=Preprocess("RGB", MEAN, STD), window=65, stride=stride)
    pairs = [(labels(tmp_path / "r", str(found.image_id)), found.labels) for found in predictor(records)]
    assert [ours.shape for ours, _ in pairs] == SIZES
    assert np.mean(np.concatenate([(ours == theirs).ravel() for ours, theirs in pairs])) >= 0.9999
    assert all(len(np.unique(ours)) == 3 for ours, _ in pairs[:5])
    index = json.loads((tmp_path / "r/index.json").read_text())
    assert [entry["error"] is None for entry in index["images"]].count(False) == 1
    assert index["images_per_second"] > 0


def test_inputs_are_the_windows_and_another_run_keeps_the_results(program, images, tmp_path):
    model, _ = slide_model(tmp_path / "m", batch=1, stride=40)
    ran = run(program, model, images, tmp_path / "r", f"--dump_inputs={tmp_path / 'in'}")
    assert ran.returncode == 3, ran.stderr
    image = cv2.imread(str(images / "2.png"))[..., ::-1]
    for number, (top, left) in enumerate([(0, 0), (0, 40), (0, 80), (40, 0), (40, 40), (40, 80)], 1):
        found = np.fromfile(tmp_path / f"in/2_{number}.bin", np.float32).reshape(3, 65, 65)
        expected = Preprocess("RGB", MEAN, STD).normalise(image[top:top + 65, left:left + 65], (65, 65))
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert not (tmp_path / "in/2_7.bin").exists()
    again = run(program, model, images, tmp_path / "r")
    assert f"{len(SIZES)} of them have a result already" in again.stdout
    other, _ = slide_model(tmp_path / "other", batch=1, stride=39)
    assert "results of another model or preprocessing" in run(program, other, images, tmp_path / "r").stderr


def test_an_image_fails_once_where_scores_are_not_finite(sanitized, images, tmp_path):
    scores = np.full((3, 65, 65), np.nan, np.float32)
    model = constant_scores(tmp_path / "m", scores)
    recipe = model.with_name("preprocess.json")
    spec = json.loads(recipe.read_text())
    recipe.write_text(json.dumps(spec | {"resize": {"rule": "slide", "size": [65, 65], "slide_stride": 30}}))
    ran = run(sanitized, model, images, tmp_path / "r")
    assert ran.returncode == 3, ran.stderr
    assert ran.stderr.count("3.png: the network returned scores that are not finite") == 1
    assert not list((tmp_path / "r/labels").iterdir())
