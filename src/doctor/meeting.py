"""All hosts of a job at once: do they reach each other's ports, do their clocks agree, do they see one folder?

The doctor on rank 0's host listens where the scheduler and its launcher will (`port` and the next one); those of the
other hosts come. A guest knocks at the first port and talks on the second, in lines of JSON:

    guest   {"server": NAME}              what time is it there? ROUNDS times
    host    {"time": T, "token": FILE}    its clock when it answers, and a file that it has put in the output folder
    guest   {"server": NAME, "clock": SECONDS, "delay": SECONDS, "sees": whether the file is there, null without one}

As NTP does, a guest takes the middle of sending and receiving as the moment of the host's clock; the round with the
shortest way counts.
"""
from __future__ import annotations

import json
import select
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from src.doctor.finding import FAILURE, OK, WARNING, Finding
from src.launch.control_channel import listen
from src.launch.hosts import resolve
from src.launch.rank_table import RankTable, Server

ROUNDS = 5
MOST_SECONDS_APART = 1.0  # more makes logs and the times of files misleading
PATIENCE = 5.0            # seconds for one line


def meeting(table: RankTable, server: Server, port: int, *, folder: str, seconds: float,
            clock=time.time) -> Iterator[Finding]:
    """Meet the doctors of the other hosts, for at most `seconds`; `folder` is the job's output folder, if given."""
    if server is table.master:
        return _receive(table, server, port, folder, seconds, clock)
    return _visit(table, server, port, folder, seconds, clock)


def _receive(table: RankTable, server: Server, port: int, folder: str, seconds: float, clock) -> Iterator[Finding]:
    address, reports = resolve(server.address), {}
    absent = {s.server_id for s in table.servers} - {server.server_id}
    token = Path(folder) / f".doctor-{uuid.uuid4().hex}" if folder and Path(folder).is_dir() else None
    deadline = time.monotonic() + seconds
    if token:
        token.touch()
    try:
        with listen(address, port) as knocked, listen(address, port + 1) as talked:
            while absent - reports.keys() and time.monotonic() < deadline:
                for ready in select.select([knocked, talked], [], [], 0.2)[0]:
                    with ready.accept()[0] as line:
                        if ready is talked:
                            report = _serve(line, str(token.absolute()) if token else "", clock)
                            reports |= {report["server"]: report} if report.get("server") in absent else {}
    finally:
        if token:
            token.unlink(missing_ok=True)
    if lost := sorted(absent - reports.keys()):
        yield Finding("hosts", FAILURE, f"no doctor came within {seconds:.0f} s from {', '.join(lost)}",
                      f"run the same line there, at the same time; ports {port} and {port + 1} of {address} must be "
                      "open to them")
    for name in sorted(reports):
        yield from _judge(name, reports[name])


def _serve(line: socket.socket, token: str, clock) -> dict[str, Any]:
    """Answer a guest until it reports; {} where it says something else or nothing."""
    line.settimeout(PATIENCE)
    try:
        with line.makefile("rw", encoding="utf-8") as talk:
            for _ in range(ROUNDS + 1):
                said = json.loads(talk.readline(4096) or "{}")
                if "clock" in said:
                    return said
                if "server" not in said:
                    break
                talk.write(json.dumps({"time": clock(), "token": token}) + "\n")
                talk.flush()
    except (OSError, ValueError):
        pass
    return {}


def _visit(table: RankTable, server: Server, port: int, folder: str, seconds: float, clock) -> Iterator[Finding]:
    address, deadline, last = resolve(table.master.address, wait=seconds), time.monotonic() + seconds, ""
    while time.monotonic() < deadline:
        try:
            socket.create_connection((address, port), timeout=PATIENCE).close()
            with socket.create_connection((address, port + 1), timeout=PATIENCE) as line:
                report = _measure(line, server.server_id, folder, clock)
            yield from _judge(f"{table.master.server_id} (host of rank 0)", report)
            return
        except (OSError, ValueError) as error:
            last = str(error)
            time.sleep(0.3)
    yield Finding("hosts", FAILURE, f"{address}:{port} and {port + 1} did not answer within {seconds:.0f} s ({last})",
                  f"run the same line on {table.master.server_id} at the same time, and open both ports")


def _measure(line: socket.socket, name: str, folder: str, clock) -> dict[str, Any]:
    """Ask for the time `ROUNDS` times, and report."""
    rounds, token = [], ""
    with line.makefile("rw", encoding="utf-8") as talk:
        for _ in range(ROUNDS):
            begun, sent = time.perf_counter(), clock()
            talk.write(json.dumps({"server": name}) + "\n")
            talk.flush()
            answer = json.loads(talk.readline(4096) or "null")
            if not isinstance(answer, dict):
                raise ConnectionError("the other side hung up")
            way = time.perf_counter() - begun
            rounds.append((way, answer["time"] - (sent + way / 2)))
            token = answer["token"]
        sees = (Path(folder) / Path(token).name).is_file() if token and folder else None
        report = {"server": name, "clock": min(rounds)[1], "delay": min(rounds)[0], "sees": sees}
        talk.write(json.dumps(report) + "\n")
        talk.flush()
    return report


def _judge(name: str, report: dict[str, Any]) -> Iterator[Finding]:
    apart, delay, sees = report["clock"], report["delay"], report.get("sees")
    text = f"{name}: reached, {delay * 1e3:.1f} ms there and back, clocks {abs(apart):.3f} s apart"
    if abs(apart) > MOST_SECONDS_APART:
        yield Finding("hosts", WARNING, text, "set the clocks with chrony or NTP; logs and times of files mislead")
    else:
        yield Finding("hosts", OK, text)
    if sees is False:
        yield Finding("shared folder", FAILURE, f"{name}: a file of rank 0's host in the output folder is not seen by "
                      "the other one", "give an output folder on storage that all hosts see, under the same path")
    elif sees:
        yield Finding("shared folder", OK, f"{name}: both see one output folder")
    else:
        yield Finding("shared folder", WARNING, f"{name}: not compared",
                      "give --output_dir on all hosts, a folder that exists")
