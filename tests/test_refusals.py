"""What needs no MindSpore to be refused is refused before its import, which takes seconds; nothing is left behind."""
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from src.weights.formats import write_tensors

ROOT = Path(__file__).parents[1]
MASK = "--model=mask_rcnn_r50"
AIR = "--file_format=AIR: MindSpore writes this deprecated format on Ascend devices only"


def refused(folder: Path, script: str, *words: str) -> str:
    """The message of a line that ends with status 2, without MindSpore and without a new file or folder."""
    before = sorted(folder.rglob("*"))
    ran = subprocess.run([sys.executable, "-X", "importtime", ROOT / script, "--device_target=CPU", *words], cwd=folder,
                         capture_output=True, text=True)
    imported = {line.rpartition("|")[2].strip() for line in ran.stderr.splitlines() if line.startswith("import time:")}
    assert ran.returncode == 2, ran.stderr[-1000:]
    assert "argparse" in imported
    assert "mindspore" not in imported
    assert sorted(folder.rglob("*")) == before
    return "\n".join(line for line in ran.stderr.splitlines() if not line.startswith("import time:"))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.ckpt").write_bytes(b"not read")
    (tmp_path / "taken.mindir").write_bytes(b"")
    for name, file in (("ended", "deeplab_v3_s16-1_3.ckpt"), ("other", "mask_rcnn_r50-1_3.ckpt"),
                       ("logs", "metrics.jsonl")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize(("line", "message"), [
    ("train.py", "train data is missing"),
    ("train.py --data_file=gone", "gone: no such record file"),
    ("train.py --data_root=. --data_lst=gone.txt", "gone.txt: no such list"),
    ("train.py --data_root=gone --data_lst=a.ckpt", "--data_root=gone: no such folder"),
    (f"train.py {MASK}", "train data is missing; give --coco_root"),
    (f"train.py {MASK} --coco_root=gone", "--coco_root=gone: no such folder"),
    (f"train.py {MASK} --coco_root=.", "annotations/instances_train2017.json: no such annotation file"),
    (f"train.py {MASK} --dataset=other --num_classes=2 --anno_path=gone.txt", "gone.txt: no such file"),
    ("train.py --data_file=gone --amp_level=O2", "--amp_level=O2: float16 is not faster on a CPU"),
    ("train.py --data_file=gone --pretrained=gone.ckpt", "gone.ckpt: no such file"),
    ("train.py --replay=gone.ckpt", "gone.ckpt: no such file"),
    ("train.py --data_root=. --data_lst=a.ckpt --train_dir=ended", "--output_dir=ended: holds checkpoints or logs of"),
    ("train.py --data_root=. --data_lst=a.ckpt --train_dir=logs", "--output_dir=logs: holds checkpoints or logs of"),
    ("train.py --data_root=. --data_lst=a.ckpt --train_dir=other --resume", "other: holds checkpoints of another"),
    ("predict.py --model_path=gone.ckpt a.png", "--model_path=gone.ckpt: no such file"),
    ("eval.py --ckpt_path=gone.ckpt", "gone.ckpt: no such file"),
    ("eval.py --model=deeplabv3 --ckpt_path=a.ckpt --result_path=new/r.json", "val data is missing"),
    (f"eval.py {MASK} --ckpt_path=a.ckpt --ann_file=gone.json", "gone.json: no such annotation file"),
    ("export.py --ckpt_file=gone.ckpt --file_name=new/a", "gone.ckpt: no such file"),
    (f"export.py {MASK} --ckpt_file=a.ckpt --file_name=new/a --file_format=AIR", AIR),
    (f"export.py {MASK} --ckpt_file=a.ckpt --file_format=TFLITE", "--file_format"),
    (f"export.py {MASK} --ckpt_file=a.ckpt --file_name=new/a --sample_images=gone", "--sample_images=gone: no such"),
    (f"export.py {MASK} --ckpt_file=a.ckpt --file_name=taken", "taken.mindir: exists")],
    ids=lambda value: value if value.split()[0].endswith(".py") else "")
def test_refusals_come_before_mindspore(line, message, folder):
    assert message in refused(folder, *line.split())


def test_a_checkpoint_says_its_model_without_mindspore(tmp_path):
    said = {"family": "mindseg", "conventions": {"model": "mask_rcnn_r50"}}
    shapes = {"backbone.conv1.weight": (64, 3, 7, 7), "fpn.lateral.0.weight": (2, 2, 1, 1)}
    write_tensors(tmp_path / "own.ckpt", {name: np.zeros(shape, np.float32) for name, shape in shapes.items()},
                  {"metadata": json.dumps(said)})
    assert AIR in refused(tmp_path, "export.py", "--ckpt_file=own.ckpt", "--file_name=new/a", "--file_format=AIR")
    assert "val data is missing; give --coco_root" in refused(tmp_path, "eval.py", "--ckpt_path=own.ckpt")
