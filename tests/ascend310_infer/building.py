"""How the C++ program is built and run, for this machine or for aarch64.

With MINDSEG_INFER_ARCH=aarch64 in the environment it is cross-compiled, and runs under qemu-user. Its libraries are
downloaded (half a GB): `MINDSEG_INFER_ARCH=aarch64 bash scripts/run_tests.sh --slow
tests/ascend310_infer/test_{preprocess,results,lite}.py`, by hand.
"""
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ARCH = os.environ.get("MINDSEG_INFER_ARCH", platform.machine())
CROSS = platform.machine() != ARCH
CACHE = ROOT / "ascend310_infer/build" / (ARCH if CROSS else "")


def download(wheel: str, *flags: str) -> Path:
    """Unpack a wheel of PyPI in the cache, once, and return the folder."""
    folder = CACHE / wheel.replace("==", "-")
    if not folder.is_dir():
        parts = folder.with_suffix(".unfinished")
        ran = subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
                              *flags, wheel, "--dest", parts], capture_output=True, text=True)
        if ran.returncode:
            pytest.skip(f"needs the wheel {wheel.replace('==', ' ')}: {ran.stderr[-300:]}")
        archive = next(parts.glob("*.whl"))
        with zipfile.ZipFile(archive) as content:
            content.extractall(parts)
        archive.unlink()
        parts.rename(folder)
    return folder


def cross_flags() -> list[str]:
    """Flags of build.sh for the other architecture: sysroot, and OpenVINO of the version that is installed here."""
    missing = [tool for tool in ("qemu-aarch64", "aarch64-linux-gnu-g++") if not shutil.which(tool)]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}: apt-get install qemu-user g++-aarch64-linux-gnu")
    sysroot = CACHE / "sysroot"
    if not sysroot.is_dir():
        subprocess.run([ROOT / "ascend310_infer/sysroot.sh", sysroot], check=True)
    wheel = download(f"openvino=={importlib.metadata.version('openvino')}", "--python-version", "3.11", "--platform",
                     f"manylinux_2_35_{ARCH}", "--platform", f"manylinux_2_31_{ARCH}")
    return [f"--aarch64={sysroot}", f"-DOpenVINO_DIR={wheel}/openvino/cmake"]


def runnable(binary: Path) -> Path:
    """`binary`, or a script that runs it under qemu-user."""
    if not CROSS:
        return binary
    script = binary.with_name(f"qemu_{binary.name}")
    script.write_text(f'#!/bin/sh\nexec qemu-{ARCH} -L "{CACHE}/sysroot" "{binary}" "$@"\n')
    script.chmod(0o755)
    return script


def build(folder: Path, *flags: str, **variables: str) -> Path:
    """Build the program with build.sh and return its path; what is there already is only brought up to date."""
    missing = [word for word in ("cmake", "g++", "make") if not shutil.which(word)]
    missing += [name for name in ("nlohmann/json.hpp", "opencv4") if not Path("/usr/include", name).exists()]
    if missing and not CROSS:
        pytest.skip(f"needs {', '.join(missing)}")
    pytest.importorskip("openvino")
    outer = {k: v for k, v in os.environ.items() if k not in ("LITE_HOME", "MS_LITE_HOME")}
    ran = subprocess.run([ROOT / "ascend310_infer/build.sh", folder, *(cross_flags() if CROSS else []), *flags],
                         capture_output=True, text=True, env=outer | {"PYTHON": sys.executable} | variables)
    assert ran.returncode == 0, ran.stderr[-4000:]
    assert "warning:" not in ran.stderr
    return runnable(Path(ran.stdout.strip()))
