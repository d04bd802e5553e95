"""Rank tables: what is read and written, and every way to get one wrong."""
import copy
import json
import threading

import pytest

from src.contract import InputError
from src.launch import rank_table
from src.launch.rank_table import Device, RankTable, Server
from src.launch.rank_table_check import find_defects

GOOD = {
    "version": "1.0",
    "server_count": "2",
    "server_list": [
        {"server_id": "10.0.0.1", "device": [
            {"device_id": "4", "device_ip": "192.168.1.4", "rank_id": "1"},
            {"device_id": "5", "device_ip": "192.168.1.5", "rank_id": "0"}], "host_nic_ip": "reserve"},
        {"server_id": "10.0.0.2", "device": [
            {"device_id": "0", "device_ip": "192.168.2.1", "rank_id": "2"}], "host_nic_ip": "reserve"}],
    "status": "completed"}

FIRST, SECOND = ("server_list", 0), ("server_list", 1)
DEVICE = (*FIRST, "device", 0)
DROP = object()


def changed(*changes, of=None):
    """GOOD, or the table `of`, as text, with (path, value) pairs put in; DROP takes a key out."""
    table = copy.deepcopy(GOOD if of is None else of)
    for path, value in changes:
        holder = table
        for key in path[:-1]:
            holder = holder[key]
        if value is DROP:
            del holder[path[-1]]
        else:
            holder[path[-1]] = value
    return json.dumps(table, indent=1)


BROKEN = {
    "empty file": ("", "t.json:1: not JSON: Expecting value (column 1)"),
    "cut off": (changed()[:200], "t.json:13: not JSON: Expecting value (column 4)"),
    "trailing comma": ('{"version": "1.0",\n}', "not JSON"),
    "no object": ("[]", "t.json:1 $: must be an object, is a list"),
    "version missing": (changed((("version",), DROP)), "t.json:1 $.version: missing"),
    "version wrong": (changed((("version",), "1.1")), "$.version: '1.1' is not supported, only '1.0'"),
    "version a number": (changed((("version",), 1.0)), "$.version: must be a string, is a number 1.0"),
    "status missing": (changed((("status",), DROP)), "$.status: missing"),
    "status unfinished": (changed((("status",), "initializing")),
        "$.status: 'initializing': the table is not finished"),
    "count missing": (changed((("server_count",), DROP)), "$.server_count: missing"),
    "count wrong": (changed((("server_count",), "3")), "$.server_count: 3, but server_list has 2"),
    "count no number": (changed((("server_count",), "two")), "$.server_count: 'two' is not a number"),
    "count of another script": (changed((("server_count",), "\u00b2")), "$.server_count: '\u00b2' is not a number"),
    "count endless": (changed((("server_count",), "9" * 5000)), f"$.server_count: '{'9' * 40}' is not a number"),
    "count endless, no string": (changed().replace('"2"', "9" * 5000, 1), "not a rank table: a number of thousands of"),
    "servers missing": (changed((("server_list",), DROP)), "$.server_list: missing"),
    "servers empty": (changed((("server_list",), [])), "$.server_list: empty"),
    "servers no list": (changed((("server_list",), {})), "$.server_list: must be a list, is an object"),
    "server no object": (changed((SECOND, "10.0.0.2")), "$.server_list[1]: must be an object, is a string"),
    "server id missing": (changed(((*FIRST, "server_id"), DROP)), "t.json:5 $.server_list[0].server_id: missing"),
    "server id no address": (changed(((*FIRST, "server_id"), "node1")), "'node1' is not an IP address"),
    "server id cut": (changed(((*FIRST, "server_id"), "10.0.0")), "'10.0.0' is not an IP address"),
    "server id a star": (changed(((*FIRST, "server_id"), "10.111.*.*")), "'10.111.*.*' is not an IP address"),
    "server id of nobody": (changed(((*FIRST, "server_id"), "0.0.0.0")), "0.0.0.0 is not the address of one machine"),
    "server twice": (changed(((*SECOND, "server_id"), "10.0.0.1")),
                     "t.json:21 $.server_list[1].server_id: server 10.0.0.1 is used twice, first at "
                     "$.server_list[0].server_id"),
    "nic a number": (changed(((*FIRST, "host_nic_ip"), 7)), "$.server_list[0].host_nic_ip: must be a string"),
    "devices missing": (changed(((*SECOND, "device"), DROP)), "$.server_list[1].device: missing"),
    "devices empty": (changed(((*SECOND, "device"), [])), "$.server_list[1].device: empty"),
    "device no object": (changed((DEVICE, "0")), "$.server_list[0].device[0]: must be an object, is a string"),
    "device id missing": (changed(((*DEVICE, "device_id"), DROP)),
        "t.json:8 $.server_list[0].device[0].device_id: missing"),
    "device id a number": (changed(((*DEVICE, "device_id"), 4)),
        "device[0].device_id: must be a string, is a number 4"),
    "device id negative": (changed(((*DEVICE, "device_id"), "-1")),
        "device[0].device_id: '-1' is not a number 0, 1, 2"),
    "device twice": (changed(((*DEVICE, "device_id"), "5")),
                     "$.server_list[0].device[1].device_id: device 5 is used twice, first at "
                     "$.server_list[0].device[0].device_id"),
    "ip missing": (changed(((*DEVICE, "device_ip"), DROP)), "t.json:8 $.server_list[0].device[0].device_ip: missing"),
    "ip empty": (changed(((*DEVICE, "device_ip"), "")), "device[0].device_ip: empty"),
    "ip malformed": (changed(((*DEVICE, "device_ip"), "192.168.1.300")), "'192.168.1.300' is not an IP address"),
    "ip multicast": (changed(((*DEVICE, "device_ip"), "239.0.0.1")), "239.0.0.1 is not the address of one machine"),
    "ip twice": (changed(((*DEVICE, "device_ip"), "192.168.2.1")), "address 192.168.2.1 is used twice, first at"),
    "rank missing": (changed(((*DEVICE, "rank_id"), DROP)), "device[0].rank_id: missing"),
    "rank null": (changed(((*DEVICE, "rank_id"), None)), "device[0].rank_id: must be a string, is null"),
    "rank no number": (changed(((*DEVICE, "rank_id"), "one")), "device[0].rank_id: 'one' is not a number 0, 1, 2"),
    "rank twice": (changed(((*DEVICE, "rank_id"), "2")),
                   "$.server_list[1].device[0].rank_id: rank 2 is used twice, first at "
                   "$.server_list[0].device[0].rank_id"),
    "hole in ranks": (changed(((*DEVICE, "rank_id"), "3")),
        "$: 3 devices need ranks 0..2: no rank 1; 3 beyond the last"),
    "key twice": (changed().replace('"version"', '"status": "completed", "version"'), "$.status: the key occurs twice"),
    "nested without end": ("[" * 100000, "t.json: not a rank table: nested too deeply"),
}


