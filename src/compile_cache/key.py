"""What shapes a graph besides its cell: sources, versions, processor, switches. No MindSpore is imported here."""
from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import sys
import sysconfig
import time
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

FORMAT = 1  # of keys and entries; raise it when their meaning changes
STARTED = time.time()  # about when the sources were imported
ROOT = Path(__file__).parents[1]
PACKAGES = ("mindspore", "numpy")
SWITCHES = re.compile(r"(ASCEND|CUDA|DNNL|ENABLE|GOMP|GRAPH|HCCL|KMP|MINDSPORE|MKL|MS|OMP|ONEDNN|OPENBLAS)_")
# Of a launcher or of this cache: they differ from start to start and shape no graph.
NO_SWITCHES = re.compile(r"MS_(SCHED_HOST|SCHED_PORT|NODE_ID|ROLE|WORKER_NUM|COMPILER_CACHE_\w+"
                         r"|DEV_FORCE_USE_COMPILE_CACHE|SUBMODULE_LOG_v)$|HCCL_(IF_IP|CONNECT_TIMEOUT|EXEC_TIMEOUT)$")


def digest(value: Any) -> str:
    """SHA-256 of plain values (what JSON can hold), the same in every process."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def source_files() -> list[Path]:
    """The files that graphs are compiled from: the project's, and loaded ones that are not installed.

    Without train.py, eval.py and their like, which hold no cell: a graph of one serves the others.
    """
    installed = tuple(str(Path(path).resolve()) + os.sep
                      for path in {*sysconfig.get_paths().values(), sys.prefix, sys.base_prefix}
                      if not str(ROOT.resolve()).startswith(str(Path(path).resolve())))
    loaded = {Path(file).resolve() for module in list(sys.modules.values())
              if (file := getattr(module, "__file__", None)) and file.endswith(".py")}
    own = {path.resolve() for path in ROOT.rglob("*.py")}
    loaded -= {path.resolve() for path in ROOT.parent.glob("*.py")}
    return sorted(own | {path for path in loaded if not str(path).startswith(installed) and path.is_file()})


def digest_of_sources(files: Iterable[Path]) -> str:
    """Of the contents and of the names, without the folder that the project is in."""
    return digest([[_name(path), hashlib.sha256(path.read_bytes()).hexdigest()] for path in files])


def changed_since(files: Iterable[Path], moment: float) -> list[Path]:
    """Files that were written after `moment` (seconds since 1970): what was imported may be older than what is read."""
    return [path for path in files if path.stat().st_mtime > moment]


def software() -> dict[str, str]:
    """Versions that graphs and their results depend on."""
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def machine(cpuinfo: Path = Path("/proc/cpuinfo")) -> dict[str, Any]:
    """The processor: its features decide between kernels, the number of cores how sums are divided."""
    try:
        lines = cpuinfo.read_text()
    except OSError:
        lines = ""
    found = [re.search(rf"^(?:{name})\s*: (.*)", lines, re.M) for name in ("model name|CPU part", "flags|Features")]
    return {"processor": platform.machine(), "model": found[0][1] if found[0] else "",
            "features": sorted(found[1][1].split()) if found[1] else [], "cores": len(os.sched_getaffinity(0))}


def switches(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Environment variables that MindSpore, its libraries and devices read."""
    return {name: value for name, value in sorted(environ.items())
            if SWITCHES.match(name) and not NO_SWITCHES.match(name)}


def difference(one: Mapping[str, Any], other: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Names of the parts in which two keys differ, in words of the keys ("settings.crop_size")."""
    names = []
    for name in sorted(one.keys() | other.keys()):
        a, b = one.get(name), other.get(name)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            names += difference(a, b, f"{prefix}{name}.")
        elif a != b:
            names.append(f"{prefix}{name}")
    return names


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name


def _version(package: str) -> str:
    try:
        found = metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return ""
    record = found.read_text("RECORD") or ""  # hashes of the installed files
    return f"{found.version} {hashlib.sha256(record.encode()).hexdigest()[:16]}"
