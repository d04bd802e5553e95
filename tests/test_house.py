"""The rules of the house: who imports whom, what an import may do, what the requirements hold, where tools work."""
import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Documented paths of tools that are elsewhere now: each only starts its tool.
FORWARDERS = ("src/convert_checkpoint.py", "src/data/build_seg_data.py", "src/data/get_dataset_lst.py")
MODULES = sorted(path for path in (ROOT / "src").rglob("*.py") if str(path.relative_to(ROOT)) not in FORWARDERS)
# Floors, the lowest first: a room may import its own floor's rooms and those of every floor below, but for models.
FLOORS = (("contract", "files", "literals", "wording"), ("layers",), ("config", "command_line"),
          ("data", "weights", "launch", "compile_cache"), ("exporting", "report", "engine", "metrics"),
          ("deeplabv3", "maskrcnn"), ("tasks",), ("results", "inference", "doctor"), ("tools",))
MODELS = ("deeplabv3", "maskrcnn")
PURE = ["src.contract", "src.files", "src.literals", "src.command_line", "src.config", "src.tasks",
        "src.data.image_ops", "src.data.order", "src.data.semantic.voc", "src.data.practice.sample_set",
        "src.data.decode", "src.engine.schedules", "src.engine.settings", "src.engine.precision",
        "src.engine.position", "src.metrics.miou", "src.deeplabv3.config", "src.deeplabv3.augmentation",
        "src.deeplabv3.inference", "src.maskrcnn.anchors", "src.report.draw", "src.report.curves", "src.report.page",
        "src.launch.supervisor", "src.inference.collecting", "src.results.score", "src.weights.names",
        "src.doctor.checks", "src.exporting.targets", "src.deeplabv3.splits", "src.maskrcnn.config",
        "src.data.windows", "src.engine.run_folder"]
DISTRIBUTIONS = {"cv2": "opencv-python", "mmcv": "mmcv-lite", "yaml": "pyyaml", "PIL": "pillow", "google": "protobuf",
                 "faster_coco_eval": "faster-coco-eval", "pi_heif": "pi-heif"}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> set[str]:
    """Modules that a file imports anywhere in it, with `from package import module` resolved to the module."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                inner = ROOT / f"{node.module}.{alias.name}".replace(".", "/")
                is_module = inner.is_dir() or inner.with_suffix(".py").is_file()
                found.add(f"{node.module}.{alias.name}" if is_module else node.module)
    return found


def room(module: str) -> str:
    """The part of the house a module of ours belongs to: "engine" for src.engine.loop, "tasks" for src.tasks."""
    return ([*module.split("."), ""])[1]


def allowed(own: str, other: str) -> bool:
    """Whether a module of the room `own` may import one of the room `other`; "" is src itself, for its switch."""
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    if other in (own, ""):
        return True
    return own != "" and floor[other] <= floor[own] and not {own, other} <= set(MODELS) and own not in FLOORS[0]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_run_one_way(path):
    own = room(name_of(path))
    ours = {module for module in imports(path) if module.split(".")[0] == "src"}
    assert {module for module in ours if not allowed(own, room(module))} == set()


@pytest.mark.parametrize(("own", "other", "expected"), [
    ("deeplabv3", "maskrcnn", False), ("maskrcnn", "deeplabv3", False), ("engine", "deeplabv3", False),
    ("data", "tasks", False), ("contract", "config", False), ("config", "contract", True), ("engine", "data", True),
    ("tools", "tasks", True), ("layers", "tools", False), ("deeplabv3", "engine", True), ("data", "layers", True),
    ("inference", "tools", False), ("engine", "results", False), ("weights", "engine", False)])
def test_the_rule_itself(own, other, expected):
    assert allowed(own, other) is expected


def test_forwarders_of_documented_paths_import_nothing_of_the_project():
    for name in FORWARDERS:
        assert imports(ROOT / name) == {"os", "sys", "pathlib"}


ENTRY_SCRIPTS = ("train.py", "eval.py", "export.py", "predict.py", "postprocess.py")


def test_entry_scripts_know_no_model_and_no_tool():
    for name in ENTRY_SCRIPTS:
        path = ROOT / name
        assert {room(m) for m in imports(path) if m.startswith("src.")}.isdisjoint((*MODELS, "tools"))
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 60


PROBE = """
import importlib, os, sys
sys.argv = ["probe", "--no-such-flag"]
sys.path.insert(0, {root!r})
before = dict(os.environ)
for name in {names!r}:
    importlib.import_module(name)
changed = {{k for k in os.environ if os.environ[k] != before.get(k)}} - {{"ONEDNN_MAX_CPU_ISA"}}
print("mindspore" in sys.modules, sorted(k for k in changed if k.startswith(("RANK", "DEVICE"))))
if "mindspore" in sys.modules:
    import mindspore
    print(mindspore.get_context("mode"), mindspore.communication.GlobalComm.INITED)
"""


def probe(names: list[str], folder: Path) -> list[str]:
    ran = subprocess.run([sys.executable, "-c", PROBE.format(root=str(ROOT), names=names)], cwd=folder,
                         capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-2000:]
    return ran.stdout.split("\n")


def test_pure_modules_import_no_mindspore(tmp_path):
    assert probe(PURE, tmp_path)[0] == "False []"


def test_importing_any_module_parses_no_arguments_and_touches_no_device(tmp_path):
    lines = probe([name_of(path) for path in MODULES], tmp_path)
    assert lines[0] == "True []"
    assert lines[1] == "1 False", "an import changed the mode or joined a group"  # 1: PyNative, MindSpore's own default
    assert list(tmp_path.iterdir()) == [], "an import wrote files"


TOOLS = [path for path in (ROOT / "src/tools").glob("*.py")
         if "__main__" in path.read_text(encoding="utf-8")]
TOOLS += [ROOT / name for name in ("train.py", "eval.py", "export.py")]


@pytest.mark.parametrize("path", TOOLS, ids=lambda path: path.name)
def test_every_tool_starts_from_any_folder(path, tmp_path):
    ran = subprocess.run([sys.executable, path, "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "usage:" in ran.stdout
    wrong = subprocess.run([sys.executable, path, "--no_such_flag=1"], cwd=tmp_path, capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "Traceback" not in wrong.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_says_what_it_is_and_is_of_readable_size(path):
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text))
    assert len(text.splitlines()) <= 400
    assert not re.search(r"\b(TODO|FIXME|XXX)\b|except\s*:", text)


def requirements(name: str) -> set[str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    pins = [re.fullmatch(r"([A-Za-z0-9-]+)==[0-9.]+(; python_version .*)?", line) for line in lines if line[:1] != "#"]
    assert all(pins), "a requirement without an exact version"
    return {pin.group(1).lower() for pin in pins}


def test_each_requirement_is_used_and_each_import_required():
    files = [*MODULES, *ROOT.glob("*.py")]
    tops = {module.split(".")[0] for path in files for module in imports(path)} - {"src", "__future__"}
    used = {DISTRIBUTIONS.get(top, top.lower()) for top in tops if top not in sys.stdlib_module_names}
    assert used == requirements("requirements.txt") | requirements("requirements/export.txt")


@pytest.mark.parametrize("words", [
    ("ruff", "check", "--no-cache", "--output-format=concise", "."), ("mypy", f"--cache-dir={os.devnull}")],
    ids=lambda words: words[0])
def test_lint_and_types_of_the_whole_tree(words):
    """What each of them checks is in pyproject.toml."""
    ran = subprocess.run([sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
