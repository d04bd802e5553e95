"""Real training processes: killed again and again, they end with the weights of an undisturbed run."""
import json
import math
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest

from tests.tiny_seg import write_data

pytestmark = pytest.mark.slow
EPOCHS, STEPS = 6, 24  # nine samples, two a batch
SAVE_STEPS = 3


class Runs:
    """Starts train.py on nine tiny images, with everything that has a state: see `FLAGS`."""

    FLAGS = ("--device_target=CPU", "--backbone=resnet18", "--num_classes=3", "--crop_size=33", "--batch_size=2",
             f"--epochs={EPOCHS}", f"--save_steps={SAVE_STEPS}", "--keep_checkpoint_max=2", "--workers=2",
             "--dropout=0.3", "--ema_decay=0.9", "--dynamic_loss_scale", "--loss_scale=3.4e38", "--base_lr=0.05",
             "--loss=ohem,dice:0.5,lovasz:0.5", "--ohem_min_kept=300", "--class_weights=median_frequency",
             "--label_smoothing=0.1", "--aux_weight=0.4", "--rare_class_crops=0.5", "--rotation=10",
             "--colour_jitter=0.3,0.3,0.3,0.05", "--blur=1")

    def __init__(self, root: Path):
        self.root = root
        self.data = (f"--data_root={root}", f"--data_lst={write_data(root, 9, height=40, width=48)}")

    def start(self, folder: Path, *flags: str) -> subprocess.Popen:
        return subprocess.Popen([sys.executable, "train.py", *self.FLAGS, *self.data, f"--train_dir={folder}", *flags],
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def finish(self, folder: Path, *flags: str) -> tuple[int, str]:
        process = self.start(folder, *flags)
        output, _ = process.communicate()
        return process.returncode, output


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Runs:
    return Runs(tmp_path_factory.mktemp("resume"))


def steps(folder: Path) -> dict[int, dict]:
    path = folder / "metrics.jsonl"
    text = path.read_text() if path.exists() else ""
    return {line["step"]: line for line in map(json.loads, text.split("\n")[:-1])}


def kill_when(process: subprocess.Popen, happened) -> None:
    while not happened():
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def final_state(folder: Path) -> dict[str, np.ndarray]:
    values = ms.load_checkpoint(str(folder / f"deeplab_v3_s16-{EPOCHS}_4.ckpt"))
    return {name: value.asnumpy() for name, value in values.items() if name != "metadata"}


def test_a_run_killed_twelve_times_ends_bit_identical_to_an_undisturbed_one(runs):
    whole, torn = runs.root / "whole", runs.root / "torn"
    status, output = runs.finish(whole)
    assert status == 0, output

    middle = [step for step in range(1, STEPS) if step % 4]  # mid-epoch
    targets = sorted(np.random.default_rng(4).choice(middle, 10, replace=False).tolist())
    moments = ["write", *targets[:5], "write", *targets[5:]]
    for i, moment in enumerate(moments):
        process = runs.start(torn, *(["--resume"] if i else []))
        if moment == "write":
            kill_when(process, lambda: any(torn.glob(".unfinished-*.[ct]*")))
            assert any(torn.glob(".unfinished-*.[ct]*")), "killed too late to hit the write"
        else:
            kill_when(process, lambda step=moment: max(steps(torn), default=0) >= step)
    status, output = runs.finish(torn, "--resume")
    assert status == 0, output
    assert re.search(r"resuming from .*ckpt \(step \d+ of 24\)", output)

    expected, got = final_state(whole), final_state(torn)
    assert expected.keys() == got.keys() >= {"global_step", "state.loss_scale", "moments.classifier.bias",
                                             "state.raw.classifier.bias"}
    assert [name for name in expected if not np.array_equal(expected[name], got[name])] == []
    numbers = steps(whole), steps(torn)
    assert list(numbers[0]) == list(numbers[1]) == list(range(1, STEPS + 1))
    for name in ("loss", "loss_scale", "learning_rate", "grad_norm", "applied"):
        assert [line[name] for line in numbers[0].values()] == [line[name] for line in numbers[1].values()], name
    assert any(not line["finite"] for line in numbers[0].values()), "no step was skipped"
    assert numbers[0][STEPS]["loss_scale"] < numbers[0][1]["loss_scale"]
    assert sorted(p.name for p in torn.glob("*unfinished*")) == []


def test_a_non_finite_loss_ends_the_run_and_its_step_can_be_repeated(runs):
    folder = runs.root / "diverged"
    status, output = runs.finish(folder, "--base_lr=1e30", "--dynamic_loss_scale=False", "--loss_scale=1")
    assert status == 2
    assert "Traceback" not in output
    found = re.search(r"error: the \w+ is not finite at step (\d+) .*?: loss=([^ ,]+), .*learning_rate=\S+e\+\d+, "
                      r"loss_scale=1, sample ids \[\d, \d\]", output)
    assert found, output
    file = folder / f"replay-{found[1]}.ckpt"
    assert f"--replay {file}" in output
    assert file.is_file()
    again = subprocess.run([sys.executable, "train.py", "--replay", str(file)], capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    written = steps(folder)[int(found[1])]["loss"]
    loss = math.nan if written is None else written  # JSON has no NaN
    assert f"{loss:.6g}" == found[2]
    assert f"loss: {loss:.7g}\n" in again.stdout
    assert "finite: 0\n" in again.stdout
