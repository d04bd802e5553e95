"""Rank tables: HCCL's json that says which rank runs on which device of which server.

    server   one host; `server_id` is its address, from version 1.2 on any name, with its address in `host_ip`
    device   one card of a server: `device_id` in its server, `device_ip` of its own network port, `rank_id` in the job

Reading checks everything at once: `read` raises one error that names each defect with line and JSON path. The formats
are those of HCCL's documentation ("rank table", versions 1.0, and 1.2 for super pods of A3): every number is written as
a string. Keys that this project does not know are kept. What other formats there are, `table_formats` converts.
"""
from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from src.contract import InputError
from src.files import write_file
from src.launch.hosts import is_address, is_local
from src.launch.rank_table_check import find_defects
from src.launch.table_formats import is_other_format, to_server_list

MOST_RANKS = 4096  # on one host: beyond it is a slip of the hand
NAMES_IN_FOLDER = ("jobstart_hccl.json", "hccl.json")  # ModelArts' and MindCluster's


def _others() -> Any:
    """A field for the keys of the JSON object that have no field of their own."""
    return field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Device:
    """One rank: its number in the job, its device in the server, the address of the device's own network port.

    `device_ip` is "" where ranks run on a CPU and nothing but the server has an address.
    """

    rank: int
    device_id: int
    device_ip: str = ""
    others: Mapping[str, Any] = _others()


@dataclass(frozen=True)
class Server:
    """One host and its devices, in the order of their ranks."""

    server_id: str
    devices: tuple[Device, ...]
    others: Mapping[str, Any] = _others()

    @property
    def ranks(self) -> list[int]:
        return [d.rank for d in self.devices]

    @property
    def address(self) -> str:
        """Where the other hosts reach it: the pod's own address, else the host's, else `server_id`, a name perhaps."""
        return self.others.get("container_ip") or self.others.get("host_ip") or self.server_id

    @property
    def here(self) -> bool:
        """Whether it is this machine."""
        names = {self.others.get("container_ip"), self.others.get("host_ip"), self.server_id} - {None, ""}
        return any(is_local(name) for name in names if is_address(name)) or is_local(self.address)


@dataclass(frozen=True)
class RankTable:
    """All servers of a job; ranks 0..world_size-1 each occur once.

    `path` is the file it was read from, where there is one that HCCL reads too.
    """

    servers: tuple[Server, ...]
    path: Path | None = None
    others: Mapping[str, Any] = _others()

    @property
    def world_size(self) -> int:
        return sum(len(s.devices) for s in self.servers)

    @property
    def master(self) -> Server:
        """The server of rank 0; the others meet there."""
        return next(s for s in self.servers if 0 in s.ranks)

    def to_json(self) -> str:
        """The table as HCCL reads it."""
        servers = [{"server_id": s.server_id,
                    "device": [{"device_id": str(d.device_id), "device_ip": d.device_ip, "rank_id": str(d.rank)}
                               | d.others for d in s.devices]} | {"host_nic_ip": "reserve"} | s.others
                   for s in self.servers]
        head = {"version": "1.2" if "super_pod_list" in self.others else "1.0", "server_count": str(len(servers))}
        return json.dumps(head | {"server_list": servers, "status": "completed"} | self.others, indent=4) + "\n"


def read(path: str | Path, *, device_target: str = "Ascend", hosts: Sequence[str] = (), wait: float = 0.0) -> RankTable:
    """Read and check a rank table.

    Args:
        path: the json file, or the folder that a platform puts one into.
        device_target: on "CPU" a device needs no address of its own.
        hosts: the platform's hosts, for tables that name none.
        wait: seconds for the platform to complete the table.

    Raises:
        InputError: every defect, one a line, as `file:line $.json.path: what is wrong`.
    """
    path = _file_of(Path(path))
    original = text = _completed_text(path, wait)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None  # the check says what is wrong
    converted = is_other_format(document)
    if converted:
        document = to_server_list(document, str(path), hosts)
        text = json.dumps(document, indent=1)
    defects = find_defects(text, f"{path} (converted)" if converted else str(path), names=converted,
                           need_device_ip=device_target != "CPU" and '"rank_list"' not in original)
    if defects:
        raise InputError("\n".join(defects))
    servers = tuple(Server(s["server_id"], tuple(sorted(map(_device, s["device"]), key=lambda d: d.rank)),
                           _rest(s, "server_id", "device", "host_nic_ip")) for s in document["server_list"])
    return RankTable(servers, None if converted else path.resolve(),
                     _rest(document, "version", "server_count", "server_list", "status"))


