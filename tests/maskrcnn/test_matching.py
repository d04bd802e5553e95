"""Assignment of boxes to ground truths."""
import src  # noqa: F401  isort: skip
import numpy as np
from mindspore import Tensor

from src.maskrcnn.boxes import iou
from src.maskrcnn.matching import match, usable_boxes

# Two ground truths, five boxes, one image.
IOU = Tensor(np.array([[[0.8, 0.5, 0.1, 0.0, 0.2], [0.1, 0.4, 0.4, 0.0, 0.3]]], np.float32))


def run(overlap, **rule):
    return [array.asnumpy()[0].tolist() for array in match(overlap, **rule)]


def test_thresholds_leave_a_gap():
    index, positive, negative = run(IOU, negative_iou=0.3, positive_iou=0.7)
    assert index == [0, 0, 1, 0, 1]
    assert positive == [True, False, False, False, False]
    assert negative == [False, False, False, True, False]


def test_best_boxes_of_a_ground_truth_become_positive_and_keep_their_own_best():
    """Boxes 1 and 2 overlap ground truth 1 most, with 0.4; box 1 overlaps ground truth 0 more and stays with it."""
    index, positive, negative = run(IOU, negative_iou=0.45, positive_iou=0.7, best_iou=0.3)
    assert index[:3] == [0, 0, 1]
    assert positive == [True, True, True, False, False]
    assert negative == [False, False, False, True, True]


def test_best_boxes_below_the_minimum_stay_negative():
    _, positive, negative = run(IOU, negative_iou=0.45, positive_iou=0.7, best_iou=0.41)
    assert positive == [True, False, False, False, False]
    assert negative == [False, False, True, True, True]


def test_a_ground_truth_that_overlaps_nothing_makes_no_positives():
    nothing = Tensor(np.zeros((1, 2, 3), np.float32))
    _, positive, negative = run(nothing, negative_iou=0.3, positive_iou=0.7, best_iou=0.0)
    assert positive == [False] * 3
    assert negative == [True] * 3


def test_unusable_slots_overlap_nothing_not_even_each_other():
    boxes = Tensor(np.array([[0, 0, 10, 10], [-1e4, -1e4, -1e4, -1e4]], np.float32))
    gt = Tensor(np.array([[[0, 0, 10, 10], [0, 0, 10, 10]]], np.float32))
    for offset in (0, 1):
        masked = usable_boxes(gt, Tensor(np.array([[False, True]])))
        assert iou(boxes, masked, box_offset=offset).asnumpy().round(4).tolist() == [[[0, 0], [1, 0]]]
