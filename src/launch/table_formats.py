"""Rank tables of other formats, as the one that `rank_table` reads. Pure functions of parsed JSON.

    second form  ModelArts, custom images: `group_list` / `instance_list` without ranks, which count through the pods
    2.0          MindCluster on Atlas 350, 850 and 950: `rank_list` of ranks and devices, without hosts
"""
from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from src.contract import InputError


def is_other_format(document: Any) -> bool:
    """Whether a parsed table needs `to_server_list`."""
    return isinstance(document, dict) and not document.keys().isdisjoint(("group_list", "rank_list"))


def to_server_list(document: Mapping[str, Any], name: str, hosts: Sequence[str] = ()) -> dict[str, Any]:
    """A table of another format with `server_list`.

    Args:
        document: the parsed file.
        name: of the file, for messages.
        hosts: the platform's hosts in the order of their ranks, which a 2.0 table does not name.

    Raises:
        InputError: what the format needs is missing.
    """
    try:
        servers = _of_groups(document) if "group_list" in document else _of_ranks(document, hosts, name)
    except InputError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        form = ("group_list: [{instance_list: [{pod_name, server_id, devices: [{device_id, device_ip}]}]}], with a "
                "number at the end of each pod_name" if "group_list" in document
                else "rank_list: [{rank_id, device_id}], both numbers")
        raise InputError(f"{name}: not a rank table ({type(error).__name__}: {error}); expected {form}. Take the file "
                         "that the platform wrote, or write one with src/tools/get_multicards_json.py") from error
    return {"version": "1.0", "status": document.get("status", ""), "server_count": str(len(servers)),
            "server_list": servers}


def _of_groups(document: Mapping[str, Any]) -> list[dict]:
    instances = [instance for group in document["group_list"] for instance in group["instance_list"]]
    instances.sort(key=lambda i: int(re.search(r"(\d+)$", i["pod_name"])[1]) if "pod_name" in i else 0)
    servers, rank = [], 0
    for instance in instances:
        devices = [device | {"rank_id": str(rank + i)} for i, device in enumerate(instance["devices"])]
        servers.append({k: v for k, v in instance.items() if k != "devices"} | {"device": devices})
        rank += len(devices)
    return servers


def _of_ranks(document: Mapping[str, Any], hosts: Sequence[str], name: str) -> list[dict]:
    """Devices are numbered within a host, so a number that has occurred begins the next host."""
    groups: list[list[dict]] = [[]]
    for entry in sorted(document["rank_list"], key=lambda e: int(e["rank_id"])):
        device = {"rank_id": str(int(entry["rank_id"])), "device_id": str(int(entry["device_id"]))}
        if device["device_id"] in [d["device_id"] for d in groups[-1]]:
            groups.append([])
        groups[-1].append(device)
    if len(groups) != max(len(hosts), 1):
        raise InputError(f"{name}: a table of version 2.0 names no hosts; by its device_ids (one that repeats begins a "
                         f"host) it is of {len(groups)} hosts, and the environment tells of {len(hosts) or 'none'}. "
                         "Start this in the pods of that job, or write a table with addresses with "
                         "src/tools/get_multicards_json.py")
    names = hosts if len(hosts) == len(groups) else ["127.0.0.1"]
    return [{"server_id": host or f"host{i}", "device": group}
            for i, (host, group) in enumerate(zip(names, groups))]
