"""What a launch command line and its environment ask for, as a `Job`."""
from __future__ import annotations

import os
from argparse import ArgumentTypeError
from collections.abc import Mapping

from src.command_line import number_in
from src.contract import InputError
from src.launch.environment import timeouts
from src.launch.plan import Job, divide_cores
from src.launch.rank_table import MOST_RANKS, RankTable, Server, read, single_server, this_server


def read_number(name: str, env: Mapping[str, str], least: int) -> int:
    """The number that an environment variable holds."""
    try:
        return number_in(int, least)(env[name])
    except ArgumentTypeError as error:
        raise InputError(f"{name}: {error}") from None


def find_table(args, env: Mapping[str, str]) -> tuple[RankTable, Server]:
    """The job's table, read or made up for this host alone, and this host's entry of it.

    Raises:
        InputError: no table and no number of ranks, or the two contradict each other.
    """
    counts = {name: read_number(name, env, 1) for name in ("WORKERS", "RANK_SIZE", "DEVICE_NUM") if env.get(name)}
    counts |= {"--workers": args.workers} if args.workers is not None else {}
    first = args.first_device
    if first is None and env.get("RANK_START_ID"):
        first = read_number("RANK_START_ID", env, 0)
    if args.rank_table:
        table = read(args.rank_table, device_target=args.device_target)
        server = this_server(table, args.server)
        for name, count in counts.items():
            if count not in (table.world_size, len(server.devices)):
                raise InputError(f"{name}={count}, but {table.path} has {table.world_size} ranks, "
                                 f"{len(server.devices)} of them on this host; unset {name}, or give another table")
        lowest = min(d.device_id for d in server.devices)
        if first not in (None, lowest):
            raise InputError(f"RANK_START_ID={first}, but the first device of this host in {table.path} is {lowest}; "
                             "unset RANK_START_ID, or give another table")
        return table, server
    if not counts:
        raise InputError("no rank table: give --rank_table=FILE (src/tools/get_multicards_json.py writes one), or the "
                         "number of ranks on this host, such as DEVICE_TARGET=CPU WORKERS=2")
    if len(set(counts.values())) > 1:
        raise InputError("contradicting numbers of ranks: " + ", ".join(f"{k}={v}" for k, v in counts.items()))
    (name, count), *_ = counts.items()
    if count > MOST_RANKS:
        raise InputError(f"{name}={count}: more than {MOST_RANKS} ranks on one host")
    table = single_server(count, first_device=first or 0)
    return table, table.master


def build_job(args, command: tuple[str, ...], env: Mapping[str, str]) -> Job:
    """What the command line and the environment ask for."""
    if args.device_target not in ("Ascend", "CPU"):
        raise InputError(f"DEVICE_TARGET={args.device_target}: expected Ascend or CPU")
    if "{number}" not in args.folder or not ("{rank}" in args.folder or "{device}" in args.folder):
        raise InputError(f"--folder={args.folder}: needs {{number}}, and {{rank}} or {{device}}, so that no two runs "
                         "or ranks write into one folder")
    table, server = find_table(args, env)
    cores = divide_cores(args.bind_core, len(server.devices), sorted(os.sched_getaffinity(0)))
    return Job(command=command, table=table, server=server, device_target=args.device_target, folder=args.folder,
               log_name=args.log_name, cores=cores, timeouts=timeouts(args.compile_timeout, args.start_timeout, env))
