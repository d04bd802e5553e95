"""The machine that is checked: its files, programs and environment variables, from a root that tests can move."""
from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ANSWER_SECONDS = 20  # npu-smi takes several seconds on a host of 16 devices
DRIVER_TOOLS = "/usr/local/Ascend/driver/tools"  # not on the PATH of most users


@dataclass(frozen=True)
class Host:
    """A host.

    Attributes:
        env: environment variables of the job.
        root: the folder that stands for "/".
    """

    env: Mapping[str, str] = field(default_factory=lambda: os.environ)
    root: Path = Path("/")

    def path(self, name: str) -> Path:
        """The absolute path `name` below the root."""
        return self.root / name.lstrip("/")

    def read(self, name: str) -> str | None:
        """The text of a file; None where it cannot be read."""
        try:
            return self.path(name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None

    def program(self, name: str) -> str | None:
        """Where a program is: on the PATH or among the driver's tools."""
        return shutil.which(name, path=f"{self.env.get('PATH', os.defpath)}:{self.path(DRIVER_TOOLS)}")

    def run(self, name: str, *words: str) -> tuple[int, str] | None:
        """(exit status, output and messages) of a program; None where it is not installed.

        Raises:
            subprocess.TimeoutExpired: it did not end within `ANSWER_SECONDS`.
        """
        program = self.program(name)
        if program is None:
            return None
        ran = subprocess.run([program, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace",
                             timeout=ANSWER_SECONDS, env=dict(self.env), stdin=subprocess.DEVNULL)
        return ran.returncode, ran.stdout


def values(text: str) -> dict[str, str]:
    """The lines `name=value` of a version.info; quotes are left out."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {name.strip(): value.strip().strip('"') for name, value in pairs}
