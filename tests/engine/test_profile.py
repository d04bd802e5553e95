"""Profiles of chosen steps of a real run, and their page from literal files of both devices."""
import logging
from types import SimpleNamespace

import pytest

from src.config import build
from src.contract import InputError
from src.engine import loop
from src.engine.position import Position
from src.engine.profile import Profile, free_folder, steps_to_profile
from src.engine.profile_summary import Operator, StepTimes, page, read_operators
from src.engine.settings import Settings
from tests.engine.tiny_task import CPU, TinyTask, settings, weight

CPU_FILE = """\
op_side,op_type,op_name,full_op_name,op_occurrences,op_total_time(ms),op_avg_time(ms),total_proportion,subgraph,pid
Host,Mul,Mul-op1,Default/Mul-op1,4,2,0.5,0.2,Default,1
Host,Conv2D,Conv2D-op0,Default/a/Conv2D-op0,4,6,1.5,0.6,Default,1
Host,Mul,Mul-op0,Default/Mul-op0,4,2,0.5,0.2,Default,1
"""
ASCEND_FILE = """Name,Type,Accelerator Core,Start Time(us),Duration(us),Wait Time(us)
Default/a/Conv2D-op0,Conv2D,AI_CORE,\t1795921107899784.389\t,3000.5,1
Default/Mul-op0,Mul,AI_VECTOR_CORE,\t1795921107909784.389\t,1000,1
Default/a/Conv2D-op0,Conv2D,AI_CORE,\t1795921107919784.389\t,2999.5,1
"""


@pytest.mark.parametrize(("name", "content", "expected"), [
    ("FRAMEWORK/cpu_op_detail_info_0.csv", CPU_FILE,
     [Operator("Conv2D", "Default/a/Conv2D-op0", 4, 6), Operator("Mul", "Default/Mul-op1", 4, 2),
      Operator("Mul", "Default/Mul-op0", 4, 2)]),
    ("ASCEND_PROFILER_OUTPUT/kernel_details.csv", ASCEND_FILE,
     [Operator("Conv2D", "Default/a/Conv2D-op0", 2, 6), Operator("Mul", "Default/Mul-op0", 1, 1)])])
def test_operators_are_read_as_the_profiler_writes_them(name, content, expected, tmp_path):
    file = tmp_path / "host_1_2_ascend_ms" / name
    file.parent.mkdir(parents=True)
    file.write_text(content)
    assert read_operators(tmp_path) == expected


def test_a_profile_without_operators_is_complained_of(tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path}: the profiler left no times of operators"):
        read_operators(tmp_path)


def test_the_page_adds_up_kinds_and_divides_by_steps():
    operators = [Operator("Conv2D", "Default/a/Conv2D-op0", 4, 6), Operator("Mul", "Default/Mul-op1", 4, 2),
                 Operator("Mul", "Default/Mul-op0", 4, 2),
                 *(Operator("Add", f"Default/Add-op{i}", 2, 0) for i in range(9))]
    lines = page("Profile", operators, StepTimes(4, 0.002, 0.018)).splitlines()
    assert lines[0] == "Profile"
    assert lines[2] == "A step took 0.005 s: 0.0005 s (10%) waiting for data, 0.0045 s in the training step."
    assert lines[3].startswith("Its operators took 0.0025 s;")
    assert lines[5] == "The 3 most expensive kinds of operators of 3:"
    assert lines[7:9] == ["  60.0%       1.500             1  Conv2D", "  40.0%       1.000             2  Mul"]
    at = lines.index("The 10 most expensive operators of 12:")
    assert lines[at + 2] == "  60.0%       1.500             1  Default/a/Conv2D-op0"
    assert len(lines) == at + 2 + 10


@pytest.mark.usefixtures("graph_mode")
def test_steps_of_a_run_are_profiled_and_the_run_is_the_same(tmp_path, caplog):
    caplog.set_level(logging.INFO, "src")
    plain = loop.train(TinyTask(), settings(tmp_path / "plain"), CPU)
    last = loop.train(TinyTask(), settings(tmp_path / "run", profile="4-6"), CPU)
    assert weight(plain) == weight(last)
    (summary,) = (tmp_path / "run" / "profile").rglob("summary.txt")
    assert summary.parent.name == "steps_4-6"
    text = summary.read_text()
    assert text.startswith("Profile of training line on CPU, 2 images a step, MindSpore ")
    assert ": steps 4 to 6\n" in text
    assert text in caplog.text
    (line,) = [line for line in text.splitlines() if line.endswith("  ApplyMomentum")]
    assert line.split()[2] == "1"  # call a step: three steps were profiled, no more and no less
    assert list(summary.parent.rglob("trace_view.json"))


@pytest.mark.parametrize(("step", "chunk", "starts"), [(2, 1, False), (3, 1, True), (5, 1, True), (6, 1, False),
                                                   (0, 3, False), (0, 4, True), (10, 100, False)])
def test_a_profile_starts_with_the_call_that_has_its_first_step(step, chunk, starts, tmp_path, monkeypatch):
    monkeypatch.setattr("src.engine.profile.start_profiler", lambda folder, device: object())
    recorder = SimpleNamespace(position=Position(5, 50, step))
    profile = Profile(recorder, range(4, 7), chunk=chunk, folder=tmp_path, title="", device_target="CPU")
    profile.on_train_step_begin(None)
    assert (profile.profiler is not None) == starts


def test_a_second_profile_of_the_same_steps_gets_its_own_folder(tmp_path):
    assert [free_folder(tmp_path / "steps_4-6").name for _ in range(3)] == ["steps_4-6", "steps_4-6_2", "steps_4-6_3"]


def test_which_steps_are_meant(caplog):
    caplog.set_level(logging.INFO, "src")
    assert steps_to_profile("11-20", Position(5, 50)) == range(11, 21)
    assert steps_to_profile("10", Position(5, 50, 20)) == range(23, 33)
    assert not steps_to_profile("11-20", Position(5, 50, 11))
    assert "--profile=11-20: not profiled, as step 11 is done" in caplog.text
    with pytest.raises(InputError, match="--profile=41-60: steps 41 to 60, but the run has 50 and this process begins "
                                         "with step 3; give earlier or fewer steps, or more --epochs"):
        steps_to_profile("41-60", Position(5, 50, 2))


@pytest.mark.parametrize("text", ["0", "0-5", "6-5", "5-", "-5", "a", "1-2-3", "1.5"])
def test_what_names_no_steps_is_refused(text):
    with pytest.raises(InputError, match=f"--profile='{text}': .*expected START-STOP, such as 11-20, with 1 <= START"):
        build(Settings, {"profile": text}, {"profile": "--profile"})
