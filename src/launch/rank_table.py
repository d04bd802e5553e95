"""Rank tables: the HCCL 1.0 json that says which rank runs on which device of which server.

    server   one host; `server_id` is its address
    device   one card of a server: `device_id` in its server, `device_ip` of its own network port, `rank_id` in the job

Reading checks everything at once: `read` raises one error that names each defect with line and JSON path. The format
is that of HCCL's documentation ("rank table", version 1.0): every number is written as a string.
"""
from __future__ import annotations

import ipaddress
import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from src.contract import InputError
from src.files import write_file
from src.launch.rank_table_check import find_defects

MOST_RANKS = 4096  # on one host: beyond it is a slip of the hand


@dataclass(frozen=True)
class Device:
    """One rank: its number in the job, its device in the server, the address of the device's own network port.

    `device_ip` is "" where ranks run on a CPU and nothing but the server has an address.
    """

    rank: int
    device_id: int
    device_ip: str = ""


@dataclass(frozen=True)
class Server:
    """One host and its devices, in the order of their ranks."""

    server_id: str
    devices: tuple[Device, ...]

    @property
    def ranks(self) -> list[int]:
        return [d.rank for d in self.devices]


@dataclass(frozen=True)
class RankTable:
    """All servers of a job; ranks 0..world_size-1 each occur once. `path` is the file it was read from, if any."""

    servers: tuple[Server, ...]
    path: Path | None = None

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
                               for d in s.devices],
                    "host_nic_ip": "reserve"} for s in self.servers]
        return json.dumps({"version": "1.0", "server_count": str(len(servers)), "server_list": servers,
                           "status": "completed"}, indent=4) + "\n"


def read(path: str | Path, *, device_target: str = "Ascend") -> RankTable:
    """Read and check a rank table.

    Args:
        path: the json file.
        device_target: on "CPU" a device needs no address of its own.

    Raises:
        InputError: every defect, one a line, as `file:line $.json.path: what is wrong`.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")  # with or without the mark that editors put in front
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a rank table: byte {error.start} is not UTF-8 text") from error
    except OSError as error:
        raise InputError(f"{path}: rank table not readable: {error.strerror}; "
                         "src/tools/get_multicards_json.py writes one") from error
    defects = find_defects(text, str(path), need_device_ip=device_target != "CPU")
    if defects:
        raise InputError("\n".join(defects))
    servers = [Server(s["server_id"], tuple(sorted(
        (Device(int(d["rank_id"]), int(d["device_id"]), d.get("device_ip", "")) for d in s["device"]),
        key=lambda d: d.rank))) for s in json.loads(text)["server_list"]]
    return RankTable(tuple(servers), path.resolve())


def single_server(workers: int, *, first_device: int = 0, address: str = "127.0.0.1") -> RankTable:
    """The table of `workers` ranks on one host, on consecutive devices from `first_device`."""
    return RankTable((Server(address, tuple(Device(i, first_device + i) for i in range(workers))),))


def merge(tables: Sequence[RankTable]) -> RankTable:
    """Join the tables of several hosts; ranks are numbered anew, in the order of the tables.

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
            devices = [Device(rank + i, d.device_id, d.device_ip) for i, d in enumerate(server.devices)]
            servers.append(Server(server.server_id, tuple(devices)))
            rank += len(devices)
    return RankTable(tuple(servers))


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
    found = [s for s in table.servers if (s.server_id == address if address else is_local(s.server_id))]
    if not found and address:
        raise InputError(f"{place}: no server {address}; it has {names}")
    if not found:
        raise InputError(f"{place}: none of its servers ({names}) is this host ({socket.gethostname()}); "
                         "add this host to the table, or say which entry it is with --server=ADDRESS")
    if len(found) > 1:
        raise InputError(f"{place}: {', '.join(s.server_id for s in found)} are all addresses of this host; "
                         "say which entry it is with --server=ADDRESS")
    return found[0]


def is_local(address: str) -> bool:
    """Whether `address` belongs to this host: only then can a socket be bound to it."""
    family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
