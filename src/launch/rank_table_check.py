"""The check of a rank table's text: every defect with its line and JSON path. Pure functions of text, no I/O."""
from __future__ import annotations

import ipaddress
import json
from typing import Any


def find_defects(text: str, name: str, *, need_device_ip: bool = True, names: bool = False) -> list[str]:
    """What is wrong with a rank table, one message a defect, in the order of the file; empty if nothing is.

    Args:
        text: the file's content.
        name: the file's name, for messages.
        need_device_ip: whether every device must have an address of its own (not so on a CPU).
        names: whether a `server_id` may be a name instead of an address, as from version 1.2 on.
    """
    try:
        document = _LineDecoder().decode(text)
    except json.JSONDecodeError as error:
        return [f"{name}:{error.lineno}: not JSON: {error.msg} (column {error.colno})"]
    except ValueError:
        return [f"{name}: not a rank table: a number of thousands of digits"]
    except RecursionError:
        return [f"{name}: not a rank table: nested too deeply"]
    check = _Check(name, need_device_ip, names)
    check.document(document)
    return check.defects


class _Object(dict):
    """A JSON object that knows its line and which of its keys were written twice."""

    line = 1
    repeated: tuple[str, ...] = ()


class _LineDecoder(json.JSONDecoder):
    """json's own decoder, in its Python form, whose objects are `_Object`s."""

    def __init__(self) -> None:
        super().__init__(object_pairs_hook=self._pairs)
        self.parse_object = self._object
        self.scan_once = json.scanner.py_make_scanner(self)

    @staticmethod
    def _pairs(pairs: list[tuple[str, Any]]) -> _Object:
        made = _Object(pairs)
        keys = [key for key, _ in pairs]
        made.repeated = tuple(sorted({k for k in keys if keys.count(k) > 1}))
        return made

    @staticmethod
    def _object(text_and_start: tuple[str, int], *args: Any) -> tuple[_Object, int]:
        made, end = json.decoder.JSONObject(text_and_start, *args)
        text, start = text_and_start
        made.line = text.count("\n", 0, start) + 1
        return made, end


