"""The record builder as a process: its flags, a SIGKILL in the middle, several at once, the script."""
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from src.data.records.mindrecord import BuildOptions, RecordDataset, build
from src.data.semantic.voc import ListDataset, RecordCheck
from tests.tiny_seg import write_data

TOOL = Path("src/tools/build_seg_data.py").resolve()
SCRIPT = Path("scripts/deeplabv3/build_data.sh").resolve()
ENVIRONMENT = {**os.environ, "PYTHON": sys.executable, "GLOG_v": "3"}


def command(root: Path, dst: Path, *flags: str) -> list[str]:
    return [sys.executable, str(TOOL), f"--data_root={root}", f"--data_lst={root}/list.txt", f"--dst_path={dst}",
            "--num_classes=3", *flags]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != ".r.lock"}


def finished(manifest: Path) -> list[str]:
    shards = json.loads(manifest.read_text())["shards"] if manifest.is_file() else []
    return [shard["file"] for shard in shards if shard["file_bytes"]]


def test_a_killed_build_goes_on_where_it_was(tmp_path):
    """Finished shards stay untouched, and the end is byte for byte that of an undisturbed build."""
    write_data(tmp_path / "data", 120)
    dst = tmp_path / "killed/r"
    manifest = tmp_path / "killed/r.manifest.json"
    process = subprocess.Popen(command(tmp_path / "data", dst, "--num_shards=60"), stdout=subprocess.DEVNULL,
                               env=ENVIRONMENT)
    while process.poll() is None and len(finished(manifest)) < 5:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    done = {name: os.stat(dst.parent / name) for name in finished(manifest)}
    assert 5 <= len(done) < 60

    dataset = ListDataset(tmp_path / "data", tmp_path / "data/list.txt")
    options, check = BuildOptions(num_shards=60), RecordCheck(3, 255)
    build(dataset, dst, options, check=check)
    for name, before in done.items():
        after = os.stat(dst.parent / name)
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    build(dataset, tmp_path / "undisturbed/r", options, check=check)
    assert files(tmp_path / "killed") == files(tmp_path / "undisturbed")


def test_flags_skip_shuffle_and_verify(tmp_path):
    path = write_data(tmp_path, 6)
    path.write_text(path.read_text() + "images/9.jpg labels/9.png\nimages/0.jpg\n")
    (tmp_path / "labels/3.png").write_bytes(b"")
    (tmp_path / "images/4.jpg").write_bytes((tmp_path / "images/4.jpg").read_bytes()[:-40])
    done = subprocess.run(command(tmp_path, Path("r"), "--num_shards=2", "--shuffle", "--on_bad=skip", "--verify"),
                          cwd=tmp_path, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    assert "left out 4 of 8 records" in done.stdout
    for line in (4, 5, 7, 8):
        assert f"list.txt:{line}: " in done.stdout
    assert "r: 4 records are as they were written" in done.stdout
    records = list(RecordDataset(tmp_path / "r").rows(range(4)))
    assert sorted(r.image_id for r in records) == [1, 2, 3, 6]
    assert len(json.loads((tmp_path / "r.manifest.json").read_text())["bad"]) == 4


@pytest.mark.parametrize(("flag", "shuffled"), [
    ("--shuffle", True), ("--shuffle=True", True), ("--shuffle=False", False), ("--shuffle=false", False), ("", False)])
def test_shuffle_is_a_real_truth_value(monkeypatch, flag, shuffled):
    from src.tools import build_seg_data

    words = ["build_seg_data.py", "--data_root=a", "--data_lst=b", "--dst_path=c", *filter(None, [flag])]
    monkeypatch.setattr(sys, "argv", words)
    assert build_seg_data.parse_args().shuffle is shuffled


def test_several_processes_at_once(tmp_path):
    write_data(tmp_path / "data", 10)
    processes = [subprocess.Popen(command(tmp_path / "data", tmp_path / "out/r", "--num_shards=3"), text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=ENVIRONMENT) for _ in range(3)]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    assert sum("write: " in output for output in outputs) == 1
    assert len(RecordDataset(tmp_path / "out/r")) == 10


@pytest.mark.parametrize("shell", [["sh"], ["bash"], []])
def test_script_under_every_shell_from_another_folder(tmp_path, shell):
    write_data(tmp_path / "data", 3)
    (tmp_path / "data/images/1.jpg").write_bytes(b"text")
    flags = ["--data_root=data", "--data_lst=data/list.txt", "--dst_path=r", "--num_shards=2", "--shuffle"]
    done = subprocess.run([*shell, str(SCRIPT), *flags], cwd=tmp_path, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 2
    assert "data/list.txt:2: images/1.jpg: image is not an image" in done.stderr
