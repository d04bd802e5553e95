"""scripts/*/run_infer_310.sh: build, infer and score in one go, on a CPU."""
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from src.contract import InputError
from src.tools.list_coco_images import column
from tests.ascend310_infer.tiny_models import instance_model, instance_spec, semantic_model
from tests.tiny_coco import CATEGORIES, content, write_coco
from tests.tiny_seg import write_data

SCRIPTS = Path(__file__).parents[2] / "scripts"


def start(model: str, *words, cwd: Path, shell: str = "sh", **variables: str) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if k != "MS_LITE_HOME"}
    return subprocess.run([shell, SCRIPTS / model / "run_infer_310.sh", *map(str, words)], cwd=cwd, text=True,
                          capture_output=True,
                          env=environment | {"DEVICE_TYPE": "CPU", "PYTHON": sys.executable} | variables)


@pytest.mark.parametrize(("model", "words", "message"), [
    ("deeplabv3", [], "expected MINDIR_PATH DATA_PATH DATA_ROOT DATA_LIST [DEVICE_ID]"),
    ("deeplabv3", ["m", ".", ".", "l"], "MINDIR_PATH 'm' is no file"),
    ("deeplabv3", ["file", "gone", ".", "l"], "DATA_PATH 'gone' is no folder"),
    ("deeplabv3", ["file", ".", "gone", "l"], "DATA_ROOT 'gone' is no folder"),
    ("deeplabv3", ["file", ".", ".", "l"], "DATA_LIST 'l' is no file"),
    ("deeplabv3", ["file", ".", ".", "file", "x"], "DEVICE_ID 'x' is no number"),
    ("maskrcnn", [], "expected AIR_PATH DATA_PATH ANN_FILE_PATH [DEVICE_ID]"),
    ("maskrcnn", ["file", ".", "gone"], "ANN_FILE_PATH 'gone' is no file"),
    ("maskrcnn", ["file", ".", "file"], "not JSON")])
def test_what_is_missing_is_named(model, words, message, tmp_path):
    (tmp_path / "file").write_text("x")
    ran = start(model, *words, cwd=tmp_path)
    assert ran.returncode == 2
    assert message in ran.stderr
    assert not (tmp_path / "result_Files").exists()


@pytest.mark.parametrize(("model", "task", "words", "other"), [
    ("deeplabv3", "instance", ["file", ".", ".", "file"], "maskrcnn"),
    ("maskrcnn", "semantic", ["file", ".", "file"], "deeplabv3")])
def test_a_model_of_the_other_task_is_refused_before_any_work(model, task, words, other, tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "preprocess.json").write_text(json.dumps({"version": 1, "task": task}, indent=1))
    ran = start(model, *words, cwd=tmp_path)
    assert ran.returncode == 2
    assert f"give it to scripts/{other}/run_infer_310.sh" in ran.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"file", "preprocess.json"}
    (tmp_path / "preprocess.json").unlink()
    nowhere = start(model, *words, cwd=tmp_path, infer_path="/proc/none")
    assert nowhere.returncode == 2
    assert "infer_path=/proc/none: cannot be made or written to" in nowhere.stderr


def test_file_names_of_a_list_keep_blanks_quotes_and_backslashes(tmp_path):
    names = ["1.jpg", "a b.jpg", 'a "b".jpg', '"a".jpg', 'a"b.jpg', "a\\b c.jpg", "a\\b.jpg", " a.jpg"]
    images = [{"id": n, "file_name": name, "height": 9, "width": 9} for n, name in enumerate(names)]
    (tmp_path / "a.json").write_text(json.dumps({"images": images, "annotations": [], "categories": CATEGORIES}))
    subprocess.run([sys.executable, SCRIPTS.parent / "src/tools/list_coco_images.py", "--ann_file=a.json",
                    "--out=list"], cwd=tmp_path, check=True)
    for name in ("a\nb.jpg", "\ud800.jpg", "", 7, None):
        with pytest.raises(InputError, match=f"a.json: file_name {re.escape(repr(name))} "):
            column(name, "a.json")
    assert (tmp_path / "list").read_text().splitlines() == [
        "1.jpg 0", '"a b.jpg" 1', r'"a \"b\".jpg" 2', r'"\"a\".jpg" 3', 'a"b.jpg 4', r'"a\\b c.jpg" 5', "a\\b.jpg 6",
        '" a.jpg" 7']


@pytest.mark.slow
def test_deeplab_from_images_to_mean_iou(program, tmp_path):
    data_lst, model = write_data(tmp_path / "data", 3), semantic_model(tmp_path / "m")
    words = model, tmp_path / "data", tmp_path / "data", data_lst
    ran = start("deeplabv3", *words, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    accuracy = (tmp_path / "acc.log").read_text()
    assert "mean IoU 0." in accuracy
    assert "3 images" in accuracy
    assert "\nclass " in accuracy
    assert "3 images, 0 of them have a result already" in (tmp_path / "infer.log").read_text()
    again = start("deeplabv3", *words, 0, cwd=tmp_path, shell="bash")
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "acc_2.log").read_text() == accuracy
    assert "3 images, 3 of them have a result already" in (tmp_path / "infer_2.log").read_text()
    image, result = tmp_path / "data/images/1.jpg", tmp_path / "result_Files/labels/images__1.png"
    image.write_bytes((tmp_path / "data/images/2.jpg").read_bytes())
    other = start("deeplabv3", *words, cwd=tmp_path)
    assert other.returncode == 2
    assert "images__1.png: is the result of another image" in other.stdout
    image.write_bytes(b"no image")
    result.unlink()
    unreadable = start("deeplabv3", *words, cwd=tmp_path)
    assert unreadable.returncode == 3
    assert "1 images without a result did not count: ['images/1.jpg']" in (tmp_path / "acc_3.log").read_text()


