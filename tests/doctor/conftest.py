"""Hosts in a folder: files below a root, and programs that print what the real ones print."""
import os
import shlex

import pytest

from src.doctor.host import Host


@pytest.fixture
def make_host(tmp_path):
    """Make a host from {path: text}, {program: what it prints, or {its words: what it prints}} and variables.

    Its PATH is its own folder of programs alone, so that nothing of this machine answers.
    """
    def make(files=(), programs=(), cards=0, status=0, **env) -> Host:
        root, folder = tmp_path / "root", tmp_path / "root/usr/local/bin"
        for parent in (folder, root / "dev"):
            parent.mkdir(parents=True, exist_ok=True)
        for number in range(cards):
            (root / f"dev/davinci{number}").touch()
        for name in ("davinci_manager", "null"):
            (root / "dev" / name).touch()
        for name, text in dict(files).items():
            path = root / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for name, answers in dict(programs).items():
            cases = answers if isinstance(answers, dict) else {"*": answers}
            lines = [f"{words if words == '*' else shlex.quote(words)}) /usr/bin/printf %s {shlex.quote(text)};;"
                     for words, text in cases.items()]
            program = folder / name
            program.write_text("#!/bin/sh\ncase \"$*\" in\n" + "\n".join(lines) + f"\nesac\nexit {status}\n")
            program.chmod(0o755)
        return Host({"PATH": str(folder)} | env, root)
    return make


@pytest.fixture
def only(make_host):
    """The one finding of a check."""
    def run(check):
        found = list(check)
        assert len(found) == 1, found
        return found[0]
    return run


@pytest.fixture
def this_machine():
    return Host(os.environ)
