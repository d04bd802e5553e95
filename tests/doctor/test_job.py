"""Rank table, ports, and hosts that meet: two addresses of this machine stand for two hosts."""
import socket
import threading
import time

import pytest

from src.doctor import job
from src.doctor.finding import FAILURE, OK, WARNING
from src.doctor.meeting import meeting
from src.launch.rank_table import Device, RankTable, Server
from tests.doctor import recorded

HERE = Server("127.0.0.1", tuple(Device(i, i, f"192.168.100.{101 + i}") for i in range(8)))


def test_table_that_fits(make_host, only):
    host = make_host({"/etc/hccn.conf": recorded.HCCN_CONF}, cards=8)
    found = only(job.rank_table(host, RankTable((HERE,)), HERE, device_target="Ascend"))
    assert (found.level, found.text) == (OK, "8 of 8 ranks on this host (127.0.0.1), 1 host in all")


def test_table_of_another_machine(make_host, only):
    conf = recorded.HCCN_CONF.replace("address_2=192.168.100.103", "address_2=192.168.100.203")
    host = make_host({"/etc/hccn.conf": conf}, cards=7)
    found = only(job.rank_table(host, RankTable((HERE,)), HERE, device_target="Ascend"))
    assert found.level == FAILURE
    assert "this host has 7 devices, so no device 7" in found.text
    assert "device 2 is 192.168.100.103 there and 192.168.100.203 in /etc/hccn.conf" in found.text
    assert only(job.rank_table(host, RankTable((HERE,)), HERE, device_target="CPU")).level == OK


def free_port():
    """A port that is free together with the next one."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port


def test_ports(only):
    port = free_port()
    assert only(job.ports(HERE, port, hosts=2, is_master=True)).level == OK
    with socket.create_server(("127.0.0.1", port + 1)):
        assert only(job.ports(HERE, port, hosts=1, is_master=True)).level == OK
        found = only(job.ports(HERE, port, hosts=2, is_master=True))
        assert (found.level, f"port {port + 1} of 127.0.0.1: Address already in use" in found.text) == (FAILURE, True)
        assert only(job.ports(HERE, port, hosts=2, is_master=False)).level == OK


THREE = RankTable(tuple(Server(f"127.0.0.{i + 1}", (Device(i, 0),)) for i in range(3)))


def meet(port, seconds=5, folders=("", "", ""), clocks=(time.time,) * 3, who=(0, 1, 2)):
    """{index: findings} of doctors that run at the same time; they come one after the other, rank 0's last."""
    found = {}

    def run(index):
        found[index] = list(meeting(THREE, THREE.servers[index], port, folder=folders[index], seconds=seconds,
                                    clock=clocks[index]))

    threads = [threading.Thread(target=run, args=(index,)) for index in sorted(who, reverse=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return found


def test_hosts_that_reach_each_other(tmp_path):
    found = meet(free_port(), folders=(str(tmp_path),) * 3)
    assert [(f.check, f.level) for f in found[0]] == [("hosts", OK), ("shared folder", OK)] * 2
    assert [(f.check, f.level) for f in found[2]] == [("hosts", OK), ("shared folder", OK)]
    assert "127.0.0.1 (host of rank 0): reached" in found[1][0].text
    assert list(tmp_path.iterdir()) == []


def test_clocks_that_differ_and_folders_that_are_not_shared(tmp_path):
    (tmp_path / "other").mkdir()
    found = meet(free_port(), folders=(str(tmp_path), str(tmp_path / "other"), ""),
                 clocks=(time.time, lambda: time.time() - 90, lambda: time.time() + 0.5))
    second, shared, third, not_compared = found[0]
    assert (second.level, "clocks 90.0" in second.text or "clocks 89.9" in second.text) == (WARNING, True), second
    assert (shared.level, shared.check) == (FAILURE, "shared folder")
    assert third.level == OK
    assert (not_compared.level, not_compared.text) == (WARNING, "127.0.0.3: not compared")
    assert 0.45 < float(third.text.split("clocks ")[1].split(" s")[0]) < 0.55


def test_a_host_that_does_not_come():
    (found,) = meet(free_port(), seconds=1, who=(0,))[0]
    assert (found.level, found.text) == (FAILURE, "no doctor came within 1 s from 127.0.0.2, 127.0.0.3")
    (found,) = meet(free_port(), seconds=1, who=(1,))[1]
    assert (found.level, "did not answer within 1 s" in found.text) == (FAILURE, True)


@pytest.mark.parametrize("said", [b"", b"hello\n", b"[1]\n", b'{"server": 3}\n', b"\xff\xfe\n", b"x" * 9000])
def test_a_stranger_at_the_port_is_ignored(said):
    port, found = free_port(), []

    def stranger():
        time.sleep(0.2)
        with socket.create_connection(("127.0.0.1", port + 1)) as line:
            line.sendall(said)

    threading.Thread(target=stranger).start()
    found = meet(port, seconds=3)
    assert [f.level for f in found[0] if f.check == "hosts"] == [OK, OK]
