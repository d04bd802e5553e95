"""The environment variables with which MindSpore, HCCL and this launcher start a rank. Pure functions.

Two ways to form a job, both MindSpore's own:
    dynamic cluster   the ranks register with a scheduler process, as under msrun; MS_NODE_ID fixes the rank
    rank table        HCCL reads RANK_TABLE_FILE, and RANK_ID and DEVICE_ID say who this process is. It makes MindSpore
                      force the jit level O2, its deprecated graph engine, so only --native_rank_table asks for it

`STARTED_FILE` is ours: a rank creates the file that it names just before it joins the others, so that the launcher
knows which ranks never got that far; later the rank reports its progress in it (`progress`). `STATUS_FILE` gets the
status with which a rank's program ended.
"""
from __future__ import annotations

from collections.abc import Mapping

from src.command_line import STATUS_FILE
from src.launch.hosts import is_address
from src.launch.rank_table import Device, RankTable, Server

STARTED_FILE = "LAUNCH_STARTED_FILE"
NATIVE = "NATIVE_RANK_TABLE"  # set: RANK_TABLE_FILE is MindSpore's own affair
GRACE = "LAUNCH_GRACE"        # seconds that a rank has to save after SIGTERM

# What may be left in the launcher's own environment from an outer job, and would make a rank join the wrong one.
CLEARED = ("MS_ROLE", "MS_NODE_ID", "MS_WORKER_NUM", "MS_SCHED_HOST", "MS_SCHED_PORT", "MS_WORKER_IP", "MS_SERVER_NUM",
           "RANK_TABLE_FILE", "RANK_ID", "RANK_SIZE", "DEVICE_ID", "DEVICE_NUM", "RANK_START_ID", "WORKERS",
           STARTED_FILE, STATUS_FILE, NATIVE, GRACE)


def of_rank_table(table: RankTable, device: Device) -> dict[str, str]:
    """Variables of one rank that HCCL starts from the table's file."""
    return {NATIVE: "1", "RANK_TABLE_FILE": str(table.path), "RANK_ID": str(device.rank),
            "RANK_SIZE": str(table.world_size), "DEVICE_ID": str(device.device_id), "DEVICE_NUM": str(table.world_size)}


def of_cluster(world_size: int, address: str, port: int) -> dict[str, str]:
    """Variables that scheduler and ranks of a dynamic cluster share; `address` is the scheduler's."""
    return {"MS_WORKER_NUM": str(world_size), "MS_SCHED_HOST": address, "MS_SCHED_PORT": str(port),
            "RANK_SIZE": str(world_size)}


def of_scheduler(cluster: Mapping[str, str]) -> dict[str, str]:
    """Variables of the scheduler. Its log tells who registered, so warnings stay on whatever the ranks are set to."""
    return {**cluster, "MS_ROLE": "MS_SCHED", "RANK_ID": "0", "GLOG_v": "2"}


def of_worker(cluster: Mapping[str, str], server: Server, device: Device, *, device_target: str) -> dict[str, str]:
    """Variables of one rank of a dynamic cluster.

    MindSpore numbers the Ascend devices of a cluster's host 0, 1, ...; ASCEND_RT_VISIBLE_DEVICES says which ones these
    are, as it documents for msrun. The host's own address is left to MindSpore where only a platform knows it.
    """
    on_ascend = device_target == "Ascend"
    visible = sorted(d.device_id for d in server.devices)
    device_id = visible.index(device.device_id) if on_ascend else device.device_id
    variables = {**cluster, "MS_ROLE": "MS_WORKER", "MS_NODE_ID": str(device.rank), "RANK_ID": str(device.rank),
                 "DEVICE_ID": str(device_id), "DEVICE_NUM": cluster["MS_WORKER_NUM"]}
    if is_address(server.address):
        variables["MS_WORKER_IP"] = server.address
    if on_ascend:
        variables["ASCEND_RT_VISIBLE_DEVICES"] = ",".join(map(str, visible))
    return variables


def quiet(environ: Mapping[str, str]) -> dict[str, str]:
    """Keeps the warnings about each connection that is tried out of the ranks' logs; the scheduler's log has them."""
    given = [name for name in ("GLOG_v", "MS_SUBMODULE_LOG_v") if environ.get(name)]
    return {} if given else {"MS_SUBMODULE_LOG_v": "{DISTRIBUTED:3}"}
