"""What a launch will do, as data: the processes of this host with their commands, environments, folders and cores.

`make_plan` turns a rank table and a command into a `Plan` without starting anything; `describe` shows it (--dry_run).
Folder and command may hold {rank}, {device} and {number}: {device} is the device id, or the rank where the job has
several servers, whose ids would meet in one folder of a shared disk; {number} is "" for the first run in a folder and
_2, _3, ... for the next ones, so that nothing is overwritten.
"""
from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from src.contract import InputError
from src.launch import environment
from src.launch.hosts import resolve
from src.launch.rank_table import Device, RankTable, Server
from src.launch.scheduler import SCHEDULER


@dataclass(frozen=True)
class Job:
    """What was asked for, on this host.

    Attributes:
        command: program and arguments of a rank.
        table, server: the whole job, and this host's part of it.
        device_target: "Ascend" or "CPU".
        folder: a rank's output folder, with placeholders.
        log_name: name of its log in there.
        cores: cores per rank of this host, empty for no binding.
        timeouts: the time-out variables, see `timeouts.timeouts`.
        port: of the scheduler, where the platform gives or implies one.
        native: HCCL forms the job from the table's file, without a scheduler.
        grace: seconds that ranks have to save after a stop signal.
        quiet: variables that keep MindSpore's messages about connections out of the logs.
        origins: {what: where it was found}, of what was not written on the command line.
    """

    command: tuple[str, ...]
    table: RankTable
    server: Server
    device_target: str = "Ascend"
    folder: str = "train_parallel{rank}{number}"
    log_name: str = "log"
    cores: tuple[tuple[int, ...], ...] = ()
    timeouts: dict[str, str] = field(default_factory=dict)
    port: int | None = None
    native: bool = False
    grace: float = 60.0
    quiet: Mapping[str, str] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)

    @property
    def resumes(self) -> bool:
        """Whether the command goes on with an earlier run, in its folders."""
        return any(a == "--resume" or a.lower() in ("--resume=true", "--resume=1") for a in self.command)

    def resumed(self) -> Job:
        """The same job, going on from its last checkpoint."""
        return self if self.resumes else replace(self, command=(*self.command, "--resume"))

    def fill(self, text: str, device: Device, number: int) -> str:
        """Replace the placeholders."""
        shown = device.device_id if len(self.table.servers) == 1 else device.rank
        suffix = "" if number == 1 else f"_{number}"
        return text.replace("{rank}", str(device.rank)).replace("{device}", str(shown)).replace("{number}", suffix)


@dataclass(frozen=True, eq=False)
class Process:
    """One process to start; `rank` is None for the scheduler, `environment` is added to the launcher's own."""

    name: str
    rank: int | None
    command: tuple[str, ...]
    environment: dict[str, str]
    log: Path
    cores: tuple[int, ...] = ()


@dataclass(frozen=True)
class Plan:
    """All processes of this host, ranks in their order."""

    job: Job
    port: int | None
    number: int
    ranks: tuple[Process, ...]
    scheduler: Process | None


def make_plan(job: Job, *, port: int | None, number: int = 1, marks: Path | None = None) -> Plan:
    """The processes that this host starts.

    Args:
        port: where the scheduler listens; None where there is none.
        number: which run in these folders this is, from 1.
        marks: folder in which ranks say that they have started and how they ended, if anybody looks.
    """
    cluster = {} if job.native else environment.of_cluster(job.table.world_size, address_of_master(job), port)
    ranks = tuple(_rank(job, i, cluster=cluster, number=number, marks=marks) for i in range(len(job.server.devices)))
    scheduler = None
    if not job.native and job.server is job.table.master:
        variables = environment.of_scheduler(cluster) | job.timeouts
        scheduler = Process("scheduler", None, (sys.executable, "-c", SCHEDULER), variables,
                            ranks[0].log.with_name("scheduler.log"))
    return Plan(job, port, number, ranks, scheduler)


def address_of_master(job: Job) -> str:
    """The address at which ranks and launchers meet; its name where that is not known yet."""
    try:
        return resolve(job.table.master.address)
    except InputError:
        return job.table.master.address


def _rank(job: Job, index: int, *, cluster: Mapping[str, str], number: int, marks: Path | None) -> Process:
    device = job.server.devices[index]
    variables = (environment.of_rank_table(job.table, device) if job.native else environment.of_worker(
        cluster, job.server, device, device_target=job.device_target))
    # A rank that crashes in native code leaves its Python stacks in its log.
    variables |= {"DEVICE_TARGET": job.device_target, "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1",
                  environment.GRACE: f"{job.grace:g}"}
    variables |= {**job.quiet, **job.timeouts}
    if marks:
        variables[environment.STARTED_FILE] = str(marks / str(device.rank))
        variables[environment.STATUS_FILE] = str(marks / f"{device.rank}.status")
    command = tuple(job.fill(word, device, number) for word in job.command)
    log = Path(job.fill(job.folder, device, number)).absolute() / job.log_name
    return Process(f"rank {device.rank}", device.rank, command, variables, log,
                   job.cores[index] if job.cores else ())


