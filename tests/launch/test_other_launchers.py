"""Ranks that something else starts, for real on CPUs: the published loop, msrun, and Slurm's own daemons."""
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
RANK = """
from src.command_line import entry_point
from src.engine import runtime

def main():
    machine = runtime.start("CPU", is_distributed=True)
    found = f"rank {machine.rank} of {machine.world_size}: {machine.gather(machine.rank * 10)}"
    print(found, flush=True)
    open(f"rank{machine.rank}", "w").write(found)

entry_point(main)
"""
OTHERS = ("RANK_", "MS_", "DEVICE_", "WORKERS", "SLURM_")
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith(OTHERS)} | {"PYTHONPATH": str(ROOT)}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "rank.py").write_text(RANK)
    return tmp_path


def both_ranks_met(folder: Path) -> bool:
    written = [folder / f"rank{r}" for r in (0, 1)]
    return all(path.is_file() for path in written) and [path.read_text() for path in written] == [
        f"rank {r} of 2: [0, 10]" for r in (0, 1)]


def schedulers(folder: Path) -> list[str]:
    """Numbers of the processes that watch over a scheduler started in this folder."""
    listed = subprocess.run(["pgrep", "-f", "src/launch/scheduler.py"], capture_output=True, text=True).stdout.split()
    return [pid for pid in listed if Path(f"/proc/{pid}/cwd").exists() and Path(f"/proc/{pid}/cwd").samefile(folder)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


def test_the_published_loop(folder, table_file):
    """RANK_TABLE_FILE, RANK_ID and DEVICE_ID exported, nobody starts a scheduler."""
    table = table_file({"127.0.0.1": [(0, 4), (1, 5)]})
    loop = f"""
    export RANK_TABLE_FILE={table} RANK_SIZE=2 RANK_START_ID=4 MS_SCHED_PORT={free_port()}
    for((i=0;i<=$RANK_SIZE-1;i++));
    do
    export RANK_ID=$i
    export DEVICE_ID=`expr $i + $RANK_START_ID`
    {sys.executable} rank.py >log$i 2>&1 &
    done
    wait"""
    subprocess.run(["bash", "-c", loop], cwd=folder, env=ENVIRONMENT, timeout=200, check=True)
    log = (folder / "log0").read_text()
    assert both_ranks_met(folder), log
    assert f"rank 0 of 2, told by RANK_ID and {table}: dynamic cluster, scheduler 127.0.0.1:" in log
    assert "started by this rank" in log
    assert "Node 1 has unregistered" in (folder / "scheduler.log").read_text()
    deadline = time.monotonic() + 40
    while schedulers(folder) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert schedulers(folder) == []


def test_msrun(folder):
    """Without --node_rank, so that the ranks have no RANK_ID before they join."""
    words = ["--worker_num=2", "--local_worker_num=2", "--join=True", f"--master_port={free_port()}"]
    done = subprocess.run([shutil.which("msrun", path=Path(sys.executable).parent), *words, "rank.py"], cwd=folder,
                          env=ENVIRONMENT | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
                          capture_output=True, text=True, timeout=200)
    # The exit status is left out: a crash of MindSpore's own while ranks leave (see supervisor.py) would be in it.
    assert both_ranks_met(folder), done.stdout + done.stderr


@pytest.fixture
def slurm(folder):
    """A cluster of two nodes, both this machine; yields srun's environment. Only the first name has to be known."""
    names = [socket.gethostname(), f"{socket.gethostname()}-2"]
    if os.geteuid() or not all(map(shutil.which, ("slurmctld", "slurmd", "srun", "munged"))):
        pytest.skip("needs root, slurmctld, slurmd, slurm-client and munge")
    private = folder / "slurm"
    (private / "state").mkdir(parents=True)
    (private / "key").write_bytes(os.urandom(128))
    (private / "key").chmod(0o400)
    conf = private / "slurm.conf"
    conf.write_text("\n".join([
        "ClusterName=test", f"SlurmctldHost={names[0]}", "SlurmUser=root", "AuthType=auth/munge", "CredType=cred/munge",
        f"AuthInfo=socket={private}/munge", f"StateSaveLocation={private}/state", f"SlurmdSpoolDir={private}/spool.%n",
        f"SlurmctldPidFile={private}/ctld.pid", f"SlurmdPidFile={private}/slurmd.%n.pid",
        "ProctrackType=proctrack/pgid",
        f"SlurmctldPort={free_port()}", "TaskPlugin=task/none", "SelectType=select/cons_tres", "MpiDefault=none",
        "SelectTypeParameters=CR_Core", f"SlurmctldLogFile={private}/ctld.log",
        f"SlurmdLogFile={private}/slurmd.%n.log",
        *(f"NodeName={name} NodeHostname={names[0]} NodeAddr=127.0.0.1 Port={free_port()} CPUs=1" for name in names),
        f"PartitionName=p Nodes={','.join(names)} Default=YES State=UP", ""]))
    commands = [["munged", "--foreground", "--force", f"--key-file={private}/key", f"--socket={private}/munge",
                 f"--pid-file={private}/munged.pid", f"--log-file={private}/munged.log", f"--seed-file={private}/seed"],
                ["slurmctld", "-D", "-i", "-f", conf], *(["slurmd", "-D", "-f", conf, "-N", name] for name in names)]
    started = []
    for command in commands:
        started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        time.sleep(0.5)
    environment = ENVIRONMENT | {"SLURM_CONF": str(conf)}
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and b"idle" not in subprocess.run(
            ["sinfo", "--noheader", "--nodes", ",".join(names)], env=environment, capture_output=True).stdout:
        time.sleep(0.5)
    yield environment
    for popen in reversed(started):
        popen.send_signal(signal.SIGTERM)
        try:
            popen.wait(10)
        except subprocess.TimeoutExpired:
            popen.kill()


def srun(folder: Path, environment: dict[str, str], *words: object, check: bool = True) -> str:
    done = subprocess.run(["srun", "--immediate=60", *map(str, words)], cwd=folder, env=environment, text=True,
                          capture_output=True, timeout=120, stdin=subprocess.DEVNULL)
    assert done.returncode == 0 or not check, done.stdout + done.stderr
    return done.stdout if check else done.stdout + done.stderr


def test_slurm_starts_ranks_and_launchers(folder, slurm):
    output = srun(folder, slurm, "-N2", "-n2", sys.executable, "rank.py", check=False)  # as with msrun
    assert both_ranks_met(folder), output
    assert "rank 1 of 2, told by Slurm, SLURM_PROCID=1: dynamic cluster, scheduler 127.0.0.1:" in output

    for name in ("rank0", "rank1"):
        (folder / name).unlink()
    launcher = ROOT / "src" / "tools" / "launch.py"
    words = ("-N2", "-n2", sys.executable, launcher, "--device_target=CPU", "--workers=1", "rank.py")
    output = srun(folder, slurm, *words)
    assert both_ranks_met(folder), output
    assert f"hosts: Slurm, SLURM_STEP_NODELIST={socket.gethostname()},{socket.gethostname()}-2" in output
    plan = srun(folder, slurm, "-N1", "-n1", sys.executable, launcher, "--dry_run", *words[4:])
    assert "1 rank on CPU" in plan
    assert "index: Slurm, SLURM_NODEID=0" in plan
