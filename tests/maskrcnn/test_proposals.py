"""Proposals and detections from small literal predictions."""
import src  # noqa: F401  isort: skip
import numpy as np
import pytest
from mindspore import Tensor

from src.maskrcnn.proposals import DetectionPostprocess, ProposalGenerator, class_offset

ANCHORS = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30], [50, 50, 90, 90], [0, 0, 10, 10]], np.float32)
SIZE = np.array([[60, 80]], np.float32)


def propose(logits, deltas=None, **options):
    """The first four anchors are one level, the last is another."""
    deltas = np.zeros((1, 5, 4), np.float32) if deltas is None else deltas
    logits = np.array([logits], np.float32)
    options = {"before_nms": 4, "after_nms": 4} | options
    boxes, valid = ProposalGenerator(**options)((Tensor(logits[:, :4]), Tensor(logits[:, 4:])),
                                        (Tensor(deltas[:, :4]), Tensor(deltas[:, 4:])), Tensor(ANCHORS), Tensor(SIZE))
    return boxes.asnumpy()[0][valid.asnumpy()[0]].tolist()


def test_best_first_clipped_and_suppressed_within_their_level_only():
    """Anchor 1 falls to anchor 0 of its level; the equal anchor 4 of the other level stays."""
    boxes = propose([3, 2, -1, 0.5, 4])
    assert boxes == [[0, 0, 10, 10], [0, 0, 10, 10], [50, 50, 80, 60], [20, 20, 30, 30]]


def test_limits_before_and_after_suppression():
    assert propose([3, 2, -1, 0.5, 4], before_nms=2) == [[0, 0, 10, 10], [0, 0, 10, 10]]
    assert propose([3, 2, -1, 0.5, -4], after_nms=2) == [[0, 0, 10, 10], [50, 50, 80, 60]]


def test_a_box_that_is_too_small_is_dropped_before_it_suppresses():
    deltas = np.zeros((1, 5, 4), np.float32)
    deltas[0, 0] = [-3, 0, 0, 0]  # moved out of the image: clipped to width 0
    assert propose([3, 2, -1, 0.5, -4], deltas, min_size=1e-3)[0] == [1, 0, 11, 10]


def test_no_more_boxes_than_the_primitive_takes():
    with pytest.raises(ValueError, match="2864"):
        ProposalGenerator(before_nms=3000, after_nms=10)


def detect(probabilities, deltas=None, valid=None, **options):
    probabilities = np.array([probabilities], np.float32)
    b, p, k = probabilities.shape
    deltas = np.zeros((b, p, k, 4), np.float32) if deltas is None else deltas
    valid = np.ones((b, p), bool) if valid is None else np.array([valid])
    options = {"max_detections": 5, "candidates": 6, "stds": (1, 1, 1, 1)} | options
    out = DetectionPostprocess(**options)(Tensor(np.log(probabilities)), Tensor(deltas), Tensor(ANCHORS[None, :p]),
                                Tensor(valid), Tensor(SIZE), 81)
    boxes, labels, scores, shown = (array.asnumpy()[0] for array in out)
    assert not boxes[~shown].any()
    assert not labels[~shown].any()
    assert not scores[~shown].any()
    return boxes[shown].tolist(), labels[shown].tolist(), [round(float(score), 3) for score in scores[shown]]


def test_suppression_is_by_class_and_the_threshold_strict():
    """Boxes 0 and 1 overlap: of class 1 the better stays, class 2 of box 1 is untouched. Background never shows."""
    boxes, labels, scores = detect([[0.1, 0.9, 0.0001], [0.1, 0.5, 0.4], [0.93, 0.06, 0.01]])
    assert boxes == [[0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30]]
    assert labels == [1, 2, 1]
    assert scores == [0.9, 0.4, 0.06]
    assert detect([[0.5, 0.4, 0.1]], score_threshold=0.4)[1] == []


def test_every_class_has_its_own_deltas():
    deltas = np.zeros((1, 1, 3, 4), np.float32)
    deltas[0, 0, 2] = [1, 0, 0, 0]
    boxes, labels, _ = detect([[0.2, 0.5, 0.3]], deltas)
    assert boxes == [[0, 0, 10, 10], [10, 0, 20, 10]]
    assert labels == [1, 2]


def test_empty_slots_of_proposals_and_small_boxes_do_not_show():
    deltas = np.zeros((1, 2, 2, 4), np.float32)
    deltas[0, 1] = [-3, 0, 0, 0]
    assert detect([[0.1, 0.9], [0.1, 0.9]], deltas, [False, True], min_size=1e-2)[1] == []


def test_best_of_the_image_only():
    _, labels, scores = detect([[0.1, 0.2, 0.7], [0.1, 0.2, 0.7], [0.4, 0.5, 0.1]], max_detections=2)
    assert labels == [2, 1]
    assert scores == [0.7, 0.5]


def test_two_classes_in_all_and_a_single_proposal():
    assert detect([[0.25, 0.75]]) == ([[0, 0, 10, 10]], [1], [0.75])


def test_classes_lie_in_separate_cells_of_a_square():
    shift = class_offset(Tensor(np.arange(91, dtype=np.int32)[None]), 91, 100.0).asnumpy()[0]
    assert shift[0].tolist() == [0, 0, 0, 0]
    assert shift[11].tolist() == [100, 100, 100, 100]
    assert len({tuple(row) for row in shift}) == 91
    assert shift.max() == 900
