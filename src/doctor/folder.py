"""The output folder: writing, renaming and locking as training does it, how long that takes, and whose disk it is."""
from __future__ import annotations

import fcntl
import os
import re
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from src.doctor.finding import FAILURE, OK, WARNING, Finding
from src.doctor.host import Host
from src.doctor.machine import existing
from src.files import write_file

SHARED_TYPES = ("nfs", "nfs4", "lustre", "gpfs", "ceph", "fuse.ceph", "fuse.glusterfs", "glusterfs", "beegfs", "cifs",
                "dpc", "fuse.juicefs", "fuse.obsfs", "fuse.s3fs", "9p", "virtiofs", "afs", "pvfs2")
SLOW_WRITE = 0.1  # seconds of a small file that is on the disk and renamed; a checkpoint writes several
TRIALS = 7


def output_folder(host: Host, folder: str, hosts: int) -> Iterator[Finding]:
    """Write, rename and lock files in the folder, or in the one above it that exists; what was written is removed."""
    place = existing(folder)
    kind = file_system(host, place)
    try:
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=place) as own:
            seconds, locked = write_seconds(Path(own)), lock_holds(Path(own))
    except OSError as error:
        yield Finding("output folder", FAILURE, f"{place} ({kind}) cannot be written to: {error.strerror}",
                      "give another output folder, or the right to write there")
        return
    text = f"{place} ({kind}): a small file takes {seconds * 1e3:.1f} ms"
    if not locked:
        yield Finding("output folder", FAILURE, f"{text}; locks do not hold there",
                      "mount it with locks (nfs: without nolock); two jobs could write into one folder unnoticed")
    elif seconds > SLOW_WRITE:
        yield Finding("output folder", WARNING, text, "checkpoints and logs will be slow; take a faster folder")
    elif hosts > 1 and kind not in SHARED_TYPES:
        yield Finding("output folder", WARNING, f"{text}; by its type ({kind}) it is a disk of this host alone",
                      "all hosts of a job need one output folder that all of them see")
    else:
        yield Finding("output folder", OK, f"{text}, locks hold")


def write_seconds(folder: Path) -> float:
    """Median time of a small file that is written, brought to the disk and renamed."""
    times = []
    for number in range(TRIALS):
        begun = time.perf_counter()
        write_file(folder / "file", str(number))
        descriptor = os.open(folder / "file", os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
        times.append(time.perf_counter() - begun)
        if (folder / "file").read_text(encoding="utf-8") != str(number):
            raise OSError(0, "what was written is not what is read", str(folder / "file"))
    return statistics.median(times)


def lock_holds(folder: Path) -> bool:
    """Whether a second holder of a lock is refused, as checkpoints and record builds rely on."""
    with (folder / "lock").open("w") as first, (folder / "lock").open("w") as second:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def file_system(host: Host, folder: Path) -> str:
    """The type of the mount that a folder is on, as /proc/mounts names it: "ext4", "nfs4", ..."""
    best, kind = "", "unknown"
    for line in (host.read("/proc/mounts") or "").splitlines():
        words = line.split()
        point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), words[1])
        inside = point == "/" or f"{folder}/".startswith(f"{point.rstrip('/')}/")
        if inside and len(point) >= len(best):
            best, kind = point, words[2]
    return kind
