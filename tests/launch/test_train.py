"""`train.py` itself on two CPU ranks, through the launch script: equal weights from different samples."""
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from src.data.sample_set import write_sample_set

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "run_distribute_train.sh"


def test_two_ranks_train_deeplab_to_equal_weights(tmp_path):
    write_sample_set(str(tmp_path / "set"), seed=1, train=8, val=1)
    names = (tmp_path / "set" / "ImageSets" / "Segmentation" / "train.txt").read_text().split()
    (tmp_path / "list.txt").write_text("".join(f"JPEGImages/{n}.jpg SegmentationClassGray/{n}.png\n" for n in names))
    outer = {k: v for k, v in os.environ.items() if not k.startswith(("RANK_", "MS_", "DEVICE_"))}
    done = subprocess.run(
        ["sh", SCRIPT, "deeplabv3", "--config=quickstart", "--data_root=set", "--data_lst=list.txt", "--batch_size=2",
         "--crop_size=33", "--epochs=1", "--train_dir=out{rank}"], cwd=tmp_path, capture_output=True, text=True,
        env=outer | {"PYTHON": sys.executable, "DEVICE_TARGET": "CPU", "WORKERS": "2"}, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    logs = [(tmp_path / "deeplabv3_train" / f"device{rank}" / "log").read_text() for rank in (0, 1)]
    losses = [re.search(r"epoch: 1 step: 2, loss is ([\d.]+)", log)[1] for log in logs]
    assert losses[0] != losses[1]

    from src.engine.checkpoint import load
    zero, one = (load(tmp_path / f"out{rank}" / "deeplab_v3_s16-1_2.ckpt")[0] for rank in (0, 1))
    differing = [name for name in zero if not np.array_equal(zero[name].asnumpy(), one[name].asnumpy())]
    assert [name for name in differing if "moving_" not in name] == []
