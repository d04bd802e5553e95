"""Real training processes of Mask R-CNN: killed and resumed, they end with the weights of an undisturbed run."""
import re
import subprocess
import sys
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest

from src.data.practice.sample_set import write_sample_set
from tests.engine.test_resume import kill_when, steps

pytestmark = pytest.mark.slow
EPOCHS, STEPS = 4, 16  # nine samples, two a batch
# Every part of the network, at the least size; more candidates than samples, so that anchors and RoIs are drawn.
FLAGS = ("--model=mask_rcnn_r50", "--device_target=CPU", "--backbone=resnet18", "--norm=batch", "--img_width=64",
         "--img_height=64", "--fpn_out_channels=8", "--rpn_feat_channels=8", "--rcnn_fc_out_channels=16",
         "--rcnn_mask_out_channels=8", "--max_instance_count=6", "--mask_crop_size=14", "--rpn_proposal_nms_pre=40",
         "--rpn_proposal_max_num=30", "--num_expected_neg=16", "--num_expected_pos=8", "--num_expected_neg_stage2=8",
         "--num_expected_pos_stage2=4", f"--epochs={EPOCHS}", "--batch_size=2", "--save_steps=3", "--workers=2",
         "--keep_checkpoint_max=2", "--base_lr=0.01", "--warmup_steps=4", "--lr_epochs=0", "--ema_decay=0.9")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("resume")
    write_sample_set(root / "set", train=9, val=1)
    return root


def start(root: Path, folder: Path, *flags: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "train.py", *FLAGS, f"--coco_root={root / 'set'}",
                             f"--train_dir={folder}", *flags],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(root: Path, folder: Path, *flags: str) -> tuple[int, str]:
    process = start(root, folder, *flags)
    output, _ = process.communicate()
    return process.returncode, output


def final_state(folder: Path) -> dict[str, np.ndarray]:
    values = ms.load_checkpoint(str(folder / f"mask_rcnn_r50-{EPOCHS}_4.ckpt"))
    return {name: value.asnumpy() for name, value in values.items() if name != "metadata"}


def test_a_run_killed_in_epochs_and_in_a_write_ends_bit_identical_to_an_undisturbed_one(root):
    whole, torn = root / "whole", root / "torn"
    status, output = finish(root, whole)
    assert status == 0, output

    rng = np.random.default_rng(7)
    moments = [int(rng.choice([2, 3, 5])), "write", int(rng.choice([10, 11, 13, 14]))]  # steps inside epochs
    for i, moment in enumerate(moments):
        process = start(root, torn, *(["--resume"] if i else []))
        if moment == "write":
            kill_when(process, lambda: any(torn.glob(".unfinished-*.[ct]*")))
            assert any(torn.glob(".unfinished-*.[ct]*")), "killed too late to hit the write"
        else:
            kill_when(process, lambda step=moment: max(steps(torn), default=0) >= step)
    status, output = finish(root, torn, "--resume")
    assert status == 0, output
    assert re.search(r"resuming from .*ckpt \(step \d+ of 16\)", output)

    expected, got = final_state(whole), final_state(torn)
    assert expected.keys() == got.keys() >= {"global_step", "moments.mask_head.predict.bias"}
    assert [name for name in expected if not np.array_equal(expected[name], got[name])] == []
    numbers = steps(whole), steps(torn)
    assert list(numbers[0]) == list(numbers[1]) == list(range(1, STEPS + 1))
    for name in ("total_loss", "rcnn_mask_loss", "rpn_cls_loss", "learning_rate", "grad_norm"):
        assert [line[name] for line in numbers[0].values()] == [line[name] for line in numbers[1].values()], name


def test_a_non_finite_loss_ends_the_run_and_its_step_can_be_repeated(root):
    folder = root / "diverged"
    status, output = finish(root, folder, "--base_lr=1e30", "--warmup_steps=0")
    assert status == 2, output
    assert "Traceback" not in output, output
    found = re.search(r"error: the \w+ is not finite at step (\d+) .*sample ids \[\d, \d\]", output)
    assert found, output
    file = folder / f"replay-{found[1]}.ckpt"
    assert f"--replay {file}" in output
    assert file.is_file()
    again = subprocess.run([sys.executable, "train.py", "--replay", str(file)], capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    logged = steps(folder)[int(found[1])]["total_loss"]  # None where it is itself not finite
    expected = "(nan|inf)" if logged is None else re.escape(f"{logged:.7g}")
    assert re.search(rf"^total_loss: {expected}$", again.stdout, re.M), again.stdout
    assert "finite: 0\n" in again.stdout
