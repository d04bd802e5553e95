"""What a launch command line and its environment ask for, as a `Job`."""
from __future__ import annotations

import os
from argparse import ArgumentTypeError
from collections.abc import Mapping

from src.command_line import number_in
from src.contract import InputError
from src.launch.environment import quiet
from src.launch.hosts import count_cards
from src.launch.plan import Job, divide_cores, plural
from src.launch.platforms import Allocation, find_allocation
from src.launch.rank_table import MOST_RANKS, Device, RankTable, Server, read, single_server, this_server
from src.launch.timeouts import timeouts

GRACE = 60.0
GRACE_IN_POD = 25.0  # a pod is killed terminationGracePeriodSeconds after SIGTERM, 30 where nobody sets it


def read_number(name: str, env: Mapping[str, str], least: int, most: int = 2 ** 31 - 1) -> int:
    """The number that an environment variable holds."""
    try:
        return number_in(int, least, most)(env[name])
    except ArgumentTypeError as error:
        raise InputError(f"{name}: {error}") from None


def build_job(args, command: tuple[str, ...], env: Mapping[str, str]) -> Job:
    """What the command line and the environment ask for."""
    if args.device_target not in ("Ascend", "CPU"):
        raise InputError(f"DEVICE_TARGET={args.device_target}: expected Ascend or CPU")
    if "{number}" not in args.folder or not ("{rank}" in args.folder or "{device}" in args.folder):
        raise InputError(f"--folder={args.folder}: needs {{number}}, and {{rank}} or {{device}}, so that no two runs "
                         "or ranks write into one folder")
    table, server, origins = find_table(args, env)
    if args.native_rank_table and (table.path is None or args.device_target != "Ascend"):
        raise InputError("--native_rank_table: HCCL reads rank tables of version 1.0 or 1.2 on Ascend; there is "
                         f"{'no such file' if table.path is None else 'DEVICE_TARGET=CPU'}")
    cores = divide_cores(args.bind_core, len(server.devices), sorted(os.sched_getaffinity(0)))
    grace, why = find_grace(args.grace, env)
    allocation = find_allocation(env)
    waiting = timeouts(args.compile_timeout, args.start_timeout, env)
    return Job(command=command, table=table, server=server, device_target=args.device_target, folder=args.folder,
               log_name=args.log_name, cores=cores, timeouts=waiting, port=allocation.port if allocation else None,
               native=args.native_rank_table, grace=grace, quiet=quiet(env),
               origins=origins | taken_as_set(args.port, waiting, env) | why)


def taken_as_set(port: int | None, waiting: Mapping[str, str], env: Mapping[str, str]) -> dict[str, str]:
    """{what: where it was found} of the scheduler's port and the time-outs that the environment sets."""
    found = {name: "set in the environment" for name in waiting if env.get(name)}
    if port is not None and str(port) == env.get("MS_SCHED_PORT"):
        found["port"] = f"MS_SCHED_PORT={port}"
    return found


def find_grace(given: float | None, env: Mapping[str, str]) -> tuple[float, dict[str, str]]:
    """(seconds that ranks have after a stop signal, where that comes from)."""
    if given is not None:
        return given, {}
    if os.getpid() == 1 or env.get("KUBERNETES_SERVICE_HOST"):
        where = "process 1" if os.getpid() == 1 else "KUBERNETES_SERVICE_HOST is set"
        return GRACE_IN_POD, {f"grace of {GRACE_IN_POD:.0f} s": f"{where}: a pod is killed 30 s after SIGTERM"}
    return GRACE, {}


