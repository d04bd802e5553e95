"""The command lines, log lines and data lines that Mask R-CNN's documentation shows, and what they mean here."""
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from src.maskrcnn.config import MaskRCNNConfig
from src.tasks import parse_settings

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "scripts/maskrcnn"
LOG_LINE = ("epoch:1 step:7393 ,rpn_loss:0.10626, rcnn_loss:0.81592, rpn_cls_loss:0.05862, rpn_reg_loss:0.04761, "
            "rcnn_cls_loss:0.32642, rcnn_reg_loss:0.15503, rcnn_mask_loss:0.33447, total_loss:0.92218")
LIST_LINE = "train2017/0000001.jpg 0,259,401,459,7 35,28,324,201,2 0,30,59,80,2"


def start(shell: str, script: str, *words: object, cwd: Path, **variables: str) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if k not in ("train_path", "eval_path", "COCO_ROOT")}
    return subprocess.run([shell, SCRIPTS / script, *map(str, words)], cwd=cwd, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, env=environment | {"PYTHON": sys.executable} | variables)


def printed(log: Path) -> dict:
    """The configuration that --print_config left in a log."""
    text = log.read_text(encoding="utf-8")
    return yaml.safe_load(text[text.index("model: "):])


def test_the_log_line(tmp_path):
    from src.engine.metrics_log import MetricsLog
    from src.engine.position import Position
    from src.engine.step_recorder import StepRecorder
    from src.maskrcnn import LOSS_NAMES

    recorder = StepRecorder(Position(7393, 7393, 7393), loss_names=LOSS_NAMES, learning_rate=float,
                            metrics=MetricsLog(tmp_path), log_steps=0)
    recorder.last = {name: float(value) for name, value in re.findall(r"(\w+_loss):([\d.]+)", LOG_LINE)}
    assert recorder._loss_line() == LOG_LINE


def test_the_list_line(tmp_path):
    import cv2
    import numpy as np

    from src.data.instance.target import decode_target
    from src.data.instance.txt import TxtDataset

    (tmp_path / "train2017").mkdir()
    cv2.imwrite(str(tmp_path / "train2017/0000001.jpg"), np.zeros((480, 480, 3), np.uint8))
    (tmp_path / "list.txt").write_text(LIST_LINE + "\n")
    record, = TxtDataset(tmp_path / "list.txt", tmp_path, class_names=("background", *"abcdefg")).rows([0])
    target = decode_target(record.target)
    assert record.file_name == "train2017/0000001.jpg"
    assert target.boxes_image.tolist() == [[0, 259, 401, 459], [35, 28, 324, 201], [0, 30, 59, 80]]
    assert target.labels.tolist() == [7, 2, 2]


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize("pretrained", [True, False])
def test_standalone_training(shell, pretrained, tmp_path):
    (tmp_path / "resnet50.ckpt").touch()
    words = ["resnet50.ckpt"] if pretrained else []
    ran = start(shell, "run_standalone_train.sh", *words, "--print_config", "--epoch_size=3", cwd=tmp_path,
                COCO_ROOT="/data/coco", DEVICE_TARGET="CPU")
    assert ran.returncode == 0, ran.stderr
    found = printed(tmp_path / "train/log")
    assert (found["model"], found["coco_root"], found["epochs"]) == ("mask_rcnn_r50", "/data/coco", 3)
    assert found["pretrained"] == ("resnet50.ckpt" if pretrained else "")
    assert found["output_dir"] == "train/checkpoint"
    assert found["device_target"] == "CPU"
    assert ("from random weights" in ran.stdout) is not pretrained


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_evaluation(shell, tmp_path):
    for name in ("instances_val2017.json", "mask_rcnn-12_7393.ckpt"):
        (tmp_path / name).touch()
    for folder in ("eval", "eval_2"):  # results of the first evaluation stay
        ran = start(shell, "run_eval.sh", "instances_val2017.json", "mask_rcnn-12_7393.ckpt", "--print_config",
                    cwd=tmp_path)
        assert ran.returncode == 0, ran.stderr
        found = printed(tmp_path / folder / "eval_log")
        assert (found["ann_file"], found["checkpoint"]) == ("instances_val2017.json", "mask_rcnn-12_7393.ckpt")
        assert found["model"] == "mask_rcnn_r50"
        assert found["result_path"] == f"{folder}/metrics.json"


@pytest.mark.parametrize(("script", "words", "message"), [
    ("run_standalone_train.sh", [], "training data is missing: --coco_root=DIR"),
    ("run_standalone_train.sh", ["absent.ckpt", "--coco_root=x"], "'absent.ckpt' is no file"),
    ("run_eval.sh", [], "expected VALIDATION_JSON CHECKPOINT_PATH"),
    ("run_eval.sh", ["absent.json", "absent.ckpt"], "'absent.json' is no file")])
def test_what_is_missing_is_said(script, words, message, tmp_path):
    ran = start("sh", script, *words, cwd=tmp_path)
    assert ran.returncode == 2
    assert message in ran.stderr
    assert script in ran.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("script", ["run_standalone_train.sh", "run_eval.sh"])
def test_help_shows_how_a_script_is_called(script, tmp_path):
    ran = start("sh", script, "--help", cwd=tmp_path)
    assert ran.returncode == 0
    assert ran.stdout.count(script) >= 1
    assert "Environment" in ran.stdout


def parsed(*flags: str, program: str = "train.py") -> MaskRCNNConfig:
    return parse_settings(["--model=mask_rcnn_r50", *flags], program=program, groups=(program.removesuffix(".py"),))


def test_words_of_the_documentation_for_the_same_keys():
    c = parsed("--epoch_size=3", "--total_epoch=4", "--warmup_step=10", "--save_checkpoint_path=out",
               "--mindrecord_dir=records", "--pre_trained=a.ckpt", "--pretrain_epoch_size=2", "--save_checkpoint=False")
    assert (c.epochs, c.lr_epochs, c.warmup_steps, c.output_dir, c.data_file, c.pretrained, c.start_epoch) == (
        3, 4, 10, "out", "records", "a.ckpt", 2)
    assert c.save_checkpoint is False
    c = parsed("--ann_file=val.json", "--checkpoint_path=b.ckpt", program="eval.py")
    assert (c.ann_file, c.checkpoint) == ("val.json", "b.ckpt")


def test_another_data_set_by_text_file():
    c = parsed("--dataset=other", "--image_dir=images", "--anno_path=list.txt", "--num_classes=8")
    assert (c.dataset, c.image_dir, c.anno_path) == ("other", "images", "list.txt")
    assert c.completed().names == ("background", *(f"class_{k}" for k in range(1, 8)))


def test_repeated_and_written_out_lists():
    assert parsed("--anchor_scales=4", "--anchor_scales=8").anchor_scales == (4, 8)
    assert parsed("--anchor_ratios=(0.5, 1.0)").anchor_ratios == (0.5, 1.0)
    assert parsed("--roi_layer={out_size: 5}").roi_layer.out_size == 5
