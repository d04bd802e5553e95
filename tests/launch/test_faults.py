"""Training on two real ranks that is stopped, starved and confused; the task is the smallest, the loop the real one."""
import json
import os
import re
import shutil
import signal
import time
from pathlib import Path

import mindspore as ms
import pytest

from src.data import order
from src.engine.checkpoint import CheckpointFolder

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture
def ranks(launchers):
    """Launches the smallest training on two ranks: 20 samples, 5 steps an epoch."""
    (launchers.folder / "train.py").write_text((Path(__file__).parent / "tiny_train.py").read_text())
    fixed = {"DEVICE_TARGET": "CPU", "WORKERS": "2", "PYTHONPATH": str(ROOT)}

    class Ranks:
        folder = launchers.folder
        left = staticmethod(launchers.left)
        wait_for = staticmethod(launchers.wait_for)

        def start(self, *words: str, options=()):
            for rank in (0, 1):
                (self.folder / f"pid{rank}").unlink(missing_ok=True)
            return launchers.start(*options, "train.py", *words, **fixed)

        def run(self, *words: str, options=()) -> tuple[int, str]:
            popen = self.start(*words, options=options)
            output, _ = popen.communicate(timeout=300)
            return popen.returncode, output

        def log(self, rank: int, number: str = "") -> str:
            return (self.folder / f"train_parallel{rank}{number}" / "log").read_text()

        def steps(self, name: str, rank: int = 0) -> list[dict]:
            path = self.folder / name / (f"rank_{rank}" if rank else "") / "metrics.jsonl"
            return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

        def wait_for_step(self, name: str, step: int) -> None:
            deadline = time.monotonic() + 200
            while not any(line["step"] >= step for line in self.steps(name)):
                assert time.monotonic() < deadline, f"no step {step}"
                time.sleep(0.02)

    return Ranks()


def state(path: Path) -> dict[str, list]:
    values = ms.load_checkpoint(str(path))
    return {name: value.asnumpy().tolist() for name, value in values.items() if name != "metadata"}


def test_sigterm_to_the_launcher_or_to_one_rank_stops_all_at_one_step(ranks):
    assert ranks.run("folder=whole", "epochs=8")[0] == 0
    slow = "folder=torn", "epochs=8", "delay=0.05", "save_steps=1000"
    popen = ranks.start(*slow)
    ranks.wait_for_step("torn", 3)
    popen.send_signal(signal.SIGTERM)
    output, _ = popen.communicate(timeout=120)
    assert popen.returncode == 143, output
    saved = [re.search(r"asked to stop: checkpoint (\S+) is written", ranks.log(rank, "_2"))[1] for rank in (0, 1)]
    assert saved[0] == saved[1]
    assert (ranks.folder / saved[0]).is_file()
    first = ranks.steps("torn")[-1]["step"]

    popen = ranks.start(*slow, "--resume")
    ranks.wait_for_step("torn", first + 3)
    os.kill(int(ranks.wait_for("pid1")), signal.SIGTERM)
    output, _ = popen.communicate(timeout=120)
    assert popen.returncode == 143
    assert "exited with status 143" in output
    assert "asked to stop" in ranks.log(0, "_2").split("resuming from")[1]

    assert ranks.run("folder=torn", "epochs=8", "save_steps=1000", "--resume")[0] == 0
    assert state(ranks.folder / "torn" / "line-8_5.ckpt") == state(ranks.folder / "whole" / "line-8_5.ckpt")
    assert ranks.left() == []


def test_a_folder_is_refused_to_a_second_job_until_the_first_is_killed(ranks):
    popen = ranks.start("folder=out", "epochs=8", "delay=2")
    ranks.wait_for_step("out", 4)
    status, output = ranks.run("folder=out", "epochs=8", "--resume")
    assert status == 2
    assert f"error: {ranks.folder}/train_parallel0: another job, or what is left of one, still writes" in output
    assert popen.poll() is None
    popen.kill()
    popen.communicate(timeout=10)
    deadline = time.monotonic() + 10
    while left := ranks.left():
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    status, output = ranks.run("folder=out", "epochs=8", "--resume")
    assert status == 0, output
    assert "resuming from out/line-" in ranks.log(0)


def test_a_full_disk_ends_the_job_with_the_reason_and_the_last_good_checkpoint(ranks, small_disk):
    status, output = ranks.run("folder=disk/out", "epochs=12", "save_steps=1", options=["--max_restarts=3"])
    assert status == 2, output
    assert re.search(r"error: disk/out.* could not be written .*No space left on device", output), output
    assert "Traceback" not in ranks.log(0)
    assert "restart" not in output
    shutil.copytree(small_disk / "out", ranks.folder / "saved")
    newest = CheckpointFolder(ranks.folder / "saved", "line", 1).existing()[-1]
    status, output = ranks.run("folder=saved", "epochs=12", "save_steps=1000", "--resume")
    assert status == 0, output
    assert f"resuming from saved/{newest.name}" in ranks.log(0)


def test_an_overflow_on_one_rank_skips_the_step_on_all(ranks):
    status, output = ranks.run("folder=out", "epochs=3", "overflow=7", "--dynamic_loss_scale", "loss_scale=1e36")
    assert status == 0, output
    steps = [ranks.steps("out", rank) for rank in (0, 1)]
    skipped = [[line["step"] for line in lines if not line["finite"]] for lines in steps]
    assert skipped[0] == skipped[1]
    assert 0 < len(skipped[0]) < 15
    assert [line["loss_scale"] for line in steps[0]] == [line["loss_scale"] for line in steps[1]]
    for line in steps[0]:
        epoch, position = divmod(line["step"] - 1, 5)
        plans = [order.rank_order(20, seed=1, epoch=epoch, batch_size=2, world_size=2, rank=rank) for rank in (0, 1)]
        held = sum(7 in plan[2 * position:2 * position + 2] for plan in plans)
        assert bool(line["finite"]) == (held == 0), line


def test_ranks_with_other_flags_or_a_broken_checkpoint(ranks):
    status, output = ranks.run("folder=out", "epochs=2", "1:eval_interval=1")
    assert status == 2
    assert "the ranks differ: eval_interval=0 on rank 0, eval_interval=1 on rank 1. Start every host with" in output
    assert ranks.run("folder=out", "epochs=2", "save_steps=3")[0] == 0
    newest = ranks.folder / "out" / "line-2_5.ckpt"
    before = state(newest)
    os.truncate(newest, 60)
    status, output = ranks.run("folder=out", "epochs=2", "save_steps=3", "--resume")
    assert status == 0, output
    log = ranks.log(0, "_2")
    assert re.search(r"out/line-2_5.ckpt: not a complete checkpoint.*; going on from an older one", log)
    assert "resuming from out/line-2_4.ckpt" in log
    assert state(newest) == before
