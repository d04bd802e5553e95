"""Comparison of results: what counts as equal, and what does not."""
import numpy as np
import pytest

from src.exporting.parity import Difference, compare, worst

LABELS = {"outputs": [{"name": "labels"}]}
SCORES = {"outputs": [{"name": "scores"}]}
DETECTIONS = {"outputs": [{"name": n} for n in ("boxes", "labels", "scores", "valid", "masks")],
              "postprocess": {"score_threshold": 0.05}}


def detections(*found, slots=4):
    """(label, score, x1) of each -> the five arrays of a batch of one; boxes are 10 x 10, masks their upper half."""
    boxes, labels = np.zeros((1, slots, 4), np.float32), np.zeros((1, slots), np.int32)
    scores, masks = np.zeros((1, slots), np.float32), np.zeros((1, slots, 28, 28), np.float32)
    for i, (label, score, x1) in enumerate(found):
        boxes[0, i], labels[0, i], scores[0, i] = (x1, 5, x1 + 10, 15), label, score
        masks[0, i, :14] = 0.9
    return boxes, labels, scores, scores > 0, masks


def test_label_maps_are_compared_pixel_by_pixel():
    labels = np.zeros((1, 100, 100), np.int32)
    other = labels.copy()
    other[0, 0, 0] = 1
    assert compare((labels,), (other,), LABELS).labels_equal == 0.9999
    assert compare((labels,), (other,), LABELS).acceptable
    other[0, 0, 1] = 1
    assert not compare((labels,), (other,), LABELS).acceptable


def test_scores_give_label_maps_and_differ_by_themselves():
    scores = np.tile(np.array([0.2, 0.8], np.float32)[None, :, None, None], (1, 1, 4, 4))
    difference = compare((scores,), (scores[:, ::-1],), SCORES)
    assert difference.labels_equal == 0
    assert difference.scores == pytest.approx(0.6)
    assert compare((scores,), (scores + 0.0009,), SCORES).acceptable
    assert not compare((scores,), (scores + 0.002,), SCORES).acceptable


FOUND = [(1, 0.9, 20.0), (2, 0.9, 50.0), (1, 0.06, 80.0)]


@pytest.mark.parametrize(("other", "acceptable", "text"), [
    (FOUND, True, "detections 3, unmatched 0"),
    ([FOUND[1], FOUND[0], FOUND[2]], True, "boxes 0.0000 px"),  # equal scores may change places
    ([(1, 0.9, 20.05), *FOUND[1:]], True, "boxes 0.0500 px"),
    ([(1, 0.9, 20.2), *FOUND[1:]], False, "boxes 0.2000 px"),
    ([(1, 0.9, 25.0), *FOUND[1:]], False, "unmatched 2"),  # one too few and one too many
    ([(3, 0.9, 20.0), *FOUND[1:]], False, "unmatched 2"),
    ([(1, 0.898, 20.0), *FOUND[1:]], False, "scores 2.0e-03"),
    (FOUND[:2], False, "unmatched 1"),
    (FOUND[:1], False, "unmatched 2"),
    ([], False, "unmatched 3"),
    ([*FOUND, (1, 0.0505, 120.0)], True, "unmatched 0"),  # at the threshold, rounding decides
    ([*FOUND, (1, 0.0515, 120.0)], False, "unmatched 1"),
])
def test_detections(other, acceptable, text):
    difference = compare(detections(*FOUND), detections(*other), DETECTIONS)
    assert text in str(difference)
    assert difference.acceptable is acceptable


def test_where_all_slots_are_taken_the_last_may_be_another():
    full = detections(*FOUND, slots=3)
    assert compare(full, detections(*FOUND[:2], (1, 0.0605, 120.0), slots=3), DETECTIONS).acceptable
    assert not compare(full, detections(*FOUND[:2], (1, 0.0705, 120.0), slots=3), DETECTIONS).acceptable


def test_a_mask_pixel_at_the_threshold_is_no_difference():
    """One pixel of 0.4999996 in one runtime and 0.5000002 in the other: rounding."""
    one, other = detections(*FOUND), detections(*FOUND)
    one[4][0, 1, 20, 3], other[4][0, 1, 20, 3] = 0.4999996, 0.5000002
    difference = compare(one, other, DETECTIONS)
    assert difference.masks_equal == 1
    assert difference.masks == pytest.approx(6e-7, rel=0.3)
    assert difference.acceptable


@pytest.mark.parametrize(("wrong", "acceptable"), [(0, True), (2, True), (3, False)])
def test_mask_pixels_count_over_all_detections(wrong, acceptable):
    """3 masks of 784 pixels: 0.1 % of them are 2.35 pixels, in whichever mask they lie."""
    one, other = detections(*FOUND), detections(*FOUND)
    one[4][0, 1, 20, :wrong], other[4][0, 1, 20, :wrong] = 0.4995, 0.5005
    difference = compare(one, other, DETECTIONS)
    assert difference.masks_equal == pytest.approx(1 - wrong / (3 * 784))
    assert difference.acceptable is acceptable
    images = worst([difference] + [compare(one, one, DETECTIONS)] * 2)  # as many as 9 masks have
    assert images.masks_equal == pytest.approx(1 - wrong / (9 * 784))
    assert images.acceptable


def test_mask_probabilities_are_compared_wherever_they_lie():
    one, other = detections(*FOUND), detections(*FOUND)
    other[4][0, 1] = np.where(other[4][0, 1] > 0.5, 0.905, 0.004)
    assert compare(one, other, DETECTIONS).acceptable
    other[4][0, 1, 0, 0] = 0.92
    difference = compare(one, other, DETECTIONS)
    assert difference.masks_equal == 1
    assert "mask probabilities 2.0e-02" in str(difference)
    assert not difference.acceptable


def test_the_threshold_of_masks_is_the_models():
    one, other = detections(*FOUND), detections(*FOUND)
    one[4][0, :3], other[4][0, :3] = 0.6990, 0.7010
    assert compare(one, other, DETECTIONS).masks_equal == 1
    spec = DETECTIONS | {"postprocess": {"score_threshold": 0.05, "mask_threshold": 0.7}}
    assert compare(one, other, spec).masks_equal == 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("output", [0, 2, 4])
def test_values_that_are_not_finite_fail_wherever_they_are(output, value):
    for side, slot in ((0, 1), (1, 1), (1, 3)):  # of the checkpoint, of the file, in a slot without a detection
        sides = detections(*FOUND), detections(*FOUND)
        sides[side][output].reshape(4, -1)[slot, 0] = value
        difference = compare(*sides, DETECTIONS)
        assert not difference.acceptable
        assert "values that are not finite 1" in str(difference)


def test_one_bad_batch_of_several_fails():
    good = Difference(labels_equal=1.0, scores=0.0, boxes=0.0, masks=0.0, mask_pixels=784, mask_pixels_wrong=0,
                      unmatched=0)
    for bad in (Difference(scores=np.nan), Difference(boxes=np.nan), Difference(masks=np.nan),
                Difference(mask_pixels=784, mask_pixels_wrong=4),
                Difference(labels_equal=np.nan), Difference(unmatched=1), Difference(not_finite=1)):
        for order in ([bad, good, good], [good, bad, good], [good, good, bad]):
            assert not worst(order).acceptable
    scores = np.full((1, 2, 4, 4), 0.5, np.float32)
    broken = scores.copy()
    broken[0, 0, 3, 3] = np.nan
    assert not worst([compare((scores,), (array,), SCORES) for array in (scores, broken, scores)]).acceptable
