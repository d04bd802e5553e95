"""The command lines and the table of the published documentation, character for character, and what they mean."""
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from src import tasks

ROOT = Path(__file__).parents[1]

STANDALONE = r"""
python ${train_code_path}/train.py --data_file=/PATH/TO/MINDRECORD_NAME \
--train_dir=${train_path}/ckpt \
--train_epochs=200 \
--batch_size=32 \
--crop_size=513 \
--base_lr=0.015 \
--lr_type=cos \
--min_scale=0.5 \
--max_scale=2.0 \
--ignore_label=255 \
--num_classes=21 \
--model=deeplab_v3_s16 \
--ckpt_pre_trained=/PATH/TO/PRETRAIN_MODEL \
--save_steps=1500 \
--keep_checkpoint_max=200 >log 2>&1 &
"""

S16_R1 = r"""
python ${train_code_path}/train.py --train_dir=${train_path}/ckpt \
--data_file=/PATH/TO/MINDRECORD_NAME \
--train_epochs=300 \
--batch_size=32 \
--crop_size=513 \
--base_lr=0.08 \
--lr_type=cos \
--min_scale=0.5 \
--max_scale=2.0 \
--ignore_label=255 \
--num_classes=21 \
--model=deeplab_v3_s16 \
--ckpt_pre_trained=/PATH/TO/PRETRAIN_MODEL \
--is_distributed \
--save_steps=410 \
--keep_checkpoint_max=200 >log 2>&1 &
"""

S8_R1 = r"""
python ${train_code_path}/train.py --train_dir=${train_path}/ckpt \
--data_file=/PATH/TO/MINDRECORD_NAME \
--train_epochs=800 \
--batch_size=16 \
--crop_size=513 \
--base_lr=0.02 \
--lr_type=cos \
--min_scale=0.5 \
--max_scale=2.0 \
--ignore_label=255 \
--num_classes=21 \
--model=deeplab_v3_s8 \
--loss_scale=2048 \
--ckpt_pre_trained=/PATH/TO/PRETRAIN_MODEL \
--is_distributed \
--save_steps=820 \
--keep_checkpoint_max=200 >log 2>&1 &
"""

S8_R2 = r"""
python ${train_code_path}/train.py --train_dir=${train_path}/ckpt \
--data_file=/PATH/TO/MINDRECORD_NAME \
--train_epochs=300 \
--batch_size=16 \
--crop_size=513 \
--base_lr=0.008 \
--lr_type=cos \
--min_scale=0.5 \
--max_scale=2.0 \
--ignore_label=255 \
--num_classes=21 \
--model=deeplab_v3_s8 \
--loss_scale=2048 \
--ckpt_pre_trained=/PATH/TO/PRETRAIN_MODEL \
--is_distributed \
--save_steps=110 \
--keep_checkpoint_max=200 >log 2>&1 &
"""

STANDALONE_CPU = r"""
python ${train_code_path}/train.py --data_file=/PATH/TO/MINDRECORD_NAME \
--device_target=CPU \
--train_dir=${train_path}/ckpt \
--train_epochs=200 \
--batch_size=32 \
--crop_size=513 \
--base_lr=0.015 \
--lr_type=cos \
--min_scale=0.5 \
--max_scale=2.0 \
--ignore_label=255 \
--num_classes=21 \
--model=deeplab_v3_s16 \
--ckpt_pre_trained=/PATH/TO/PRETRAIN_MODEL \
--save_steps=1500 \
--keep_checkpoint_max=200 >log 2>&1 &
"""

EVAL = r"""
python ${train_code_path}/eval.py --data_root=/PATH/TO/DATA \
--data_lst=/PATH/TO/DATA_lst.txt \
--batch_size=16 \
--crop_size=513 \
--ignore_label=255 \
--num_classes=21 \
--model=deeplab_v3_s8 \
--scales=0.5 \
--scales=0.75 \
--scales=1.0 \
--scales=1.25 \
--scales=1.75 \
--flip \
--freeze_bn \
--ckpt_path=/PATH/TO/PRETRAIN_MODEL >${eval_path}/eval_log 2>&1 &
"""

COMMON = {"data_file": "/PATH/TO/MINDRECORD_NAME", "output_dir": "${train_path}/ckpt", "crop_size": 513,
          "lr_type": "cos", "min_scale": 0.5, "max_scale": 2.0, "ignore_label": 255, "num_classes": 21,
          "keep_checkpoint_max": 200, "pretrained": "/PATH/TO/PRETRAIN_MODEL"}
