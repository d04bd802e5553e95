"""Two launchers on two addresses of this machine: one job, one end."""
import os
import signal
import socket
import struct
import threading
import time

import pytest

from src.launch import control_channel
from src.launch.rank_table import Device, RankTable, Server

A, B = "127.0.0.2", "127.0.0.3"


@pytest.fixture
def port():
    """A port whose successor is free on both addresses."""
    with socket.socket() as one, socket.socket() as other:
        one.bind((A, 0))
        other.bind((B, one.getsockname()[1]))
        return str(one.getsockname()[1] - 1)


@pytest.fixture
def pair(launchers, table_file, port):
    """Starts the launchers of both hosts; rank 0 is on the second server of the table."""
    path = table_file({A: [(2, 0), (1, 1)], B: [(0, 0)]})

    def start(*words):
        return [launchers.start("--rank_table", path, "--server", name, "--port", port, *words) for name in (A, B)]
    return start


def ends(popens, timeout=40):
    """[(status, output), ...] of launchers."""
    outputs = [p.communicate(timeout=timeout)[0] for p in popens]
    return [(p.returncode, output) for p, output in zip(popens, outputs)]


def test_both_hosts_run_and_end_together(launchers, pair):
    (status_a, output_a), (status_b, _) = ends(pair("rank.py", "0:sleep=2", "say=ready"))
    assert (status_a, status_b) == (0, 0)
    assert "3 ranks on Ascend (127.0.0.2: ranks 1-2; 127.0.0.3: ranks 0); this host is 127.0.0.2" in output_a
    for rank in (0, 1, 2):
        assert "ready" in (launchers.folder / f"train_parallel{rank}" / "log").read_text()


def test_a_killed_rank_ends_the_job_on_every_host(launchers, pair):
    popens = pair("rank.py", "child", "pid", "sleep=60")
    launchers.pid(0), launchers.pid(1)
    os.kill(launchers.pid(2), signal.SIGKILL)
    begun = time.monotonic()
    for status, output in ends(popens):
        assert status == 137
        assert "the job ended with status 137: rank 2 on 127.0.0.2 was killed by signal 9 (SIGKILL)" in output
    assert time.monotonic() - begun < 10
    assert launchers.left() == []


def test_the_master_passes_a_failure_on_to_a_third_host(launchers, table_file, port):
    third = "127.0.0.4"
    path = table_file({B: [(0, 0)], A: [(1, 0)], third: [(2, 0)]})
    popens = [launchers.start("--rank_table", path, "--server", name, "--port", port, "rank.py", "1:exit=6", "sleep=60")
              for name in (B, A, third)]
    for status, output in ends(popens):
        assert status == 6
        assert "rank 1 on 127.0.0.2 exited with status 6" in output


def test_a_host_that_dies_ends_the_job_and_is_named(launchers, pair):
    popens = pair("rank.py", "pid", "sleep=60")
    for rank in (0, 1, 2):
        launchers.pid(rank)
    popens[0].kill()
    status, output = ends(popens)[1]
    assert status == 1
    assert "host 127.0.0.2 (ranks 1-2) is lost: the connection was closed" in output
    assert launchers.left() == []


@pytest.mark.slow
def test_a_silent_host_ends_the_job_and_is_named(launchers, pair):
    popens = pair("rank.py", "pid", "sleep=100")
    for rank in (0, 1, 2):
        launchers.pid(rank)
    popens[1].send_signal(signal.SIGSTOP)
    begun = time.monotonic()
    status, output = ends(popens[:1], timeout=60)[0]
    assert time.monotonic() - begun < control_channel.SILENCE + 10
    assert status == 1
    assert "host 127.0.0.3 (ranks 0) is lost: nothing was heard for 20 s" in output


def test_sigterm_to_one_launcher_lets_the_ranks_of_all_hosts_save(launchers, pair):
    popens = pair("rank.py", "save", "pid", "sleep=60")
    for rank in (0, 1, 2):
        launchers.pid(rank)
    popens[0].send_signal(signal.SIGTERM)
    assert [status for status, _ in ends(popens)] == [143, 143]
    assert all("saved" in (launchers.folder / f"train_parallel{r}" / "log").read_text() for r in (0, 1, 2))
    assert launchers.left() == []


def test_all_hosts_restart_together(launchers, pair):
    for status, output in ends(pair("--max_restarts=1", "rank.py", "1:exit_unless_resumed=5", "0:sleep=1")):
        assert status == 0
        assert "rank 1 on 127.0.0.2 exited with status 5" in output
        assert "restart 1 of 1" in output


def test_a_rank_of_another_host_that_never_starts_is_named(launchers, pair):
    for status, output in ends(pair("--start_timeout=3", "rank.py", "0:started", "1:started", "sleep=60")):
        assert status == 1
        assert "rank 2 on 127.0.0.2 did not start within 3 s" in output


