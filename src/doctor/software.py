"""Python, packages, and the switch of the CPU's convolutions. Nothing here imports MindSpore."""
from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from src.doctor.finding import FAILURE, OK, WARNING, Finding
from src.doctor.host import Host

ROOT = Path(__file__).resolve().parents[2]
INSTALL = "bash scripts/install.sh --prefix=ENVIRONMENT --device={device_target} makes an environment that fits"


def python(device_target: str, version: tuple[int, ...] = sys.version_info[:3]) -> Iterator[Finding]:
    """Python against `requires-python` of pyproject.toml."""
    needed = re.search(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', (ROOT / "pyproject.toml").read_text("utf-8"))
    least, below = int(needed[1]), int(needed[2])
    fits = version[0] == 3 and least <= version[1] < below
    text = ".".join(map(str, version))
    yield Finding("Python", OK, text) if fits else Finding(
        "Python", FAILURE, f"{text}, but 3.{least} to 3.{below - 1} are needed",
        INSTALL.format(device_target=device_target))


def requirements(text: str, version: tuple[int, ...] = sys.version_info[:2]) -> dict[str, str]:
    """{package: version} of the lines `package==version` that hold for this Python."""
    found = {}
    for line in text.splitlines():
        match = re.fullmatch(r'([\w-]+)==([\w.]+)(?:; python_version (>=|<) "3\.(\d+)")?', line.strip())
        if match and (not match[3] or (version[1] >= int(match[4])) == (match[3] == ">=")):
            found[match[1]] = match[2]
    return found


def packages() -> Iterator[Finding]:
    """What is installed against requirements.txt. MindSpore of another minor release fails, others are warned of."""
    needed = requirements((ROOT / "requirements.txt").read_text("utf-8"))
    missing, other, level = [], [], WARNING
    for name, wanted in needed.items():
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
            continue
        if found.partition("+")[0] != wanted:
            other.append(f"{name} {found} instead of {wanted}")
            if name == "mindspore" and found.split(".")[:2] != wanted.split(".")[:2]:
                level = FAILURE
    if not missing and not other:
        yield Finding("packages", OK, f"{len(needed)} as in requirements.txt, MindSpore {needed['mindspore']}")
        return
    text = "; ".join([f"{name} is missing" for name in missing] + other)
    yield Finding("packages", FAILURE if missing else level, text, "pip install -r requirements.txt")


def convolution_switch(host: Host) -> Iterator[Finding]:
    """ONEDNN_MAX_CPU_ISA, which src/__init__.py sets to AVX2 unless the user did."""
    value, name = host.env.get("ONEDNN_MAX_CPU_ISA", ""), "CPU switch"
    if "avx512f" in instruction_sets(host) and value.upper() != "AVX2":
        yield Finding(name, WARNING, f"ONEDNN_MAX_CPU_ISA={value} on a processor with AVX-512: convolutions on the CPU "
                      "take a slow reference kernel", "unset it, or set it to AVX2")
    else:
        yield Finding(name, OK, f"ONEDNN_MAX_CPU_ISA={value}")


def instruction_sets(host: Host) -> list[str]:
    """The vector instruction sets of the processor, as /proc/cpuinfo names them."""
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", host.read("/proc/cpuinfo") or "", re.M)
    known = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "asimd", "sve")
    return [name for name in known if flags and name in flags[1].split()]
