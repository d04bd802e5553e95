"""Thresholds by class from results and annotations: chosen, refused, written, and brought along by a checkpoint."""
import json
import subprocess
import sys
from pathlib import Path

import pytest

from src.contract import InputError
from src.tools import score_thresholds as tool
from tests import tiny_coco

ROOT = Path(__file__).parents[2]
DOG, CAT = (3, [4, 6, 8, 5]), (7, [1.5, 2, 20, 10.5])


def detection(image_id: int, kind: tuple[int, list[float]], score: float, shift: float = 0) -> dict:
    category, (x, y, w, h) = kind
    return {"image_id": image_id, "category_id": category, "bbox": [x + shift, y, w, h], "score": score}


ROWS = [detection(10, DOG, 0.9), detection(20, DOG, 0.6), detection(30, DOG, 0.5), detection(30, DOG, 0.8, 9),
        detection(10, CAT, 0.3), detection(20, CAT, 0.7, 25)]


@pytest.fixture
def split(tmp_path):
    """Two dogs found with 0.9 and 0.6 beside false alarms of 0.8 and 0.5; a cat with 0.3 behind one of 0.7."""
    (tmp_path / "results.json").write_text(json.dumps(ROWS))
    return tmp_path, tiny_coco.write_coco(tmp_path)


def run(split, *words: str) -> subprocess.CompletedProcess:
    folder, annotations = split
    return subprocess.run([sys.executable, ROOT / "src/tools/score_thresholds.py", f"--ann_file={annotations}",
                           f"--results={folder / 'results.json'}", *words], cwd=folder, capture_output=True, text=True)


def chosen(split, *words: str) -> dict:
    args = tool.parse_args([f"--ann_file={split[1]}", f"--results={split[0] / 'results.json'}", *words])
    _, matches = tool.matched(args.ann_file, args.results, iou=args.iou, max_detections=args.max_detections)
    return tool.choose(matches, args)


def test_the_best_f1(split):
    done = run(split, "--best_f1")
    assert done.returncode == 0, done.stderr
    content = json.loads((split[0] / "score_thresholds.json").read_text())
    assert content["score_thresholds"] == {"cat": 0.15, "dog": 0.55}
    assert content["classes"]["dog"]["precision"] == pytest.approx(2 / 3)
    assert content["kind"] == "bbox"
    assert "without a threshold, so that all their detections are kept: fish has no object" in done.stdout


def test_a_wanted_precision(split):
    assert chosen(split, "--min_precision=0.5")["dog"]["threshold"] == 0.25
    best = chosen(split, "--min_precision=0.9", "--unreachable=best")
    assert best["dog"] == {"objects": 2, "detections": 4, "threshold": 0.85, "precision": 1.0, "recall": 0.5,
                           "f1": pytest.approx(2 / 3), "reason": ""}
    assert best["cat"]["reason"] == "reaches a precision of 0.500 at most"
    assert (best["cat"]["threshold"], best["cat"]["precision"]) == (0.15, 0.5)


def test_a_precision_that_is_not_reached_is_refused_by_name(split):
    done = run(split, "--min_precision=0.9")
    assert done.returncode == 2
    assert "1 classes do not reach it:\n  cat reaches a precision of 0.500 at most" in done.stderr
    assert "--unreachable=best" in done.stderr
    assert not (split[0] / "score_thresholds.json").exists()


@pytest.mark.parametrize(("words", "message"), [
    ([], "give either --min_precision"), (["--best_f1", "--min_precision=0.5"], "give either"),
    (["--best_f1", "--output_checkpoint=x.ckpt"], "give --checkpoint too")])
def test_wrong_use(split, words, message):
    with pytest.raises(InputError, match=message):
        tool.parse_args([f"--ann_file={split[1]}", "--results=r.json", *words])


@pytest.mark.parametrize("value", ["1.1", "-0.1", "high"])
def test_a_precision_is_from_0_to_1(split, value, capsys):
    with pytest.raises(SystemExit):
        tool.parse_args(["--ann_file=a", "--results=b", f"--min_precision={value}"])
    assert "is not a number from 0 to 1" in capsys.readouterr().err


def test_nothing_to_choose_from(split):
    (split[0] / "results.json").write_text("[]")
    done = run(split, "--best_f1")
    assert done.returncode == 2
    assert "no class has a threshold: dog has no detection, cat has no detection, fish has no object" in done.stderr


def test_a_copy_of_the_checkpoint_brings_the_thresholds_along(split):
    import mindspore.nn as nn

    from src.engine import checkpoint

    source, copy = split[0] / "a.ckpt", split[0] / "a_thresholds.ckpt"
    said = {"coco_classes": ["background", "dog", "cat"], "img_width": 64}
    checkpoint.save(source, nn.Dense(2, 3), {"step": 4, "conventions": said, "config": dict(said)})
    done = run(split, "--best_f1", f"--checkpoint={source}")
    assert done.returncode == 0, done.stderr
    values, metadata = checkpoint.load(copy)
    before, _ = checkpoint.load(source)
    assert {name: value.asnumpy().tolist() for name, value in values.items()} == {
        name: value.asnumpy().tolist() for name, value in before.items()}
    thresholds = ["dog=0.55", "cat=0.15"]
    assert metadata == {"step": 4, "conventions": said | {"score_thresholds": thresholds},
                        "config": said | {"score_thresholds": thresholds}}
    again = run(split, "--best_f1", f"--checkpoint={source}")
    assert (again.returncode, "exists already" in again.stderr) == (2, True)


@pytest.mark.parametrize(("conventions", "message"), [
    ({}, "no checkpoint of Mask R-CNN"), ({"coco_classes": ["background", "cow"]}, "'dog' is no class of the model")])
def test_checkpoints_of_other_models(split, conventions, message):
    import mindspore.nn as nn

    from src.engine import checkpoint

    source = split[0] / "a.ckpt"
    checkpoint.save(source, nn.Dense(2, 3), {"conventions": conventions})
    with pytest.raises(InputError, match=message):
        tool.write_checkpoint(source, split[0] / "b.ckpt", {"dog": 0.5})
    assert not (split[0] / "b.ckpt").exists()
