"""Curves and thresholds on literal detections."""
import json

import numpy as np
import pytest

from src.metrics import precision_recall as pr
from src.metrics.coco_matches import matches_of
from tests.generated_detections import evaluated

SCORES = np.array([0.9, 0.8, 0.8, 0.6, 0.3])
CORRECT = np.array([True, True, False, True, False])


def test_a_curve_literal():
    found = pr.curve(SCORES, CORRECT, 4)
    assert found.scores.tolist() == [0.9, 0.8, 0.6, 0.3]
    assert found.precision.tolist() == [1, 2 / 3, 3 / 4, 3 / 5]
    assert found.recall.tolist() == [0.25, 0.5, 0.75, 0.75]
    assert found.f1.tolist() == pytest.approx([0.4, 4 / 7, 0.75, 2 / 3])


def test_a_threshold_keeps_equal_scores():
    found = pr.curve(SCORES, CORRECT, 4)
    assert found.at(0.8)["precision"] == found.at(0.7)["precision"] == 2 / 3
    assert found.at(0.91) == {"precision": None, "recall": 0.0, "f1": 0.0}
    assert found.at(0) == {"precision": 0.6, "recall": 0.75, "f1": pytest.approx(2 / 3)}


def test_the_lowest_threshold_of_a_precision():
    found = pr.curve(SCORES, CORRECT, 4)
    assert pr.threshold_for_precision(found, 0.7) == pr.Choice(0.45, best=1.0)  # 0.8 alone has less, 0.6 has 3 of 4
    assert pr.threshold_for_precision(found, 0.76) == pr.Choice(0.85, best=1.0)
    assert pr.threshold_for_precision(found, 0.6) == pr.Choice(0.15, best=1.0)


def test_the_best_f1():
    assert pr.threshold_for_best_f1(pr.curve(SCORES, CORRECT, 4)).threshold == 0.45


@pytest.mark.parametrize(("scores", "correct", "objects", "reason", "best"), [
    ([0.9, 0.5], [False, True], 3, "reaches a precision of 0.500 at most", 0.5),
    ([], [], 3, "has no detection", None), ([0.9], [False], 0, "has no object", None)])
def test_precision_that_cannot_be_reached(scores, correct, objects, reason, best):
    found = pr.curve(np.array(scores), np.array(correct, bool), objects)
    assert pr.threshold_for_precision(found, 0.9) == pr.Choice(None, reason, best)


def test_the_best_precision_is_a_way_out():
    found = pr.curve(np.array([0.9, 0.5, 0.2]), np.array([False, True, False]), 3)
    assert pr.threshold_for_best_precision(found) == pr.Choice(0.35, best=0.5)


def test_no_correct_detection_has_no_best_f1():
    found = pr.curve(np.array([0.9]), np.array([False]), 2)
    assert pr.threshold_for_best_f1(found) == pr.Choice(None, "no detection is correct", 0.0)


@pytest.mark.parametrize(("high", "low"), [(0.9, 0.3), (0.51, 0.5), (0.5000001, 0.5), (np.nextafter(0.5, 1), 0.5)])
def test_a_threshold_lies_between_two_scores(high, low):
    threshold = pr.threshold_for_precision(pr.curve(np.array([high, low]), np.array([True, False]), 1), 1).threshold
    assert low < threshold <= high


def test_precision_at_recalls_literal():
    found = pr.precision_at_recalls(SCORES, CORRECT, 4)
    assert found[:51].tolist() == [1] * 51
    assert found[51:76].tolist() == [0.75] * 25
    assert found[76:].tolist() == [0] * 25


def test_curves_as_json():
    matches = matches_of(evaluated(1, 20), "segm")
    found = json.loads(json.dumps(pr.curves_as_json(matches)))
    assert list(found["classes"]) == ["cat", "dog", "fish"]
    cat = found["classes"]["cat"]
    assert list(cat["ious"])[::9] == ["0.50", "0.95"]
    assert cat["objects"] == matches.objects[1] > 0
    numbers = cat["ious"]["0.50"]
    assert numbers["ap"] == pr.average_precision(matches, 1, 0.5)
    assert numbers["best_f1"] >= max(value for value in numbers["f1_by_score"]) - 1e-4
    assert numbers["recall_by_score"] == sorted(numbers["recall_by_score"], reverse=True)
    assert len(numbers["precision_by_score"]) == len(found["scores"]) == len(found["recalls"]) == 101
