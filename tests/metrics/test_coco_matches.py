"""Matches by COCO's rules: their AP is the evaluator's, at every IoU, class and area, with crowds and ties."""
import numpy as np
import pytest

from src.metrics.coco_map import CocoMAP
from src.metrics.coco_matches import AREAS, IOUS, ImageOverlaps, match_image, matches_of, overlaps
from src.metrics.precision_recall import average_precision
from tests.generated_detections import evaluated


def mean_ap(matches, ious=IOUS) -> float:
    values = [average_precision(matches, label, iou) for label in matches.class_names for iou in ious]
    return float(np.mean([value for value in values if value is not None]))


@pytest.mark.parametrize(("seed", "max_detections", "scores"), [(1, 100, 0), (2, 3, 0), (3, 100, 7), (4, 1, 5)])
@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_ap_is_the_evaluators(kind, seed, max_detections, scores):
    evaluator = evaluated(seed, max_detections=max_detections, scores=scores)
    numbers = evaluator.compute()
    matches = matches_of(evaluator, kind)
    assert mean_ap(matches) == pytest.approx(numbers[kind]["AP"], abs=1e-12)
    assert mean_ap(matches, [0.5]) == pytest.approx(numbers[kind]["AP50"], abs=1e-12)
    assert mean_ap(matches, [0.75]) == pytest.approx(numbers[kind]["AP75"], abs=1e-12)
    for label, name in matches.class_names.items():
        own = np.mean([average_precision(matches, label, iou) for iou in IOUS])
        assert own == pytest.approx(numbers["classes"][name][kind], abs=1e-12)
    for area, key in (("small", "APs"), ("medium", "APm")):
        assert mean_ap(matches_of(evaluator, kind, area=area)) == pytest.approx(numbers[kind][key], abs=1e-12)


def test_the_areas_are_cocos():
    assert AREAS["medium"] == (1024, 9216)


def literal(ious, *, labels=None, object_labels=None, crowds=None) -> ImageOverlaps:
    ious = np.array(ious, float)
    d, g = ious.shape
    return ImageOverlaps(1, np.array(labels or [1] * d), np.linspace(0.9, 0.1, d), np.full(d, 50.0), np.arange(d),
                         np.array(object_labels or [1] * g), np.full(g, 50.0), np.array(crowds or [False] * g, bool),
                         ious)


def test_the_best_score_chooses_first_and_an_object_is_found_once():
    correct, ignored, owner = match_image(literal([[0.6, 0.7], [0.1, 0.9], [0.6, 0.0]]), (0.5, 0.65))
    assert owner.tolist() == [[1, -1, 0], [1, -1, -1]]
    assert correct.tolist() == [[True, False, True], [True, False, False]]
    assert not ignored.any()


def test_a_crowd_takes_what_found_no_object_and_is_never_used_up():
    correct, ignored, owner = match_image(literal([[0.5, 0.9], [0.6, 0.8], [0.0, 0.5], [0.0, 0.4]],
                                                  crowds=[False, True]), (0.5,))
    assert owner.tolist() == [[0, 1, 1, -1]]
    assert correct.tolist() == [[True, False, False, False]]
    assert ignored.tolist() == [[False, True, True, False]]


def test_other_classes_are_not_looked_at():
    _, _, owner = match_image(literal([[0.9], [0.6]], labels=[2, 1]), (0.5,))
    assert owner.tolist() == [[-1, 0]]


def test_without_detections_or_objects():
    assert match_image(literal(np.zeros((0, 2))), (0.5,))[0].shape == (1, 0)
    assert match_image(literal(np.zeros((2, 0))), (0.5,))[2].tolist() == [[-1, -1]]
    assert overlaps(CocoMAP(), "bbox") == []
    assert matches_of(CocoMAP(), "bbox").correct.shape == (10, 0)


def test_detections_beyond_the_limit_of_a_class_are_left_out():
    evaluator = evaluated(5, max_detections=1)
    for image in overlaps(evaluator, "bbox"):
        assert len(set(image.labels)) == len(image.labels)
        rows = evaluator.detections[image.image_id]
        assert [rows[k]["score"] for k in image.rows] == image.scores.tolist() == sorted(image.scores, reverse=True)


def test_an_iou_that_was_not_matched():
    with pytest.raises(ValueError, match="not matched at IoU 0.3"):
        matches_of(evaluated(1, 2), "bbox").at(0.3)
