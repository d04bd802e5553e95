"""The RPN's order of outputs, and the anchors that its losses look at."""
import src  # noqa: F401  isort: skip
import numpy as np
import pytest
from mindspore import Tensor

from src.maskrcnn.rpn import RPNLoss, box_targets, flatten_level

LOG2 = float(np.log(2))
# Six anchors: on the object, half on it, beside it, in the crowd region, far away, on the second object.
ANCHORS = np.array([[0, 0, 10, 10], [0, 0, 10, 20], [11, 0, 21, 10], [52, 52, 58, 58], [90, 0, 99, 9],
                    [30, 30, 40, 40]], np.float32)
GT = np.array([[[0, 0, 10, 10], [50, 50, 80, 80], [0, 0, 0, 0]]], np.float32)
VALID, IGNORE = np.array([[1, 1, 0]], bool), np.array([[0, 1, 0]], bool)
EVEN = np.full((1, 6), 0.5, np.float32)


def run(logits, deltas=None, gt=GT, valid=VALID, ignore=IGNORE, **options):
    deltas = np.zeros((1, 6, 4)) if deltas is None else deltas
    arrays = (np.array([logits], np.float32), np.asarray(deltas, np.float32), ANCHORS, gt, valid, ignore, EVEN)
    return [float(loss) for loss in RPNLoss(**options)(*map(Tensor, arrays))]


def test_levels_are_flattened_by_row_column_anchor():
    x = np.arange(2 * 3 * 4).reshape(1, 6, 2, 2)  # three anchors of two values on 2x2 cells
    flat = flatten_level(Tensor(x), 2).asnumpy()[0]
    assert flat[:4].tolist() == [[0, 4], [8, 12], [16, 20], [1, 5]]


def test_anchor_on_the_object_is_positive_and_crowd_and_middling_anchors_do_not_count():
    """Anchor 0 is right, 2, 4 and 5 are right, 1 (IoU 0.5) and 3 (in the crowd) are wrong but left out."""
    cls, reg = run([30, -1000, -30, 1000, -30, -30])
    assert cls == pytest.approx(0, abs=1e-6)
    assert reg == 0
    assert run([30, -1000, -30, 1000, 1, -30])[0] == pytest.approx(np.log(1 + np.e) / 4, rel=1e-5)


def test_crowd_is_background_where_it_is_not_marked():
    cls, _ = run([30, 0, -30, 30, -30, -30], valid=np.array([[1, 0, 0]], bool))
    assert cls == pytest.approx(30 / 5, rel=1e-5)


def test_deltas_of_positives_are_compared_with_their_object():
    gt = GT.copy()
    gt[0, 0] = [1, 0, 11, 10]  # IoU 9/11 with anchor 0: dx = 0.1
    _, reg = run([0] * 6, gt=gt)
    assert reg == pytest.approx((0.1 ** 2 * 0.5 * 9) / 4, rel=1e-4)


def test_image_without_objects_teaches_background_only():
    cls, reg = run([0] * 6, valid=np.zeros((1, 3), bool))
    assert cls == pytest.approx(LOG2)
    assert reg == 0


def test_best_anchor_of_an_object_is_positive_below_the_threshold():
    gt = GT.copy()
    gt[0, 0] = [0, 0, 10, 30]  # IoU 1/3 with anchor 0, 2/3 with anchor 1
    assert run([-30, 30, -30, 0, -30, -30], gt=gt)[0] == pytest.approx(0, abs=1e-6)
    assert run([-30, 0, -30, 0, -30, -30], gt=gt, best_iou=0.7)[0] == pytest.approx(0, abs=1e-6)


def test_targets_of_other_slots_are_zero_whatever_stands_there():
    boxes = Tensor(np.array([[[0, 0, 10, 10], [5, 5, 5, 5]]], np.float32))
    gt = Tensor(np.array([[[0, 0, 20, 10], [0, 0, 0, 0]]], np.float32))
    targets = box_targets(boxes, gt, Tensor(np.array([[True, False]])), stds=(1, 1, 1, 1)).asnumpy()
    np.testing.assert_allclose(targets, [[[0.5, 0, LOG2, 0], [0, 0, 0, 0]]], rtol=1e-6)
