"""The job against this host: its rank table, its cards, and the ports that scheduler and launchers listen on."""
from __future__ import annotations

from collections.abc import Iterator

from src.contract import InputError
from src.doctor.ascend import HCCN_CONF
from src.doctor.finding import FAILURE, OK, Finding
from src.doctor.host import Host
from src.launch.control_channel import listen
from src.launch.hosts import count_cards, read_hccn_conf, resolve
from src.launch.plan import plural
from src.launch.rank_table import RankTable, Server

REWRITE = "write it again: src/tools/get_multicards_json.py on every host, then merge_rank_tables.py"


def rank_table(host: Host, table: RankTable, server: Server, *, device_target: str) -> Iterator[Finding]:
    """This host's entry against its device files and hccn.conf. The table itself was checked when it was read."""
    wrong = []
    if device_target == "Ascend":
        folder = host.path("/dev")
        cards = count_cards(str(folder)) if folder.is_dir() else 0
        absent = [str(d.device_id) for d in server.devices if d.device_id >= cards]
        if absent:
            wrong.append(f"this host has {cards} devices, so no device {', '.join(absent)}")
        path = host.path(HCCN_CONF)
        addresses = read_hccn_conf(path) if path.is_file() else {}
        wrong += [f"device {d.device_id} is {d.device_ip} there and {addresses[d.device_id]} in {HCCN_CONF}"
                  for d in server.devices if d.device_ip and addresses.get(d.device_id, d.device_ip) != d.device_ip]
    text = (f"{len(server.devices)} of {table.world_size} ranks on this host ({server.server_id}), "
            f"{plural(len(table.servers), 'host')} in all")
    yield Finding("rank table", FAILURE, f"{text}; {'; '.join(wrong)}",
                  REWRITE) if wrong else Finding("rank table", OK, text)


def broken_table(problem: str) -> Iterator[Finding]:
    """A table that cannot be read, or that does not have this host; the other checks run without it."""
    yield Finding("rank table", FAILURE, "; ".join(problem.splitlines()), REWRITE)


def ports(server: Server, port: int, *, hosts: int, is_master: bool) -> Iterator[Finding]:
    """Whether the ports of the scheduler and, with several hosts, of the launchers are free on the master's host."""
    if not is_master:
        yield Finding("ports", OK, f"{port} and {port + 1} are opened on the host of rank 0 alone")
        return
    wanted = [port, port + 1] if hosts > 1 else [port]
    for number in wanted:
        try:
            listen(resolve(server.address), number).close()
        except InputError as error:
            yield Finding("ports", FAILURE, str(error).split(";")[0],
                          "end the other job (ss -ltnp shows it), or give every host the same other --port")
            return
    yield Finding("ports", OK, f"{' and '.join(map(str, wanted))} of {server.address} free")
