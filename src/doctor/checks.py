"""Which checks there are: the quick ones, which every launch starts with, and all."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from src.doctor import ascend, folder, job, machine, software
from src.doctor.data_rate import data_rate
from src.doctor.finding import Finding, collect
from src.doctor.host import Host
from src.doctor.meeting import meeting
from src.launch.hosts import count_cards
from src.launch.rank_table import RankTable, Server


@dataclass(frozen=True)
class Subject:
    """What the host is checked for.

    Attributes:
        device_target: "Ascend" or "CPU".
        output_dir: the job's output folder, "" for the current one.
        table, server: the job and this host's part of it; None without a rank table.
        table_problem: why the rank table cannot be used on this host.
        port: of the scheduler.
        meet_seconds: how long to wait for the doctors of the other hosts, 0 for not meeting them.
        settings: train.py's, whose data is measured; None for no data.
        step_ms: what a step takes on a card, 0 where that is not known.
        data_seconds: how long the data is read.
    """

    device_target: str = "Ascend"
    output_dir: str = ""
    table: RankTable | None = None
    server: Server | None = None
    table_problem: str = ""
    port: int = 8118
    meet_seconds: float = 60.0
    settings: Any = None
    step_ms: float = 0.0
    data_seconds: float = 10.0


def quick(host: Host, *, device_target: str, output_dir: str = "", ranks: int | None = None) -> Iterator[Finding]:
    """What can be told within a fraction of a second: no program is started and MindSpore is not imported."""
    checks: list[Callable[[], Iterator[Finding]]] = [
        partial(software.python, device_target), software.packages, partial(software.convolution_switch, host)]
    if device_target == "Ascend":
        checks += [partial(ascend.cann, host), partial(ascend.environment, host), partial(ascend.driver, host),
                   partial(ascend.device_files, host, ranks)]
    yield from collect([*checks, partial(machine.disk, output_dir or ".")])


def full(host: Host, subject: Subject) -> Iterator[Finding]:
    """All checks, the quick ones first, those that take seconds last."""
    hosts = len(subject.table.servers) if subject.table else 1
    on_ascend = subject.device_target == "Ascend"
    known = len(subject.server.devices) if subject.server else None
    cards = known or (count_cards(str(host.path("/dev"))) if on_ascend and host.path("/dev").is_dir() else 0) or 1
    yield from quick(host, device_target=subject.device_target, output_dir=subject.output_dir, ranks=known)
    checks: list[Callable[[], Iterator[Finding]]] = [
        partial(machine.cores, host, cards), partial(machine.memory, host, cards)]
    if on_ascend:
        checks += [partial(ascend.npu_smi, host), partial(ascend.hccn_conf, host), partial(ascend.links, host, hosts)]
    checks += [partial(ascend.offline_program, host),
               partial(folder.output_folder, host, subject.output_dir or ".", hosts)]
    if subject.table_problem:
        checks.append(partial(job.broken_table, subject.table_problem))
    if subject.table:
        checks += [partial(job.rank_table, host, subject.table, subject.server, device_target=subject.device_target),
                   partial(job.ports, subject.server, subject.port, hosts=hosts,
                           is_master=subject.server is subject.table.master)]
    if hosts > 1 and subject.meet_seconds:
        checks.append(partial(meeting, subject.table, subject.server, subject.port, folder=subject.output_dir,
                              seconds=subject.meet_seconds))
    if subject.settings is not None:
        checks.append(partial(data_rate, subject.settings, cards=cards, step_ms=subject.step_ms,
                              seconds=subject.data_seconds))
    yield from collect(checks)