class _Check:
    """Walks the document and collects defects. `line` is that of the object being looked at."""

    def __init__(self, name: str, need_device_ip: bool, names: bool):
        self.name = name
        self.need_device_ip = need_device_ip
        self.names = names
        self.defects: list[str] = []
        self.line = 1
        self.servers: dict[str, str] = {}
        self.addresses: dict[str, str] = {}
        self.ranks: dict[int, str] = {}
        self.devices = 0
        self.super_pods = False

    def report(self, path: str, message: str) -> None:
        self.defects.append(f"{self.name}:{self.line} {path}: {message}")

    def entered(self, value: Any, path: str) -> bool:
        """Step into an object; report what is no object and keys that occur twice."""
        if not isinstance(value, dict):
            self.report(path, f"must be an object, is {_kind(value)}")
            return False
        self.line = value.line
        for key in value.repeated:
            self.report(f"{path}.{key}", "the key occurs twice")
        return True

    def text(self, holder: dict, key: str, path: str, *, needed: bool = True) -> str | None:
        """A string of an object, or None with a report where it is missing, empty or no string."""
        value = holder.get(key)
        if key not in holder or value == "":
            if needed:
                self.report(f"{path}.{key}", "missing" if key not in holder else "empty")
            return None
        if not isinstance(value, str):
            self.report(f"{path}.{key}", f"must be a string, is {_kind(value)} {json.dumps(value)[:40]}")
            return None
        return value

    def number(self, holder: dict, key: str, path: str) -> int | None:
        """A number written as a string of digits, or None with a report."""
        value = self.text(holder, key, path)
        if value is None:
            return None
        if not (value.isascii() and value.isdecimal() and len(value) < 10):
            self.report(f"{path}.{key}", f"{value[:40]!r} is not a number 0, 1, 2, ...")
            return None
        return int(value)

    def address(self, value: str, path: str) -> str | None:
        """A usable unicast address, or None with a report."""
        try:
            found = ipaddress.ip_address(value)
        except ValueError:
            self.report(path, f"{value!r} is not an IP address")
            return None
        if found.is_unspecified or found.is_multicast or value == "255.255.255.255":
            self.report(path, f"{value} is not the address of one machine")
            return None
        return str(found)

    def once(self, seen: dict, value: Any, path: str, what: str) -> None:
        """Report a value that an earlier place has already."""
        if value in seen:
            self.report(path, f"{what} {value} is used twice, first at {seen[value]}")
        seen.setdefault(value, path)

    def document(self, value: Any) -> None:
        if not self.entered(value, "$"):
            return
        version = self.text(value, "version", "$")
        if version not in (None, "1.0", "1.2"):
            self.report("$.version", f"{version!r} is not supported, only '1.0', and '1.2' for super pods")
        self.super_pods = version == "1.2"
        status = self.text(value, "status", "$")
        if status not in (None, "completed"):
            self.report("$.status", f"{status!r}: the table is not finished; must be 'completed'")
        count = self.number(value, "server_count", "$")
        servers = self.items(value, "server_list", "$")
        if count is not None and servers is not None and count != len(servers):
            self.report("$.server_count", f"{count}, but server_list has {len(servers)}")
        for i, server in enumerate(servers or []):
            self.server(server, f"$.server_list[{i}]")
        if self.super_pods:
            self.pods(value)
        self.line = value.line
        self.holes()

    def items(self, holder: dict, key: str, path: str) -> list | None:
        """A non-empty list of an object, or None with a report."""
        value = holder.get(key)
        if key not in holder:
            self.report(f"{path}.{key}", "missing")
        elif not isinstance(value, list):
            self.report(f"{path}.{key}", f"must be a list, is {_kind(value)}")
        elif not value:
            self.report(f"{path}.{key}", "empty")
        else:
            return value
        return None

    def server(self, value: Any, path: str) -> None:
        if not self.entered(value, path):
            return
        server_id = self.text(value, "server_id", path)
        reachable = [key for key in ("host_ip", "container_ip") if self.text(value, key, path, needed=False)]
        for key in reachable:
            self.address(value[key], f"{path}.{key}")
        if server_id and not (self.names or self.super_pods or reachable):
            server_id = self.address(server_id, f"{path}.server_id")
        if server_id:
            self.once(self.servers, server_id, f"{path}.server_id", "server")
        if "host_nic_ip" in value:
            self.text(value, "host_nic_ip", path)
        device_ids: dict[int, str] = {}
        for i, device in enumerate(self.items(value, "device", path) or []):
            self.device(device, f"{path}.device[{i}]", device_ids)

    def pods(self, document: dict) -> None:
        """Every server is in one super pod, and every device has its number there."""
        places: dict[str, str] = {}
        for i, pod in enumerate(self.items(document, "super_pod_list", "$") or []):
            path = f"$.super_pod_list[{i}]"
            if not self.entered(pod, path):
                continue
            self.text(pod, "super_pod_id", path)
            for j, server in enumerate(self.items(pod, "server_list", path) or []):
                where = f"{path}.server_list[{j}]"
                if self.entered(server, where) and (name := self.text(server, "server_id", where)):
                    self.once(places, name, f"{where}.server_id", "server")
        self.line = document.line
        if places and places.keys() != self.servers.keys():
            odd = ", ".join(sorted(places.keys() ^ self.servers.keys()))
            self.report("$.super_pod_list", f"does not name the servers of server_list: {odd}")

    def device(self, value: Any, path: str, device_ids: dict[int, str]) -> None:
        self.devices += 1
        if not self.entered(value, path):
            return
        device_id = self.number(value, "device_id", path)
        if device_id is not None:
            self.once(device_ids, device_id, f"{path}.device_id", "device")
        device_ip = self.text(value, "device_ip", path, needed=self.need_device_ip)
        if device_ip and (address := self.address(device_ip, f"{path}.device_ip")) and self.need_device_ip:
            self.once(self.addresses, address, f"{path}.device_ip", "address")
        if self.super_pods:
            self.number(value, "super_device_id", path)
        rank = self.number(value, "rank_id", path)
        if rank is not None:
            self.once(self.ranks, rank, f"{path}.rank_id", "rank")

    def holes(self) -> None:
        """Report ranks of 0..devices-1 that nobody has, and ranks beyond."""
        missing = sorted(set(range(self.devices)) - set(self.ranks))
        beyond = sorted(r for r in self.ranks if r >= self.devices)
        if missing and self.ranks:
            more = f"; {_numbers(beyond)} beyond the last" if beyond else ""
            last = self.devices - 1
            self.report("$", f"{self.devices} devices need ranks 0..{last}: no rank {_numbers(missing)}{more}")


def _numbers(values: list[int]) -> str:
    return ", ".join(map(str, values[:8])) + (", ..." if len(values) > 8 else "")


def _kind(value: Any) -> str:
    """JSON's name for the type of a value."""
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return next((text for kind, text in kinds.items() if isinstance(value, kind)), "a number")
