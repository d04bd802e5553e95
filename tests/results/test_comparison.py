"""Comparisons: paired differences, corrections, per class and size, configurations, the tool with its page and JSON."""
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from src.contract import Instances
from src.data.instance.target import encode_instances, encode_target
from src.metrics.bootstrap import Shape, bootstrap
from src.metrics.coco_map import CocoMAP
from src.results.comparison import as_text, compare
from src.results.runs import open_runs
from tests.generated_detections import CATEGORIES, evaluated, image
from tests.results.test_runs import label_maps, write_run

ROOT = Path(__file__).parents[2]


def runs_of(folder: Path, **evaluators):
    for name, (evaluator, trained) in evaluators.items():
        write_run(folder / name, evaluator, **trained)
    return open_runs([str(folder / name) for name in evaluators])


def test_a_better_run_an_equal_one_and_the_same_one(tmp_path):
    runs = runs_of(tmp_path, a=(label_maps(right=0.7), {}), better=(label_maps(right=0.8, seed=1), {}),
                   equal=(label_maps(right=0.7, seed=2), {}), same=(label_maps(right=0.7), {}))
    cells = compare(runs, samples=500, seed=1).whole["mean IoU"]
    values = [run.numbers["miou"] for run in runs]
    assert [cell.value for cell in cells] == pytest.approx(values)
    assert [cell.difference for cell in cells] == [None, *(pytest.approx(v - values[0]) for v in values[1:])]
    assert all(cell.interval[0] < cell.value < cell.interval[1] for cell in cells)
    assert cells[1].difference_interval[0] > 0
    assert cells[1].p_value < 0.01
    assert cells[2].difference_interval[0] < 0 < cells[2].difference_interval[1]
    assert cells[2].p_value > 0.05
    assert (cells[3].difference_interval, cells[3].p_value) == ((0, 0), 1)


def test_p_values_are_corrected_over_runs_and_classes(tmp_path):
    runs = runs_of(tmp_path, a=(label_maps(right=0.7), {}), b=(label_maps(right=0.75, seed=1), {}),
                   c=(label_maps(right=0.72, seed=2), {}))
    drawn = [bootstrap(run.statistics, 400, 3) for run in runs]
    found = compare(runs, samples=400, seed=3)
    alone = [Shape.of(one["miou",] - drawn[0]["miou",]).p_value() for one in drawn[1:]]
    assert found.whole["mean IoU"][1].p_value == pytest.approx(2 * alone[0])  # the smaller of two
    assert found.whole["mean IoU"][2].p_value == pytest.approx(max(alone[1], 2 * alone[0]))
    by_class = [Shape.of(one["iou", name] - drawn[0]["iou", name]).p_value() for one in drawn[1:]
                for name in ("ground", "cat")]
    cells = found.classes["IoU by class"]
    smallest = min(cell.p_value for row in cells.values() for cell in row[1:])
    assert smallest == pytest.approx(4 * min(by_class))


def test_average_precision_by_class_and_size(tmp_path):
    found = compare(runs_of(tmp_path, a=(evaluated(1), {}), b=(evaluated(1, scores=2), {})), samples=100, seed=1)
    assert list(found.whole) == ["box AP", "mask AP", "box AP50", "box AP75", "mask AP50", "mask AP75",
                                 "box AP of small objects", "box AP of medium objects", "box AP of large objects",
                                 "mask AP of small objects", "mask AP of medium objects", "mask AP of large objects"]
    assert found.whole["box AP"][1].difference < 0  # coarse scores rank worse
    assert {title: list(rows) for title, rows in found.classes.items()} == {
        "box AP by class": ["cat", "dog", "fish"], "mask AP by class": ["cat", "dog", "fish"]}
    numbers = evaluated(1).compute()
    assert found.classes["mask AP by class"]["dog"][0].value == pytest.approx(numbers["classes"]["dog"]["segm"])
    assert found.whole["box AP of large objects"][0].value is None  # there are none
    assert "box AP of large objects\n  " in as_text(found)


