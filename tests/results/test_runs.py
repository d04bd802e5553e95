"""Runs to compare: what names one, what is refused and with which way out."""
import json
from pathlib import Path

import numpy as np
import pytest

from src.contract import InputError, LabelMap
from src.data.instance.target import encode_instances, encode_target
from src.metrics.coco_map import CocoMAP
from src.metrics.miou import MeanIoU
from src.results.files import write_json
from src.results.image_files import beside, write_statistics
from src.results.runs import open_runs
from tests.generated_detections import CATEGORIES, SIZE, evaluated


def label_maps(*, images=range(30), right: float = 0.8, seed: int = 0, names=("ground", "cat"), truth: int = 7,
               ignore_label: int = 255):
    """An evaluator of random label maps, of which a share is right."""
    evaluator, own = MeanIoU(names, lambda target: target, ignore_label), np.random.default_rng(seed)
    for k in images:
        labels = np.random.default_rng([truth, k]).integers(0, 2, (8, 8), np.uint8)
        evaluator.update(LabelMap(k, np.where(own.random((8, 8)) < right, labels, 1 - labels)), labels)
    return evaluator


def write_run(folder: Path, evaluator, *, checkpoint: str = "ckpt/m-1_1.ckpt", **trained) -> Path:
    """Results as eval.py writes them, and the training run's configuration and log."""
    (folder / "ckpt").mkdir(parents=True)
    write_json(folder / "eval_result.json", evaluator.compute() | {"checkpoint": checkpoint})
    write_statistics(folder / "eval_result.images.npz", evaluator.statistics())
    if trained:
        (folder / "ckpt/config.yaml").write_text("".join(f"{k}: {json.dumps(v)}\n" for k, v in trained.items()))
        lines = [{"kind": "train", "step": s, "epoch": 1, "loss": 1 / s} for s in range(1, 20)]
        lines.append({"kind": "eval", "step": 19, "epoch": 1, "miou": evaluator.compute().get("miou", 0.5)})
        (folder / "ckpt/metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + '\n{"kind": "tr')
    return folder


def test_a_file_and_its_folder_name_the_same_run(tmp_path):
    a, b = (write_run(tmp_path / name, label_maps(), base_lr=0.1) for name in "ab")
    first, second = open_runs([str(a), str(b / "eval_result.json")])
    assert (first.name, second.name) == (str(a), str(b / "eval_result.json"))
    assert first.training == {"base_lr": 0.1}
    assert [line["kind"] for line in first.log] == ["train"] * 19 + ["eval"]
    with pytest.raises(InputError, match="eval_result.images.npz: named twice"):  # the statistics name it, too
        open_runs([str(a), str(a / "eval_result.images.npz")])
    with pytest.raises(InputError, match="eval_result.json: named twice"):
        open_runs([str(a), str(a / "eval_result.json")])
    with pytest.raises(InputError, match="1 run to compare; name two or more"):
        open_runs([str(a)])


@pytest.mark.parametrize(("other", "words"), [
    (lambda: label_maps(images=range(2, 33)),
     r"2 images only in a \(0, 1\) and 3 images only in b \(30, 31, 32\), 28 in both; evaluate both"),
    (lambda: label_maps(truth=8), "the truth of 30 of 30 images differs, ids 0, 1, .* with the same labels"),
    (lambda: label_maps(ignore_label=0), "truth of 30 of 30 .* the same labels and --ignore_label"),
    (lambda: label_maps(names=("ground", "dog")), "classes ground, cat against ground, dog"),
    (lambda: evaluated(1), "one has label maps, the other instances; evaluate both on the same val set")])
def test_other_val_sets_are_refused(other, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run(Path("a"), label_maps())
    write_run(Path("b"), other())
    with pytest.raises(InputError, match=f"a and b cannot be compared: .*{words}"):
        open_runs(["a", "b"])


def test_another_limit_of_detections_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run(Path("a"), evaluated(1))
    write_run(Path("b"), evaluated(1, max_detections=7))
    with pytest.raises(InputError, match="eval_max_detections=100 against 7"):
        open_runs(["a", "b"])


def test_runs_without_statistics_are_named_with_the_command_that_makes_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run(Path("a"), label_maps())
    old = write_run(Path("my old"), label_maps(), checkpoint="my old/ckpt/m-1_1.ckpt", data_root="D",
                    device_target="CPU", val_data_lst="v.txt", data_lst="t.txt")
    beside(old / "eval_result.json").unlink()
    command = (r"my old: has no per-image statistics \(eval_result.images.npz\); write them with\n    python eval.py "
               r"--ckpt_path='my old/ckpt/m-1_1.ckpt' --data_root=D --data_lst=v.txt --device_target=CPU "
               r"--result_path='my old/eval_result.json'")
    with pytest.raises(InputError, match=command):
        open_runs(["a", "my old"])
    for name in ("m-10_90.ckpt", "m-9_81.ckpt", "m_best.ckpt"):  # the last step counts, not the last file
        (old / "ckpt" / name).touch()
    with pytest.raises(InputError, match=r"my old/ckpt: has not been evaluated .*\n    python eval.py "
                                         r"--ckpt_path='my old/ckpt/m-10_90.ckpt' .*"
                                         r"--data_lst=v.txt .*--result_path='my old/ckpt/eval_result.json'"):
        open_runs(["a", "my old/ckpt"])


def test_what_is_no_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    a = write_run(Path("a"), label_maps())
    Path("empty").mkdir()
    for name, words in (("gone", "gone: no such file or folder"), ("empty", "neither results of eval.py nor check")):
        with pytest.raises(InputError, match=words):
            open_runs(["a", name])
    write_statistics(a / "other.images.npz", label_maps().statistics())
    with pytest.raises(InputError, match="a: holds several evaluations; name one of a/eval_result.json, a/other.json"):
        open_runs(["a", "empty"])
    Path("notes.txt").touch()
    with pytest.raises(InputError, match=r"notes.txt: no results of eval.py; name its JSON file \(notes.json, for"):
        open_runs(["a/eval_result.json", "notes.txt"])
    Path("b").mkdir()
    write_statistics(Path("b/list.images.npz"), label_maps().statistics())
    with pytest.raises(InputError, match="b: list.json is missing beside list.images.npz; evaluate again"):
        open_runs(["a/eval_result.json", "b"])
    Path("b/list.json").write_text("[]")
    with pytest.raises(InputError, match="b/list.json: holds no results of eval.py"):
        open_runs(["a/eval_result.json", "b"])
    write_run(Path("c"), label_maps(images=()))
    with pytest.raises(InputError, match="c: is of no image at all"):
        open_runs(["a/eval_result.json", "c"])
    write_run(Path("d"), evaluated(1, images=0))
    nothing = CocoMAP()
    nothing.update_missing(encode_target(1, SIZE, CATEGORIES, encode_instances([])))
    write_run(Path("e"), nothing)
    for name, words in (("d", "is of no image at all"), ("e", "its 1 images have no object to find, so .* no AP")):
        with pytest.raises(InputError, match=f"{name}: {words}"):
            open_runs(["a/eval_result.json", name])
