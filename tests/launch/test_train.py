"""`train.py` itself on two CPU ranks, through the launch script: killed in every way, it ends with the same bits."""
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from src.data.practice.sample_set import write_sample_set
from src.engine.checkpoint import load

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "run_distribute_train.sh"
TINY = ("--config=quickstart", "--data_root=set", "--data_lst=train.txt", "--val_data_lst=val.txt", "--batch_size=2",
        "--crop_size=33", "--eval_crop_size=33", "--aux_weight=0.4", "--ema_decay=0.9", "--save_steps=1",
        "--keep_checkpoint_max=2", "--loss=ce,lovasz:0.5", "--class_weights=median_frequency")
EPOCHS = "--epochs=6"  # so many that a run is still amid its steps when a test kills or cuts it
LAST = "deeplab_v3_s16-6_2.ckpt"  # nine samples: two steps an epoch of two ranks with two samples


class Jobs:
    """Starts jobs in a folder with a tiny data set."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(("RANK_", "MS_", "DEVICE_"))}
        self.environment |= {"PYTHON": sys.executable, "DEVICE_TARGET": "CPU"}
        self.started: list[subprocess.Popen] = []

    def start(self, *words: object, prefix: tuple[str, ...] = (), **environment: str) -> subprocess.Popen:
        popen = subprocess.Popen([*prefix, "sh", SCRIPT, "deeplabv3", *map(str, words)], cwd=self.folder, text=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=self.environment | environment)
        self.started.append(popen)
        return popen

    def run(self, *words: object, **environment: str) -> str:
        popen = self.start(*words, **environment)
        output, _ = popen.communicate(timeout=900)
        assert popen.returncode == 0, output
        return output

    def steps(self, name: str) -> int:
        """The last step that a run in the folder `name` has noted."""
        path = self.folder / name / "metrics.jsonl"
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        return max((json.loads(line)["step"] for line in lines), default=0)

    def log(self, path: str) -> str:
        return (self.folder / path).read_text(errors="replace")

    def weights(self, path: str) -> dict[str, np.ndarray]:
        return {name: value.asnumpy() for name, value in load(self.folder / path)[0].items()}


def wait_until(happened: Callable[[], object], popen: subprocess.Popen, seconds: float = 600) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert popen.poll() is None, popen.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.002)


def rank_process(launcher: subprocess.Popen, rank: int) -> int:
    """The process of a rank among the children of a launcher."""
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(launcher.pid)], capture_output=True, text=True).stdout
    wanted = {f"RANK_ID={rank}", "MS_ROLE=MS_WORKER"}
    return next(int(pid) for pid in listed.split()
                if wanted <= set(Path(f"/proc/{pid}/environ").read_text().split("\0")))


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    write_sample_set(str(folder / "set"), seed=1, train=9, val=3)
    for split in ("train", "val"):
        names = (folder / "set" / "ImageSets" / "Segmentation" / f"{split}.txt").read_text().split()
        lines = [f"JPEGImages/{n}.jpg SegmentationClassGray/{n}.png\n" for n in names]
        (folder / f"{split}.txt").write_text("".join(lines))
    made = Jobs(folder)
    yield made
    for popen in made.started:
        if popen.poll() is None:
            popen.kill()
        popen.communicate()


@pytest.fixture(scope="module")
def whole(jobs) -> dict[str, np.ndarray]:
    """The weights of an undisturbed run, whose evaluation sees images of 160 pixels through windows of 33."""
    jobs.run(*TINY, EPOCHS, "--train_dir=whole", "--eval_interval=6", "--eval_mode=slide", "--scale_lr",
             WORKERS="2")
    return jobs.weights(f"whole/{LAST}")


def assert_same_bits(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert one.keys() == other.keys() >= {"global_step", "moments.classifier.bias"}
    assert [name for name in one if not np.array_equal(one[name], other[name])] == []


def test_two_ranks_train_one_network_and_evaluate_it_to_the_digits_of_one_process(jobs, whole):
    logs = [jobs.log(f"deeplabv3_train/device{rank}/log") for rank in (0, 1)]
    losses = [re.search(r"epoch:1 step:2 ,ce:.*, lovasz:.*, loss:([\d.]+)", log)[1] for log in logs]
    assert losses[0] != losses[1]
    assert "learning rate 0.12: base_lr 0.06 x 2 processes" in logs[0]
    scores = [re.search(r"evaluation after epoch 6: (.*), seconds", log)[1] for log in logs]
    assert scores[0] == scores[1]
    alone = subprocess.run(
        [sys.executable, ROOT / "eval.py", "--device_target=CPU", "--data_root=set", "--data_lst=val.txt",
         "--crop_size=33", "--batch_size=2", f"--ckpt_path=whole/{LAST}"], cwd=jobs.folder, capture_output=True,
        text=True, env=jobs.environment, timeout=600)
    assert alone.returncode == 0, alone.stdout + alone.stderr
    assert load(jobs.folder / f"whole/{LAST}")[1]["config"]["eval_mode"] == "slide"  # which eval.py takes from it
    numbers = json.loads((jobs.folder / "eval_result.json").read_text())
    assert f"miou {numbers['miou']:.4f}" in scores[0]


def test_killed_ranks_are_restarted_and_the_run_ends_with_the_same_bits(jobs, whole):
    """By a table of two CPU devices: rank 1 dies amid a step, then rank 0 while it writes a checkpoint."""
    table = jobs.folder / "table.json"
    subprocess.run([sys.executable, ROOT / "src/tools/get_multicards_json.py", "127.0.0.1", "--device_num=[0,2)",
                    "--device_target=CPU", f"--output={table}"], check=True)
    job = jobs.start(table, *TINY, EPOCHS, "--train_dir=torn", "--scale_lr", "--max_restarts=2")
    wait_until(lambda: jobs.steps("torn") >= 2, job)
    os.kill(rank_process(job, 1), signal.SIGKILL)

    folder = jobs.folder / "torn"
    log = "deeplabv3_train_2/device0/log"
    wait_until(lambda: "resuming from" in jobs.log(log), job)
    while True:
        wait_until(lambda: any(folder.glob(".unfinished-*.[ct]*")), job)
        writer = rank_process(job, 0)
        os.kill(writer, signal.SIGSTOP)
        if any(folder.glob(".unfinished-*.[ct]*")):
            break
        os.kill(writer, signal.SIGCONT)
    os.kill(writer, signal.SIGKILL)

    output, _ = job.communicate(timeout=900)
    assert job.returncode == 0, output
    assert "rank 1 on 127.0.0.1 was killed by signal 9 (SIGKILL)" in output
    assert "restart 1 of 2" in output
    assert "rank 0 on 127.0.0.1 was killed by signal 9 (SIGKILL)" in output
    assert "restart 2 of 2" in output
    assert re.search(r"torn/\.unfinished-\S+: removed, the process that wrote it was killed", jobs.log(log))
    assert_same_bits(jobs.weights(f"torn/{LAST}"), whole)
    assert list(folder.glob(".unfinished-*.[ct]*")) == []


def test_a_host_that_comes_back_and_a_cut_cable(jobs, whole, namespaces, table_file):
    """Two hosts: one is killed and started again, the other waits for it; then the network goes; then all goes on."""
    table = table_file({address: [(rank, 0)] for rank, address in enumerate(namespaces)})

    def start(address: str, *flags: str) -> subprocess.Popen:
        return jobs.start(table, *TINY, EPOCHS, "--train_dir=hosts", "--scale_lr", *flags,
                          prefix=("ip", "netns", "exec", namespaces[address]), train_path="hosts_logs")

    first, second = (start(address, "--max_restarts=1") for address in namespaces)
    wait_until(lambda: jobs.steps("hosts") >= 2, first)
    second.kill()
    second = start("10.77.0.2", "--resume")
    log = "hosts_logs/device0/log"
    wait_until(lambda: "resuming from" in jobs.log(log), first)
    before = jobs.steps("hosts")
    wait_until(lambda: jobs.steps("hosts") > before, first)

    name = namespaces["10.77.0.2"]
    subprocess.run(["ip", "-n", name, "link", "set", f"v{name}", "down"], check=True)
    begun = time.monotonic()
    outputs = [popen.communicate(timeout=60)[0] for popen in (first, second)]
    assert time.monotonic() - begun < 60
    assert (first.returncode, second.returncode) == (1, 1)
    assert "host 10.77.0.2 (ranks 1) is lost: the connection was closed" in outputs[0]
    assert "host 10.77.0.2 (ranks 1) is lost: nothing was heard for 20 s" in outputs[0]
    assert "host 10.77.0.1 (ranks 0) is lost: nothing was heard for 20 s" in outputs[1]

    subprocess.run(["ip", "-n", name, "link", "set", f"v{name}", "up"], check=True)
    for popen in [start(address, "--resume") for address in namespaces]:
        output, _ = popen.communicate(timeout=900)
        assert popen.returncode == 0, output
    assert_same_bits(jobs.weights(f"hosts/{LAST}"), whole)


def test_two_ranks_equal_one_process_that_accumulates_their_batches(jobs):
    frozen = (*TINY, "--epochs=2", "--norm=frozen", "--dropout=0", "--save_steps=100")
    jobs.run(*frozen, "--train_dir=two", WORKERS="2")
    done = subprocess.run(
        [sys.executable, ROOT / "train.py", *frozen, "--accumulate_steps=2", "--train_dir=one"], cwd=jobs.folder,
        capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    two, one = jobs.weights("two/deeplab_v3_s16-2_2.ckpt"), jobs.weights("one/deeplab_v3_s16-2_4.ckpt")
    for name, value in two.items():
        np.testing.assert_allclose(value, one[name], rtol=1e-4, atol=1e-5, err_msg=name)
