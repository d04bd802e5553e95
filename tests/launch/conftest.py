"""Real launchers with real ranks: start one, see what is left of it."""
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = ROOT / "src" / "tools" / "launch.py"


def _hear_signals() -> None:
    """A launcher leaves signals ignored that it finds ignored; tests may run under nohup, which ignores SIGHUP."""
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL if number == signal.SIGHUP else signal.default_int_handler)


class Launchers:
    """Starts launchers in `folder`; every process of theirs has that folder in its command line."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.started: list[subprocess.Popen] = []

    def start(self, *words: object, prefix: tuple[str, ...] = (), **environment: str) -> subprocess.Popen:
        outer = {k: v for k, v in os.environ.items() if not k.startswith(("RANK_", "MS_", "DEVICE_", "WORKERS"))}
        command = [*prefix, sys.executable, str(LAUNCH), *map(str, words)]
        popen = subprocess.Popen(command, cwd=self.folder, env=outer | environment, text=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
                                 preexec_fn=_hear_signals)
        self.started.append(popen)
        return popen

    def run(self, *words: object, timeout: float = 60, **environment: str) -> tuple[int, str]:
        popen = self.start(*words, **environment)
        output, _ = popen.communicate(timeout=timeout)
        return popen.returncode, output

    def left(self) -> list[str]:
        """Command lines of processes that still run, other than launchers."""
        listed = subprocess.run(["ps", "-wweo", "stat=,pid=,args="], capture_output=True, text=True).stdout
        return [line for line in listed.splitlines() if str(self.folder) in line and str(LAUNCH) not in line
                and not line.startswith("Z")]

    def wait_for(self, path: str, timeout: float = 20) -> str:
        """The text of a file in the folder, once there is some."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if (self.folder / path).is_file() and (self.folder / path).read_text():
                return (self.folder / path).read_text()
            time.sleep(0.05)
        raise AssertionError(f"{path} did not come")

    def pid(self, rank: int) -> int:
        return int(self.wait_for(f"pid{rank}"))


@pytest.fixture
def launchers(tmp_path):
    (tmp_path / "rank.py").write_text((Path(__file__).parent / "rank_script.py").read_text())
    made = Launchers(tmp_path)
    yield made
    for popen in made.started:
        if popen.poll() is None:
            os.killpg(popen.pid, signal.SIGKILL)
            popen.wait()
        popen.stdout.close()


@pytest.fixture
def table_file(tmp_path):
    """Writes a table of {server: [(rank, device id), ...]}."""
    def write(servers: dict[str, list[tuple[int, int]]]) -> Path:
        listed = [{"server_id": name, "device": [
            {"device_id": str(d), "device_ip": f"192.168.{i}.{d + 1}", "rank_id": str(r)} for r, d in ranks],
            "host_nic_ip": "reserve"} for i, (name, ranks) in enumerate(servers.items())]
        path = tmp_path / "table.json"
        path.write_text(json.dumps({"version": "1.0", "server_count": str(len(listed)), "server_list": listed,
                                    "status": "completed"}))
        return path
    return write


@pytest.fixture
def small_disk(launchers):
    """The folder `disk`, a file system of 128 KiB."""
    path = launchers.folder / "disk"
    path.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", path]).returncode:
        pytest.skip("needs the right to mount a small file system")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


@pytest.fixture
def namespaces():
    """Two network namespaces that reach each other; yields {address: name}."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("needs root and iproute2")
    tag = str(os.getpid())
    names = [f"a{tag}", f"b{tag}"]

    def ip(*words):
        return subprocess.run(["ip", *words], capture_output=True, text=True)

    if ip("netns", "add", names[0]).returncode:
        pytest.skip("this machine allows no network namespaces")
    ip("netns", "add", names[1])
    ip("link", "add", f"v{names[0]}", "type", "veth", "peer", "name", f"v{names[1]}")
    addresses = {"10.77.0.1": names[0], "10.77.0.2": names[1]}
    for address, name in addresses.items():
        ip("link", "set", f"v{name}", "netns", name)
        ip("-n", name, "addr", "add", f"{address}/24", "dev", f"v{name}")
        ip("-n", name, "link", "set", f"v{name}", "up")
        ip("-n", name, "link", "set", "lo", "up")
    yield addresses
    for name in names:
        ip("netns", "del", name)
