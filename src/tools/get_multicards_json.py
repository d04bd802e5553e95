"""Write the rank table of one or several servers: `python get_multicards_json.py 10.111.2.3 [--device_num="[0,8)"]`.

The addresses of the devices' network ports come from `--device_ip`, else from the server's hccn.conf
(`address_0=192.168.100.101`), else from `hccn_tool`; they are never invented. The last two know only the devices of
their own machine: for several servers give --hccn_conf SERVER=FILE for each, or run this on every server and join the
tables with merge_rank_tables.py. For ranks on CPUs (--device_target=CPU) a device has its server's address.
"""
from __future__ import annotations

import ipaddress
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

if __name__ == "__main__":  # works from any folder, as a file too
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src.command_line import Parser, add_flag, entry_point
from src.contract import InputError
from src.launch.hosts import count_cards, is_local, read_hccn_conf
from src.launch.rank_table import MOST_RANKS, Device, RankTable, Server, write
from src.launch.rank_table_check import find_defects


def parse_server(text: str) -> str:
    """An IP address in the form of the table.

    Raises:
        InputError: a placeholder such as 10.111.*.* or no address at all.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        if "*" in text:
            raise InputError(f"{text}: the stars stand for your server's own address; write it out, "
                             "such as 10.111.2.3 (`hostname -I` prints it)") from None
        raise InputError(f"{text!r} is not an IP address; expected the server's own, such as 10.111.2.3") from None
    if address.is_unspecified or address.is_multicast:
        raise InputError(f"{text} is not the address of one machine")
    return str(address)


def parse_devices(text: str) -> list[int]:
    """Device ids in the order written: "[0,8)" is 0..7, "[4,7]" 4..7, "0,2,5-7" a list; brackets mean what they do
    in mathematics.

    Raises:
        InputError: not of these forms, empty, an id twice, or more than `MOST_RANKS`.
    """
    interval = re.fullmatch(r"\s*([\[(])\s*(\d{1,9})\s*,\s*(\d{1,9})\s*([\])])\s*", text)
    if interval:
        opening, first, last, closing = interval.groups()
        ranges = [range(int(first) + (opening == "("), int(last) + (closing == "]"))]
    else:
        parts = [re.fullmatch(r"\s*(\d{1,9})(?:\s*-\s*(\d{1,9}))?\s*", part) for part in text.split(",")]
        if None in parts:
            raise InputError(f'--device_num={text}: not a range; write "[0,8)", "[4,7]" or "0,1,4-7"')
        ranges = [range(int(part[1]), int(part[2] or part[1]) + 1) for part in parts]
    if sum(map(len, ranges)) > MOST_RANKS:
        raise InputError(f"--device_num={text}: more than {MOST_RANKS} devices of one server")
    ids = [i for span in ranges for i in span]
    if not ids:
        raise InputError(f"--device_num={text}: no device is in this range")
    if len(set(ids)) < len(ids):
        raise InputError(f"--device_num={text}: a device occurs twice")
    return ids


def ask_hccn_tool(tool: str, device_id: int) -> str | None:
    """The address that `hccn_tool -i ID -ip -g` prints as `ipaddr:192.168.100.101`, or None.

    Raises:
        InputError: what it prints there is no address.
    """
    try:
        answer = subprocess.run([tool, "-i", str(device_id), "-ip", "-g"], capture_output=True, errors="replace",
                                timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"ipaddr\s*:\s*(\S+)", answer.stdout)
    try:
        return parse_server(match[1]) if match else None
    except InputError as error:
        raise InputError(f"{tool} printed for device {device_id}: {error}") from error


def per_server(values: Sequence[str], servers: Sequence[str], flag: str) -> dict[str, str]:
    """{server: value} of repeated flags `SERVER=VALUE`, or `VALUE` where there is one server."""
    found = {}
    for text in values:
        server, sep, value = text.partition("=")
        if not sep and len(servers) == 1:
            server, value = servers[0], text
        if server not in servers:
            raise InputError(f"--{flag}={text}: write SERVER=VALUE with one of {', '.join(servers)}")
        found[server] = value
    return found


def parse_device_ips(values: Sequence[str], servers: Sequence[str]) -> dict[tuple[str, int], str]:
    """{(server, device id): address} of repeated flags `[SERVER:]ID=ADDRESS`."""
    found = {}
    for text in values:
        match = re.fullmatch(r"(?:(.+):)?(\d+)=(\S+)", text)
        server = (match[1] or (servers[0] if len(servers) == 1 else None)) if match else None
        if server not in servers:
            raise InputError(f"--device_ip={text}: write [SERVER:]ID=ADDRESS with a server of {', '.join(servers)}")
        found[server, int(match[2])] = parse_server(match[3])
    return found


def device_addresses(server: str, device_ids: Sequence[int], given: Mapping[tuple[str, int], str], *,
                     conf: Path | None, tool: str) -> list[str]:
    """The address of each device of a server; `conf` None and `tool` "" where this machine cannot know them.

    Raises:
        InputError: devices whose address no source knows, and which sources were asked.
    """
    listed = read_hccn_conf(conf) if conf and conf.is_file() else {}
    addresses = [given.get((server, i)) or listed.get(i) or (ask_hccn_tool(tool, i) if tool else None)
                 for i in device_ids]
    unknown = [str(i) for i, address in zip(device_ids, addresses) if address is None]
    if unknown:
        state = "has no line address_ID for them" if conf and conf.is_file() else "is not there"
        asked = ([f"{conf} {state}"] if conf else []) + ([f"{tool} gave no address"] if tool else [])
        asked = asked or [f"{server} is not this machine, whose hccn.conf would be used"]
        raise InputError(f"server {server}: no address known of device {', '.join(unknown)} ({'; '.join(asked)}); give "
                         f"--hccn_conf={server}=FILE or --device_ip={server}:{unknown[0]}=ADDRESS, or run this on "
                         f"{server} and join the tables with merge_rank_tables.py")
    return addresses


def default_devices(conf: Path | None, *, here: bool) -> str:
    """All devices of a server: as many as have addresses in its hccn.conf or, of this machine, device files; else 8."""
    listed = len(read_hccn_conf(conf)) if conf and conf.is_file() else 0
    return f"[0,{listed or (count_cards() if here else 0) or 8})"


def build_table(args) -> RankTable:
    """The table that the command line describes; ranks count through the servers in the order given.

    Raises:
        InputError: wrong words, an address that is not known, or a table that `rank_table.read` would refuse.
    """
    servers = [parse_server(text) for text in args.servers]
    if len(set(servers)) < len(servers):
        raise InputError(f"a server occurs twice: {', '.join(servers)}")
    confs = per_server(args.hccn_conf, servers, "hccn_conf")
    ranges = [text if "=" in text else f"{server}={text}" for text in args.device_num for server in servers]
    ranges = per_server(ranges, servers, "device_num")
    given = parse_device_ips(args.device_ip, servers)
    made, rank = [], 0
    for server in servers:
        here = len(servers) == 1 or is_local(server)
        conf = Path(confs[server]) if server in confs else Path("/etc/hccn.conf") if here else None
        ids = parse_devices(ranges.get(server) or default_devices(conf, here=here))
        if server in confs and not conf.is_file():
            raise InputError(f"--hccn_conf={server}={conf}: no such file")
        ips = [server] * len(ids) if args.device_target == "CPU" else device_addresses(
            server, ids, given, conf=conf, tool=args.hccn_tool if here and server not in confs else "")
        made.append(Server(server, tuple(Device(rank + i, d, ip) for i, (d, ip) in enumerate(zip(ids, ips)))))
        rank += len(ids)
    table = RankTable(tuple(made))
    defects = find_defects(table.to_json(), "the table", need_device_ip=args.device_target != "CPU")
    if defects:
        raise InputError("nothing is written, for the table would be wrong:\n" + "\n".join(defects))
    return table


def main() -> None:
    parser = Parser(prog="get_multicards_json.py", description="Write the rank table (HCCL 1.0) of servers.")
    parser.add_argument("servers", nargs="+", metavar="ADDRESS", help="the servers' addresses; rank 0 is on the first")
    parser.add_argument("--device_num", action="append", default=[], metavar="[SERVER=]RANGE",
                        help='devices in the order of their ranks: "[0,8)", "[4,7]" or "0,1,4-7" (default: all '
                             "of hccn.conf or of this machine, else 8)")
    parser.add_argument("--hccn_conf", action="append", default=[], metavar="[SERVER=]FILE",
                        help="file with the devices' addresses (default: /etc/hccn.conf of this machine)")
    parser.add_argument("--device_ip", action="append", default=[], metavar="[SERVER:]ID=ADDRESS",
                        help="the address of one device; repeat")
    add_flag(parser, "hccn_tool", "hccn_tool", "program to ask where no hccn.conf knows")
    parser.add_argument("--device_target", default="Ascend", choices=("Ascend", "CPU"), help="what the ranks run on")
    parser.add_argument("--output", default="", metavar="FILE", help="default: hccl_{n}p_{ids}_{ip}.json")
    args = parser.parse_args()
    table = build_table(args)
    first = table.servers[0]
    ids = "".join(str(d.device_id) for d in first.devices)
    name = (f"hccl_{table.world_size}p_{ids}_{first.server_id}.json" if len(table.servers) == 1
            else f"hccl_{len(table.servers)}s_{table.world_size}p.json")
    path = write(table, args.output or name)
    print(f"{path.resolve()}: {table.world_size} ranks on {len(table.servers)} server(s)")


if __name__ == "__main__":
    entry_point(main)