def test_few_images_and_no_samples_leave_values_and_differences(tmp_path):
    few = runs_of(tmp_path, a=(label_maps(images=range(9)), {}), b=(label_maps(images=range(9), seed=1), {}))
    for found, words in ((compare(few, samples=100, seed=1), "9 images, no intervals: 9 images are too few"),
                         (compare(few, samples=0, seed=1), "9 images, no intervals: --bootstrap=0")):
        assert found.whole["mean IoU"][1].difference is not None
        assert found.whole["mean IoU"][1].p_value is None
        assert words in as_text(found)


def test_the_tool_writes_a_page_and_json(tmp_path):
    write_run(tmp_path / "a", label_maps(), base_lr=0.1, output_dir="x", epochs=3)
    write_run(tmp_path / "b <i>", label_maps(right=0.9, seed=1), base_lr=0.2, output_dir="y", epochs=3)
    write_run(tmp_path / "c", label_maps(right=0.9, seed=2))
    tool = [sys.executable, ROOT / "src/tools/compare_runs.py"]
    ran = subprocess.run([*tool, "a", "b <i>", "c", "--output_dir=out", "--bootstrap=200"], cwd=tmp_path,
                         capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("30 images, 200 bootstrap samples, seed 1; in brackets 95 % intervals, where enough ")
    row = r"\n  b <i>  0\.\d{4} \(0\.\d{4} to 0\.\d{4}\) +\+0\.\d{4} \(\+.* to \+.*\) p = 0\.0\d\d\n"
    assert re.search(row, ran.stdout)
    content = json.loads((tmp_path / "out/compare.json").read_text())
    assert content["numbers"]["mean IoU"][1]["difference"] > 0
    page = (tmp_path / "out/compare.html").read_text()
    assert "b &lt;i&gt;" in page
    assert "<i>" not in page
    assert "data:image/png;base64," in page
    assert "No metrics.jsonl beside the checkpoint of c." in page
    wrong = subprocess.run([*tool, "a", "gone"], cwd=tmp_path, capture_output=True, text=True)
    assert (wrong.returncode, wrong.stderr) == (
        2, "error: gone: no such file or folder; name results of eval.py, or a folder with them\n")


def test_configurations_that_differ(tmp_path):
    runs = runs_of(tmp_path, a=(label_maps(), {"base_lr": 0.1, "epochs": 3, "output_dir": "x"}),
                   b=(label_maps(), {"base_lr": 0.2, "epochs": 3, "output_dir": "y", "ema_decay": 0.99}))
    for run, flip in zip(runs, (False, True)):
        run.numbers["configuration"] = {"flip": flip, "crop_size": 33}
    assert compare(runs, samples=0, seed=1).configurations == {
        "evaluation: flip": [False, True], "training: base_lr": [0.1, 0.2], "training: ema_decay": [None, 0.99]}


def test_undefined_numbers_stay_undefined(tmp_path):
    three = ("ground", "cat", "dog")
    found = compare(runs_of(tmp_path, a=(label_maps(names=three), {}), b=(label_maps(names=three, seed=1), {})),
                    samples=50, seed=1)
    assert [cell.value for cell in found.classes["IoU by class"]["dog"]] == [None, None]
    assert re.search(r"  dog +- +-\n|  dog +- +-$", as_text(found))
    assert np.isfinite(found.whole["mean IoU"][0].value)


def test_numbers_that_only_some_runs_have_are_named(tmp_path):
    boxes_alone = CocoMAP()
    for number, target in enumerate(evaluated(1).targets.values(), 1):
        found, _ = image(np.random.default_rng(number), number, crowds=False)
        boxes_alone.update(Instances(number, found.boxes_image, found.labels, found.scores, []), encode_target(
            number, target.size, CATEGORIES, encode_instances(target.instances)))
    found = compare(runs_of(tmp_path, a=(evaluated(1), {}), b=(boxes_alone, {})), samples=0, seed=1)
    assert "box AP" in found.whole
    assert found.left_out == ["mask AP", "mask AP50", "mask AP75", "mask AP of small objects",
                              "mask AP of medium objects", "mask AP of large objects"]
    assert "; not every run has mask AP, mask AP50, " in as_text(found).splitlines()[0]
