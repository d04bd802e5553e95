"""Plans: environments, folders, cores, time-outs and msrun's line, without starting anything."""
from pathlib import Path

import pytest

from src.contract import InputError
from src.launch.plan import Job, describe, divide_cores, make_plan, msrun_line, next_number, spans
from src.launch.rank_table import Device, RankTable, Server, single_server
from src.launch.timeouts import timeouts

TIMEOUTS = timeouts(600, 300, {})
HOSTS = RankTable((Server("10.0.0.1", (Device(0, 0), Device(1, 1))), Server("10.0.0.2", (Device(2, 0), Device(3, 1)))),
                  Path("/tables/t.json"))


def job(table, index=0, **kwargs):
    kwargs = {"command": ("python", "train.py"), "timeouts": TIMEOUTS} | kwargs
    return Job(table=table, server=table.servers[index], **kwargs)


def test_time_outs_cover_what_they_wait_for():
    assert TIMEOUTS == {"HCCL_CONNECT_TIMEOUT": "600", "HCCL_EXEC_TIMEOUT": "612", "MS_CPU_COMM_OP_TIMEOUT": "600",
                        "MS_RECEIVE_MSG_TIMEOUT": "600", "MS_NODE_TIMEOUT": "600",
                        "MS_HEARTBEAT_RETRY_TIMEOUT": "600", "MS_TOPO_TIMEOUT": "300"}
    assert timeouts(1, 1, {})["HCCL_CONNECT_TIMEOUT"] == "120"
    assert timeouts(99999, 1, {})["HCCL_EXEC_TIMEOUT"] == "17340"
    assert timeouts(600, 300, {"HCCL_EXEC_TIMEOUT": "1800"})["HCCL_EXEC_TIMEOUT"] == "1800"


def test_a_rank_table_becomes_a_dynamic_cluster():
    swapped = RankTable((Server("10.0.0.1", (Device(0, 7), Device(1, 6))),), Path("/tables/t.json"))
    plan = make_plan(job(swapped), port=9000)
    assert plan.scheduler is not None
    assert [p.environment["ASCEND_RT_VISIBLE_DEVICES"] for p in plan.ranks] == ["6,7", "6,7"]
    assert [p.environment["DEVICE_ID"] for p in plan.ranks] == ["1", "0"]
    assert "RANK_TABLE_FILE" not in plan.ranks[0].environment


