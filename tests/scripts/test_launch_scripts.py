"""Launch scripts: started by sh and by bash from another folder, they find the project and name what is missing."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.tiny_seg import write_data

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts"
TRAIN = {"run_standalone_train.sh": "s16_aug_train_1p", "run_standalone_train_cpu.sh": "s16_aug_train_cpu"}
EVAL = {"run_eval.sh": "eval", "run_eval_s16.sh": "s16_eval", "run_eval_s8.sh": "s8_eval",
        "run_eval_s8_multiscale.sh": "multiscale_eval", "run_eval_s8_multiscale_flip.sh": "multiscale_flip_eval",
        "run_eval_s8_multiscale_filp.sh": "multiscale_flip_eval"}
MODEL = SCRIPTS / "deeplabv3"


def start(shell: str, script: Path, *flags: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if k not in ("train_path", "eval_path", "DATA_FILE")}
    return subprocess.run([shell, script, *flags], cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          env=environment | {"PYTHON": sys.executable} | variables)


def settings(folder: Path, log: str) -> dict:
    """The configuration that --print_config left in a log, behind the script's own lines."""
    text = (folder / log).read_text(encoding="utf-8")
    return yaml.safe_load(text[text.index("model: "):])


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize("name", TRAIN)
def test_training_scripts(shell, name, tmp_path):
    ran = start(shell, MODEL / name, "--print_config", "--train_epochs=7", cwd=tmp_path, DATA_FILE="a.mindrecord",
                PRETRAINED="b.ckpt")
    assert ran.returncode == 0, ran.stderr
    found = settings(tmp_path / TRAIN[name], "log")
    assert "model: deeplab_v3_s16" in ran.stdout  # on the screen as well
    assert found["device_target"] == ("CPU" if "cpu" in name else "Ascend")
    assert (found["data_file"], found["pretrained"]) == ("a.mindrecord", "b.ckpt")
    assert found["output_dir"] == f"{TRAIN[name]}/ckpt"
    assert (found["epochs"], found["save_steps"], found["dropout"]) == (7, 1500, 0.7)  # the flag, then the preset
    assert ("failure  devices: 0 device files" in ran.stdout) is ("cpu" not in name)  # the doctor's quick checks


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize("name", EVAL)
def test_evaluation_scripts(shell, name, tmp_path):
    ran = start(shell, MODEL / name, "--print_config", cwd=tmp_path, DATA_ROOT="d", DATA_LST="l", CKPT_PATH="c",
                DEVICE_TARGET="CPU")
    assert ran.returncode == 0, ran.stderr
    found = settings(tmp_path / EVAL[name], "eval_log")
    assert (found["data_root"], found["data_lst"], found["checkpoint"]) == ("d", "l", "c")
    assert found["device_target"] == "CPU"
    assert found["result_path"] == f"{EVAL[name]}/metrics.json"
    assert found["model"] == ("deeplab_v3_s8" if "s8" in name else "deeplab_v3_s16")
    assert len(found["scales"]) == (5 if "multiscale" in name else 1)
    assert found["flip"] is ("flip" in name or "filp" in name)


@pytest.mark.parametrize(("name", "given", "missing"), [
    ("run_standalone_train.sh", {}, "DATA_FILE"), ("run_standalone_train_cpu.sh", {"PRETRAINED": "x"}, "DATA_FILE"),
    ("run_eval_s8.sh", {"CKPT_PATH": "c"}, "DATA_LST"), ("run_eval.sh", {"DATA_LST": "l"}, "CKPT_PATH")])
def test_what_is_missing_is_said(name, given, missing, tmp_path):
    ran = start("sh", MODEL / name, cwd=tmp_path, **given)
    assert ran.returncode == 2
    assert missing in ran.stderr.splitlines()[0]
    assert ran.stderr.count(name.removesuffix("_cpu.sh").removesuffix("_s8.sh")) >= 1  # how it is called
    assert list(tmp_path.iterdir()) == []


def test_a_taken_folder_gets_a_number_and_stays(tmp_path):
    (tmp_path / "s16_eval").mkdir()
    (tmp_path / "s16_eval/precious").write_text("earlier result")
    for _ in range(2):
        ran = start("bash", MODEL / "run_eval_s16.sh", "--print_config", cwd=tmp_path, DATA_LST="l", CKPT_PATH="c")
    assert "output: s16_eval_3" in ran.stdout
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s16_eval", "s16_eval_2", "s16_eval_3"]
    assert (tmp_path / "s16_eval/precious").read_text() == "earlier result"


def test_resume_goes_on_in_the_same_folder(tmp_path):
    for flag in ("--seed=1", "--resume"):
        ran = start("bash", MODEL / "run_standalone_train.sh", "--print_config", "--data_file=a", flag, cwd=tmp_path,
                    train_path="my run")
        assert ran.returncode == 0, ran.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["my run"]
    assert settings(tmp_path / "my run", "log")["resume"] is True


def test_the_status_of_python_is_the_script_s(tmp_path):
    write_data(tmp_path / "data", 2)
    ran = start("sh", MODEL / "run_eval.sh", cwd=tmp_path, DATA_ROOT="data", DATA_LST="data/list.txt", CKPT_PATH="none")
    assert ran.returncode == 2
    assert "none" in (tmp_path / "eval/eval_log").read_text()


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize("name", ["run_standalone_train.sh", "run_eval.sh"])
def test_dispatchers_hand_over_or_list_the_models(shell, name, tmp_path):
    given = {"DATA_FILE": "a", "DATA_LST": "l", "CKPT_PATH": "c"}
    assert start(shell, SCRIPTS / name, "deeplabv3", "--print_config", cwd=tmp_path, **given).returncode == 0
    for model in ("yolo", "", "../scripts/deeplabv3"):
        ran = start(shell, SCRIPTS / name, model, cwd=tmp_path)
        assert ran.returncode == 2
        assert "deeplabv3" in ran.stderr.splitlines()[0]


@pytest.mark.parametrize("path", sorted(SCRIPTS.rglob("*.sh")), ids=lambda path: str(path.relative_to(SCRIPTS)))
def test_every_script_starts_in_sh_and_stops_at_errors(path):
    text = path.read_text(encoding="utf-8")
    if path.name in ("common.sh", "infer_310.sh"):  # sourced by the others
        return
    assert os.access(path, os.X_OK)
    assert '[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"' in text.splitlines()
    assert "set -euo pipefail" in text.splitlines()
    assert "rm -rf" not in text
    assert subprocess.run(["sh", "-n", "-c", text.splitlines()[1]]).returncode == 0


def test_shellcheck_is_content():
    if not shutil.which("shellcheck"):
        pytest.skip("needs shellcheck (requirements/dev.txt)")
    files = [*SCRIPTS.rglob("*.sh"), ROOT / ".ci/run"]
    ran = subprocess.run(["shellcheck", "-x", "-P", "SCRIPTDIR", "-P", ROOT, *files], cwd=ROOT, capture_output=True,
                         text=True)
    assert ran.returncode == 0, ran.stdout