@pytest.mark.slow
def test_images_are_looked_up_in_both_folders(program, tmp_path):
    data_lst, model = write_data(tmp_path / "data", 3), semantic_model(tmp_path / "m")
    alone = start("deeplabv3", model, tmp_path / "data", tmp_path / "data", data_lst, cwd=tmp_path, infer_path="alone")
    assert alone.returncode == 0, alone.stderr
    (tmp_path / "more/images").mkdir(parents=True)
    (tmp_path / "data/images/1.jpg").rename(tmp_path / "more/images/1.jpg")
    data_lst.write_bytes(b"\xef\xbb\xbf" + data_lst.read_bytes().replace(b"\n", b"\r\n"))
    both = start("deeplabv3", model, "more", "data", data_lst, cwd=tmp_path, infer_path="both")
    assert both.returncode == 0, both.stdout + both.stderr
    tables = [(tmp_path / folder / "acc.log").read_text().partition("\nclass ")[2] for folder in ("both", "alone")]
    assert tables[0]
    assert tables[0] == tables[1]
    names = {path.name for path in (tmp_path / "both/result_Files/labels").iterdir()}
    assert {"images__0.png", "images__2.png"} < names
    assert len(names) == 3


@pytest.mark.slow
def test_mask_rcnn_from_images_to_average_precision(program, tmp_path):
    """The model finds one dog, where it is in every image: 24 x 32 images fill a canvas of 48 x 64."""
    data = content()
    data["images"][0]["file_name"] = 'the "first" \\ dog.jpg'
    ann_file = write_coco(tmp_path / "data", data)
    arrays = {"boxes": np.array([[[8, 12, 24, 22]]], np.float32), "labels": np.array([[2]], np.int32),
              "scores": np.array([[0.9]], np.float32), "valid": np.array([[True]]),
              "masks": np.ones((1, 1, 28, 28), np.float32)}
    spec = instance_spec(arrays, height=48, width=64)
    model = instance_model(tmp_path / "m", spec, arrays)
    ran = start("maskrcnn", model, tmp_path / "data/val", ann_file, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    numbers = json.loads((tmp_path / "result_Files/metrics.json").read_text())
    assert numbers["classes"]["dog"]["bbox"] == numbers["classes"]["dog"]["segm"] > 0.6  # 2 of 3: one image has no dog
    assert "Evaluate annotation type *segm*" in (tmp_path / "acc.log").read_text()


def with_lite(**variables: str) -> subprocess.CompletedProcess:
    """What a program sees of its environment when the launchers run it."""
    show = "echo $LITE_HOME $MS_LITE_HOME $LD_LIBRARY_PATH"
    script = f"source common.sh; source infer_310.sh; with_lite sh -c '{show}'"
    outer = {k: v for k, v in os.environ.items() if k not in ("LITE_HOME", "MS_LITE_HOME", "LD_LIBRARY_PATH")}
    return subprocess.run(["bash", "-c", script], cwd=SCRIPTS, text=True, capture_output=True, env=outer | variables)


@pytest.mark.parametrize("name", ["LITE_HOME", "MS_LITE_HOME"])
def test_the_program_finds_the_libraries_of_mindspore_lite(name, tmp_path):
    for folder in ("runtime/lib", "tools/converter/lib"):
        (tmp_path / folder).mkdir(parents=True)
    path = f"{tmp_path}/runtime/lib:{tmp_path}/tools/converter/lib"
    assert with_lite(**{name: str(tmp_path)}).stdout == f"{tmp_path} {tmp_path} {path}\n"
    assert with_lite(**{name: str(tmp_path), "LD_LIBRARY_PATH": "/cann"}).stdout.endswith(f"{path}:/cann\n")
    assert with_lite(LD_LIBRARY_PATH="/cann").stdout.split() == ["/cann"]
    wrong = with_lite(**{name: str(tmp_path / "runtime")})
    assert wrong.returncode == 2
    assert f"{tmp_path}/runtime: no MindSpore Lite package" in wrong.stderr


@pytest.mark.parametrize("word", ["--aarch64", "--aarch64=/nowhere"])
def test_cross_compilation_needs_a_sysroot(word, tmp_path):
    ran = subprocess.run([SCRIPTS.parent / "ascend310_infer/build.sh", tmp_path / "build", word], text=True,
                         capture_output=True)
    assert ran.returncode == 2
    assert f"'{word}': give --aarch64=SYSROOT" in ran.stderr
    assert "sysroot.sh SYSROOT makes one" in ran.stderr
