"""Results files scored against annotations, as processes: numbers of known detections, and what is refused."""
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny_coco import content, write_coco

SCRIPT = Path(__file__).parents[2] / "src/tools/score_detections.py"


@pytest.fixture(scope="module")
def ann_file(tmp_path_factory) -> Path:
    return write_coco(tmp_path_factory.mktemp("coco"))


def run(*flags) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, SCRIPT, *map(str, flags)], capture_output=True, text=True)


def results(folder: Path, rows: list | dict) -> Path:
    path = folder / "results.json"
    path.write_text(json.dumps(rows))
    return path


def boxes(**changes) -> list[dict]:
    return [{key: a[key] for key in ("image_id", "category_id", "bbox")} | {"score": 0.9} | changes
            for a in content()["annotations"]]


def average(text: str) -> str:
    """The number of the first line: AP."""
    return next(line for line in text.splitlines() if "IoU=0.50:0.95" in line).split(" = ")[1]


def test_the_truth_scores_one_for_boxes_and_masks(ann_file):
    ran = run(f"--ann_file={ann_file}", "--truth")
    parts = ran.stdout.split("Evaluate annotation type")
    assert [part.split("*")[1] for part in parts[1:]] == ["bbox", "segm"], ran.stderr
    assert [average(part) for part in parts[1:]] == ["1.000", "1.000"]


def test_a_results_file_counts_by_image_id(ann_file, tmp_path):
    rows = [row for row in boxes() if row["image_id"] == 10 or row["category_id"] == 3]  # one of two cats is missing
    rows.append(rows[0] | {"image_id": 99})
    ran = run(f"--ann_file={ann_file}", f"--results={results(tmp_path, rows)}")
    # Dogs 1.0; of the cats one in two is found: precision 1 up to recall 0.5, 51 of 101 places.
    assert average(ran.stdout) == f"{(1 + 51 / 101) / 2:.3f}", ran.stderr
    assert "predictions without truth: [99]" in ran.stdout and "1 images without prediction: [30]" in ran.stdout


@pytest.mark.parametrize("rows, words", [
    (boxes(category_id=44), "categories [44]"), ({"a": 1}, "not detections"), ([{"image_id": 10}], "not detections")])
def test_what_is_no_result_is_refused(ann_file, tmp_path, rows, words):
    ran = run(f"--ann_file={ann_file}", f"--results={results(tmp_path, rows)}")
    assert ran.returncode == 2 and words in ran.stderr and "Traceback" not in ran.stderr


def test_flags_are_asked_for(ann_file):
    assert "--ann_file is missing" in run("--truth").stderr
    assert "either --results" in run(f"--ann_file={ann_file}").stderr
