"""The command line of the doctor, its quick part in the launcher, and the data that it reads."""
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from src.doctor import data_rate
from src.doctor.finding import OK, WARNING

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "src/tools/doctor.py"


def run(*words, folder, program=(sys.executable,), **env):
    outer = {k: v for k, v in os.environ.items() if not k.startswith(("RANK_", "MS_", "ASCEND", "DEVICE_"))}
    ran = subprocess.run([*program, TOOL, *map(str, words)], cwd=folder, capture_output=True, text=True,
                         env=outer | env)
    return ran.returncode, ran.stdout, ran.stderr


def test_one_line_a_check_and_the_exit_status(tmp_path):
    status, output, _ = run("--device_target=CPU", "--output_dir=run", folder=tmp_path)
    lines = output.splitlines()
    assert all(line.startswith(("ok ", "warning ", "failure ")) for line in lines[:-1]), output
    assert lines[-1].startswith(f"{len(lines) - 1} checks, ")
    assert status == any(line.startswith("failure") for line in lines)
    assert list(tmp_path.iterdir()) == []


def test_without_cards_ascend_fails_with_a_way_out(tmp_path):
    status, output, _ = run("--quick", folder=tmp_path, ASCEND_HOME_PATH="/no/such/cann")
    assert status == 1
    assert "failure  CANN: not found (/no/such/cann/compiler/version.info is not there); start from" in output
    assert "npu-smi" not in output  # quick


def test_json_for_a_bug_report(tmp_path):
    folder = tmp_path / "home/someone"
    folder.mkdir(parents=True)
    status, output, _ = run("--device_target=CPU", "--json", folder=folder, MS_DEV_TOKEN="sesame", USER="someone")
    report = json.loads(output)
    assert {"findings", "environment", "system", "python"} <= report.keys()
    assert report["environment"]["MS_DEV_TOKEN"] == "[hidden]"
    assert "someone" not in output
    assert status == any(f["level"] == "failure" for f in report["findings"])


def test_python_without_packages(tmp_path):
    """A doctor that needs what it looks for would be of no use."""
    status, output, errors = run(folder=tmp_path, program=(sys.executable, "-I", "-S"))
    assert (status, errors) == (1, "")
    assert "failure  packages: mindspore is missing; numpy is missing" in output
    assert "warning  other checks: not run: No module named" in output
    status, output, errors = run("--json", folder=tmp_path, program=(sys.executable, "-I", "-S"))
    assert (status, errors) == (1, "")
    assert [f["check"] for f in json.loads(output)["findings"]] == ["Python", "packages", "other checks"]


@pytest.mark.parametrize(("word", "message"), [
    ("--rank_tabel=x", "unknown flag --rank_tabel; did you mean --rank_table?"),
    ("--data_fille=x", "unknown flag --data_fille; did you mean --data_file?"),
    ("--port=0", "--port: '0' is not a number")])
def test_wrong_words(tmp_path, word, message):
    status, _, errors = run(word, folder=tmp_path)
    assert status == 2
    assert message in errors
    assert "Traceback" not in errors


def test_a_rank_table_is_compared_with_this_host(tmp_path):
    table = {"version": "1.0", "server_count": "1", "status": "completed", "server_list": [{
        "server_id": "127.0.0.1", "device": [{"device_id": "63", "device_ip": "192.168.1.1", "rank_id": "0"}]}]}
    (tmp_path / "table.json").write_text(json.dumps(table))
    status, output, _ = run("--rank_table=table.json", "--port=38118", folder=tmp_path)
    assert status == 1
    assert "so no device 63" in output
    assert "ok       ports: 38118 of 127.0.0.1 free" in output


@pytest.mark.parametrize(("text", "message"), [
    (None, "table.json: rank table not readable: No such file or directory"),
    ('{"version": "1.0"}', "$.server_count: missing; table.json:1 $.server_list: missing"),
    ('{"version": "1.0", "server_count": "1", "status": "completed", "server_list": [{"server_id": "198.51.100.1", '
     '"device": [{"device_id": "0", "device_ip": "192.168.1.1", "rank_id": "0"}]}]}', "none of its servers")])
def test_a_rank_table_that_does_not_fit_is_one_line_among_the_others(tmp_path, text, message):
    if text:
        (tmp_path / "table.json").write_text(text)
    status, output, _ = run("--rank_table=table.json", "--device_target=CPU", folder=tmp_path)
    line = next(line for line in output.splitlines() if " rank table: " in line)
    assert (status, line.startswith("failure "), message in line) == (1, True, True), output
    assert "output folder" in output


def test_data_that_cannot_be_read_is_one_line_among_the_others(tmp_path):
    status, output, _ = run("--data_file=none", "--device_target=CPU", folder=tmp_path)
    assert status == 1
    assert "failure  data rate: none: no such record file; build it with" in output
    assert "output folder" in output


def test_data_rate(tmp_path):
    made = subprocess.run([sys.executable, ROOT / "src/tools/make_sample_set.py", "--out=set", "--train=16", "--val=2"],
                          cwd=tmp_path, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    pictures = sorted(path.stem for path in (tmp_path / "set/SegmentationClassGray").iterdir())
    (tmp_path / "train.txt").write_text("".join(f"JPEGImages/{name}.jpg SegmentationClassGray/{name}.png\n"
                                                for name in pictures))
    words = ("--device_target=CPU", "--config=quickstart", "--data_root=set", "--data_lst=train.txt",
             "--batch_size=4", "--data_seconds=0.5")
    _, output, errors = run(*words, "--step_ms=0.001", folder=tmp_path)
    line = next(line for line in output.splitlines() if " data rate: " in line)
    assert line.startswith("warning "), output + errors
    assert "4 samples a batch; a card needs 4000000; train with more --workers" in line
    assert [path.name for path in tmp_path.iterdir() if path.name not in ("set", "train.txt")] == []


@pytest.mark.parametrize(("step_ms", "level"), [(0, OK), (40, OK), (39, WARNING)])
def test_data_rate_is_compared_with_what_the_cards_need(monkeypatch, step_ms, level):
    monkeypatch.setattr(data_rate, "measure", lambda settings, seconds: 100.0)
    settings = SimpleNamespace(batch_size=4, workers=2, check_data=lambda split: None)
    (found,) = data_rate.data_rate(settings, cards=8, step_ms=step_ms, seconds=1)
    assert found.level == level
    if step_ms == 40:
        assert "100 samples/s of one rank with 2 workers, 4 samples a batch; a card needs 100, 8 cards of this host " \
               "800" in found.text
