"""The control channel between the launchers of a job's hosts: which hosts have arrived, which failed, when to stop.

The launcher on the master's server (that of rank 0) listens on the port after the scheduler's; the others connect.
Messages are JSON objects, one per line of text, with a `kind`:
    hello, go, refused     before the start: the others report, the master answers once all have arrived
    alive                  every few seconds; a host that stays silent, or whose connection breaks, is `lost`
    started                a rank has marked its start, so every other rank is expected to do so too
    stop                   a rank failed or a launcher received a signal: all hosts stop
    done, finished         all ranks of one host, or of all hosts, ended well
HCCL and MindSpore take between half a minute and half an hour to notice a dead peer and do not name its rank; the
channel does so within seconds. It carries no training data. A job on one server opens no channel.
"""
from __future__ import annotations

import ipaddress
import json
import os
import select
import socket
import time
from collections.abc import Callable
from typing import Any

from src.contract import InputError
from src.launch.hosts import resolve
from src.launch.plan import spans
from src.launch.rank_table import RankTable, Server

BEAT = 2.0      # seconds between two signs of life
SILENCE = 20.0  # seconds without one after which a host counts as lost
LINE = 65536    # longest message in bytes

# The kinds of messages with their fields; anything else that comes is no message.
KINDS: dict[str, dict[str, type]] = {
    "hello": {"server": str, "digest": str, "number": int}, "go": {"number": int}, "refused": {"reason": str},
    "stop": {"status": int, "reason": str, "retry": bool},
    "alive": {}, "started": {}, "done": {}, "finished": {}}


class Interrupted(Exception):
    """The launcher was asked to stop while it was waiting for the other hosts."""


def listen(address: str, port: int) -> socket.socket:
    """Return a listening socket; a port whose last connections are still timing out counts as free.

    Raises:
        InputError: the port is taken, or the address is not one of this host.
    """
    family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family)
    except OSError as error:
        raise InputError(f"port {port} of {address}: {os.strerror(error.errno)}; another job? Give every host of this "
                         "one the same other --port") from error


def parse_message(line: bytes) -> dict[str, Any]:
    """One line as a message; ConnectionError where it is none of `KINDS`."""
    try:
        message = json.loads(line)
        if all(type(message[name]) is kind for name, kind in KINDS[message["kind"]].items()):
            return message
    except (ValueError, TypeError, LookupError, RecursionError):
        pass
    raise ConnectionError("what came is no message")


class Peer:
    """One connected launcher."""

    def __init__(self, connection: socket.socket, name: str):
        connection.settimeout(5)
        self.connection = connection
        self.name = name
        self.buffer = b""
        self.heard = time.monotonic()

    def send(self, **message: Any) -> None:
        """Send one message; a broken connection is noticed when reading."""
        try:
            self.connection.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            return

    def receive(self, wait: float = 0) -> list[dict]:
        """Messages that have arrived; ConnectionError if the connection is broken, silent or not one of ours."""
        if select.select([self.connection], [], [], wait)[0]:
            if not (data := self._read()):
                raise ConnectionError("the connection was closed")
            self.buffer += data
            self.heard = time.monotonic()
        if time.monotonic() - self.heard > SILENCE:
            raise ConnectionError(f"nothing was heard for {SILENCE:.0f} s")
        *lines, self.buffer = self.buffer.split(b"\n")
        if len(self.buffer) > LINE:
            raise ConnectionError("what came is no message")
        return [parse_message(line) for line in lines]

    def _read(self) -> bytes:
        """What has arrived; nothing if the other end is gone, whether it closed in peace or with bytes still unread."""
        try:
            return self.connection.recv(LINE)
        except ConnectionResetError:
            return b""


