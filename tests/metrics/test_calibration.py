"""Expected calibration error on literal values."""
import numpy as np
import pytest

from src.contract import LabelMap
from src.metrics.calibration import BINS, PixelCalibration, Reliability, of_detections
from src.metrics.coco_matches import Matches


def test_the_error_literal():
    """Bin (13/15, 14/15]: two at 0.9 and 0.92, one right; bin (8/15, 9/15]: two at 0.6, both right."""
    found = Reliability()
    found.add(np.array([0.9, 0.92, 0.6, 0.6]), np.array([True, False, True, True]))
    numbers = found.compute()
    assert numbers["ece"] == pytest.approx((2 * abs(0.5 - 0.91) + 2 * (1 - 0.6)) / 4)
    assert numbers["counts"][13] == numbers["counts"][8] == 2
    assert numbers["accuracies"][13] == 0.5
    assert numbers["confidences"][13] == pytest.approx(0.91)
    assert numbers["accuracies"][0] is None
    assert (numbers["accuracy"], numbers["mean_confidence"]) == (0.75, pytest.approx(0.755))


def test_edges_of_bins():
    found = Reliability()
    found.add(np.array([0.0, 1 / BINS, 1 / BINS + 1e-9, 1.0]), np.ones(4, bool))
    assert [found.counts[k] for k in (0, 1, BINS - 1)] == [2, 1, 1]


def test_honest_confidences_have_no_error():
    rng, found = np.random.default_rng(0), Reliability()
    for _ in range(5):
        confidence = rng.random(100_000)
        found.add(confidence, rng.random(100_000) < confidence)
    assert found.compute()["ece"] < 0.004


def test_parts_add_up():
    rng, whole, parts = np.random.default_rng(0), Reliability(), [Reliability(), Reliability()]
    for part in parts:
        confidence, right = rng.random(50), rng.random(50) < 0.5
        part.add(confidence, right)
        whole.add(confidence, right)
    parts[0].merge(parts[1])
    assert parts[0].compute()["counts"] == whole.compute()["counts"]
    assert parts[0].compute()["ece"] == pytest.approx(whole.compute()["ece"])


def test_nothing_counted():
    assert Reliability().compute()["ece"] is None


def test_pixels_without_truth_do_not_count():
    truth = np.array([[0, 1, 255, 1]], np.uint8)
    found = PixelCalibration(lambda data: truth, 2)
    found.update(LabelMap(1, np.array([[0, 0, 1, 1]], np.uint8), np.array([[0.9, 0.7, 0.99, 0.5]], np.float32)), b"")
    numbers = found.reliability.compute()
    assert sum(numbers["counts"]) == 3
    assert numbers["ece"] == pytest.approx((0.1 + 0.7 + 0.5) / 3)


def test_pixels_need_confidences():
    with pytest.raises(ValueError, match="without confidence"):
        PixelCalibration(lambda data: None, 2).update(LabelMap(1, np.zeros((1, 1))), b"")


def test_ignored_detections_do_not_count():
    matches = Matches({1: "cat"}, (0.5,), np.array([1, 1, 1]), np.array([0.9, 0.8, 0.3]),
                      np.array([[True, False, False]]), np.array([[False, True, False]]), {1: 2})
    numbers = of_detections(matches).compute()
    assert sum(numbers["counts"]) == 2
    assert numbers["ece"] == pytest.approx((0.1 + 0.3) / 2)
