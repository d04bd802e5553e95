"""The commands of README.md: flags parse, scripts and tools exist and know their flags."""
import functools
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from src import tasks

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"


def commands(text: str) -> list[list[str]]:
    """The words of every command in the indented or fenced code of a text, without redirections and comments."""
    fenced = "\n".join(re.findall(r"^```[a-z]*\n(.*?)^```", text, re.M | re.S))
    found = []
    for line in fenced.replace("\\\n", " ").splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        while words and re.fullmatch(r"\w+=.*", words[0]):
            words = words[1:]  # environment
        end = next((k for k, word in enumerate(words) if word[:1] in (">", "|", "&")), len(words))
        if len(words) > 1 and words[0] in ("python", "python3", "bash", "sh"):
            found.append(words[:end])
    return found


@functools.cache
def help_of(path: Path, *model: str) -> str:
    ran = subprocess.run([sys.executable, path, *model, "--help"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def check(words: list[str]) -> None:
    """Fail unless the command's file exists and takes the flags that it is given."""
    path = ROOT / words[1]
    assert path.is_file(), f"{words[1]} does not exist"
    if words[1] in ("train.py", "eval.py", "export.py"):
        if not {"--help", "-h"} & set(words):
            tasks.parse_settings(words[2:], program=words[1], groups=(words[1].removesuffix(".py"),))
    elif path.suffix == ".py":
        known = help_of(path, *(word for word in words if word.startswith("--model=")))
        for word in words[2:]:
            assert not word.startswith("--") or word.split("=")[0] in known, f"{words[1]} knows no {word}"


def test_commands_are_found_in_a_text():
    text = "```bash\nDATA=1 python train.py \\\n  --epochs=3 > log  # three\n$ bash scripts/run_tests.sh\nls\n```"
    assert commands(text) == [["python", "train.py", "--epochs=3"], ["bash", "scripts/run_tests.sh"]]


@pytest.mark.parametrize("line", ["python train.py --epoch=3", "bash scripts/nothing.sh",
                                  "python src/tools/make_sample_set.py --outt=x", "python train.py --config=nothing"])
def test_a_wrong_command_is_noticed(line):
    with pytest.raises((AssertionError, SystemExit, ValueError)):
        check(line.split())


def test_the_commands_of_the_readme():
    if not README.is_file():
        pytest.skip("there is no README.md")
    found = commands(README.read_text(encoding="utf-8"))
    assert ["bash", "scripts/quickstart.sh"] in found
    assert ["bash", "scripts/run_tests.sh"] in found
    for words in found:
        check(words)