ALONE = COMMON | {"epochs": 200, "batch_size": 32, "base_lr": 0.015, "model": "deeplab_v3_s16", "save_steps": 1500}
TRAINING = {
    STANDALONE: ALONE | {"device_target": "Ascend", "is_distributed": False, "loss_scale": 3072},
    STANDALONE_CPU: ALONE | {"device_target": "CPU", "is_distributed": False, "loss_scale": 3072},
    S16_R1: COMMON | {"epochs": 300, "batch_size": 32, "base_lr": 0.08, "model": "deeplab_v3_s16", "save_steps": 410,
                      "is_distributed": True, "loss_scale": 3072},
    S8_R1: COMMON | {"epochs": 800, "batch_size": 16, "base_lr": 0.02, "model": "deeplab_v3_s8", "save_steps": 820,
                     "is_distributed": True, "loss_scale": 2048},
    S8_R2: COMMON | {"epochs": 300, "batch_size": 16, "base_lr": 0.008, "model": "deeplab_v3_s8", "save_steps": 110,
                     "is_distributed": True, "loss_scale": 2048},
}
PRESETS = {STANDALONE: "standalone", S16_R1: "s16_r1", S8_R1: "s8_r1", S8_R2: "s8_r2"}
TABLE = {"device_target": "Ascend", "epochs": 300, "batch_size": 32, "crop_size": 513, "base_lr": 0.08,
         "lr_type": "cos", "min_scale": 0.5, "max_scale": 2.0, "ignore_label": 255, "num_classes": 21,
         "model": "deeplab_v3_s16", "is_distributed": False, "save_steps": 410,
         "freeze_bn": False, "keep_checkpoint_max": 200}
SCRIPTS = ("build_data.sh", "run_distribute_train_s16_r1.sh", "run_distribute_train_s8_r1.sh",
           "run_distribute_train_s8_r2.sh", "run_eval_s16.sh", "run_eval_s8.sh", "run_eval_s8_multiscale.sh",
           "run_eval_s8_multiscale_flip.sh", "run_eval_s8_multiscale_filp.sh", "run_standalone_train.sh",
           "run_standalone_train_cpu.sh")


def words(line: str) -> list[str]:
    """The flags of a documented line: without the program before and the redirection behind them."""
    flags = shlex.split(line.replace("\\\n", " "))[2:]
    return flags[: next(k for k, word in enumerate(flags) if word.startswith(">"))]


def parse(line: str):
    program = "eval.py" if "/eval.py" in line else "train.py"
    return tasks.parse_settings(words(line), program=program, groups=(program.removesuffix(".py"),))


@pytest.mark.parametrize("line", [*TRAINING, EVAL])
def test_lines_are_those_of_the_documentation(shared, line):
    assert line.strip() in (shared / "spec/deeplabv3.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("line", "values"), TRAINING.items(), ids=["standalone", "cpu", "s16_r1", "s8_r1", "s8_r2"])
def test_training_lines_mean_what_they_say(line, values):
    settings = parse(line)
    assert {name: getattr(settings, name) for name in values} == values
    assert settings.output_stride == (8 if "_s8" in settings.model else 16)


def test_the_evaluation_line_means_what_it_says():
    values = {"data_root": "/PATH/TO/DATA", "data_lst": "/PATH/TO/DATA_lst.txt", "batch_size": 16, "crop_size": 513,
              "ignore_label": 255, "num_classes": 21, "model": "deeplab_v3_s8", "scales": (0.5, 0.75, 1.0, 1.25, 1.75),
              "flip": True, "freeze_bn": True, "checkpoint": "/PATH/TO/PRETRAIN_MODEL"}
    settings = parse(EVAL)
    assert {name: getattr(settings, name) for name in values} == values


def test_the_defaults_are_those_of_the_table():
    settings = tasks.parse_settings([], program="train.py", groups=("train",))
    assert {name: getattr(settings, name) for name in TABLE} == TABLE


@pytest.mark.parametrize(("line", "preset"), PRESETS.items(), ids=PRESETS.values())
def test_presets_are_the_documented_lines(line, preset):
    """But for paths and ranks, which launch scripts give."""
    documented = parse(line).model_dump()
    found = tasks.parse_settings([f"--config={preset}"], program="train.py", groups=("train",)).model_dump()
    different = {k for k in documented if documented[k] != found[k]}
    assert different == {"data_file", "output_dir", "pretrained"} | (
        {"is_distributed"} if "--is_distributed" in line else set())


@pytest.mark.parametrize(("flag", "value"), [("--filter_weight", True), ("--filter_weight=True", True),
                                         ("--filter_weight=False", False), ("--freeze_bn=true", True)])
def test_switches_work_bare_and_with_a_value(flag, value):
    settings = tasks.parse_settings([flag], program="train.py", groups=("train",))
    assert getattr(settings, flag.strip("-").split("=")[0]) is value


@pytest.mark.parametrize("name", SCRIPTS)
def test_documented_scripts_are_there_and_can_be_run(name):
    path = ROOT / "scripts/deeplabv3" / name
    assert path.stat().st_mode & 0o111 == 0o111


@pytest.mark.parametrize(("tool", "flags"), [
    ("get_dataset_lst.py", ["--data_root"]),
    ("build_seg_data.py", ["--data_root", "--data_lst", "--dst_path", "--num_shards", "--shuffle"])])
def test_documented_tools_have_their_flags(tool, flags):
    shown = subprocess.run([sys.executable, ROOT / "src/tools" / tool, "--help"], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert all(flag in shown.stdout for flag in flags), shown.stderr