@pytest.mark.parametrize(("text", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_defect_is_named_with_its_place(text, message):
    assert message in "\n".join(find_defects(text, "t.json"))


def test_one_defect_gives_one_message_and_all_are_given():
    assert len(find_defects(BROKEN["server twice"][0], "t")) == 1
    both = changed(((*DEVICE, "device_ip"), "x"), (("status",), "no"), ((*SECOND, "server_id"), ""))
    assert len(find_defects(both, "t")) == 3


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_good_table_in_any_order_of_ranks(tmp_path, encoding):
    path = tmp_path / "t.json"
    path.write_text(changed(), encoding=encoding)
    table = rank_table.read(path)
    assert table.servers == (Server("10.0.0.1", (Device(0, 5, "192.168.1.5"), Device(1, 4, "192.168.1.4"))),
                             Server("10.0.0.2", (Device(2, 0, "192.168.2.1"),)))
    assert (table.world_size, table.master.server_id, table.path) == (3, "10.0.0.1", path)


def test_master_is_the_server_of_rank_0(tmp_path):
    path = tmp_path / "t.json"
    path.write_text(changed(((*SECOND, "device", 0, "rank_id"), "0"), ((*FIRST, "device", 1, "rank_id"), "2")))
    assert rank_table.read(path).master.server_id == "10.0.0.2"


def test_cpu_devices_need_no_address_of_their_own(tmp_path):
    path = tmp_path / "t.json"
    path.write_text(changed(((*DEVICE, "device_ip"), DROP), ((*FIRST, "device", 1, "device_ip"), "10.0.0.1")))
    assert rank_table.read(path, device_target="CPU").world_size == 3
    with pytest.raises(InputError, match="device_ip: missing"):
        rank_table.read(path)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00", "folder"], ids=["absent", "binary", "folder"])
def test_unreadable_file(tmp_path, content):
    path = tmp_path / "t.json"
    if content == "folder":
        path.mkdir()
    elif content:
        path.write_bytes(content)
    with pytest.raises(InputError, match="t.json: (rank table not readable|not a rank table: byte 0|a folder with no)"):
        rank_table.read(path)


def test_what_is_written_is_read_again(tmp_path):
    table = RankTable((Server("10.0.0.9", (Device(0, 7, "192.168.1.7"), Device(1, 3, "192.168.1.3"))),))
    path = rank_table.write(table, tmp_path / "t.json")
    assert rank_table.read(path).servers == table.servers
    assert json.loads(path.read_text()) == {
        "version": "1.0", "server_count": "1", "server_list": [
            {"server_id": "10.0.0.9", "device": [
                {"device_id": "7", "device_ip": "192.168.1.7", "rank_id": "0"},
                {"device_id": "3", "device_ip": "192.168.1.3", "rank_id": "1"}], "host_nic_ip": "reserve"}],
        "status": "completed"}


def test_a_file_of_other_content_stays(tmp_path):
    (tmp_path / "t.json").write_text("mine")
    with pytest.raises(InputError, match="exists with other content"):
        rank_table.write(rank_table.single_server(2), tmp_path / "t.json")
    assert (tmp_path / "t.json").read_text() == "mine"


def test_merge_numbers_ranks_through():
    a = RankTable((Server("10.0.0.1", (Device(0, 4, "1.1.1.1"), Device(1, 5, "1.1.1.2"))),))
    b = RankTable((Server("10.0.0.2", (Device(0, 0, "1.1.2.1"),)),))
    assert rank_table.merge([b, a]).servers == (
        Server("10.0.0.2", (Device(0, 0, "1.1.2.1"),)),
        Server("10.0.0.1", (Device(1, 4, "1.1.1.1"), Device(2, 5, "1.1.1.2"))))
    with pytest.raises(InputError, match="address 10.0.0.1 is in None already"):
        rank_table.merge([a, a])


def test_this_host_is_found_by_its_address():
    far, near, also = (Server(name, (Device(i, 0),)) for i, name in enumerate(("192.0.2.1", "127.0.0.1", "127.0.0.2")))
    assert rank_table.this_server(RankTable((far, near))) is near
    assert rank_table.this_server(RankTable((far, near, also)), "192.0.2.1") is far
    with pytest.raises(InputError, match=r"none of its servers \(192.0.2.1\) is this host"):
        rank_table.this_server(RankTable((far,)))
    with pytest.raises(InputError, match="127.0.0.1, 127.0.0.2 are all addresses of this host"):
        rank_table.this_server(RankTable((near, also)))
    with pytest.raises(InputError, match="no server 10.9.9.9; it has 192.0.2.1"):
        rank_table.this_server(RankTable((far,)), "10.9.9.9")


A3 = {"version": "1.2", "status": "completed", "server_count": "2", "server_list": [
    {"server_id": "node_0", "host_ip": "10.0.0.1", "device": [
        {"device_id": "0", "super_device_id": "0", "device_ip": "1.1.1.1", "rank_id": "0", "device_port": "16666"}]},
    {"server_id": "node_1", "host_ip": "127.0.0.1", "hardware_type": "800T-A3-64G", "device": [
        {"device_id": "0", "super_device_id": "2", "device_ip": "1.1.1.2", "rank_id": "1", "device_port": "16666"}]}],
    "super_pod_list": [{"super_pod_id": "0", "server_list": [{"server_id": "node_0"}, {"server_id": "node_1"}]}],
    "para_plane": "1"}


def written(path, document):
    path.write_text(json.dumps(document))
    return path


def test_super_pods_keep_every_key(tmp_path):
    table = rank_table.read(written(tmp_path / "a3", A3))
    assert [s.address for s in table.servers] == ["10.0.0.1", "127.0.0.1"]
    assert rank_table.this_server(table).server_id == "node_1"
    again = json.loads(table.to_json())
    assert again["server_list"][1].pop("host_nic_ip") == "reserve"
    assert again["server_list"][0].pop("host_nic_ip") == "reserve"
    assert again == A3


@pytest.mark.parametrize(("path", "value", "message"), [
    (("server_list", 0, "device", 0, "super_device_id"), DROP, "device[0].super_device_id: missing"),
    (("super_pod_list",), DROP, "$.super_pod_list: missing"),
    (("super_pod_list", 0, "server_list", 1, "server_id"), "node_7",
     "does not name the servers of server_list: node_1, node_7"),
    (("super_pod_list", 0, "server_list", 1, "server_id"), "node_0", "server node_0 is used twice"),
    (("super_pod_list", 0, "super_pod_id"), 0, "super_pod_id: must be a string, is a number 0"),
    (("server_list", 0, "host_ip"), "node", "$.server_list[0].host_ip: 'node' is not an IP address"),
])
def test_defects_of_super_pods(path, value, message):
    assert message in "\n".join(find_defects(changed((path, value), of=A3), "t"))


def test_merging_joins_super_pods_and_keeps_unknown_keys(tmp_path):
    other = json.loads(json.dumps(A3).replace("node_", "node_1").replace("1.1.1.", "1.1.2."))
    other["super_pod_list"].append({"super_pod_id": "1", "server_list": [{"server_id": "node_11"}]})
    other["super_pod_list"][0]["server_list"].pop()
    made = rank_table.merge([rank_table.read(written(tmp_path / name, t)) for name, t in (("a", A3), ("b", other))])
    table = json.loads(made.to_json())
    assert table["version"] == "1.2"
    assert table["para_plane"] == "1"
    assert table["super_pod_list"] == [
        {"super_pod_id": "0", "server_list": [{"server_id": n} for n in ("node_0", "node_1", "node_10")]},
        {"super_pod_id": "1", "server_list": [{"server_id": "node_11"}]}]
    assert [d["rank_id"] for s in table["server_list"] for d in s["device"]] == ["0", "1", "2", "3"]
    assert table["server_list"][3]["hardware_type"] == "800T-A3-64G"
    assert find_defects(made.to_json(), "t") == []


GROUPS = {"status": "completed", "group_count": "1", "group_list": [{
    "group_name": "worker", "device_count": "4", "instance_count": "2", "instance_list": [
        {"pod_name": f"job-worker-{i}", "server_id": f"172.16.0.{i}", "devices": [
            {"device_id": str(d), "device_ip": f"192.168.{i}.{d}"} for d in (4, 5)]} for i in (10, 9)]}]}


def test_second_form_counts_ranks_through_the_pods(tmp_path):
    (tmp_path / "config").mkdir()
    written(tmp_path / "config" / "jobstart_hccl.json", GROUPS)
    table = rank_table.read(tmp_path / "config")
    assert [(s.server_id, s.ranks) for s in table.servers] == [("172.16.0.9", [0, 1]), ("172.16.0.10", [2, 3])]
    assert table.servers[1].devices[1].device_ip == "192.168.10.5"
    assert table.path is None


RANKS = {"status": "completed", "version": "2.0", "rank_count": 4, "rank_list": [
    {"rank_id": r, "local_id": r % 2, "device_id": r % 2, "level_list": []} for r in range(4)]}


def test_version_2_takes_its_hosts_from_the_platform(tmp_path):
    path = written(tmp_path / "hccl.json", RANKS)
    table = rank_table.read(path, hosts=("10.0.0.1", ""))
    assert [(s.server_id, s.ranks) for s in table.servers] == [("10.0.0.1", [0, 1]), ("host1", [2, 3])]
    with pytest.raises(InputError, match="^[^(]*names no hosts; .* of 2 hosts, and the environment tells of none"):
        rank_table.read(path)
    one = RANKS | {"rank_list": [entry | {"device_id": entry["rank_id"]} for entry in RANKS["rank_list"]]}
    assert rank_table.read(written(path, one)).world_size == 4
    with pytest.raises(InputError, match="of 1 hosts, and the environment tells of 2"):
        rank_table.read(path, hosts=("10.0.0.1", ""))


def test_other_formats_that_are_broken_are_refused(tmp_path):
    for table in ({"group_list": []}, {"group_list": [{}], "status": "completed"}, {"rank_list": 3, "status": ""}):
        with pytest.raises(InputError, match="t.json"):
            rank_table.read(written(tmp_path / "t.json", table))
    unnumbered = {"group_list": [{"instance_list": [{"pod_name": "worker", "devices": []}]}], "status": "completed"}
    with pytest.raises(InputError, match="expected group_list: .*a number at the end of each pod_name. Take the file"):
        rank_table.read(written(tmp_path / "t.json", unnumbered))


def test_a_table_is_awaited_until_its_platform_has_completed_it(tmp_path):
    path = written(tmp_path / "t.json", GROUPS | {"status": "initializing"})
    with pytest.raises(InputError, match="'initializing': the table is not finished"):
        rank_table.read(path)
    timer = threading.Timer(0.3, written, (path, GROUPS))
    timer.start()
    assert rank_table.read(path, wait=20).world_size == 4
    timer.join()
