"""Processor, memory and disk of a host, with the limits of its container."""
from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from src.doctor.finding import FAILURE, OK, WARNING, Finding
from src.doctor.host import Host
from src.doctor.software import instruction_sets

GB = 1e9
MEMORY_OF_RANK = 4 * GB           # a rank that compiles its graph
DISK_LEAST, DISK_WANTED = 1 * GB, 10 * GB  # a checkpoint of DeepLabV3 takes half a gigabyte, and several are kept


def cores(host: Host, ranks: int) -> Iterator[Finding]:
    """Cores that this process may use, and the limit of its cgroup."""
    usable, limit = len(os.sched_getaffinity(0)), core_limit(host)
    model = re.search(r"^model name\s*:\s*(.*)$", host.read("/proc/cpuinfo") or "", re.M)
    text = f"{usable} cores" + (f", {model[1]}" if model else "")
    text += f" ({' '.join(instruction_sets(host)) or 'no vector instruction set known'})"
    if limit is not None and limit < usable:
        share = max(int(limit), 1)
        yield Finding("cores", WARNING, f"{text}, but the container may use only {limit:g}",
                      f"export OMP_NUM_THREADS={share} and train with --workers={share}, or raise the limit")
    elif usable < ranks:
        yield Finding("cores", WARNING, f"{text} for {ranks} ranks", "start fewer ranks, or give the container more")
    else:
        yield Finding("cores", OK, text)


def memory(host: Host, ranks: int) -> Iterator[Finding]:
    """Memory that is free, on the machine and in the container."""
    lines = dict(re.findall(r"^(\w+):\s+(\d+) kB$", host.read("/proc/meminfo") or "", re.M))
    if "MemAvailable" not in lines:
        yield Finding("memory", WARNING, "/proc/meminfo does not say how much is free")
        return
    total, free = int(lines["MemTotal"]) * 1024, int(lines["MemAvailable"]) * 1024
    where, limit = "", memory_limit(host)
    if limit is not None and limit[0] < total:
        total, free, where = limit[0], min(free, limit[0] - limit[1]), " of the container's limit"
    text, needed = f"{free / GB:.1f} GB free of {total / GB:.1f} GB{where}", ranks * MEMORY_OF_RANK
    if free < needed:
        yield Finding("memory", WARNING, f"{text}; {ranks} ranks that compile want about {needed / GB:.0f} GB",
                      "end other programs, raise the container's limit, or start fewer ranks")
    else:
        yield Finding("memory", OK, text)


def disk(folder: str) -> Iterator[Finding]:
    """Space where checkpoints and logs go; `folder` may not exist yet."""
    place = existing(folder)
    free = shutil.disk_usage(place).free
    text = f"{free / GB:.1f} GB free in {place}"
    if free < DISK_WANTED:
        yield Finding("disk", FAILURE if free < DISK_LEAST else WARNING, text,
                      "make space, or give another output folder; a checkpoint takes up to half a gigabyte")
    else:
        yield Finding("disk", OK, text)


def existing(folder: str) -> Path:
    """The folder, or the nearest one above it that exists."""
    path = Path(folder).absolute()
    return next(place for place in (path, *path.parents) if place.is_dir())


def core_limit(host: Host) -> float | None:
    """Cores that the cgroup grants; None without a limit. Version 2, then version 1."""
    if text := _cgroup(host, "", "cpu.max"):
        quota, period = text.split()
        return None if quota == "max" else int(quota) / int(period)
    quota, period = (_cgroup(host, "cpu", f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    return int(quota) / int(period) if quota and period and int(quota) > 0 else None


def memory_limit(host: Host) -> tuple[int, int] | None:
    """(bytes that the cgroup grants, bytes in use but for the cache of files); None without a limit."""
    for controller, limit, used in (("", "memory.max", "memory.current"),
                                    ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes")):
        texts = [_cgroup(host, controller, name) for name in (limit, used)]
        if all(texts):
            cache = re.search(r"^inactive_file (\d+)$", _cgroup(host, controller, "memory.stat") or "", re.M)
            used = int(texts[1]) - (int(cache[1]) if cache else 0)
            return None if texts[0].strip() == "max" else (int(texts[0]), used)
    return None


def _cgroup(host: Host, controller: str, name: str) -> str | None:
    """A file of this process's own group, or of the root, which is the container's in a namespace.

    `controller` is that of version 1, and "" for version 2.
    """
    listed = host.read("/proc/self/cgroup") or ""
    own = re.search(rf"^\d+:(?:[\w,]+,)?{controller}(?:,[\w,]+)?:(/.*)$" if controller else r"^0::(/.*)$", listed, re.M)
    for folder in ([own[1]] if own else []) + ["/"]:
        text = host.read("/".join(filter(None, ["/sys/fs/cgroup", controller, folder.strip("/"), name])))
        if text is not None:
            return text
    return None
