"""Recorded and documented environments of other launchers, as the allocation and the job that follow from them."""
import argparse

import pytest

from src.contract import InputError
from src.launch import job, join
from src.launch.platforms import expand_hosts, find_allocation
from src.tools.launch import build_parser

MODEL_ARTS = {"MA_NUM_HOSTS": "2", "MA_NUM_GPUS": "8", "MA_CURRENT_IP": "172.16.0.7", "VC_TASK_INDEX": "1",
              "VC_WORKER_NUM": "2", "VC_WORKER_HOSTS": "job-worker-0.job,job-worker-1.job"}
PRESET = MODEL_ARTS | {"RANK_ID": "9", "RANK_SIZE": "16", "ASCEND_DEVICE_ID": "1"}
ASCEND_JOB = {"MS_WORKER_NUM": "16", "MS_LOCAL_WORKER": "8", "MS_SCHED_HOST": "10.1.2.3", "MS_SCHED_PORT": "2222",
              "MS_ROLE": "MS_WORKER", "MS_SERVER_NUM": "0", "MS_NODE_RANK": "1", "MINDX_SERVER_IP": "10.0.0.1"}
VOLCANO = {"VC_MASTER_HOSTS": "job-master-0.job", "VC_MASTER_NUM": "1", "VC_WORKER_NUM": "2",
           "VC_WORKER_HOSTS": "job-worker-0.job,job-worker-1.job", "VC_TASK_INDEX": "0", "VK_TASK_INDEX": "0",
           "HOSTNAME": "job-worker-0"}
INDEXED = {"JOB_COMPLETION_INDEX": "1", "MS_WORKER_NUM": "4", "MS_LOCAL_WORKER": "2", "MS_SCHED_HOST": "10.1.2.3",
           "KUBERNETES_SERVICE_HOST": "10.96.0.1"}
# `srun -N2 -n2`, `srun -N2 -n4`, sbatch's script and `srun --pty bash` of Slurm 22.05, as recorded
STEP = {"SLURM_JOB_ID": "12345", "SLURM_JOB_NODELIST": "node[1-3]", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_NODES": "2",
        "SLURM_STEP_NODELIST": "node[1-2]", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
        "SLURM_NTASKS": "2", "SLURM_NODEID": "1", "SLURM_PROCID": "1", "SLURM_LOCALID": "0"}
