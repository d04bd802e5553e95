"""What a check found, as a line for people and as JSON for bug reports."""
from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from src.contract import InputError

OK, WARNING, FAILURE = "ok", "warning", "failure"


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        check: what was looked at, in a word or two.
        level: `OK`, `WARNING` (the job runs, perhaps slower or not as meant) or `FAILURE` (it will not run).
        text: what is there.
        remedy: what to do about it; empty where all is well.
    """

    check: str
    level: str
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.level:<8} {self.check}: {self.text}" + (f"; {self.remedy}" if self.remedy else "")


def collect(checks: Iterable[Callable[[], Iterator[Finding]]]) -> Iterator[Finding]:
    """Run the checks one after the other. One that fails itself is a finding, too, and the others still run."""
    for check in checks:
        try:
            yield from check()
        except (OSError, InputError, ValueError, RuntimeError, ImportError, subprocess.SubprocessError) as error:
            name = getattr(getattr(check, "func", check), "__name__", "check").replace("_", " ")
            yield Finding(name, WARNING, f"could not be checked: {error}", "report this with the output of --json")


def status(findings: Iterable[Finding]) -> int:
    """Exit status: 1 where something failed."""
    return int(any(finding.level == FAILURE for finding in findings))
