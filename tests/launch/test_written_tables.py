"""get_multicards_json.py writes no table that reading it would refuse."""
import sys

import pytest

from src.contract import InputError
from src.launch import hosts
from src.tools import get_multicards_json


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Runs the tool in an empty folder, with an hccn_tool that prints a text."""
    def run(*words, printed=b""):
        (tmp_path / "printed").write_bytes(printed)
        fake = tmp_path / "hccn_tool"
        fake.write_text(f"#!/bin/sh\ncat {tmp_path}/printed\n")
        fake.chmod(0o755)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["get_multicards_json.py", "10.0.0.1", f"--hccn_tool={fake}", *words])
        get_multicards_json.main()
    yield run
    assert list(tmp_path.glob("*.json")) == []


@pytest.mark.parametrize(("words", "message"), [
    (["--device_ip=0=1.2.3.4", "--device_ip=1=1.2.3.4"],
     r"the table:\d+ \$.server_list\[0\].device\[1\].device_ip: address 1.2.3.4 is used twice"),
    (["--device_ip=0=255.255.255.255", "--device_ip=1=1.2.3.4"], "255.255.255.255 is not the address of one machine"),
])
def test_a_table_that_would_be_refused_is_not_written(write, words, message):
    with pytest.raises(InputError, match=message):
        write("--device_num=0,1", *words)


@pytest.mark.parametrize(("printed", "message"), [
    (b"ipaddr:none\n", "hccn_tool printed for device 0: 'none' is not an IP address"),
    (b"ipaddr:0.0.0.0\n", "hccn_tool printed for device 0: 0.0.0.0 is not the address of one machine"),
    (b"ipaddr:\xff\xfe\n", "hccn_tool printed for device 0: .* is not an IP address"),
])
def test_what_hccn_tool_prints_is_checked(write, printed, message):
    with pytest.raises(InputError, match=message):
        write("--device_num=0", printed=printed)


def test_endless_ranges_are_refused():
    assert len(get_multicards_json.parse_devices("[0,4096)")) == 4096
    for text in ("[0,4096]", "0-999999999", "9" * 5000):
        with pytest.raises(InputError, match="more than 4096 devices of one server|not a range"):
            get_multicards_json.parse_devices(text)


def test_devices_are_those_of_the_machine_by_default(tmp_path):
    (tmp_path / "dev").mkdir()
    for name in (*(f"davinci{i}" for i in range(16)), "davinci_manager", "null"):
        (tmp_path / "dev" / name).touch()
    assert hosts.count_cards(str(tmp_path / "dev")) == 16
    conf = tmp_path / "hccn.conf"
    conf.write_text("".join(f"address_{i}=192.168.0.{i + 1}\n" for i in range(16)))
    assert get_multicards_json.default_devices(conf, here=False) == "[0,16)"
    assert get_multicards_json.default_devices(None, here=False) == "[0,8)"