def test_a_host_that_never_comes_is_named(launchers, table_file, port):
    path = table_file({A: [(2, 0), (1, 1)], B: [(0, 0)]})
    words = "--rank_table", path, "--port", port, "--start_timeout=2"
    status, output = launchers.run(*words, "--server", B, "rank.py")
    assert status == 2
    assert "no launcher came within 2 s from 127.0.0.2 (ranks 1-2)" in output
    status, output = launchers.run(*words, "--server", A, "rank.py")
    assert status == 2
    assert "the launcher of 127.0.0.3 (ranks 0) did not answer on port" in output


def test_hosts_with_different_tables_do_not_start(launchers, table_file, port):
    path = table_file({A: [(1, 0)], B: [(0, 0)]})
    master = launchers.start("--rank_table", path, "--server", B, "--port", port, "--start_timeout=15", "rank.py")
    launchers.wait_for("table.json")
    time.sleep(1)
    other = path.with_name("other.json")
    other.write_text(path.read_text().replace('"device_id": "0"', '"device_id": "1"', 1))
    status, output = launchers.run("--rank_table", other, "--server", A, "--port", port, "rank.py")
    assert status == 2
    assert "the launcher on 127.0.0.3 refused 127.0.0.2: its rank table differs" in output
    master.send_signal(signal.SIGTERM)
    assert master.wait(timeout=10) == 143


@pytest.mark.parametrize("reset", [False, True])
def test_a_closed_and_a_reset_connection_are_one_thing(reset):
    with socket.create_server((A, 0)) as listener, socket.create_connection(listener.getsockname()) as far:
        near, _ = listener.accept()
        with near:
            if reset:
                far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            far.close()
            with pytest.raises(ConnectionError, match="^the connection was closed$"):
                control_channel.Peer(near, A).receive(wait=5)


@pytest.mark.parametrize("line", [
    b'{"kind": "hello", "server": ["a"], "digest": "", "number": 1}', b'{"kind": ["hello"]}', b'{"kind": "bye"}', b"{}",
    b'{"kind": "hello", "server": "a", "digest": "", "number": "two"}', b'{"kind": "hello", "server": "a"}',
    b'{"kind": "go", "number": null}', b'{"kind": "go", "number": ' + b"9" * 5000 + b"}", b'"kind"', b"1", b"\xff",
    b"[" * 60000])
def test_what_is_no_message(line):
    with pytest.raises(ConnectionError, match="what came is no message"):
        control_channel.parse_message(line)


def test_a_stranger_at_the_port_is_sent_away(launchers, table_file, port):
    path = table_file({A: [(1, 0)], B: [(0, 0)]})
    master = launchers.start("--rank_table", path, "--server", B, "--port", port, "rank.py")
    for noise in (b"GET / HTTP/1.0\r\n\r\n", b'{"kind": "hello", "server": "10.0.0.1"}\n', b"[1]\n",
                  b'{"kind": "hello", "server": ["a"]}\n'):
        for _ in range(50):
            try:
                stranger = socket.create_connection((B, int(port) + 1))
                break
            except ConnectionRefusedError:
                time.sleep(0.1)
        with stranger:
            stranger.sendall(noise)
            assert stranger.recv(10) == b""
    friend = launchers.start("--rank_table", path, "--server", A, "--port", port, "rank.py")
    assert [status for status, _ in ends([master, friend])] == [0, 0]


def test_the_wait_for_a_late_host_is_no_silence_of_the_early_one(monkeypatch, port):
    monkeypatch.setattr(control_channel, "SILENCE", 0.5)
    table = RankTable(tuple(Server(name, (Device(rank, 0),)) for rank, name in enumerate((A, B, "127.0.0.4"))))
    lines = [control_channel.ControlChannel(table, server, port=int(port) + 1, digest="") for server in table.servers]
    waiting = [threading.Thread(target=line.gather, args=(1,), kwargs={"timeout": 10, "stopped": lambda: False})
               for line in lines]
    for thread in waiting[:2]:
        thread.start()
    time.sleep(1)
    waiting[2].start()
    for thread in waiting:
        thread.join()
    assert lines[0].poll() == []
    for line in lines:
        line.close()


def test_the_same_port_twice_is_explained(launchers, table_file, port):
    with socket.create_server((B, int(port) + 1)):
        status, output = launchers.run("--rank_table", table_file({A: [(1, 0)], B: [(0, 0)]}), "--server", B,
                                       "--port", port, "rank.py")
    assert status == 2
    assert "Address already in use; another job?" in output


def test_a_taken_port_of_the_scheduler_is_explained(launchers):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, output = launchers.run("--port", port, "--max_restarts=3", "rank.py", DEVICE_TARGET="CPU", WORKERS="1")
    assert status == 2
    assert output == (f"error: port {port} of 127.0.0.1: Address already in use; another job? Give every host of this "
                      "one the same other --port\n")
    assert not (launchers.folder / "train_parallel0").exists()


def test_a_port_with_connections_that_time_out_is_free():
    with control_channel.listen(A, 0) as server:
        port = server.getsockname()[1]
        with socket.create_connection((A, port)) as client:
            server.accept()[0].close()  # the side that closes first keeps the port in TIME_WAIT
            assert client.recv(1) == b""
    control_channel.listen(A, port).close()
