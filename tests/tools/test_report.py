"""The report of both models: its page, numbers and pictures, from predictions that are given."""
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest

from src.contract import LabelMap, Record
from src.data.decode import AS_STORED, decode_label
from src.engine.evaluate import evaluate
from src.metrics.coco_map import CocoMAP
from src.metrics.miou import MeanIoU
from src.results.runs import open_runs
from src.tools.report import Examined, write_report
from tests.generated_detections import NAMES, SIZE, image
from tests.tiny_seg import png


class Split:
    name = "val"

    def __init__(self, records: list[Record]):
        self.records = records

    def __len__(self) -> int:
        return len(self.records)

    def rows(self, sample_ids):
        return (self.records[k] for k in sample_ids)


def reported(folder, records, predictions, *, results=(), **task) -> dict:
    """Write a report; return the numbers of its analysis.json."""
    by_id = {prediction.image_id: prediction for prediction in predictions}
    task = SimpleNamespace(preprocess=SimpleNamespace(decoding=AS_STORED), loss_names=("loss",),
                           results=lambda evaluator: dict(results), engine=SimpleNamespace(name="none"), **task)
    found = Examined(task, Split(records), lambda some: (by_id[record.image_id] for record in some))
    evaluate(found.predictor, found.dataset, found)
    write_report(folder, found, SimpleNamespace(checkpoint=str(folder / "none/a.ckpt"), model="m", bootstrap=100,
                                                 evaluation=lambda: {"scales": [1.0]}), 2)
    return json.loads((folder / "analysis.json").read_text())


@pytest.mark.parametrize("thresholds", [{}, {"cat": 0.9, "dog": 0.9, "fish": 0.9}])
def test_instances(thresholds, tmp_path):
    rng = np.random.default_rng(3)
    pairs = [image(rng, number, crowds=True) for number in range(31, 39)]  # ids are not sample ids
    picture = png(np.full((*SIZE, 3), 120, np.uint8))
    records = [Record(31 + k, f"{k}.png", picture, target) for k, (_, target) in enumerate(pairs)]
    numbers = reported(tmp_path, records, [found for found, _ in pairs], evaluator=CocoMAP, metric="ap",
                       class_names=("background", *NAMES.values()), config=SimpleNamespace(thresholds=thresholds))
    assert set(numbers) == {"bbox", "segm"}
    assert ("at_score_thresholds" in numbers["segm"]) == bool(thresholds)
    metrics, page = json.loads((tmp_path / "metrics.json").read_text()), (tmp_path / "report.html").read_text()
    assert metrics["detections"] == sum(len(found.scores) for found, _ in pairs), "evaluation applied a threshold"
    assert numbers["segm"]["errors"]["ap"] == pytest.approx(metrics["segm"]["AP50"])
    assert ("at score_thresholds, IoU 0.5" in page) == bool(thresholds)
    for name in ("curves.png", "calibration.png", "errors.png", "errors_Loc.jpg"):
        assert (tmp_path / name).stat().st_size > 1000
    for title in ("Precision, recall and F1 of masks", "Calibration of masks", "Errors: Loc"):
        assert title in page


def test_label_maps(tmp_path):
    labels = np.arange(24 * 32).reshape(24, 32) % 3
    truth = np.where(labels == 2, 255, labels).astype(np.uint8)
    records = [Record(7 + k, f"{k}.png", png(np.zeros((24, 32, 3), np.uint8)), png(truth)) for k in range(2)]
    sure = LabelMap(7, np.zeros((24, 32), np.uint8), np.full((24, 32), 0.5, np.float32))
    unsure = LabelMap(8, np.zeros((24, 32), np.uint8), np.full((24, 32), 0.75, np.float32))
    numbers = reported(tmp_path, records, [sure, unsure], metric="miou", class_names=("sky", "road"),
                       evaluator=lambda: MeanIoU(("sky", "road"), decode_label), config=SimpleNamespace())
    assert numbers["classes"]["sky"] == {"precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3)}
    assert numbers["calibration"]["ece"] == pytest.approx(0.125)
    assert sum(numbers["calibration"]["counts"]) == 2 * 512
    assert "precision and recall of pixels" in (tmp_path / "report.html").read_text()


def test_a_report_is_a_run_that_others_are_compared_with(tmp_path, capsys):
    """compare_runs.py takes folders of the quick start, whose results are the report's."""
    rng = np.random.default_rng(4)
    pairs = [image(rng, number, crowds=False) for number in range(12)]
    picture = png(np.full((*SIZE, 3), 120, np.uint8))
    records = [Record(k, f"{k}.png", picture, target) for k, (_, target) in enumerate(pairs)]
    rows = [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 0.5}]
    for name in ("a", "b"):
        reported(tmp_path / name, records, [found for found, _ in pairs], evaluator=CocoMAP, metric="ap",
                 class_names=("background", *NAMES.values()), config=SimpleNamespace(),
                 results={"bbox": rows})
    line = re.search(r"95 % intervals: (box AP .* 12 images, seed 1\))", capsys.readouterr().out)[1]
    assert f"<th>95 % intervals</th><td>{line}</td>" in (tmp_path / "a/report.html").read_text()
    first, second = open_runs([str(tmp_path / name) for name in ("a", "b")])
    assert first.numbers["configuration"] == {"scales": [1.0]}
    assert set(first.numbers["intervals"]) >= {"bbox", "segm"}
    assert len(second.statistics) == 12
    assert json.loads((tmp_path / "a/metrics.bbox.json").read_text()) == rows
