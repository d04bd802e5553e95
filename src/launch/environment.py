"""The environment variables with which MindSpore, HCCL and this launcher start a rank. Pure functions.

Two ways to form a job, both MindSpore's own:
    rank table        on Ascend: HCCL reads RANK_TABLE_FILE, and RANK_ID and DEVICE_ID say who this process is
    dynamic cluster   elsewhere, and on Ascend without a table: the ranks register with a scheduler process (what msrun
                      does); MS_NODE_ID fixes the rank

`STARTED_FILE` is ours: a rank creates the file that it names just before it joins the others, so that the launcher can
tell which rank never came that far.
"""
from __future__ import annotations

from collections.abc import Mapping

from src.launch.rank_table import Device, RankTable, Server

STARTED_FILE = "LAUNCH_STARTED_FILE"

# What an outer job may have left in the launcher's own environment and would make a rank join the wrong one.
CLEARED = ("MS_ROLE", "MS_NODE_ID", "MS_WORKER_NUM", "MS_SCHED_HOST", "MS_SCHED_PORT", "MS_WORKER_IP", "MS_SERVER_NUM",
           "RANK_TABLE_FILE", "RANK_ID", "RANK_SIZE", "DEVICE_ID", "DEVICE_NUM", "RANK_START_ID", "WORKERS",
           STARTED_FILE)


def timeouts(compile_seconds: int, start_seconds: int, environ: Mapping[str, str]) -> dict[str, str]:
    """Every time-out of a job, from two numbers, so that none is shorter than what it waits for.

    Ranks compile their graphs at different speeds, rank 0 may evaluate alone: until the slowest is back, the others
    wait in a collective. HCCL gives up on that after HCCL_EXEC_TIMEOUT (multiples of 68, up to 17340) and, when links
    are set up, after HCCL_CONNECT_TIMEOUT (120 to 7200); MindSpore's CPU collectives after MS_CPU_COMM_OP_TIMEOUT,
    30 by default (measured: a rank 45 s late ended the job). Its scheduler gives a rank up whose signs of life stop for
    MS_NODE_TIMEOUT, 300 by default (measured: a compilation of six minutes on a crowded machine ended the job). That
    a rank or host is dead is noticed within seconds by the launchers themselves. Variables that the user has set stay.

    Args:
        compile_seconds: longest time that one rank may be behind another.
        start_seconds: longest time from the first rank's start to the last one's.
    """
    steps = -(-compile_seconds // 68)
    computed = {"HCCL_CONNECT_TIMEOUT": min(max(compile_seconds, start_seconds, 120), 7200),
                "HCCL_EXEC_TIMEOUT": min(max(steps, 1) * 68, 17340),
                "MS_CPU_COMM_OP_TIMEOUT": compile_seconds,
                "MS_RECEIVE_MSG_TIMEOUT": compile_seconds,
                "MS_NODE_TIMEOUT": compile_seconds,
                "MS_HEARTBEAT_RETRY_TIMEOUT": compile_seconds,
                "MS_TOPO_TIMEOUT": start_seconds}
    return {name: environ.get(name) or str(value) for name, value in computed.items()}


def of_rank_table(table: RankTable, device: Device) -> dict[str, str]:
    """Variables of one rank that HCCL starts from the table's file."""
    return {"RANK_TABLE_FILE": str(table.path), "RANK_ID": str(device.rank), "RANK_SIZE": str(table.world_size),
            "DEVICE_ID": str(device.device_id), "DEVICE_NUM": str(table.world_size)}


def of_cluster(table: RankTable, port: int) -> dict[str, str]:
    """Variables that scheduler and ranks of a dynamic cluster share."""
    return {"MS_WORKER_NUM": str(table.world_size), "MS_SCHED_HOST": table.master.server_id, "MS_SCHED_PORT": str(port),
            "RANK_SIZE": str(table.world_size)}


def of_scheduler(table: RankTable, port: int) -> dict[str, str]:
    """Variables of the scheduler. Its log tells who registered, so warnings stay on whatever the ranks are set to."""
    return of_cluster(table, port) | {"MS_ROLE": "MS_SCHED", "RANK_ID": "0", "GLOG_v": "2"}


def of_worker(table: RankTable, server: Server, device: Device, *, port: int, device_target: str) -> dict[str, str]:
    """Variables of one rank of a dynamic cluster.

    MindSpore numbers the Ascend devices of a cluster's host 0, 1, ...; ASCEND_RT_VISIBLE_DEVICES says which ones these
    are, as it documents for msrun.
    """
    on_ascend = device_target == "Ascend"
    device_id = server.devices.index(device) if on_ascend else device.device_id
    variables = of_cluster(table, port) | {
        "MS_ROLE": "MS_WORKER", "MS_NODE_ID": str(device.rank), "MS_WORKER_IP": server.server_id,
        "RANK_ID": str(device.rank), "DEVICE_ID": str(device_id), "DEVICE_NUM": str(table.world_size)}
    if on_ascend:
        variables["ASCEND_RT_VISIBLE_DEVICES"] = ",".join(str(d.device_id) for d in server.devices)
    return variables