def next_number(job: Job) -> int:
    """The number of this run: the first one whose folders are free on this host, or the last taken one if it resumes.

    What counts is the part of the path that has {number}; it is taken if it exists and is not an empty folder.
    """
    before, after = job.folder.split("{number}", 1)
    numbered = f"{before}{{number}}{after.split('/')[0]}"

    def taken(path: Path) -> bool:
        return any(path.iterdir()) if path.is_dir() else path.exists()

    number = 1
    while any(taken(Path(job.fill(numbered, device, number))) for device in job.server.devices):
        number += 1
    return max(number - 1, 1) if job.resumes else number


def divide_cores(text: str, ranks: int, available: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Cores per rank, empty for none: `text` has them ("0-3;4-7"), or says how they are divided.

    "default" gives each rank an equal block of the available ones where that is at least two, "auto" (bare --bind_core)
    where it is one; "" and "False" give none.

    Raises:
        InputError: too few cores, another number of groups than ranks, an empty group, or cores that this host does not
            have.
    """
    if text.lower() in ("", "false"):
        return ()
    if text.lower() in ("default", "auto", "true"):
        each = len(available) // ranks
        if text == "default" and each < 2:
            return ()
        if not each:
            raise InputError(f"--bind_core: {ranks} ranks on {len(available)} cores; leave it out or start fewer ranks")
        return tuple(tuple(available[i * each:(i + 1) * each]) for i in range(ranks))
    try:
        groups = tuple(tuple(c for part in group.split(",") for c in _span(part)) for group in text.split(";"))
    except ValueError:
        raise InputError(f'--bind_core={text}: write one group of cores a rank, such as "0-3;4-7"') from None
    if len(groups) != ranks:
        raise InputError(f"--bind_core={text}: {len(groups)} groups for {ranks} ranks of this host")
    absent = sorted({c for group in groups for c in group} - set(available))
    if absent:
        raise InputError(f"--bind_core={text}: this host has no core {', '.join(map(str, absent))}")
    return groups


def _span(text: str) -> range:
    first, _, last = text.partition("-")
    first, last = int(first), int(last or first)
    if not first <= last < 1 << 16:
        raise ValueError("no cores")
    return range(first, last + 1)


def describe(plan: Plan, *, short: bool = False) -> str:
    """The plan as text: job, time-outs and processes; unless `short` also environments, commands and msrun's line."""
    job = plan.job
    listed = [f"{s.server_id}: ranks {spans(s.ranks)}" for s in job.table.servers]
    servers = "; ".join(listed[:8] + [f"and {len(listed) - 8} more servers"] * (len(listed) > 8))
    how = ("rank table, HCCL; MindSpore forces the jit level O2" if job.native
           else f"dynamic cluster, scheduler {address_of_master(job)}:{plan.port}")
    lines = [f"{plural(job.table.world_size, 'rank')} on {job.device_target} ({servers}); "
             f"this host is {job.server.server_id}",
             f"formed by: {how}",
             "time-outs in seconds: " + " ".join(f"{k}={v}" for k, v in job.timeouts.items()),
             *(f"  {what}: {where}" for what, where in job.origins.items())]
    for process in ([plan.scheduler] if plan.scheduler else []) + list(plan.ranks):
        where = f"  cores {spans(process.cores)}" if process.cores else ""
        lines.append(f"{process.name}:{where}  log {process.log}")
        if not short:
            lines += [f"    {k}={shlex.quote(v)}" for k, v in process.environment.items() if k not in job.timeouts]
            lines.append(f"    {shlex.join(process.command)}")
    return "\n".join(lines if short else [*lines, msrun_line(plan)])


def msrun_line(plan: Plan) -> str:
    """The msrun command that starts the same ranks on this host, or why there is none."""
    job, servers = plan.job, plan.job.table.servers
    local = len(job.server.devices)
    node = servers.index(job.server)
    for index, server in enumerate(servers):
        if len(server.devices) != local:
            return "no equivalent msrun line: it starts the same number of ranks on every server"
        if server.ranks != list(range(index * local, (index + 1) * local)):
            return "no equivalent msrun line: its ranks follow the order of the servers"
        if job.device_target != "CPU" and [d.device_id for d in server.devices] != list(range(local)):
            return "no equivalent msrun line: it numbers the devices of a server 0, 1, ... in the order of the ranks"
    options = {"worker_num": job.table.world_size, "local_worker_num": local, "master_addr": address_of_master(job),
               "master_port": plan.port, "node_rank": node, "join": True,
               "log_dir": plan.ranks[0].log.parent, "cluster_time_out": job.timeouts["MS_TOPO_TIMEOUT"]}
    words = ["msrun", *(f"--{k}={v}" for k, v in options.items()), *plan.ranks[0].command[1:]]
    return f"with msrun: {shlex.join(words)}"


def plural(number: int, what: str) -> str:
    """'1 rank', '2 ranks'."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def spans(numbers: Sequence[int]) -> str:
    """'0-3, 7' for [0, 1, 2, 3, 7]."""
    ordered, parts = sorted(numbers), []
    for n in ordered:
        if parts and parts[-1][1] == n - 1:
            parts[-1][1] = n
        else:
            parts.append([n, n])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)
