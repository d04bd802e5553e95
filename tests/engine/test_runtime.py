import os
import subprocess
import sys

import pytest

from src.contract import InputError
from src.engine import runtime

PROCESS = """
from src.engine import runtime
machine = runtime.start("CPU", seed=3)
print(machine.rank, machine.world_size, machine.data_sink)
runtime.start("CPU", is_distributed=True)
"""


def test_a_cpu_process_is_rank_0_of_1_unless_a_launcher_started_several():
    """In a process of its own: a device is chosen once, before anything runs."""
    environment = {k: v for k, v in os.environ.items() if k not in ("RANK_ID", "MS_ROLE", "DEVICE_ID")}
    done = subprocess.run([sys.executable, "-c", PROCESS], capture_output=True, text=True, env=environment)
    assert done.stdout.splitlines()[-1] == "0 1 False"
    assert "InputError: --is_distributed: this process was not started as one of several ranks" in done.stderr
    assert "start it with scripts/run_distribute_train.sh" in done.stderr


def test_an_exported_device_id_is_a_number_or_empty(monkeypatch):
    monkeypatch.setenv("DEVICE_ID", "abc")
    with pytest.raises(InputError, match="DEVICE_ID: 'abc' is not a number from 0 to"):
        runtime.start("CPU")
    monkeypatch.setenv("DEVICE_ID", "")
    assert runtime.start("CPU").rank == 0


def test_data_sinks_on_ascend_alone():
    assert runtime.Runtime("Ascend", 3, 8).data_sink
    assert not runtime.Runtime("CPU").data_sink


@pytest.mark.parametrize("device", ["Ascend", "GPU"])
def test_a_device_that_is_not_there_is_named_with_the_way_out(device):
    with pytest.raises(InputError, match=f"--device_target={device}: .*without it use --device_target=CPU"):
        runtime.start(device)


def test_too_large_a_step_is_refused_on_a_cpu_with_the_flags_to_lower():
    with pytest.raises(InputError, match=r"needs about 4096.0 GiB of memory, \d+.\d GiB are free; lower --batch=32"):
        runtime.check_memory(1 << 42, "CPU", "--batch=32")
    runtime.check_memory(1 << 20, "CPU", "--batch=32")
    runtime.check_memory(1 << 42, "Ascend", "--batch=32")  # a device's own memory is not known here


DETERMINISTIC = """
import os
from src.engine import runtime
runtime._set_device = runtime._set_jit_level = lambda *device: None
runtime.join_cluster = lambda *environment: ""
runtime._join = lambda device: print("joins with", os.environ.get("HCCL_DETERMINISTIC"), os.environ["SAID"])
for device, wanted in (("CPU", True), ("Ascend", False), ("Ascend", True), ("Ascend", True)):
    runtime.start(device, is_distributed=True, deterministic=wanted)
"""


@pytest.mark.parametrize("said", ["false", "strict"])
def test_collectives_are_deterministic_before_the_ranks_join(said):
    environment = os.environ | {"HCCL_DETERMINISTIC": said, "SAID": said}
    done = subprocess.run([sys.executable, "-c", DETERMINISTIC], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    joins = [line.split()[2] for line in done.stdout.splitlines() if line.startswith("joins with")]
    set_to = "strict" if said == "strict" else "true"
    assert joins == [said, said, set_to, set_to]


@pytest.mark.parametrize(("cpuinfo", "expected"), [
    ("flags\t\t: fpu sse4_1 avx avx2 avx512f\n", "avx512f"), ("flags\t\t: fpu sse4_1 avx avx2\n", "avx2"),
    ("Features\t: fp asimd\n", "asimd"), ("nothing\n", "unknown")])
def test_the_instruction_set_of_a_machine(tmp_path, cpuinfo, expected):
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    machine = runtime.machine_of_rank(tmp_path / "cpuinfo")
    assert machine["instruction_set"] == expected
    assert machine["usable_cores"] == len(os.sched_getaffinity(0))
    assert runtime.machine_of_rank(tmp_path / "none")["instruction_set"] == "unknown"


@pytest.mark.parametrize(("chip", "level"), [
    ("Ascend910A", "O2"), ("Ascend910ProB", "O2"), ("Ascend910B", "O2"), ("Ascend910B1", "O0"), ("Ascend910B4", "O0"),
    ("Ascend910_9391", "O0"), ("Ascend310P3", "O0"), ("", "")])
def test_the_graph_engine_is_taken_where_nothing_else_exists(chip, level):
    assert runtime.jit_level_of(chip) == level


@pytest.mark.parametrize(("given", "native", "said"), [
    ("O1", "", "jit level O1 (--jit_level=O1)"), ("auto", "", "jit level O2 (--jit_level=auto on Ascend910A)"),
    ("auto", "1", "jit level O2, forced by the rank table"), ("O2", "1", "jit level O2, forced by the rank table")])
def test_the_jit_level_is_printed(given, native, said, monkeypatch, caplog):
    monkeypatch.setenv("NATIVE_RANK_TABLE", native)
    monkeypatch.setattr(runtime, "chip_name", lambda: "Ascend910A")
    caplog.set_level("INFO")
    told = []  # MindSpore cannot take a level back, which would then be that of the tests that follow
    monkeypatch.setattr(runtime.ms, "set_context", lambda **given: told.append(given))
    runtime._set_jit_level("Ascend", given)
    assert [record.getMessage() for record in caplog.records] == [said]
    assert told == ([] if native else [{"jit_config": {"jit_level": said.split()[2]}}])


def test_a_jit_level_that_the_rank_table_overrules_is_refused(monkeypatch):
    monkeypatch.setenv("NATIVE_RANK_TABLE", "1")
    with pytest.raises(InputError, match="--jit_level=O0: .* forces O2; leave one of them out"):
        runtime._set_jit_level("Ascend", "O0")


@pytest.mark.parametrize(("norm", "chip", "refused"), [
    ("group", "Ascend910A", True), ("group", "Ascend910ProB", True), ("group", "Ascend910B4", False),
    ("group", "Ascend910_9391", False), ("group", "", False), ("batch", "Ascend910A", False)])
def test_the_first_910_does_not_start_what_it_has_no_gradient_for(norm, chip, refused):
    if not refused:
        runtime.refuse_missing_gradients(norm, chip)
        return
    with pytest.raises(InputError, match=f"--norm=group: {chip} has no gradient .* --norm=batch"):
        runtime.refuse_missing_gradients(norm, chip)
