"""MindSpore's own collectives on CPU ranks that our launcher started, on one host and on two network namespaces."""
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


HERE = Path(__file__).parent


@pytest.fixture
def script(launchers, monkeypatch):
    """A copy in the launchers' folder, whose processes are known by it."""
    monkeypatch.setenv("PYTHONPATH", str(HERE.parents[1]))
    return shutil.copy(HERE / "allreduce_script.py", launchers.folder / "sum.py").name


def log_of(launchers, rank):
    return (launchers.folder / f"train_parallel{rank}" / "log").read_text()


def test_two_ranks_without_a_table(launchers, script):
    status, output = launchers.run(script, "1", timeout=120, DEVICE_TARGET="CPU", WORKERS="2")
    assert status == 0, output
    for rank in (0, 1):
        assert f"rank {rank} of 2: [3.0, 20.0]" in log_of(launchers, rank)
    assert launchers.left() == []


def test_table_of_cpu_devices_in_any_order(launchers, script, table_file):
    path = table_file({"127.0.0.1": [(1, 6), (0, 7)]})
    status, output = launchers.run("--rank_table", path, script, "1", timeout=120, DEVICE_TARGET="CPU")
    assert status == 0, output
    assert "rank 1 of 2: [3.0, 20.0]" in log_of(launchers, 1)


def test_ranks_exchange_large_results_errors_flags_and_overflows(launchers):
    status, output = launchers.run(HERE / "exchange_script.py", timeout=300, DEVICE_TARGET="CPU", WORKERS="2",
                                   PYTHONPATH=str(HERE.parents[1]))
    assert status == 0, output
    for rank in (0, 1):
        log = log_of(launchers, rank)
        assert "[(16777217, 1, 1), (16777218, 2, 2)]" in log
        assert f"first: {[[0, 1], []][rank]} by rank 0" in log
        assert "error of rank 0" in log
        assert "[False, False, False, True, False] fast" in log  # a new cell a call takes 0.15 s and more
        # An overflow register that is set on rank 1 alone, with finite gradients, stops the update of both.
        assert "outcomes [(False, False, '1.0', '2.0'), (True, True, '0.6', '1.6')]" in log


def test_sigkill_of_a_rank_ends_the_job_within_a_minute(launchers, script):
    popen = launchers.start(script, "1000", DEVICE_TARGET="CPU", WORKERS="2")
    launchers.wait_for("pid0", timeout=120)
    os.kill(int(launchers.wait_for("pid1", timeout=60)), signal.SIGKILL)
    begun = time.monotonic()
    output, _ = popen.communicate(timeout=60)
    assert time.monotonic() - begun < 60
    assert popen.returncode == 137
    assert "rank 1 on 127.0.0.1 was killed by signal 9" in output
    assert launchers.left() == []


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_launcher_leaves_no_rank_and_no_scheduler(launchers, script, number, status):
    popen = launchers.start(script, "1000", DEVICE_TARGET="CPU", WORKERS="2")
    launchers.wait_for("pid0", timeout=120)
    scheduler, = schedulers_of(popen)
    popen.send_signal(number)
    popen.communicate(timeout=60)
    assert popen.returncode == status
    assert launchers.left() == []
    assert not Path(f"/proc/{scheduler}").exists()


def schedulers_of(launcher):
    """Process numbers; other jobs on this machine have schedulers of their own."""
    listed = subprocess.run(["ps", "-wwo", "pid=,args=", "--ppid", str(launcher.pid)], capture_output=True,
                            text=True).stdout
    return [line.split()[0] for line in listed.splitlines() if re.search(r"-c import mindspore .*init\(\)", line)]
