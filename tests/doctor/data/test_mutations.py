"""Damaged label files, JSON and images: the data doctor ends with findings or an `InputError`, never in a traceback."""
import json
import random
import time

import pytest

from src.contract import InputError
from src.deeplabv3.config import DeepLabV3Config
from src.doctor.data.checkup import examine
from src.doctor.data.page import render
from src.doctor.data.proposals import preset
from src.doctor.finding import FAILURE
from src.maskrcnn.config import MaskRCNNConfig
from tests.data.instance.test_mutated_annotations import mutated as mutated_annotations
from tests.doctor.data.shapes import write_instances, write_labels
from tests.tiny_coco import write_coco, write_txt

QUICK, MANY = 8, 75  # mutations of a kind: 4 kinds of data make 300
VALUES = (b"null", b"-1", b"1e999", b"NaN", b'"x"', b"[]", b"{}", b"true", b"99999999999999999999", b'"\\ud800"', b"")


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Cut, overwrite, repeat, or replace a value."""
    kind, at = rng.randrange(4), rng.randrange(max(len(data), 1))
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + bytes(rng.randrange(256) for _ in range(rng.randrange(1, 9))) + data[at + 4:]
    if kind == 2:
        return data[:at] + data[at // 2:at] + data[at:]
    marks = [k for k in range(len(data)) if data[k:k + 1] in b" ,:[]{}\n\"'"] or [0]
    first = rng.choice(marks)
    last = next((k for k in marks if k > first + 1), len(data))
    return data[:first + 1] + rng.choice(VALUES) + data[last:]


def outcome(given) -> str:
    """"refused", "faults" or "sound"; what could be examined has numbers that are JSON, a page and a preset."""
    try:
        done = examine(given, decode=-1)
    except InputError:
        return "refused"
    json.dumps(done.as_json(), allow_nan=False)
    preset(given, done.proposals, "title")
    render(done, command="python train.py", samples=None, fault="").encode()
    return "faults" if FAILURE in {finding.level for finding in done.findings} else "sound"


def instances(root):
    write_instances(root)
    return MaskRCNNConfig(coco_root=str(root), train_data_type="train", val_data_type="val", workers=1)


def labels(root):
    write_labels(root, ["a", "b", "c"])
    write_labels(root, ["v"], 9, "val.txt")
    return DeepLabV3Config(data_root=str(root), data_lst=str(root / "train.txt"), workers=1, num_classes=2,
                           val_data_lst=str(root / "val.txt"))


def texts(root):
    return MaskRCNNConfig(dataset="other", anno_path=str(write_txt(root)), image_dir=str(root / "images"),
                          num_classes=3, workers=1)


each = pytest.mark.parametrize("count", [QUICK, pytest.param(MANY, marks=pytest.mark.slow)])


@each
@pytest.mark.parametrize("write", [instances, labels, texts])
def test_damaged_files(write, count, tmp_path, caplog):
    given = write(tmp_path)
    assert outcome(given) == "sound"
    files, found, longest = sorted(path for path in tmp_path.rglob("*") if path.is_file()), set(), 0.0
    for seed in range(count):
        rng = random.Random(seed)
        path = rng.choice(files)
        before, begun = path.read_bytes(), time.process_time()
        path.write_bytes(damaged(before, rng))
        found.add(outcome(given))
        longest = max(longest, time.process_time() - begun)
        path.write_bytes(before)
    assert "faults" in found
    assert longest < 5


@each
def test_odd_values_in_annotations(count, tmp_path, caplog):
    path, rng, found = write_coco(tmp_path, split="train"), random.Random(3), set()
    given = MaskRCNNConfig(coco_root=str(tmp_path), train_data_type="train", val_data_type="val", workers=1)
    for _ in range(count):
        path.write_text(json.dumps(mutated_annotations(rng)))
        found.add(outcome(given))
    assert {"refused", "faults"} <= found
