"""The scripts that build docs/models.md: what they refuse, and what they say of a run."""
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.model_facts import scores, training

ROOT = Path(__file__).parents[2]


def script(*words: object) -> subprocess.CompletedProcess:
    program = ["bash"] if str(words[0]).endswith(".sh") else [sys.executable]
    return subprocess.run([*program, f"benchmarks/{words[0]}", *map(str, words[1:])], cwd=ROOT, text=True,
                          capture_output=True)


@pytest.fixture
def data(tmp_path):
    """Folders that look like the data of both models."""
    for name in ("camvid/ImageSets/Segmentation/train.txt", "nuclei/annotations/instances_train2018.json"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    return tmp_path


def test_missing_data_is_named_before_anything_is_made(data):
    camvid, nuclei = data / "camvid", data / "nuclei"
    for words, error in [
            (["camvid.sh"], "expected the folder CAMVID"),
            (["camvid.sh", camvid], f"CAMVID '{camvid}' has no ImageSets/Segmentation/val.txt"),
            (["nuclei.sh", nuclei], f"NUCLEI '{nuclei}' has no annotations/instances_val2018.json"),
            (["models.sh", camvid], "expected two folders, CAMVID and NUCLEI"),
            (["models.sh", nuclei, camvid], f"CAMVID '{nuclei}' has no ImageSets/Segmentation/train.txt"),
            (["models.sh", camvid, camvid], f"NUCLEI '{camvid}' has no annotations/instances_train2018.json")]:
        ran = script(*words)
        assert (ran.returncode, ran.stderr.splitlines()[0]) == (2, f"{words[0]}: error: {error}")


@pytest.mark.parametrize("seed", ["x", "-1", ""])
def test_a_seed_is_a_number(seed, data):
    (data / "nuclei/annotations/instances_val2018.json").touch()
    ran = script("nuclei.sh", data / "nuclei", seed)
    assert (ran.returncode, ran.stderr.splitlines()[0]) == (2, f"nuclei.sh: error: SEED '{seed}' is no number; FLAGs "
                                                            "come after it")


@pytest.mark.parametrize("seeds", ["x", "", "1,,2", "1,1"])
def test_the_ablation_takes_different_whole_numbers_as_seeds(seeds, tmp_path):
    ran = script("ablation.py", f"--seeds={seeds}", f"--run_dir={tmp_path}/run")
    assert ran.returncode == 2
    assert ran.stderr.endswith(f"--seeds: {seeds!r}: expected different whole numbers, for example 1,2,3\n")
    assert list(tmp_path.iterdir()) == []


def test_the_ablation_refuses_results_of_other_flags(tmp_path):
    data, run = tmp_path / "data/voc_train_lst.txt", tmp_path / "deeplabv3/plain/seed_1"
    for path in (data, run / "results.images.npz"):
        path.parent.mkdir(parents=True)
        path.touch()
    words = ("ablation.py", "--seeds=1", "--only=ema", f"--run_dir={tmp_path}")
    way_out = "move it away, or give another --run_dir\n"
    ran = script(*words)
    assert (ran.returncode, ran.stderr) == (
        2, f"error: {run} has results of unknown flags, not of --config=quickstart; {way_out}")
    (run / "flags.txt").write_text("--config=quickstart --ema_decay=0.9\n")
    assert script(*words).stderr.endswith(
        f"has results of --config=quickstart --ema_decay=0.9, not of --config=quickstart; {way_out}")


def test_facts_of_a_run(tmp_path):
    assert scores({"miou": 0.5, "intervals": {"miou": [0.25, 0.75]}}) == "mean IoU 0.5000 (0.2500 to 0.7500)"
    assert scores({"segm": {"AP": 0.5, "AP50": 0.75}}) == "mask AP 0.5000, mask AP50 0.7500"
    lines = [{"kind": "train", "seconds": 30, "data_wait": 0.5}, {"kind": "train", "seconds": 60, "data_wait": 0},
             {"kind": "eval", "seconds": 90}]
    log = tmp_path / "metrics.jsonl"
    log.write_text("\n".join(map(json.dumps, lines)))
    assert training(log) == "2 steps, 2.0 minutes of training, 60.00 s a step; another 1.5 minutes of evaluation"


def test_facts_are_of_the_checkpoint_that_was_evaluated(tmp_path):
    (tmp_path / "m-2_9.ckpt").touch()
    (tmp_path / "results.json").write_text(json.dumps({"checkpoint": "/run/m-1_9.ckpt"}))
    (tmp_path / "other").write_text(json.dumps({"checkpoint": "/other/seed_2/ckpt/m-2_9.ckpt"}))
    (tmp_path / "text").write_text("no JSON")
    asked = f"not {tmp_path}/m-2_9.ckpt; evaluate that one with eval.py"
    for name, error in [("results.json", f"results.json is of /run/m-1_9.ckpt, {asked}"),
                        ("other", f"other is of /other/seed_2/ckpt/m-2_9.ckpt, {asked}"),
                        ("text", "text: no results of eval.py (--result_path)"),
                        ("none", "none: No such file or directory")]:
        ran = script("model_facts.py", tmp_path / "m-2_9.ckpt", tmp_path / name)
        assert (ran.returncode, ran.stderr) == (2, f"error: {tmp_path}/{error}\n")


def test_camvid_from_segnets_split(tmp_path):
    source, made = tmp_path / "segnet", tmp_path / "made"
    for number, split in enumerate(("train", "val")):
        for folder, shape in ((split, (4, 6, 3)), (f"{split}annot", (4, 6))):
            (source / "CamVid" / folder).mkdir(parents=True)
            cv2.imwrite(str(source / "CamVid" / folder / f"f{number}.png"), np.full(shape, 10 + number, np.uint8))
        (source / f"CamVid/{split}.txt").write_text(f"/SegNet/{split}/f{number}.png /SegNet/annot/f{number}.png\n")
    assert script("camvid_data.py", source, made).stdout == "train: 1 images\nval: 1 images\n"
    assert (made / "ImageSets/Segmentation/val.txt").read_text() == "f1\n"
    assert cv2.imread(str(made / "JPEGImages/f0.jpg")).shape == (4, 6, 3)
    labels = [cv2.imread(str(made / f"SegmentationClassGray/f{n}.png"), cv2.IMREAD_UNCHANGED) for n in (0, 1)]
    assert [np.unique(label).tolist() for label in labels] == [[10], [255]]
    again = script("camvid_data.py", source, made)
    assert (again.returncode, again.stderr) == (2, f"error: {made}: exists already; give a new folder\n")
