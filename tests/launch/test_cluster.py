"""MindSpore's own collectives on CPU ranks that our launcher started, on one host and on two network namespaces."""
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def script(launchers):
    (launchers.folder / "sum.py").write_text((Path(__file__).parent / "allreduce_script.py").read_text())
    return "sum.py"


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


GATHER = """
import time
from src.contract import InputError
from src.engine import runtime
machine = runtime.start("CPU", is_distributed=True)
found = machine.gather(bytes([machine.rank + 1]) * (2 ** 24 + 1 + machine.rank))
print([(len(part), part[0], part[-1]) for part in found])
print("first:", machine.gather_on_first(machine.rank), machine.run_on_first(lambda: f"by rank {machine.rank}"))
def fails():
    raise InputError(f"of rank {machine.rank}")
try:
    machine.run_on_first(fails)
except InputError as error:
    print("error", error)
machine.any(False)
begun = time.monotonic()
flags = [machine.any(step == 3 and machine.rank == 1) for step in range(5)]
print(flags, "fast" if time.monotonic() - begun < 0.5 else "slow")

import mindspore as ms, numpy as np
from tests.engine.saturating import saturating_step
step, outcomes = saturating_step(world_size=2), []
for overflowing in (1, None):
    x = [1000, 0] if machine.rank == overflowing else [1, 1]
    *_, applied, finite, _, norm = step(ms.Tensor(np.array([x], np.float32)), ms.Tensor(np.ones(1, np.float32)))
    outcomes.append((bool(finite), bool(applied), *map(float, step.weights[0].asnumpy().round(3))))
print("outcomes", [(*o[:2], *map("{:.1f}".format, o[2:])) for o in outcomes])
"""


def test_ranks_exchange_large_results_errors_flags_and_overflows(launchers):
    (launchers.folder / "gather.py").write_text(GATHER)
    status, output = launchers.run("gather.py", timeout=300, DEVICE_TARGET="CPU", WORKERS="2",
                                   PYTHONPATH=str(Path(__file__).resolve().parents[2]))
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
