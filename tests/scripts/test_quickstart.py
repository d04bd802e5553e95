"""The quick start as a user runs it, but shorter: all its files are there, and the required results are missed."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts/quickstart.sh"
FILES = ("metrics.json", "metrics.images.npz", "predictions.jpg", "worst.jpg", "curve.png", "report.html", "train_log",
         "eval_log")
MODELS = {"deeplabv3": ("deeplab_v3_s16-1_*.ckpt", ["miou"]),
          "maskrcnn": ("mask_rcnn_r50-1_*.ckpt", ["bbox.AP50", "segm.AP50"])}


def start(*flags: str, **variables: str) -> subprocess.CompletedProcess:
    return subprocess.run(["sh", SCRIPT, *flags], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          env=os.environ | variables)


def test_an_unknown_model_is_refused_with_the_known_ones():
    ran = start("--model=yolo")
    assert ran.returncode == 2
    assert "deeplabv3 maskrcnn" in ran.stderr.splitlines()[0]


@pytest.mark.slow
@pytest.mark.skipif(sys.prefix == sys.base_prefix, reason="needs the virtual environment that the tests run in")
def test_one_epoch_of_both_leaves_every_file_and_fails_the_requirements(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "earlier").write_text("result")
    ran = start("--epochs=1", RUN_DIR=str(run), VIRTUAL_ENV=sys.prefix)
    assert ran.returncode == 1, ran.stderr[-3000:]
    assert [p.name for p in run.iterdir()] == ["earlier"]
    for model, (checkpoint, marks) in MODELS.items():
        left = tmp_path / "run_2" / model
        assert all((left / name).stat().st_size > 100 for name in FILES)
        assert len(list((left / "ckpt").glob(checkpoint))) == 1
        numbers = json.loads((left / "metrics.json").read_text())
        assert numbers["images"] == 60
        for mark in marks:
            value = numbers
            for key in mark.split("."):
                value = value[key]
            line = next(line for line in ran.stdout.splitlines() if line.startswith(f"held-out {mark}: {value:.4f}"))
            assert "FAILED" in line


@pytest.mark.parametrize("name", ["deeplabv3", "deeplab_v3_s16", "maskrcnn", "mask_rcnn_r50"])
def test_a_model_has_the_name_of_its_family_and_its_own(name):
    """Far enough to see that the name is taken: a mistyped flag after it is what the script stops at."""
    ran = start(f"--model={name}", "--model=yolo")
    assert "--model 'yolo'" in ran.stderr
    assert name not in ran.stderr.splitlines()[0].split(": ", 1)[1].split("expected")[0]
