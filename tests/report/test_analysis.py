"""Operating points, calibration and errors in a report: numbers that JSON takes, and pictures of what is there."""
import json

import cv2
import numpy as np
import pytest

from src.contract import Record
from src.data.decode import AS_STORED
from src.data.instance.target import encode_target
from src.metrics.calibration import Reliability
from src.metrics.coco_map import CocoMAP
from src.metrics.coco_matches import Matches
from src.report import analysis, operating_charts
from src.report.page import Page, render
from tests.generated_detections import CATEGORIES, NAMES, SIZE, evaluated, image
from tests.tiny_seg import png

CLASSES = ("background", *NAMES.values())


def record_of(seed: int):
    """The records of `evaluated(seed)`, whose images are gray."""
    rng = np.random.default_rng(seed)
    targets = {number: image(rng, number, crowds=True)[1] for number in range(1, 41)}
    picture = png(np.full((*SIZE, 3), 120, np.uint8))
    return lambda image_id: Record(image_id, f"{image_id}.png", picture, targets[image_id])


@pytest.fixture(scope="module")
def instances() -> analysis.Analysis:
    return analysis.of_instances(evaluated(1), ("bbox", "segm"), {"cat": 0.6}, record_of(1), CLASSES, AS_STORED)


def test_numbers_of_instances(instances):
    found = json.loads(json.dumps(instances.numbers, allow_nan=False))
    assert list(found) == ["bbox", "segm"]
    for numbers in found.values():
        assert list(numbers["curves"]["classes"]) == list(NAMES.values())
        assert 0 < numbers["calibration"]["ece"] < 1
        assert sum(kind["count"] for kind in numbers["errors"]["kinds"].values()) > 50
        at = numbers["at_score_thresholds"]
        assert at["cat"]["threshold"] == 0.6
        assert at["dog"]["threshold"] == 0
        assert at["cat"]["recall"] < at["dog"]["recall"]


def test_pictures_of_instances(instances):
    assert set(instances.pictures) == {"curves.png", "calibration.png", "errors.png"} | {
        f"errors_{kind}.jpg" for kind in ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss")}
    assert all(instances.pictures[name].kind == ("png" if name.endswith("png") else "jpeg")
               for name in instances.pictures)
    worst = cv2.imdecode(np.frombuffer(instances.pictures["errors_Bkg.jpg"].data, np.uint8), cv2.IMREAD_COLOR)
    assert worst.shape[1] == 3 * 238 + 8
    colourful = worst.max(-1).astype(int) - worst.min(-1) > 60
    assert [colourful[:, 8 + 238 * k:238 * (k + 1)].any() for k in range(3)] == [False, True, True]
    text = render(Page("r", "ap", {"ap": 0.5} | instances.tables, {}, {}, list(instances.pictures.values())))
    assert "masks at score_thresholds, IoU 0.5" in text
    assert text.count("<img") == 9


def test_without_objects_there_are_no_charts():
    nothing = CocoMAP()
    nothing.update_missing(encode_target(1, SIZE, CATEGORIES, "[]"))
    found = analysis.of_instances(nothing, ("bbox",), {}, record_of(1), CLASSES, AS_STORED)
    assert found.pictures == {}
    assert found.numbers["bbox"]["errors"]["ap"] is None
    assert found.numbers["bbox"]["calibration"]["ece"] is None


def test_label_maps():
    honest = Reliability()
    honest.add(np.array([0.9, 0.6]), np.array([True, False]))
    found = analysis.of_label_maps([[6, 2, 0], [1, 3, 0], [0, 0, 0]], ("sky", "road", "car"), honest)
    assert found.numbers["classes"] == {
        "sky": {"precision": 6 / 7, "recall": 0.75, "f1": 0.8}, "car": {"precision": None, "recall": None, "f1": None},
        "road": {"precision": 0.6, "recall": 0.75, "f1": pytest.approx(2 / 3)}}
    assert found.numbers["calibration"]["ece"] == pytest.approx(0.35)
    assert list(found.pictures) == ["calibration.png"]
    assert found.tables == {"precision and recall of pixels": found.numbers["classes"]}
    assert analysis.of_label_maps([[1]], ("sky",), Reliability()).pictures == {}


def test_many_classes_are_drawn_by_the_best_and_the_worst():
    labels = list(range(1, 21))
    correct = np.array([[k > 10 for k in labels]])
    matches = Matches({k: str(k) for k in labels}, (0.5,), np.array(labels), np.full(20, 0.5), correct,
                      np.zeros((1, 20), bool), {k: 1 for k in labels})
    assert operating_charts._some(matches, labels) == [1, 2, 3, 4, 17, 18, 19, 20]
    assert operating_charts._some(matches, labels[:8]) == labels[:8]
