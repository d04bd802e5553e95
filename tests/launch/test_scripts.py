"""The launch scripts of both models, from another folder and under plain sh, up to the command that a rank gets."""
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
NAMES = ["run_distribute_train.sh", "deeplabv3/run_distribute_train.sh", "maskrcnn/run_distribute_train.sh",
         *(f"deeplabv3/run_distribute_train_{stage}.sh" for stage in ("s16_r1", "s8_r1", "s8_r2"))]


@pytest.fixture
def dry(tmp_path):
    def run(name, *words, **environment):
        outer = {k: v for k, v in os.environ.items() if not k.startswith(("RANK_", "MS_", "DEVICE_", "WORKERS"))}
        done = subprocess.run(["sh", SCRIPTS / name, *map(str, words), "--dry_run"], cwd=tmp_path, text=True,
                              env=outer | {"PYTHON": sys.executable} | environment, capture_output=True)
        return done.returncode, done.stdout + done.stderr
    return run


@pytest.mark.parametrize(("stage", "folder"), [("s16_r1", "s16_aug_train"), ("s8_r1", "s8_aug_train"),
                                           ("s8_r2", "s8_voc_train")])
def test_stages_of_deeplab(dry, table_file, tmp_path, stage, folder):
    path = table_file({"127.0.0.1": [(0, 4), (1, 5)]})
    status, output = dry(f"deeplabv3/run_distribute_train_{stage}.sh", path, "--data_file=voc.mindrecord")
    assert status == 0, output
    assert f"rank 1:  log {tmp_path}/{folder}/device5/log" in output
    assert (f"train.py --train_dir={folder}/ckpt --is_distributed --config={stage} --data_file=voc.mindrecord "
            "--device_target=Ascend\n") in output


def test_variables_of_the_published_loop(dry, tmp_path):
    (tmp_path / "out" / "device2").mkdir(parents=True)
    status, output = dry("deeplabv3/run_distribute_train.sh", DEVICE_TARGET="CPU", RANK_SIZE="2", RANK_START_ID="2",
                         train_path=f"{tmp_path}/out/", DATA_FILE="voc.mindrecord", PRETRAINED="r101.ckpt")
    assert status == 0, output
    assert f"{tmp_path}/out_2/device3/log" in output
    assert f"--train_dir={tmp_path}/out_2/ckpt" in output
    assert "--data_file=voc.mindrecord --ckpt_pre_trained=r101.ckpt --device_target=CPU\n" in output


def test_maskrcnn_with_table_and_checkpoint(dry, table_file, tmp_path):
    path, checkpoint = table_file({"127.0.0.1": [(0, 0), (1, 1)]}), tmp_path / "resnet50.ckpt"
    checkpoint.touch()
    status, output = dry("maskrcnn/run_distribute_train.sh", path, checkpoint, "--epoch_size=3", "--port=9000",
                         COCO_ROOT="coco", train_path="out")
    assert status == 0, output
    assert f"{tmp_path}/out/train_parallel1/log" in output
    found = re.search(r"train.py --model=\w+ --output_dir=out/train_parallel0/checkpoint --is_distributed "
                      rf"--coco_root=coco --pre_trained={checkpoint} --epoch_size=3 --device_target=Ascend\n", output)
    assert found, output
    assert "msrun --worker_num=2 --local_worker_num=2 --master_addr=127.0.0.1 --master_port=9000" in output


@pytest.mark.parametrize("words", [["--device_target=CPU"], ["--device_target", "CPU"]])
def test_model_is_chosen_by_the_common_script(dry, words):
    status, output = dry("run_distribute_train.sh", "maskrcnn", *words, WORKERS="2", COCO_ROOT="coco")
    assert status == 0, output
    assert "2 ranks on CPU" in output
    assert "train_parallel1/log" in output
    assert "Ascend" not in output


@pytest.mark.parametrize(("name", "words", "message"), [
    ("run_distribute_train.sh", ["yolo"], "'yolo' is no model that has run_distribute_train.sh"),
    ("deeplabv3/run_distribute_train.sh", ["table"], "table: rank table not readable"),
    ("deeplabv3/run_distribute_train.sh", ["--device_target=CPU"],
     "training data is missing: give --data_file or --data_lst"),
    ("maskrcnn/run_distribute_train.sh", ["--device_target=CPU"], "give --data_file or --coco_root or --anno_path"),
    ("deeplabv3/run_distribute_train_s8_r1.sh", ["absent.json", "--data_file=x"],
     "absent.json: rank table not readable"),
    ("maskrcnn/run_distribute_train.sh", ["absent.ckpt"], "'absent.ckpt' is no file"),
    ("maskrcnn/run_distribute_train.sh", [], "no rank table: give --rank_table=FILE"),
])
def test_what_is_missing_is_said(dry, name, words, message):
    status, output = dry(name, *words, **({"WORKERS": "2"} if "--device_target=CPU" in words else {}))
    assert status == 2
    assert message in output


@pytest.mark.parametrize("name", ["table", "table.txt", "hccl.JSON"])
def test_a_rank_table_is_one_whatever_its_suffix(dry, table_file, tmp_path, name):
    path, checkpoint = table_file({"127.0.0.1": [(0, 0), (1, 1)]}).rename(tmp_path / name), tmp_path / "resnet50.ckpt"
    checkpoint.write_bytes(b"\x0a\x7b server")
    for words in ([path], [path, checkpoint]):
        status, output = dry("maskrcnn/run_distribute_train.sh", *words, COCO_ROOT="coco")
        assert status == 0, output
        assert "2 ranks on Ascend" in output
        assert (f"--pre_trained={checkpoint}" in output) is (len(words) == 2)
    status, output = dry("maskrcnn/run_distribute_train.sh", checkpoint, COCO_ROOT="coco", WORKERS="2")
    assert f"--pre_trained={checkpoint}" in output


@pytest.mark.parametrize("name", NAMES[1:])
def test_help_tells_how_to_call_it(dry, name):
    status, output = dry(name, "--help")
    assert status == 0
    assert f"{Path(name).name} [RANK_TABLE_FILE]" in output


@pytest.mark.parametrize("name", NAMES)
def test_scripts_can_be_run_and_are_clean(name):
    assert os.access(SCRIPTS / name, os.X_OK)
    if not shutil.which("shellcheck"):
        pytest.skip("needs shellcheck")
    done = subprocess.run(["shellcheck", "-x", "-P", "SCRIPTDIR", SCRIPTS / name], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
