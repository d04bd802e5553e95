"""The launcher's command line and environment variables, seen through --dry_run."""
import re

import pytest

from src.contract import InputError
from src.tools.launch import build_parser, check_flags


@pytest.fixture
def dry(launchers):
    def run(*words, **environment):
        return launchers.run("--dry_run", *words, **environment)
    return run


def test_variables_of_the_spec(dry):
    status, output = dry("rank.py", "--is_distributed", DEVICE_TARGET="CPU", RANK_SIZE="3", RANK_START_ID="4")
    assert status == 0
    assert "3 ranks on CPU (127.0.0.1: ranks 0-2)" in output
    assert [f"DEVICE_ID={d}\n" in output for d in (3, 4, 5, 6, 7)] == [False, True, True, True, False]
    assert "rank.py --is_distributed" in output


def test_restarts_keep_compiled_graphs(dry):
    train, cpu = ("train.py", "--data_file=x"), {"DEVICE_TARGET": "CPU", "WORKERS": "1"}
    assert "--compile_cache=auto" in dry("--max_restarts=1", *train, **cpu)[1]
    assert "--compile_cache" not in dry(*train, **cpu)[1]
    mine = dry("--max_restarts=1", *train, "--compile_cache=mine", **cpu)[1]
    assert "--compile_cache=mine" in mine
    assert "auto" not in mine
    assert "--compile_cache" not in dry("--max_restarts=1", "rank.py", **cpu)[1]


@pytest.mark.parametrize("name", ["WORKERS", "RANK_SIZE", "DEVICE_NUM"])
def test_number_of_ranks(dry, name):
    assert "2 ranks on CPU" in dry("rank.py", **{"DEVICE_TARGET": "CPU", name: "2"})[1]


def test_rank_table_variable_and_a_table_that_agrees(dry, table_file):
    path = str(table_file({"127.0.0.1": [(0, 4), (1, 5)]}))
    status, output = dry("rank.py", RANK_TABLE_FILE=path, RANK_SIZE="2", RANK_START_ID="4")
    assert status == 0
    assert f"  2 ranks: rank table {path}\n" in output
    assert "    RANK_TABLE_FILE=" not in output
    status, output = dry("--native_rank_table", "rank.py", RANK_TABLE_FILE=path)
    assert f"    RANK_TABLE_FILE={path}\n" in output
    assert "MindSpore forces the jit level O2" in output


def test_the_plan_is_shown_on_a_host_that_is_not_in_the_table(dry, table_file, launchers):
    path = table_file({"198.51.100.1": [(1, 0)], "198.51.100.2": [(0, 0)]})
    status, output = dry("--rank_table", path, "rank.py")
    assert status == 0, output
    assert "none of the table's servers is this machine, so this is the plan of 198.51.100.2; --server=" in output
    assert "rank 0:" in output
    status, output = launchers.run("--rank_table", path, "rank.py")
    assert status == 2
    assert "none of its servers (198.51.100.1, 198.51.100.2) is this host" in output


@pytest.mark.parametrize(("words", "message"), [
    (["--native_rank_table", "--workers=2"], "there is no such file"),
    (["--native_rank_table", "--workers=2", "--device_target=CPU"], "--native_rank_table: HCCL reads rank tables")])
def test_native_form_needs_a_table_on_ascend(dry, words, message):
    status, output = dry(*words, "rank.py")
    assert status == 2
    assert message in output


