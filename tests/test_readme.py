"""The pages: commands parse, scripts, tools and their flags exist, links and paths lead somewhere, lines are short."""
import ast
import contextlib
import functools
import importlib
import io
import itertools
import re
import shlex
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from src import tasks

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "findings").glob("*.md")])
PROGRAMS = ("python", "python3", "bash", "sh")
IN_PROCESS = ("train.py", "eval.py", "export.py")  # their flags are checked without a new process
ROOMS = ("src", "scripts", "tests", "docs", "benchmarks", "findings", "requirements", "ascend310_infer")
PROSE, TABLE = 120, 160  # columns

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def blocks(text: str, language: str) -> list[str]:
    """The contents of the fenced blocks in one language, also of those inside lists."""
    return [body for _, kind, body in re.findall(r"^( *)```(\w*)\n(.*?)^\1```$", text, re.M | re.S) if kind == language]


def without_blocks(text: str) -> str:
    return re.sub(r"^( *)```\w*\n.*?^\1```$", "", text, flags=re.M | re.S)


def spans(text: str) -> list[str]:
    """The words in backticks outside the fenced blocks."""
    return re.findall(r"`([^`\n]+)`", without_blocks(text))


def commands(text: str) -> list[list[str]]:
    """The words of every command of a text, in blocks and in backticks, without redirections and comments."""
    lines = "\n".join(blocks(text, "bash")).replace("\\\n", " ").splitlines()
    lines += [span for span in spans(text) if span.split()[0] in PROGRAMS]
    found = []
    for line in lines:
        words = shlex.split(line.strip().removeprefix("$ "), comments=True)
        while words and re.fullmatch(r"\w+=.*", words[0]):
            words = words[1:]  # environment
        end = next((k for k, word in enumerate(words) if word[:1] in (">", "|", "&")), len(words))
        if len(words) > 1 and words[0] in PROGRAMS:
            found.append(words[:end])
    return found


@functools.cache
def help_of(path: Path, *model: str) -> str:
    ran = subprocess.run([sys.executable, path, *model, "--help"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def check(words: list[str]) -> None:
    """Fail unless the command's file exists and takes the flags that it is given."""
    if words[1] == "-m":
        assert importlib.util.find_spec(words[2]), f"no module {words[2]}"
        return
    path = ROOT / words[1]
    assert path.is_file(), f"{words[1]} does not exist"
    if words[1] in IN_PROCESS:
        if not {"--help", "-h"} & set(words):
            tasks.parse_settings(words[2:], program=words[1], groups=(words[1].removesuffix(".py"),))
    elif path.suffix == ".py":
        known = help_of(path, *(word for word in words if word.startswith("--model=")))
        for word in words[2:]:
            flag = word.split("=")[0]
            assert not word.startswith("--") or re.search(rf"{flag}\b", known), f"{words[1]} knows no {flag}"


def test_commands_are_found_in_a_text():
    text = ("```bash\nDATA=1 python train.py \\\n  --epochs=3 > log  # three\n$ bash scripts/run_tests.sh\nls\n```\n"
            "1. a list\n\n   ```bash\n   python eval.py --flip\n   ```\n\n`python export.py --help`, `python`\n")
    assert commands(text) == [["python", "train.py", "--epochs=3"], ["bash", "scripts/run_tests.sh"],
                              ["python", "eval.py", "--flip"], ["python", "export.py", "--help"]]


@pytest.mark.parametrize("line", ["python train.py --epoch=3", "bash scripts/nothing.sh",
                                  "python src/tools/make_sample_set.py --outt=x", "python train.py --config=nothing",
                                  "python src/tools/make_sample_set.py --ou=x"])
def test_a_wrong_command_is_noticed(line):
    with pytest.raises((AssertionError, SystemExit, ValueError)):
        check(line.split())


@every_page
def test_the_commands_of_a_page(page):
    for words in commands(page.read_text(encoding="utf-8")):
        check(words)


def test_the_readme_has_the_two_commands_pictures_and_every_page():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = commands(text)
    assert ["bash", "scripts/quickstart.sh"] in found
    assert ["bash", "scripts/run_tests.sh"] in found
    assert len(re.findall(r"!\[.+?\]\(docs/\w+\.jpg\)", text)) == 2
    assert len(text.splitlines()) <= 160


def test_the_chinese_page_has_the_commands_tables_and_links_of_the_readme():
    english, chinese = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README_CN.md"))
    assert sorted(commands(chinese)) == sorted(commands(english))
    links = re.compile(r"\]\(((?:docs/)?\w+(?:\.\w+)?)\)")
    assert set(links.findall(english)) - set(links.findall(chinese)) <= {"README_CN.md", "CHANGELOG.md"}
    bold = re.compile(r"\*\*([\d.]+)\*\*")
    assert bold.findall(chinese) == bold.findall(english)


def test_every_page_is_in_the_index():
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    absent = [page.name for page in (ROOT / "docs").glob("*.md") if f"({page.name})" not in index]
    assert absent == ["README.md"]


def test_every_page_is_linked_from_the_readme():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f"(docs/{page.name})" not in text] == ["README.md"]


def test_the_page_on_design_names_every_room():
    text = (ROOT / "docs/design.md").read_text(encoding="utf-8")
    rooms = [path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "src").glob("**/__init__.py")]
    assert [room for room in rooms if room != "src" and f"`{room}/`" not in text] == []