def test_a_rank_table_is_left_to_hccl_on_demand():
    plan = make_plan(job(HOSTS, 1, native=True), port=9000)
    assert plan.scheduler is None
    assert [p.rank for p in plan.ranks] == [2, 3]
    assert plan.ranks[1].environment == TIMEOUTS | {
        "NATIVE_RANK_TABLE": "1", "LAUNCH_GRACE": "60", "RANK_TABLE_FILE": "/tables/t.json",
        "RANK_ID": "3", "RANK_SIZE": "4", "DEVICE_ID": "1", "DEVICE_NUM": "4",
        "DEVICE_TARGET": "Ascend", "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}


def test_cpu_ranks_register_with_the_scheduler_on_the_master():
    plan = make_plan(job(HOSTS, 1, device_target="CPU"), port=9000)
    assert plan.scheduler is None
    assert plan.ranks[0].environment == TIMEOUTS | {
        "MS_ROLE": "MS_WORKER", "MS_WORKER_NUM": "4", "MS_SCHED_HOST": "10.0.0.1", "MS_SCHED_PORT": "9000",
        "MS_NODE_ID": "2", "MS_WORKER_IP": "10.0.0.2", "RANK_ID": "2", "RANK_SIZE": "4", "DEVICE_ID": "0",
        "DEVICE_NUM": "4", "DEVICE_TARGET": "CPU", "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1",
        "LAUNCH_GRACE": "60"}
    scheduler = make_plan(job(HOSTS, 0, device_target="CPU"), port=9000).scheduler
    assert scheduler.environment["MS_ROLE"] == "MS_SCHED"
    assert scheduler.environment["MS_SCHED_HOST"] == "10.0.0.1"


def test_ascend_without_a_table_makes_only_its_devices_visible():
    plan = make_plan(job(single_server(2, first_device=4)), port=9000)
    assert plan.scheduler is not None
    assert plan.ranks[1].environment["ASCEND_RT_VISIBLE_DEVICES"] == "4,5"
    assert plan.ranks[1].environment["DEVICE_ID"] == "1"


def test_placeholders(tmp_path):
    made = job(single_server(2, first_device=4), folder=f"{tmp_path}/voc{{number}}/device{{device}}",
               command=("python", "train.py", "--train_dir=voc{number}/ckpt"))
    plan = make_plan(made, port=1, number=3)
    assert [str(p.log) for p in plan.ranks] == [f"{tmp_path}/voc_3/device4/log", f"{tmp_path}/voc_3/device5/log"]
    assert plan.ranks[0].command[-1] == "--train_dir=voc_3/ckpt"
    several = job(HOSTS, 1, folder=f"{tmp_path}/device{{device}}{{number}}")
    assert make_plan(several, port=1).ranks[0].log == tmp_path / "device2" / "log"


def test_number_of_the_run(tmp_path):
    made = job(single_server(2), folder=f"{tmp_path}/train_parallel{{rank}}{{number}}")
    assert next_number(made) == 1 == next_number(made.resumed())
    (tmp_path / "train_parallel1").mkdir()
    assert next_number(made) == 1  # empty
    (tmp_path / "train_parallel1" / "log").touch()
    (tmp_path / "train_parallel0_2").touch()
    assert next_number(made) == 3
    assert next_number(made.resumed()) == 2


def test_number_belongs_to_the_part_of_the_path_that_has_it(tmp_path):
    made = job(single_server(2), folder=f"{tmp_path}/voc{{number}}/device{{device}}")
    (tmp_path / "voc" / "ckpt").mkdir(parents=True)
    assert next_number(made) == 2


@pytest.mark.parametrize(("word", "resumes"), [("--resume", True), ("--resume=True", True), ("--resume=False", False)])
def test_resume_flag(word, resumes):
    assert job(HOSTS, command=("python", "t.py", word)).resumes is resumes


def test_cores():
    assert divide_cores("", 2, range(4)) == ()
    assert divide_cores("auto", 2, [0, 1, 4, 5, 6]) == ((0, 1), (4, 5))
    assert divide_cores("default", 2, [0, 1, 4, 5, 6]) == ((0, 1), (4, 5))
    assert divide_cores("default", 2, [0, 1, 2]) == () == divide_cores("False", 2, range(4))
    assert divide_cores("0-2;3,5", 2, range(6)) == ((0, 1, 2), (3, 5))
    for text, message in [("auto", "3 ranks on 2 cores"), ("0;1", "2 groups for 3 ranks"), ("0;1;7", "no core 7"),
                          ("a;b;c", "write one group of cores a rank"), ("1-0;0;1", "write one group of cores a rank"),
                          ("0;1;0-99999999999", "write one group of cores a rank")]:
        with pytest.raises(InputError, match=message):
            divide_cores(text, 3, range(2))


def test_msrun_line_where_there_is_one():
    line = msrun_line(make_plan(job(HOSTS, 1, folder="/runs/train_parallel{rank}{number}"), port=9000))
    assert line == ("with msrun: msrun --worker_num=4 --local_worker_num=2 --master_addr=10.0.0.1 --master_port=9000 "
                    "--node_rank=1 --join=True --log_dir=/runs/train_parallel2 --cluster_time_out=300 train.py")


@pytest.mark.parametrize(("servers", "reason"), [
    ((Server("10.0.0.1", (Device(0, 4), Device(1, 5))),), "numbers the devices of a server 0, 1"),
    ((Server("10.0.0.1", (Device(1, 0),)), Server("10.0.0.2", (Device(0, 0),))), "follow the order of the servers"),
    ((Server("10.0.0.1", (Device(0, 0),)), Server("10.0.0.2", (Device(1, 0), Device(2, 1)))), "same number of ranks"),
])
def test_no_msrun_line(servers, reason):
    assert reason in msrun_line(make_plan(job(RankTable(servers)), port=1))


def test_description_names_everything():
    text = describe(make_plan(job(HOSTS, device_target="CPU", cores=((0,), (1,))), port=9000))
    for part in ("4 ranks on CPU (10.0.0.1: ranks 0-1; 10.0.0.2: ranks 2-3); this host is 10.0.0.1",
                 "dynamic cluster, scheduler 10.0.0.1:9000", "HCCL_EXEC_TIMEOUT=612", "rank 1:  cores 1",
                 "MS_NODE_ID=1", "python train.py", "with msrun: msrun --worker_num=4"):
        assert part in text


def test_description_of_thousands_of_ranks_stays_readable():
    servers = tuple(Server(f"10.0.{i // 250}.{i % 250 + 1}", tuple(Device(8 * i + d, d) for d in range(8)))
                    for i in range(512))
    first = describe(make_plan(job(RankTable(servers, Path("/t.json"))), port=1), short=True).splitlines()[0]
    assert first.startswith("4096 ranks on Ascend (10.0.0.1: ranks 0-7; 10.0.0.2: ranks 8-15; ")
    assert first.endswith("10.0.0.8: ranks 56-63; and 504 more servers); this host is 10.0.0.1")


def test_spans():
    assert spans([7, 0, 1, 2, 4]) == "0-2, 4, 7"
