"""Mask R-CNN to a checkpoint through its launcher, with WORKERS and with a rank table."""
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from src.data.practice.sample_set import write_sample_set
from src.engine.checkpoint import load

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "maskrcnn" / "run_distribute_train.sh"
TINY = ("--config=quickstart", "--coco_root=set", "--img_width=64", "--img_height=64", "--fpn_out_channels=8",
        "--rpn_feat_channels=8", "--rcnn_fc_out_channels=16", "--rcnn_mask_out_channels=8", "--mask_crop_size=14",
        "--rpn_proposal_nms_pre=40", "--rpn_proposal_max_num=30", "--rpn_nms_pre=40", "--rpn_max_num=20",
        "--num_expected_neg=16", "--num_expected_pos=8", "--num_expected_neg_stage2=8", "--num_expected_pos_stage2=4",
        "--batch_size=2", "--epoch_size=1", "--warmup_step=2")


def test_both_ways_of_starting_end_in_a_checkpoint(tmp_path, table_file):
    write_sample_set(str(tmp_path / "set"), seed=1, train=9, val=1)
    outer = {k: v for k, v in os.environ.items() if not k.startswith(("RANK_", "MS_", "DEVICE_"))}

    def launch(*words: object, **environment: str) -> None:
        done = subprocess.run(["sh", SCRIPT, *map(str, words), *TINY], cwd=tmp_path, text=True, capture_output=True,
                              timeout=900, env=outer | {"PYTHON": sys.executable, "DEVICE_TARGET": "CPU"} | environment)
        assert done.returncode == 0, done.stdout + done.stderr

    launch(WORKERS="2")
    first = tmp_path / "train_parallel0" / "checkpoint" / "mask_rcnn_r50-1_2.ckpt"
    assert load(first)[1]["step"] == 2
    launch(table_file({"127.0.0.1": [(1, 0), (0, 1)]}), first)
    assert load(tmp_path / "train_parallel0_2" / "checkpoint" / first.name)[1]["step"] == 2
    for folder in ("train_parallel0", "train_parallel1", "train_parallel1_2"):
        log = (tmp_path / folder / "log").read_text()
        assert re.search(r"epoch:1 step:2 ,rpn_loss:[\d.]+, .*total_loss:[\d.]+\n", log), log
