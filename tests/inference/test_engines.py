"""Both engines give the same metrics to the fourth digit: all scales and mirror images, masks, the command lines."""
import json
import subprocess
import sys
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from src import tasks
from src.contract import Record
from src.data.instance.target import Category, encode_categories, encode_instances, encode_target
from src.engine import checkpoint, loop
from src.engine.runtime import Runtime
from src.results.image_files import read_statistics
from src.weights import load as weights
from tests.deeplabv3.conftest import tiny_task
from tests.maskrcnn.test_task import TINY
from tests.tiny_seg import image, png, write_data

pytest.importorskip("openvino", reason="needs requirements/export.txt")
pytest.importorskip("onnx", reason="needs requirements/export.txt")
ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("graph_mode")
IMAGES = [image(k, 40 + 5 * k, 60 - 5 * k) for k in range(5)]
RECORDS = [Record(k, f"{k}.png", png(pixels), b"") for k, pixels in enumerate(IMAGES)]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def metrics(task, predictions, targets: list[bytes]) -> dict:
    evaluator = task.evaluator()
    for prediction, target in zip(predictions, targets, strict=True):
        evaluator.update(prediction, target)
    return evaluator.compute()


def test_mean_iou_over_scales_and_mirror_images():
    """The truth is what MindSpore predicts, moved: a mean IoU between 0 and 1."""
    ms.set_seed(3)
    values = {"scales": (0.5, 1.0, 1.25), "flip": True, "crop_size": 67}
    task, other = tiny_task(**values), tiny_task(**values, inference_engine="openvino")
    network = task.network()
    noise = np.random.default_rng(0).standard_normal((2, 3, 67, 67), np.float32)
    usual = np.log(other.predictor(network).probabilities(noise)).mean((0, 2, 3))
    network.classifier.bias.set_data(ms.Tensor(-usual))  # so that no class wins everywhere
    ours, theirs = (list(one.predictor(network)(RECORDS)) for one in (task, other))
    targets = [png(np.roll(one.labels, 7, 0)) for one in ours]
    expected, found = metrics(task, ours, targets), metrics(task, theirs, targets)
    assert 0.05 < expected["miou"] < 0.99
    assert found["miou"] == pytest.approx(expected["miou"], abs=5e-5)
    assert sum((a.labels != b.labels).sum() for a, b in zip(ours, theirs)) < 3


@pytest.mark.slow
def test_average_precision_of_boxes_and_masks():
    """The truth is a third of what MindSpore predicts."""
    ms.set_seed(3)
    values = TINY | {"test_batch_size": 2, "coco_classes": ("background", "a", "b", "c"), "img_width": 96}
    task, other = (tasks.create(tasks.config_class("mask_rcnn_r50")(**values, inference_engine=choice).completed())
                   for choice in ("mindspore", "openvino"))
    network = task.network()
    network.box_head.cls.weight.set_data(network.box_head.cls.weight * 100)
    ours, theirs = (list(one.predictor(network)(RECORDS)) for one in (task, other))
    categories = [Category(k, 10 * k, name) for k, name in enumerate("abc", 1)]
    targets = [encode_target(one.image_id, IMAGES[one.image_id].shape[:2], encode_categories(categories),
                             encode_instances(_instances(one))) for one in ours]
    expected, found = metrics(task, ours, targets), metrics(task, theirs, targets)
    for kind in ("bbox", "segm"):
        assert 0.05 < expected[kind]["AP"] < 0.99
        assert found[kind]["AP"] == pytest.approx(expected[kind]["AP"], abs=5e-5)
    assert task.engine.name.startswith("MindSpore")
    assert other.engine.name.startswith("OpenVINO")


def _instances(one) -> list[dict]:
    boxes = [coco_mask.toBbox(rle).tolist() for rle in one.rles]
    return [{"id": k + 1, "label": int(one.labels[k]), "category_id": 10 * int(one.labels[k]), "bbox": boxes[k],
             "area": boxes[k][2] * boxes[k][3], "iscrowd": 0,
             "segmentation": {"size": one.rles[k]["size"], "counts": _text(one.rles[k]["counts"])}}
            for k in range(0, len(boxes), 3) if min(boxes[k][2:]) > 2]


def _text(counts) -> str:
    return counts.decode() if isinstance(counts, bytes) else counts


@pytest.mark.slow
def test_command_lines_say_what_ran(tmp_path):
    task = tiny_task(crop_size=65)
    step = loop.build_step(task, task.config, Runtime("CPU"), task.network(), 1)
    path = tmp_path / "deeplab_v3_s16-1_1.ckpt"
    checkpoint.save(path, step, {"step": 1, "config": task.config.model_dump(mode="json"),
                                 **weights.to_metadata("mindseg", task.config.conventions())})
    write_data(tmp_path, 3, height=40, width=50)

    def run(*words: str) -> str:
        done = subprocess.run([sys.executable, ROOT / words[0], *words[1:]], cwd=tmp_path, capture_output=True,
                              text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    evaluation = ("eval.py", "--ckpt_path", path.name, "--data_root=.", "--data_lst=list.txt", "--device_target=CPU",
                  "--batch_size=2")
    said = run(*evaluation, "--result_path=a.json")
    assert "inference in MindSpore" in said
    assert "(--inference_engine=openvino takes about half of the time" in said
    assert said.splitlines()[-1] == "95 % intervals: none, 3 images are too few"
    assert read_statistics(tmp_path / "a.images.npz").image_ids.tolist() == [1, 2, 3]
    said = run(*evaluation, "--inference_engine=openvino", "--result_path=b.json", "--bootstrap=0")
    assert said.splitlines()[-1].startswith("mean IoU")
    assert "inference in OpenVINO" in said
    assert "input 2 x 3 x 65 x 65: graph translated in" in said
    first, second = (json.loads((tmp_path / name).read_text()) for name in ("a.json", "b.json"))
    assert first.pop("inference_engine").startswith("MindSpore")
    assert second.pop("inference_engine").startswith("OpenVINO")
    assert second["miou"] == pytest.approx(first["miou"], abs=5e-5)
    for flags, name in (((), "OpenVINO"), (("--inference_engine=mindspore",), "MindSpore")):
        said = run("predict.py", f"--model_path={path.name}", "images", *flags, f"--output_dir={name}")
        assert f"3 images and 0 videos in {name}, by {name} " in said
        assert json.loads((tmp_path / name / "index.json").read_text())["inference_engine"].startswith(name)


@pytest.mark.slow
def test_evaluation_during_training_leaves_the_training_as_it_is(tmp_path):
    data = {"data_root": str(tmp_path), "data_lst": str(write_data(tmp_path, 6)), "eval_interval": 1, "epochs": 2,
            "val_data_lst": str(tmp_path / "list.txt")}
    ends, evaluated = [], []
    for choice in ("mindspore", "openvino"):
        ms.set_seed(1)
        task = tiny_task(**data, inference_engine=choice, output_dir=str(tmp_path / choice))
        values, _ = checkpoint.load(loop.train(task, task.config, Runtime("CPU")))
        ends.append(values)
        lines = map(json.loads, (tmp_path / choice / "metrics.jsonl").read_text().splitlines())
        evaluated.append([line["miou"] for line in lines if line["kind"] == "eval"])
    assert ends[0].keys() == ends[1].keys()
    for name, value in ends[0].items():
        np.testing.assert_array_equal(np.asarray(ends[1][name]), np.asarray(value), err_msg=name)
    assert len(evaluated[0]) == 2
    assert evaluated[0][0] != evaluated[0][1]
    np.testing.assert_allclose(evaluated[1], evaluated[0], atol=5e-5)
