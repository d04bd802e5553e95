"""The paths that the published documents name, typed as they stand there, reach this project's tools and scripts."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts"
DEEPLAB = ("build_data.sh", "run_standalone_train_cpu.sh",
           *(f"run_distribute_train_{stage}.sh" for stage in ("s16_r1", "s8_r1", "s8_r2")),
           *(f"run_eval_{kind}.sh" for kind in
                                     ("s16", "s8", "s8_multiscale", "s8_multiscale_flip", "s8_multiscale_filp")))


def start(*command: object, cwd: Path, **variables: str) -> subprocess.CompletedProcess:
    dropped = ("train_path", "eval_path", "infer_path", "DATA_FILE", "DATA_LST", "COCO_ROOT", "PRETRAINED")
    outer = {k: v for k, v in os.environ.items() if k not in dropped}
    return subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          env=outer | {"PYTHON": sys.executable} | variables)


@pytest.mark.parametrize("name", DEEPLAB)
def test_scripts_of_deeplab_beside_the_common_ones(name, tmp_path):
    there, here = (start("sh", SCRIPTS / folder / name, "--help", cwd=tmp_path) for folder in ("deeplabv3", "."))
    assert here.returncode == there.returncode == 0
    assert here.stdout == there.stdout != ""


def test_flags_go_through(tmp_path):
    ran = start("sh", SCRIPTS / "run_distribute_train_s8_r1.sh", "--dry_run", cwd=tmp_path,
                DATA_FILE="voc rec", DEVICE_TARGET="CPU", WORKERS="2")
    assert ran.returncode == 0, ran.stderr
    assert "--is_distributed '--data_file=voc rec' --config=s8_r1" in ran.stdout


@pytest.mark.parametrize(("path", "tool"), [
    ("src/data/get_dataset_lst.py", "get_dataset_lst.py"), ("src/data/build_seg_data.py", "build_seg_data.py"),
    ("src/convert_checkpoint.py", "convert_checkpoint.py")])
def test_tools_at_their_documented_paths(path, tool, tmp_path):
    there, here = (start(sys.executable, ROOT / p, "--help", cwd=tmp_path) for p in (f"src/tools/{tool}", path))
    assert here.returncode == 0
    assert here.stdout == there.stdout != ""
    wrong = start(sys.executable, ROOT / path, "--no_such_flag", cwd=tmp_path)
    assert (wrong.returncode, wrong.stdout) == (2, "")


@pytest.fixture
def files(tmp_path):
    for name in ("resnet50.ckpt", "val.json", "m.air", "m.mindir", "list.txt"):
        (tmp_path / name).touch()
    (tmp_path / "images").mkdir()
    return tmp_path


@pytest.mark.parametrize(("line", "variables", "model"), [
    ("run_standalone_train.sh resnet50.ckpt", {}, "maskrcnn"),
    ("run_standalone_train.sh", {"COCO_ROOT": "coco"}, "maskrcnn"),
    ("run_standalone_train.sh", {"DATA_FILE": "voc"}, "deeplabv3"),
    ("run_standalone_train.sh --data_root=d --data_lst=l", {}, "deeplabv3"),
    ("run_standalone_train.sh --model=deeplab_v3_s8", {"COCO_ROOT": "coco"}, "deeplabv3"),
    ("run_distribute_train.sh hccl.json", {}, "maskrcnn"),
    ("run_distribute_train.sh hccl.json resnet50.ckpt", {}, "maskrcnn"),
    ("run_distribute_train.sh hccl.json --data_lst=l", {}, "deeplabv3"),
    ("run_eval.sh val.json resnet50.ckpt", {}, "maskrcnn"),
    ("run_infer_310.sh m.air images val.json", {}, "maskrcnn"),
    ("run_infer_310.sh m.air images val.json 1", {}, "maskrcnn"),
    ("run_infer_310.sh m.mindir images images list.txt 1", {}, "deeplabv3"),
])
def test_a_line_without_the_model_s_name(line, variables, model, files):
    script, *words = line.split()
    code = f'source {SCRIPTS}/common.sh; exec() {{ echo "$@"; }}; hand_over {script} "$@"'
    ran = start("bash", "-c", code, script, *words, cwd=files, **variables)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split()[0].endswith(f"scripts/{model}/{script}")
    assert ran.stdout.split()[1:] == words


@pytest.mark.parametrize(("line", "goes_to"), [
    ("run_standalone_train.sh deeplab_v3_s8 --epochs=3", "deeplabv3/run_standalone_train.sh --epochs=3 "
                                                         "--model=deeplab_v3_s8"),
    ("run_eval.sh mask_rcnn_r50 val.json", "maskrcnn/run_eval.sh val.json --model=mask_rcnn_r50"),
    ("run_eval.sh maskrcnn val.json", "maskrcnn/run_eval.sh val.json"),
    ("run_infer_310.sh deeplab_v3_s16 m.mindir", "deeplabv3/run_infer_310.sh m.mindir")])
def test_a_model_s_own_name_is_understood_like_its_family_s(line, goes_to, tmp_path):
    script, *words = line.split()
    code = f'source {SCRIPTS}/common.sh; exec() {{ echo "$@"; }}; hand_over {script} "$@"'
    ran = start("bash", "-c", code, script, *words, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip().endswith(f"scripts/{goes_to}")


def test_a_line_that_tells_no_model_lists_them(tmp_path):
    asked = "which model? Name it first, one of: deeplabv3 maskrcnn; or give its data"
    unknown = "'yolo' is no model that has run_standalone_train.sh; expected one of: deeplabv3 maskrcnn"
    for words, message in ([], asked), (["--epochs=3"], asked), (["yolo"], unknown):
        ran = start("sh", SCRIPTS / "run_standalone_train.sh", *words, cwd=tmp_path)
        assert ran.returncode == 2
        assert message in ran.stderr


def test_maskrcnn_s_line_runs_as_documented(files):
    ran = start("sh", SCRIPTS / "run_standalone_train.sh", "resnet50.ckpt", "--print_config", cwd=files,
                COCO_ROOT="coco")
    assert ran.returncode == 0, ran.stderr
    assert "pretrained: resnet50.ckpt" in ran.stdout
    assert "coco_root: coco" in ran.stdout
