"""`train.py` itself on two CPU ranks, through the launch script: one network from the samples of both."""
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from src.data.sample_set import write_sample_set

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "run_distribute_train.sh"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a tiny set and its lists, where the script is started."""
    folder = tmp_path_factory.mktemp("ranks")
    write_sample_set(str(folder / "set"), seed=1, train=9, val=3)
    for split in ("train", "val"):
        names = (folder / "set" / "ImageSets" / "Segmentation" / f"{split}.txt").read_text().split()
        lines = [f"JPEGImages/{n}.jpg SegmentationClassGray/{n}.png\n" for n in names]
        (folder / f"{split}.txt").write_text("".join(lines))
    return folder


def launch(place: Path, *flags: str, ranks: int = 2) -> subprocess.CompletedProcess:
    outer = {k: v for k, v in os.environ.items() if not k.startswith(("RANK_", "MS_", "DEVICE_"))}
    done = subprocess.run(
        ["sh", SCRIPT, "deeplabv3", "--config=quickstart", "--data_root=set", "--data_lst=train.txt", "--batch_size=2",
         "--val_data_lst=val.txt", "--crop_size=33", "--eval_crop_size=33", "--epochs=2", *flags], cwd=place, text=True,
        capture_output=True, timeout=900,
        env=outer | {"PYTHON": sys.executable, "DEVICE_TARGET": "CPU", "WORKERS": str(ranks)})
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def weights(path: Path) -> dict[str, np.ndarray]:
    from src.engine.checkpoint import load

    return {name: value.asnumpy() for name, value in load(path)[0].items()}


def test_two_ranks_train_one_network_and_a_resumed_run_ends_with_the_same_bits(place):
    launch(place, "--train_dir=whole", "--save_steps=1", "--eval_interval=2", "--scale_lr")
    logs = [(place / "deeplabv3_train" / f"device{rank}" / "log").read_text() for rank in (0, 1)]
    losses = [re.search(r"epoch: 1 step: 2, loss is ([\d.]+)", log)[1] for log in logs]
    assert losses[0] != losses[1]
    assert "learning rate 0.08: base_lr 0.04 x 2 processes" in logs[0]
    scores = [re.search(r"evaluation after epoch 2: (.*), seconds", log)[1] for log in logs]
    assert scores[0] == scores[1]

    shutil.copytree(place / "whole", place / "part", ignore=shutil.ignore_patterns("*-2_2.ckpt", "*_best.ckpt"))
    launch(place, "--train_dir=part", "--save_steps=1", "--resume", "--scale_lr")
    whole, part = (weights(place / name / "deeplab_v3_s16-2_2.ckpt") for name in ("whole", "part"))
    assert [name for name in whole if not np.array_equal(whole[name], part[name])] == []


def test_two_ranks_equal_one_process_that_accumulates_their_batches(place):
    frozen = ("--norm=frozen", "--dropout=0", "--save_steps=100")
    launch(place, "--train_dir=two", *frozen)
    done = subprocess.run(
        [sys.executable, SCRIPT.parents[1] / "train.py", "--config=quickstart", "--data_root=set",
         "--data_lst=train.txt", "--batch_size=2", "--crop_size=33", "--epochs=2", "--accumulate_steps=2",
         "--train_dir=one", *frozen], cwd=place, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    two, one = weights(place / "two" / "deeplab_v3_s16-2_2.ckpt"), weights(place / "one" / "deeplab_v3_s16-2_4.ckpt")
    for name, value in two.items():
        np.testing.assert_allclose(value, one[name], rtol=1e-4, atol=1e-5, err_msg=name)