def _device(d: Mapping[str, Any]) -> Device:
    return Device(int(d["rank_id"]), int(d["device_id"]), d.get("device_ip", ""),
                  _rest(d, "rank_id", "device_id", "device_ip"))


def _rest(holder: Mapping[str, Any], *known: str) -> dict[str, Any]:
    return {k: v for k, v in holder.items() if k not in known}


def _file_of(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = [path / name for name in NAMES_IN_FOLDER if (path / name).is_file()] or sorted(path.glob("*.json"))
    if len(found) != 1:
        raise InputError(f"{path}: a folder with {len(found) or 'no'} rank tables; name the file")
    return found[0]


def _completed_text(path: Path, wait: float) -> str:
    """The file's text, once its `status` is "completed" or the time is over."""
    deadline = time.monotonic() + wait
    while True:
        try:
            text = path.read_text(encoding="utf-8-sig")  # with or without the mark that editors put in front
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: not a rank table: byte {error.start} is not UTF-8 text") from error
        except OSError as error:
            raise InputError(f"{path}: rank table not readable: {error.strerror}; "
                             "src/tools/get_multicards_json.py writes one") from error
        if (text and '"initializing"' not in text) or time.monotonic() >= deadline:
            return text
        time.sleep(0.5)


def single_server(workers: int, *, first_device: int = 0, address: str = "127.0.0.1") -> RankTable:
    """The table of `workers` ranks on one host, on consecutive devices from `first_device`."""
    return RankTable((Server(address, tuple(Device(i, first_device + i) for i in range(workers))),))


def merge(tables: Sequence[RankTable]) -> RankTable:
    """Join the tables of several hosts; ranks are renumbered in the order of the tables.

    Servers of one super pod are listed together. Of other keys at the top the first table's count.

    Raises:
        InputError: a server or a device address occurs twice.
    """
    seen: dict[str, RankTable] = {}
    servers, rank = [], 0
    for table in tables:
        for server in table.servers:
            for name in [server.server_id, *(d.device_ip for d in server.devices if d.device_ip != server.server_id)]:
                if name and name in seen:
                    raise InputError(f"{table.path}: address {name} is in {seen[name].path} already; "
                                     "every server and device can be in one table only")
                seen[name] = table
            devices = tuple(replace(d, rank=rank + i) for i, d in enumerate(server.devices))
            servers.append(replace(server, devices=devices))
            rank += len(devices)
    others: dict[str, Any] = {}
    for table in tables:
        others = {**table.others, **others}
    pods: dict[str, list] = {}
    for pod in (pod for table in tables for pod in table.others.get("super_pod_list", [])):
        pods.setdefault(pod["super_pod_id"], []).extend(pod["server_list"])
    if pods:
        others["super_pod_list"] = [{"super_pod_id": name, "server_list": listed} for name, listed in pods.items()]
    return RankTable(tuple(servers), others=others)


def write(table: RankTable, path: str | Path) -> Path:
    """Write the table in one move; a file of other content is never replaced.

    Raises:
        InputError: `path` exists and says something else.
    """
    path, text = Path(path), table.to_json()
    if path.exists() and path.read_text(encoding="utf-8", errors="replace") != text:
        raise InputError(f"{path}: exists with other content; move it away or give another --output")
    write_file(path, text)
    return path


def this_server(table: RankTable, address: str = "") -> Server:
    """The server of the table that this host is: the one with `address`, or the one whose address is ours.

    Raises:
        InputError: none or several; the message lists the table's servers.
    """
    names = ", ".join(s.server_id for s in table.servers)
    place = table.path or "rank table"
    found = [s for s in table.servers if (address in (s.server_id, s.address) if address else s.here)]
    if not found and address:
        raise InputError(f"{place}: no server {address}; it has {names}")
    if not found:
        raise InputError(f"{place}: none of its servers ({names}) is this host ({socket.gethostname()}); "
                         "add this host to the table, or say which entry it is with --server=ADDRESS")
    if len(found) > 1:
        raise InputError(f"{place}: {', '.join(s.server_id for s in found)} are all addresses of this host; "
                         "say which entry it is with --server=ADDRESS")
    return found[0]