@every_page
def test_python_blocks_use_what_exists(page):
    for block in blocks(page.read_text(encoding="utf-8"), "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module)
                assert [name.name for name in node.names if not hasattr(module, name.name)] == []


@functools.cache
def known_flags() -> set[str]:
    """Every flag of the entry scripts, tools, launchers and of the C++ program."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        for program, model in itertools.product(IN_PROCESS, ("deeplabv3", "maskrcnn")):
            with pytest.raises(SystemExit):
                tasks.parse_settings([f"--model={model}", "--help"], program=program,
                                     groups=(program.removesuffix(".py"),))
    texts = [shown.getvalue()]
    for pattern in ("*.py", "src/**/*.py", "benchmarks/*.py", "scripts/**/*.sh", "ascend310_infer/src/*.cc",
                    "ascend310_infer/*.sh", "tests/conftest.py"):
        texts += [path.read_text(encoding="utf-8") for path in ROOT.glob(pattern)]
    text = "\n".join(texts)
    declared = re.findall(r"add_flag\(\w+, \"(\w+)\"", text)
    return set(re.findall(r"--[a-z]\w+", text)) | {f"--{name}" for name in declared}


# docker's --build-arg, and those of MindSpore Lite's converter
FLAGS_OF_OTHERS = {"--build", "--fmk", "--modelFile", "--outputFile", "--optimize"}


@every_page
def test_flags_that_a_page_names_exist(page):
    named = set(re.findall(r"(?<![\w-])--[a-z]\w+", page.read_text(encoding="utf-8")))
    assert named - known_flags() - FLAGS_OF_OTHERS == set()


def test_known_flags_are_those_of_programs_alone():
    assert {"--eval_interval", "--score_threshold", "--soc_version", "--image_list", "--max_restarts"} <= known_flags()
    assert not {"--eval_intervals", "--result_paths", "--image_lists"} & known_flags()


def slug(title: str) -> str:
    """The anchor that GitHub and Gitee give a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


@every_page
def test_links_lead_somewhere(page):
    text = without_blocks(page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        there = page.parent / name if name else page
        assert there.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in map(slug, re.findall(r"^#+ (.+)$", there.read_text(encoding="utf-8"), re.M)), target


def paths(text: str) -> list[str]:
    """The paths of this project in backticks; a line of the file table begins with the names of other packages."""
    text = re.sub(r"^\| [^|]*\.(?:py|sh)`[^|]*\|", "|", without_blocks(text), flags=re.M)
    found = [word.split("#")[0] for span in spans(text) for word in span.split() if word.split("/")[0] in ROOMS]
    return [word for word in found if "/" in word and not re.search(r"[*{}=A-Z]{2}|\*|\{", word)]


@every_page
def test_paths_exist(page):
    if page.name == "CHANGELOG.md":
        return  # names what was moved
    absent = [path for path in paths(page.read_text(encoding="utf-8")) if not (ROOT / path).exists()]
    assert absent == []


@every_page
def test_no_line_scrolls_sideways(page):
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        width = sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in line)
        limit = TABLE if line.lstrip().startswith("|") else PROSE
        assert width <= limit, f"{page.name}:{number}: {width} columns, at most {limit}"


FINDINGS = sorted((ROOT / "findings").glob("*.sh"))


@pytest.mark.parametrize("script", FINDINGS, ids=lambda script: script.stem)
def test_a_finding_is_listed_pinned_and_cleans_up(script):
    text = script.read_text(encoding="utf-8")
    packages = re.search(r"pip\" install (.+)", text)[1].split()
    assert [word for word in packages if not word.startswith("--") and "==" not in word] == []
    assert "trap 'rm -rf \"$folder\"' EXIT" in text
    assert re.search(r"^ *assert .+", text, re.M), "it cannot fail"
    assert not re.search(r"\b(?:src|mindseg)\b", text.split("set -euo")[1]), "a finding runs without MindSeg"
    assert script.stat().st_mode & 0o111, "not executable"
    assert f"[{script.name}]({script.name})" in (script.parent / "README.md").read_text(encoding="utf-8")