class ControlChannel:
    """This launcher's end. On the master, `peers` holds all other hosts; elsewhere only the master."""

    def __init__(self, table: RankTable, server: Server, *, port: int, digest: str):
        """`port` is that of the master's launcher; only hosts with the same `digest` work together."""
        self.table = table
        self.server = server
        self.port = port
        self.digest = digest
        self.is_master = server is table.master
        self.peers: dict[str, Peer] = {}
        self.next_beat = 0.0

    def gather(self, number: int, *, timeout: float, stopped: Callable[[], bool]) -> int:
        """Wait until all hosts have arrived; return the number of the run, the highest that any of them proposes.

        Raises:
            InputError: a host did not come in time, or runs something else; with its ranks.
            Interrupted: `stopped` became true.
        """
        if len(self.table.servers) == 1:
            return number
        deadline = time.monotonic() + timeout
        return (self._listen if self.is_master else self._connect)(number, deadline, timeout, stopped)

    def _listen(self, number: int, deadline: float, timeout: float, stopped: Callable[[], bool]) -> int:
        listener = listen(resolve(self.server.address), self.port)
        others = {s.server_id: s for s in self.table.servers if s is not self.server}
        with listener:
            while absent := others.keys() - self.peers.keys():
                if stopped():
                    raise Interrupted
                if time.monotonic() > deadline:
                    who = "; ".join(f"{name} (ranks {spans(others[name].ranks)})" for name in sorted(absent))
                    raise InputError(f"no launcher came within {timeout:.0f} s from {who}: start the same command "
                                     f"there, and check that it reaches {self.server.address}:{self.port}")
                if select.select([listener], [], [], 0.2)[0]:
                    number = max(number, self._welcome(listener.accept()[0], others))
        self.send(kind="go", number=number)
        for peer in self.peers.values():
            peer.heard = time.monotonic()  # the first ones have been silent since their hello
        return number

    def _welcome(self, connection: socket.socket, others: dict[str, Server]) -> int:
        """Accept a host that says hello and runs the same job; turn everybody else away."""
        peer = Peer(connection, "")
        try:
            hello = next(iter(peer.receive(wait=2)), {})
        except (ConnectionError, OSError):
            hello = {}
        name = hello.get("server")
        if hello.get("kind") != "hello" or name not in others:
            connection.close()
            return 0
        if hello["digest"] != self.digest:
            peer.send(kind="refused", reason=f"its rank table differs from the one on {self.server.server_id}")
            connection.close()
            return 0
        peer.name = name
        self.peers[name] = peer
        return hello["number"]

    def _connect(self, number: int, deadline: float, timeout: float, stopped: Callable[[], bool]) -> int:
        """Try the master until it says go. It may not be up yet, or may still be ending the previous run."""
        master = self.table.master
        while time.monotonic() < deadline:
            if stopped():
                raise Interrupted
            try:
                peer = Peer(socket.create_connection((master.address, self.port), timeout=2), master.server_id)
                peer.send(kind="hello", server=self.server.server_id, digest=self.digest, number=number)
                answer = self._answer(peer, deadline, stopped)
            except (ConnectionError, OSError):
                time.sleep(0.5)
                continue
            if answer["kind"] == "refused":
                raise InputError(f"the launcher on {master.server_id} refused {self.server.server_id}: "
                                 f"{answer['reason']}")
            self.peers = {peer.name: peer}
            return answer["number"]
        raise InputError(f"the launcher of {master.server_id} (ranks {spans(master.ranks)}) did not answer on port "
                         f"{self.port} within {timeout:.0f} s: start the same command there")

    @staticmethod
    def _answer(peer: Peer, deadline: float, stopped: Callable[[], bool]) -> dict:
        while True:
            peer.heard = time.monotonic()  # the master is silent until everybody is there
            if stopped():
                raise Interrupted
            for message in peer.receive(wait=0.2):
                if message["kind"] in ("go", "refused"):
                    return message
            if time.monotonic() > deadline:
                raise ConnectionError("no answer")

    def send(self, **message: Any) -> None:
        """Send to all peers. What one host tells the master, the master passes on to the others (`poll`)."""
        for peer in self.peers.values():
            peer.send(**message)

    def poll(self) -> list[tuple[str, dict]]:
        """Return (host, message) pairs that have arrived, including `lost` with a reason; also send signs of life."""
        if time.monotonic() > self.next_beat:
            self.send(kind="alive")
            self.next_beat = time.monotonic() + BEAT
        found = []
        for peer in list(self.peers.values()):
            try:
                messages = peer.receive()
            except (ConnectionError, OSError) as error:
                del self.peers[peer.name]
                peer.connection.close()
                messages = [{"kind": "lost", "reason": str(error)}]
            found += [(peer.name, m) for m in messages if m["kind"] != "alive"]
        if self.is_master:
            for _name, message in found:
                if message["kind"] in ("stop", "started"):
                    self.send(**message)
        return found

    def close(self) -> None:
        for peer in self.peers.values():
            peer.connection.close()
        self.peers = {}
