"""Hosts: names resolved to addresses, whether one is this machine, its cards and their addresses."""
from __future__ import annotations

import ipaddress
import logging
import re
import socket
import time
from pathlib import Path

from src.contract import InputError

log = logging.getLogger(__name__)


def is_address(text: str) -> bool:
    """Whether the text is an IP address and no name."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def resolve(name: str, *, wait: float = 0.0) -> str:
    """The IP address of a host; MindSpore takes no names.

    Args:
        name: an address, which is returned as it is, or a name.
        wait: seconds to go on asking: the names of pods appear some time after the pods.

    Raises:
        InputError: nobody knows the name.
    """
    deadline, told = time.monotonic() + wait, False
    while not is_address(name):
        try:
            found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except OSError as error:
            if time.monotonic() >= deadline:
                raise InputError(f"host {name}: its address is not known here ({error}); give the hosts' addresses, or "
                                 "make the name known (DNS, /etc/hosts)") from error
            if not told:
                log.info("waiting for the address of host %s, at most %.0f s", name, wait)
                told = True
            time.sleep(1)
            continue
        return min((entry[4][0] for entry in found), key=lambda address: ":" in address)  # IPv4 first
    return name


def is_local(name: str) -> bool:
    """Whether an address or name is this machine's: only then can a socket be bound to it."""
    try:
        address = resolve(name)
    except InputError:
        return False
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def count_cards(folder: str = "/dev") -> int:
    """The Ascend devices of this machine, by their device files: 8 on most hosts, 16 on one of A3, 0 without any."""
    return sum(re.fullmatch(r"davinci\d+", path.name) is not None for path in Path(folder).iterdir())


def read_hccn_conf(path: Path) -> dict[int, str]:
    """{device id: address} of an hccn.conf, from its lines `address_<id>=<ip>`.

    Raises:
        InputError: one of them is no address.
    """
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        match = re.fullmatch(r"\s*address_(\d+)\s*=\s*(\S+)\s*", line)
        if not match:
            continue
        try:
            found[int(match[1])] = str(ipaddress.ip_address(match[2]))
        except ValueError:
            raise InputError(f"{path}:{number}: {match[2]!r} is not an IP address") from None
    return found
