"""What the launcher tells while ranks run and when they have ended, and what it takes out of their logs."""
import json
import logging
import sys
from pathlib import Path

import pytest

from src.launch import progress, supervisor
from src.launch.launcher import launch
from src.launch.plan import Job
from src.launch.rank_table import single_server


def rank(step: int, data_wait: float, remaining: float | None = 90.4) -> dict[str, float | None]:
    return {"step": step, "total": 40, "loss": 0.51234, "data_wait": data_wait, "remaining": remaining}


@pytest.mark.parametrize(("ranks", "line"), [
    ({0: rank(10, 0.1)}, "rank 0: step 10 of 40, loss 0.5123, 0:01:30 left"),
    ({0: rank(1, 0.1, None)}, "rank 0: step 1 of 40, loss 0.5123"),
    ({0: rank(10, 0.1), 1: rank(10, 0.4), 2: rank(10, 0.2)},
     "rank 0: step 10 of 40, loss 0.5123, 0:01:30 left; slowest: rank 1, 40 % of its time waiting for data"),
    ({8: rank(10, 0.101), 9: rank(9, 0.1)},
     "rank 8: step 10 of 40, loss 0.5123, 0:01:30 left; slowest: rank 9, 10 % of its time waiting for data")])
def test_line_about_the_first_and_the_slowest_rank(ranks, line):
    assert progress.progress_line(ranks) == line


def test_a_rank_reports_now_and_then_and_at_the_end(tmp_path, monkeypatch):
    path = tmp_path / "3"
    monkeypatch.setenv("LAUNCH_STARTED_FILE", str(path))
    monkeypatch.setattr(progress, "_last", 0.0)
    for step in (1, 2, 40):
        progress.report_progress(**rank(step, 0.0))
        assert progress.read_progress(path)["step"] == (40 if step == 40 else 1)
    path.write_text('{"step": 4')
    assert progress.read_progress(path) == {} == progress.read_progress(tmp_path / "absent")


@pytest.mark.parametrize(("grace", "told"), [("25", True), ("60", False), ("", False)])
def test_a_checkpoint_that_takes_longer_than_a_stop_allows(grace, told, monkeypatch, caplog):
    monkeypatch.setenv("LAUNCH_GRACE", grace)
    assert progress.warn_of_grace(20.0, 6.5, warned=False) is told
    assert progress.warn_of_grace(20.0, 6.5, warned=told) is told
    assert [r.getMessage()[:80] for r in caplog.records] == [
        "after a stop signal the ranks are killed in 25 s (--grace), but a step takes 6.5"] * told


def test_the_launcher_tells_progress_and_the_end_and_leaves_no_chatter(launchers, monkeypatch, caplog):
    monkeypatch.setattr(supervisor, "PROGRESS", 0.2)
    caplog.set_level(logging.INFO)
    chatter = "[INFO] DISTRIBUTED(1,7f,python): [mindspore/ccsrc/cluster/tcp_client.cc:367] Start] Event base!"
    words = ("say=first", f"say={chatter}", "say=last", f"say={chatter}",
             f"progress={json.dumps(rank(7, 0.25))}", "sleep=1")
    table = single_server(2)
    job = Job((sys.executable, str(launchers.folder / "rank.py"), *words), table, table.master, device_target="Ascend",
              folder=f"{launchers.folder}/out{{rank}}{{number}}", native=True)
    assert launch(job, port=None, start_timeout=60, max_restarts=0) == 0
    told = [record.getMessage() for record in caplog.records]
    assert progress.progress_line({r: rank(7, 0.25) for r in (0, 1)}) in told
    assert told[-1].startswith("the job ended well after 0:00:0")
    assert told[-1].endswith(": 2 ranks of 127.0.0.1")
    for folder in ("out0", "out1"):
        assert (launchers.folder / folder / "log").read_text().split("\n", 1)[1] == "first\nlast\n"


def test_chatter_is_looked_for_at_the_end_alone(tmp_path):
    path = Path(tmp_path / "log")
    line = b"[INFO] ME(1): [mindspore/x.cc:1] y\n"
    path.write_bytes(line + b"x" * (1 << 16) + b"\n" + line + b"said [INFO] of [mindspore/ itself\n")
    supervisor.drop_chatter(path)
    assert path.read_bytes() == line + b"x" * (1 << 16) + b"\n" + b"said [INFO] of [mindspore/ itself\n"
    supervisor.drop_chatter(tmp_path / "absent")