TASKS = STEP | {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3", "SLURM_LOCALID": "1"}
BATCH = {"SLURM_JOB_ID": "2", "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_NTASKS": "2", "SLURM_NODEID": "0",
         "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_JOB_NAME": "b.sh"}
PTY = STEP | {"SLURM_PTY_PORT": "45077", "SLURM_JOB_NAME": "bash"}


@pytest.mark.parametrize(("env", "platform", "hosts", "index", "cards"), [
    (MODEL_ARTS, "ModelArts", ("job-worker-0.job", "job-worker-1.job"), 1, 8),
    (MODEL_ARTS | {"MA_NUM_HOSTS": "1", "VC_TASK_INDEX": "0"}, "ModelArts", ("172.16.0.7",), 0, 8),
    (ASCEND_JOB, "AscendJob", ("10.1.2.3", ""), 1, 8),
    (VOLCANO, "Volcano", ("job-master-0.job", "job-worker-0.job", "job-worker-1.job"), 1, None),
    (VOLCANO | {"HOSTNAME": "elsewhere", "HCCL_RANK": "2"}, "Volcano",
     ("job-master-0.job", "job-worker-0.job", "job-worker-1.job"), 2, None),
    (INDEXED, "Kubernetes", ("10.1.2.3", ""), 1, 2),
    (STEP, "Slurm", ("node1", "node2"), 1, None),
])
def test_hosts(env, platform, hosts, index, cards):
    found = find_allocation(env)
    assert (found.platform, found.hosts, found.index, found.cards) == (platform, hosts, index, cards)


@pytest.mark.parametrize("env", [{}, BATCH, PTY, STEP | {"SLURM_STEP_ID": "4294967290"}, {"VC_TASK_INDEX": "0"},
                                 {"MS_ROLE": "MS_WORKER", "MS_WORKER_NUM": "2", "MS_SCHED_HOST": "127.0.0.1"}])
def test_what_is_no_platform(env):
    assert find_allocation(env) is None


@pytest.mark.parametrize(("env", "message"), [
    (MODEL_ARTS | {"MA_NUM_HOSTS": "3"}, "MA_NUM_HOSTS=3, but VC_WORKER_HOSTS names 2 hosts"),
    (MODEL_ARTS | {"VC_TASK_INDEX": "2"}, "VC_TASK_INDEX=2, but there are 2 hosts"),
    (ASCEND_JOB | {"MS_LOCAL_WORKER": "0"}, "MS_LOCAL_WORKER=0: this pod is for the scheduler alone"),
    (ASCEND_JOB | {"MS_WORKER_NUM": "9"}, "MS_WORKER_NUM=9 is no multiple of MS_LOCAL_WORKER=8"),
    (VOLCANO | {"HOSTNAME": "elsewhere"}, "HOSTNAME=elsewhere is none of their hosts"),
    (MODEL_ARTS | {"MA_NUM_HOSTS": "0"}, "MA_NUM_HOSTS=0, but VC_WORKER_HOSTS names 2 hosts"),
    (ASCEND_JOB | {"MS_WORKER_NUM": "0"}, "MS_WORKER_NUM=0 is no multiple of MS_LOCAL_WORKER=8"),
    (VOLCANO | {"HOSTNAME": "", "VC_WORKER_HOSTS": "a,,b"}, "HOSTNAME= is none of their hosts"),
    (STEP | {"SLURM_NODEID": "one"}, "SLURM_NODEID=one: not a number"),
    (STEP | {"SLURM_STEP_NODELIST": "", "SLURM_JOB_NODELIST": ""}, "SLURM_STEP_NODELIST is not set: start this with"),
    (STEP | {"SLURM_STEP_NUM_TASKS": "", "SLURM_NTASKS": ""}, "SLURM_STEP_NUM_TASKS is not set"),
    (STEP | {"SLURM_STEP_NODELIST": "n[x-y]"}, r"\[x-y\] is no list of numbers such as \[1-3,07\]"),
    (STEP | {"SLURM_STEP_NODELIST": "n[1"}, "'n\\[1' has brackets without a partner"),
    (STEP | {"SLURM_STEP_NODELIST": "n[3-1]"}, "goes from 3 to 1"),
    (STEP | {"SLURM_STEP_NODELIST": "n[1-99999999]"}, "no range of up to 65536 hosts")])
def test_what_contradicts_itself(env, message):
    with pytest.raises(InputError, match=message):
        find_allocation(env)


def arguments(*words: str) -> argparse.Namespace:
    return build_parser().parse_args(["--device_target=CPU", *words])


@pytest.mark.parametrize(("env", "words", "ranks", "here", "origins"), [
    (MODEL_ARTS, [], 16, list(range(8, 16)), {"hosts": "ModelArts, VC_WORKER_HOSTS=job-worker-0.job,job-worker-1.job"}),
    (ASCEND_JOB, [], 16, list(range(8, 16)),
     {"index": "AscendJob, MS_NODE_RANK=1", "port": "AscendJob, MS_SCHED_PORT=2222"}),
    (VOLCANO, ["--workers=2"], 6, [2, 3], {"2 ranks a host": "--workers"}),
    (INDEXED, [], 4, [2, 3], {"ranks": "Kubernetes, MS_WORKER_NUM=4"}),
    (STEP, ["--workers=3"], 6, [3, 4, 5], {"hosts": "Slurm, SLURM_STEP_NODELIST=node[1-2]"}),
    (PTY, ["--workers=2"], 2, [0, 1], {"2 ranks": "--workers=2"}),
])
def test_jobs_of_hosts(env, words, ranks, here, origins):
    table, server, found = job.find_table(arguments(*words), env)
    assert (table.world_size, server.ranks) == (ranks, here)
    assert origins.items() <= found.items()


def test_the_platform_says_which_server_of_its_table_this_is(tmp_path):
    path = tmp_path / "jobstart_hccl.json"
    path.write_text('{"status": "completed", "group_list": [{"instance_list": ['
                    '{"pod_name": "job-worker-1", "server_id": "198.51.100.1", "devices": [{"device_id": "0"}]},'
                    '{"pod_name": "job-worker-0", "server_id": "198.51.100.2", "devices": [{"device_id": "0"}]}]}]}')
    _, server, _ = job.find_table(arguments(), MODEL_ARTS | {"RANK_TABLE_FILE": str(tmp_path)})
    assert server.server_id == "198.51.100.1"
    assert server.ranks == [1]


def test_a_named_server_must_be_this_host():
    with pytest.raises(InputError, match="no server 192.0.2.9; it has 127.0.0.1"):
        job.find_table(arguments("--workers=2", "--server=192.0.2.9"), {})


def test_the_launcher_is_started_once_a_host():
    with pytest.raises(InputError, match="Slurm has started this as one of 4 ranks .SLURM_PROCID=3.; start"):
        job.find_table(arguments(), TASKS)
    with pytest.raises(InputError, match="Slurm does not say how many ranks a host has: give WORKERS=N"):
        job.find_table(arguments(), STEP)


@pytest.mark.parametrize(("env", "rank", "size", "local", "port"), [
    (TASKS, 3, 4, 1, 24690), (STEP, 1, 2, 0, 24690),
    (PRESET, 9, 16, 1, 8118),
    (ASCEND_JOB | {"MS_WORKER_NUM": "2", "MS_LOCAL_WORKER": "1"}, 1, 2, 0, 2222),
    ({"RANK_ID": "1", "RANK_SIZE": "2", "DEVICE_ID": "5"}, 1, 2, 5, 8122),
])
def test_seats_of_ranks(env, rank, size, local, port):
    table, found, at, _ = join.find_seat(dict(env), "CPU")
    device = next(d for s in table.servers for d in s.devices if d.rank == rank)
    assert (found, table.world_size, device.device_id, at) == (rank, size, local, port)


def test_a_rank_of_the_published_loop_has_the_device_of_the_table(table_file):
    env = {"RANK_TABLE_FILE": str(table_file({"127.0.0.1": [(0, 4), (1, 5)]})), "RANK_ID": "1", "DEVICE_ID": "5"}
    table, rank, port, told = join.find_seat(dict(env), "Ascend")
    assert (table.world_size, rank, port) == (2, 1, 8122)
    assert told.startswith("RANK_ID and /")
    with pytest.raises(InputError, match="DEVICE_ID=4, but rank 1 is device 5 in .*table.json"):
        join.find_seat(env | {"DEVICE_ID": "4"}, "Ascend")
    with pytest.raises(InputError, match="RANK_ID=7, but .*table.json has ranks 0 to 1"):
        join.find_seat(env | {"RANK_ID": "7"}, "Ascend")


@pytest.mark.parametrize(("env", "message"), [
    ({"RANK_ID": "0", "RANK_SIZE": "2", "MS_SCHED_PORT": "abc"}, "MS_SCHED_PORT: 'abc' is not a number from 1 to 6553"),
    ({}, "was not started as one of several ranks"), (BATCH, "was not started as one of several ranks"),
    (ASCEND_JOB, "gives this host 8 ranks and starts one process: start scripts/run_distribute_train.sh")])
def test_what_is_no_rank(env, message):
    with pytest.raises(InputError, match=message):
        join.find_seat(dict(env), "CPU")


def test_what_has_joined_already_is_left_alone():
    for env in ({"MS_ROLE": "MS_WORKER", "RANK_ID": "1"}, ASCEND_JOB | {"RANK_SIZE": "16", "DEVICE_ID": "3"}):
        before = dict(env)
        assert join.join_cluster(before, "CPU") == ""
        assert before == env
    native = {"NATIVE_RANK_TABLE": "1", "RANK_TABLE_FILE": "t", "RANK_ID": "0"}
    assert "forces the jit level O2" in join.join_cluster(native, "Ascend")


@pytest.mark.parametrize(("text", "hosts"), [
    ("node1", ("node1",)), ("a[1-2],b07", ("a1", "a2", "b07")), ("n[08-10,2]", ("n08", "n09", "n10", "n2")),
    ("r[1-2]c[3-4]", ("r1c3", "r1c4", "r2c3", "r2c4"))])
def test_lists_of_hosts(text, hosts):
    assert expand_hosts(text) == hosts
