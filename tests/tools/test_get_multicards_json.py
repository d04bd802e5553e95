"""The rank table tools, run as the published command runs them."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from src.contract import InputError
from src.launch import rank_table
from src.tools.get_multicards_json import parse_devices, read_hccn_conf

TOOLS = Path(__file__).resolve().parents[2] / "src" / "tools"


@pytest.fixture
def conf(tmp_path):
    path = tmp_path / "hccn.conf"
    path.write_text("".join(f"address_{i}=192.168.100.{100 + i}\nnetmask_{i}=255.255.255.0\n" for i in range(8)))
    return path


@pytest.fixture
def tool(tmp_path):
    def run(*words, name="get_multicards_json.py", path=""):
        environment = os.environ | {"PATH": f"{path}:{os.environ['PATH']}"}
        done = subprocess.run([sys.executable, TOOLS / name, *map(str, words)], cwd=tmp_path, env=environment,
                              capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr
    return run


@pytest.mark.parametrize(("text", "ids"), [
    ("[0,8)", list(range(8))), ("[4,7]", [4, 5, 6, 7]), ("(3,6)", [4, 5]), (" [ 0 , 1 ) ", [0]), ("5", [5]),
    ("6,2-4", [6, 2, 3, 4])])
def test_device_ranges(text, ids):
    assert parse_devices(text) == ids


@pytest.mark.parametrize(("text", "message"), [
    ("[4,4)", "no device is in this range"), ("7-3", "no device is in this range"), ("0,1,1", "a device occurs twice"),
    ("eight", "not a range"), ("", "not a range"), ("[0;8)", "not a range"), ("-1", "not a range")])
def test_wrong_device_ranges(text, message):
    with pytest.raises(InputError, match=message):
        parse_devices(text)


def test_published_command_for_eight_cards(tool, conf, tmp_path):
    status, output = tool("10.111.2.3", "--hccn_conf", conf)
    assert status == 0
    path = tmp_path / "hccl_8p_01234567_10.111.2.3.json"
    assert str(path) in output
    written = json.loads(path.read_text())
    assert list(written) == ["version", "server_count", "server_list", "status"]
    assert written["server_list"][0]["device"][7] == {"device_id": "7", "device_ip": "192.168.100.107", "rank_id": "7"}
    assert rank_table.read(path).world_size == 8


def test_chosen_devices_keep_their_order(tool, conf, tmp_path):
    assert tool("10.111.2.3", "--hccn_conf", conf, "--device_num", "6,4")[0] == 0
    table = rank_table.read(tmp_path / "hccl_2p_64_10.111.2.3.json")
    assert [(d.rank, d.device_id, d.device_ip) for d in table.servers[0].devices] == [
        (0, 6, "192.168.100.106"), (1, 4, "192.168.100.104")]


def test_several_servers(tool, conf, tmp_path):
    other = tmp_path / "other.conf"
    other.write_text("address_0=192.168.101.100\n")
    status, _ = tool("10.0.0.1", "10.0.0.2", "--hccn_conf", f"10.0.0.1={conf}", "--hccn_conf", f"10.0.0.2={other}",
                     "--device_num", "[0,2)", "--device_ip", "10.0.0.2:1=192.168.101.7")
    assert status == 0
    table = rank_table.read(tmp_path / "hccl_2s_4p.json")
    assert [d.device_ip for d in table.servers[1].devices] == ["192.168.101.100", "192.168.101.7"]
    assert table.servers[1].ranks == [2, 3]


def test_hccn_tool_is_asked(tool, tmp_path):
    fake = tmp_path / "hccn_tool"
    fake.write_text('#!/bin/sh\n[ "$1 $3 $4" = "-i -ip -g" ] && echo "ipaddr:192.168.7.$2" && echo netmask:255.0.0.0\n')
    fake.chmod(0o755)
    assert tool("10.0.0.1", "--device_num", "[2,4)", path=tmp_path)[0] == 0
    table = rank_table.read(tmp_path / "hccl_2p_23_10.0.0.1.json")
    assert [d.device_ip for d in table.servers[0].devices] == ["192.168.7.2", "192.168.7.3"]


def test_cpu_devices_have_their_servers_address(tool, tmp_path):
    assert tool("127.0.0.1", "--device_target", "CPU", "--device_num", "0,1")[0] == 0
    table = rank_table.read(tmp_path / "hccl_2p_01_127.0.0.1.json", device_target="CPU")
    assert [d.device_ip for d in table.servers[0].devices] == ["127.0.0.1", "127.0.0.1"]


@pytest.mark.parametrize(("words", "message"), [
    (["10.111.*.*"], "10.111.*.*: the stars stand for your server's own address"),
    (["10.111.2"], "'10.111.2' is not an IP address"),
    (["10.111.2.300"], "'10.111.2.300' is not an IP address"),
    (["0.0.0.0"], "0.0.0.0 is not the address of one machine"),
    ([], "the following arguments are required: ADDRESS"),
    (["10.0.0.1", "10.0.0.1", "--device_target=CPU"], "a server occurs twice"),
    (["10.0.0.1", "--hccn_conf=absent.conf"], "absent.conf: no such file"),
    (["10.0.0.1", "--device_ip=0:1.2.3.4"], "--device_ip=0:1.2.3.4: write [SERVER:]ID=ADDRESS"),
    (["10.0.0.1", "--device_num=0", "--hccn_tool=no_such_tool"],
     "no address known of device 0 (/etc/hccn.conf is not there; no_such_tool gave no address)"),
    (["10.0.0.1", "192.0.2.7", "--device_num=0", "--device_ip=10.0.0.1:0=1.2.3.4"],
     "server 192.0.2.7: no address known of device 0 (192.0.2.7 is not this machine"),
])
def test_wrong_words(tool, words, message, tmp_path):
    status, output = tool(*words)
    assert status == 2
    assert message in output
    assert not list(tmp_path.glob("*.json"))


def test_wrong_line_of_hccn_conf_is_named(conf):
    conf.write_text("address_0=192.168.1.1\naddress_1=192.168.1\n")
    with pytest.raises(InputError, match=r"hccn.conf:2: '192.168.1' is not an IP address"):
        read_hccn_conf(conf)


def test_tables_of_two_servers_are_joined(tool, conf, tmp_path):
    other = tmp_path / "other.conf"
    other.write_text(conf.read_text().replace("192.168.100", "192.168.101"))
    tool("10.0.0.1", "--hccn_conf", conf, "--device_num", "0,1")
    tool("10.0.0.2", "--hccn_conf", other, "--device_num", "4")
    files = "hccl_1p_4_10.0.0.2.json", "hccl_2p_01_10.0.0.1.json"
    assert tool(*files, name="merge_rank_tables.py")[0] == 0
    table = rank_table.read(tmp_path / "hccl_2s_3p.json")
    assert [(s.server_id, s.ranks) for s in table.servers] == [("10.0.0.2", [0]), ("10.0.0.1", [1, 2])]
    status, output = tool(files[0], files[0], name="merge_rank_tables.py")
    assert status == 2
    assert "address 10.0.0.2 is in" in output