@pytest.mark.parametrize(("words", "environment", "grace"), [
    ([], {}, "60"), ([], {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "25"),
    (["--grace=50"], {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "50")])
def test_grace_is_shorter_than_a_pod_s(dry, words, environment, grace):
    _, output = dry(*words, "--workers=2", "rank.py", **environment)
    assert f"LAUNCH_GRACE={grace}\n" in output
    assert ("grace of 25 s: KUBERNETES_SERVICE_HOST is set" in output) is (grace == "25")


@pytest.mark.parametrize(("environment", "message"), [
    ({}, "no rank table"),
    ({"RANK_SIZE": "2", "WORKERS": "3"}, "contradicting numbers of ranks: WORKERS=3, RANK_SIZE=2"),
    ({"RANK_SIZE": "none"}, "RANK_SIZE: 'none' is not a number from 1 to 2147483647"),
    ({"RANK_SIZE": "\u00b2"}, "RANK_SIZE: '\u00b2' is not a number from 1 to 2147483647"),
    ({"WORKERS": "0"}, "WORKERS: '0' is not a number from 1 to 2147483647"),
    ({"RANK_SIZE": "99999999"}, "RANK_SIZE=99999999: more than 4096 ranks on one host"),
    ({"WORKERS": "2", "RANK_START_ID": "-1"}, "RANK_START_ID: '-1' is not a number from 0"),
    ({"RANK_TABLE_FILE": "nowhere.json"}, "nowhere.json: rank table not readable"),
    ({"WORKERS": "2", "DEVICE_TARGET": "TPU"}, "DEVICE_TARGET=TPU: expected Ascend or CPU"),
    ({"WORKERS": "2", "MS_SCHED_PORT": "http"}, "argument --port: 'http' is not a number from 1 to 65534"),
    ({"WORKERS": "2", "MS_SCHED_PORT": "65535"}, "argument --port: '65535' is not a number from 1 to 65534"),
])
def test_wrong_environment(dry, environment, message):
    status, output = dry("rank.py", **environment)
    assert status == 2
    assert message in output


@pytest.mark.parametrize(("environment", "message"), [
    ({"RANK_SIZE": "8"}, "RANK_SIZE=8, but .*table.json has 2 ranks, 2 of them on this host"),
    ({"RANK_START_ID": "0"}, "RANK_START_ID=0, but the first device of this host in .* is 4"),
])
def test_table_and_environment_contradict(dry, table_file, environment, message):
    status, output = dry("--rank_table", table_file({"127.0.0.1": [(0, 4), (1, 5)]}), "rank.py", **environment)
    assert status == 2
    assert re.search(message, output)


def test_the_doctors_quick_checks_come_first_and_do_not_stop_the_job(launchers):
    _, output = launchers.run("rank.py", "started", "say=ran", WORKERS="1", ASCEND_HOME_PATH="/no/such/cann")
    before, _, after = output.partition("1 rank on Ascend")
    assert "failure  CANN: not found (/no/such/cann/compiler/version.info is not there); start from" in before
    assert "ok " not in before
    assert "the job ended" in after, output


@pytest.mark.parametrize(("words", "message"), [
    ([], "no script to launch"),
    (["--wrokers=2", "rank.py"], "unknown flag --wrokers; did you mean --workers?"),
    (["--workers=2", "--folder=out", "rank.py"], "--folder=out: needs {number}"),
])
def test_wrong_words(dry, words, message):
    status, output = dry(*words)
    assert status == 2
    assert message in output


@pytest.mark.parametrize(("word", "least"), [
    ("--max_restarts=-1", 0), ("--grace=nan", 0), ("--grace=inf", 0), ("--grace=-1", 0), ("--start_timeout=0", 1),
    ("--compile_timeout=0", 1), ("--compile_timeout=" + "9" * 5000, 1), ("--port=0", 1), ("--workers=0", 1)])
def test_numbers_out_of_range(capsys, word, least):
    with pytest.raises(SystemExit):
        build_parser().parse_args([word])
    name, _, value = word.partition("=")
    assert f"argument {name}: '{value[:40]}' is not a number from {least} to " in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--max_restarts=3", "--port=9000"], ["--max_restarts", "3", "--port", "9000"]])
def test_flags_of_the_launcher_may_stand_among_those_of_train_py(dry, words):
    status, output = dry("train.py", "--epochs", "2", *words, "--train_dir=out", "--data_file=voc",
                         DEVICE_TARGET="CPU", WORKERS="2")
    assert status == 0, output
    assert "scheduler 127.0.0.1:9000" in output
    assert "restarts" not in output
    command = "train.py --epochs 2 --train_dir=out --data_file=voc --device_target=CPU --compile_cache=auto\n"
    assert command in output


def test_what_the_environment_sets_is_used_and_named(dry):
    plan = dry("rank.py", DEVICE_TARGET="CPU", WORKERS="2", MS_SCHED_PORT="4321", MS_TOPO_TIMEOUT="77")[1]
    assert "  port: MS_SCHED_PORT=4321\n" in plan
    assert "  MS_TOPO_TIMEOUT: set in the environment\n" in plan
    assert "MS_NODE_TIMEOUT: set" not in plan


@pytest.mark.parametrize(("word", "meant"), [("--max_restart=3", "--max_restarts"), ("--dryrun", "--dry_run")])
def test_a_mistyped_flag_of_the_launcher_among_those_of_train_py(word, meant):
    with pytest.raises(InputError, match=f"^unknown flag {word.partition('=')[0]}; did you mean {meant}\\?$"):
        check_flags(["train.py", "--epochs=2", word])


@pytest.mark.parametrize(("words", "message"), [
    (["--data_file=nowhere"], "error: nowhere: no such record file"),
    (["--model=maskrcnn", "--coco_root=nowhere"], "error: --coco_root=nowhere: no such folder"),
    (["--data_file=nowhere", "--ckpt_pre_trained=weights.ckpt"], "error: weights.ckpt: no such file"),
    (["--data_file=nowhere", "--amp_level=O3"], "error: --amp_level=O3: float16 is not faster on a CPU")])
def test_a_job_of_one_host_whose_data_or_weights_are_missing_starts_nothing(launchers, words, message):
    status, output = launchers.run("--max_restarts=1", "train.py", *words, DEVICE_TARGET="CPU", WORKERS="2")
    assert status == 2
    assert message in output
    assert "rank 0" not in output
    assert list(launchers.folder.glob("train_parallel*")) == []


def test_a_mistyped_flag_of_train_py_starts_nothing(launchers):
    status, output = launchers.run("train.py", "--epohcs=2", DEVICE_TARGET="CPU", WORKERS="2")
    assert status == 2
    assert "train.py: error: unknown flag --epohcs; did you mean --epochs?" in output
    assert list(launchers.folder.glob("train_parallel*")) == []