def find_table(args, env: Mapping[str, str]) -> tuple[RankTable, Server, dict[str, str]]:
    """The job's table, this host's entry of it, and {what: where it was found}.

    The table is read, or made from what a platform tells about its hosts, or of this host alone.

    Raises:
        InputError: no table and no number of ranks, or what there is contradicts itself.
    """
    counts = {name: read_number(name, env, 1) for name in ("WORKERS", "RANK_SIZE", "DEVICE_NUM") if env.get(name)}
    counts |= {"--workers": args.workers} if args.workers is not None else {}
    first = args.first_device
    if first is None and env.get("RANK_START_ID"):
        first = read_number("RANK_START_ID", env, 0)
    allocation = find_allocation(env)
    if allocation and allocation.rank is not None and allocation.world_size != len(allocation.hosts):
        raise InputError(f"{allocation.platform} has started this as one of {allocation.world_size} ranks "
                         f"({allocation.origins['rank']}); start the launcher once a host, or train.py "
                         "--is_distributed itself once a rank")
    path = args.rank_table or (allocation.table if allocation else "")
    if path:
        return _from_file(path, args, allocation, counts, first)
    if allocation and allocation.hosts:
        table, origins = _from_hosts(allocation, args, counts, first or 0)
        server = this_server(table, args.server) if args.server else table.servers[allocation.index]
        return table, server, origins
    if not counts:
        raise InputError("no rank table: give --rank_table=FILE (src/tools/get_multicards_json.py writes one), or the "
                         "number of ranks on this host, such as DEVICE_TARGET=CPU WORKERS=2")
    if len(set(counts.values())) > 1:
        raise InputError("contradicting numbers of ranks: " + ", ".join(f"{k}={v}" for k, v in counts.items()))
    (name, count), *_ = counts.items()
    check_count(name, count)
    table = single_server(count, first_device=first or 0)
    return table, this_server(table, args.server), {plural(count, "rank"): f"{name}={count}"}


def check_count(name: str, count: int) -> None:
    if count > MOST_RANKS:
        raise InputError(f"{name}={count}: more than {MOST_RANKS} ranks on one host")


def _from_file(path: str, args, allocation: Allocation | None, counts: Mapping[str, int],
               first: int | None) -> tuple[RankTable, Server, dict[str, str]]:
    hosts = allocation.hosts if allocation else ()
    table = read(path, device_target=args.device_target, hosts=hosts, wait=0 if args.dry_run else args.start_timeout)
    place = table.path or path
    origins = {plural(table.world_size, "rank"): f"rank table {place}"}
    origins |= {what: f"{allocation.platform}, {where}" for what, where in allocation.origins.items()
                if what in ("rank table", "index")} if allocation else {}
    try:
        server = this_server(table, args.server)
    except InputError:
        if allocation and not args.server and len(table.servers) == max(len(hosts), 1):
            server = table.servers[allocation.index]
        elif args.dry_run and not args.server:
            server = table.master
            origins["this host"] = (f"nowhere: none of the table's servers is this machine, so this is the plan of "
                                    f"{server.server_id}; --server=ADDRESS shows another one's")
        else:
            raise
    for name, count in counts.items():
        if count not in (table.world_size, len(server.devices)):
            raise InputError(f"{name}={count}, but {place} has {table.world_size} ranks, "
                             f"{len(server.devices)} of them on this host; unset {name}, or give another table")
    lowest = min(d.device_id for d in server.devices)
    if first not in (None, lowest):
        raise InputError(f"RANK_START_ID={first}, but the first device of this host in {place} is {lowest}; "
                         "unset RANK_START_ID, or give another table")
    return table, server, origins


def _from_hosts(allocation: Allocation, args, counts: Mapping[str, int],
                first: int) -> tuple[RankTable, dict[str, str]]:
    """A table of equal hosts: as many ranks as the platform, the command line or the device files say."""
    origins = {what: f"{allocation.platform}, {where}" for what, where in allocation.origins.items()}
    each = {"--workers": args.workers, "WORKERS": counts.get("WORKERS"), "platform": allocation.cards,
            "the devices of this host": count_cards() if args.device_target == "Ascend" else None}
    found = [(name, count) for name, count in each.items() if count]
    if not found:
        raise InputError(f"{allocation.platform} does not say how many ranks a host has: give WORKERS=N")
    name, count = found[0]
    check_count(name, count)
    if name != "platform":
        origins[f"{plural(count, 'rank')} a host"] = name
    servers = [Server(host or f"host{i}", tuple(Device(i * count + d, first + d) for d in range(count)))
               for i, host in enumerate(allocation.hosts)]
    return RankTable(tuple(servers)), origins
