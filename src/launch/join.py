"""A rank that no launcher of ours started: what it was told, as the variables of MindSpore's dynamic cluster.

Who starts such ranks, and what tells them apart:
    msrun                              sets MindSpore's own variables (MS_ROLE); nothing is left to do
    the published loop, ModelArts      RANK_ID, with RANK_TABLE_FILE or RANK_SIZE
    srun with a task a rank            SLURM_PROCID
    a pod or container of one card     the platform's number of this host
Nobody starts a scheduler for the last three, so rank 0 does (`scheduler`). With NATIVE_RANK_TABLE set, a rank table
stays MindSpore's own affair.
"""
from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import replace

from src.contract import InputError
from src.launch import environment, scheduler
from src.launch.hosts import resolve
from src.launch.job import read_number
from src.launch.platforms import Allocation, find_allocation
from src.launch.rank_table import Device, RankTable, Server, read, single_server
from src.launch.timeouts import timeouts

PORT = 8118         # of the scheduler, plus the first device of its host: jobs may share a host
WAIT = 600.0        # seconds for a platform to complete its rank table and for names of hosts to become known
COMPILE = 1800      # seconds that one rank may be behind another
ALONE = "60"        # seconds that ranks look for a scheduler that has gone: nobody else tells them that rank 0 died


def join_cluster(env: MutableMapping[str, str], device_target: str) -> str:
    """Complete `env`, the process's own environment, before MindSpore's `init`; return a line about it, or "".

    Raises:
        InputError: this process is no rank, or what it was told contradicts itself.
    """
    if env.get(environment.NATIVE):
        return "formed by the rank table, HCCL; MindSpore forces the jit level O2"
    if env.get("MS_ROLE") and (env.get("RANK_SIZE") or not env.get("MS_LOCAL_WORKER")):  # else an AscendJob's pod
        return ""
    table, rank, port, told_by = find_seat(env, device_target)
    server = next(s for s in table.servers if rank in s.ranks)
    device = next(d for d in server.devices if d.rank == rank)
    cluster = environment.of_cluster(table.world_size, resolve(table.master.address, wait=WAIT), port)
    waiting = timeouts(COMPILE, int(WAIT), {"MS_HEARTBEAT_RETRY_TIMEOUT": ALONE} | dict(env))
    for name in environment.CLEARED:
        env.pop(name, None)
    if rank == 0:
        scheduler.start(dict(env) | environment.of_scheduler(cluster) | waiting, "scheduler.log")
    env.update(environment.of_worker(cluster, server, device, device_target=device_target))
    env.update(waiting | environment.quiet(env))
    return (f"rank {rank} of {table.world_size}, told by {told_by}: dynamic cluster, scheduler "
            f"{cluster['MS_SCHED_HOST']}:{port}{', started by this rank' if rank == 0 else ''}")


def find_seat(env: MutableMapping[str, str], device_target: str) -> tuple[RankTable, int, int, str]:
    """(the job, this process's rank, the scheduler's port, what told so)."""
    allocation = find_allocation(env)
    if allocation and allocation.rank is None and env.get("RANK_ID"):
        allocation = replace(allocation, rank=read_number("RANK_ID", env, 0))
    path = env.get("RANK_TABLE_FILE") or (allocation.table if allocation else "")
    if path and (env.get("RANK_ID") or allocation):
        table = read(path, device_target=device_target, hosts=allocation.hosts if allocation else (), wait=WAIT)
        rank = read_number("RANK_ID", env, 0) if env.get("RANK_ID") else _rank_of(allocation)
        check_seat(table, rank, env, device_target)
        told = f"RANK_ID and {path}" if env.get("RANK_ID") else f"{allocation.platform} and {path}"
    elif allocation and allocation.hosts:
        table, rank = _table_of(allocation), _rank_of(allocation)
        told = f"{allocation.platform}, {allocation.origins.get('rank') or allocation.origins.get('index')}"
    elif env.get("RANK_ID") and env.get("RANK_SIZE"):
        rank, size = read_number("RANK_ID", env, 0), read_number("RANK_SIZE", env, 1)
        first = read_number("DEVICE_ID", env, 0) - rank if env.get("DEVICE_ID") else 0
        table = single_server(size, first_device=max(first, 0))
        check_seat(table, rank, env, device_target)
        told = f"RANK_ID={rank} and RANK_SIZE={size}, ranks of this host"
    else:
        raise InputError("--is_distributed: this process was not started as one of several ranks; start it with "
                         "scripts/run_distribute_train.sh, msrun or srun")
    if rank >= table.world_size:
        raise InputError(f"rank {rank}, told by {told}: the job has ranks 0 to {table.world_size - 1}")
    lowest = min(d.device_id for d in table.master.devices)
    port = (read_number("MS_SCHED_PORT", env, 1, 65535) if env.get("MS_SCHED_PORT")
            else (allocation and allocation.port) or PORT + lowest)
    return table, rank, port, told


def check_seat(table: RankTable, rank: int, env: MutableMapping[str, str], device_target: str) -> None:
    """Refuse a device that is not the one that the rank table gives the rank."""
    devices = {d.rank: d.device_id for s in table.servers for d in s.devices}
    if rank not in devices:
        raise InputError(f"RANK_ID={rank}, but {table.path or 'RANK_SIZE'} has ranks 0 to {table.world_size - 1}")
    given = next((name for name in ("ASCEND_DEVICE_ID", "DEVICE_ID") if env.get(name)), None)
    if given and device_target == "Ascend" and read_number(given, env, 0) != devices[rank]:
        raise InputError(f"{given}={env[given]}, but rank {rank} is device {devices[rank]} in {table.path}; "
                         f"export the device that the table gives the rank, or unset {given}")


def _rank_of(allocation: Allocation) -> int:
    """The platform's number of the process, or of the host where every host has one rank."""
    if allocation.rank is not None:
        return allocation.rank
    if (allocation.cards or 1) > 1:
        raise InputError(f"{allocation.platform} gives this host {allocation.cards} ranks and starts one process: "
                         "start scripts/run_distribute_train.sh, which starts all of them")
    return allocation.index


def _table_of(allocation: Allocation) -> RankTable:
    """Hosts with equally many ranks; where tasks are spread unevenly, this process's own place is what counts."""
    size = allocation.world_size or len(allocation.hosts)
    each = -(-size // len(allocation.hosts))
    first = allocation.rank - allocation.local_rank if allocation.rank is not None else allocation.index * each
    servers = []
    for i, host in enumerate(allocation.hosts):
        start = first if i == allocation.index else i * each
        servers.append(Server(host, tuple(Device(start + d, d) for d in range(min(each, size - start)))))
    return RankTable(tuple(servers))
