"""Each loss against numbers worked out by hand."""
import src  # noqa: F401  isort: skip
import numpy as np
import pytest
from mindspore import Tensor

from src.maskrcnn import losses


def tensor(values, dtype=np.float32):
    return Tensor(np.array(values, dtype))


def mask(values):
    return tensor(values, bool)


LOG2 = float(np.log(2))


def test_objectness_loss_is_the_mean_over_chosen_anchors():
    """Logit 0 costs log 2; a confident right answer nothing; the third is not chosen."""
    loss = losses.objectness_loss(tensor([[0, 30, 77]]), mask([[1, 1, 0]]), mask([[1, 1, 0]]))
    assert float(loss) == pytest.approx(LOG2 / 2)


def test_objectness_loss_does_not_overflow():
    loss = losses.objectness_loss(tensor([[-1000, 1000]]), mask([[1, 0]]), mask([[1, 1]]))
    assert float(loss) == pytest.approx(1000)


def test_delta_loss_sums_coordinates_of_positives_over_all_chosen():
    """beta 0.5: 0.25 -> 0.25^2 = 0.0625, 1 -> 0.75, 0 -> 0, 2 -> 1.75; divided by the 4 chosen boxes."""
    deltas = tensor([[[0.25, 1, 0, -2], [9, 9, 9, 9], [9, 9, 9, 9], [9, 9, 9, 9]]])
    loss = losses.delta_loss(deltas, tensor(np.zeros((1, 4, 4))), mask([[1, 0, 0, 0]]), mask([[1, 1, 1, 1]]), beta=0.5)
    assert float(loss) == pytest.approx((0.0625 + 0.75 + 1.75) / 4)


def test_class_loss_is_softmax_cross_entropy_of_chosen_rois():
    logits = tensor([[0, 0, 0, 0], [0, np.log(3), -50, -50], [5, 5, 5, 5]])
    loss = losses.class_loss(logits, tensor([2, 1, 0], np.int32), mask([1, 1, 0]))
    assert float(loss) == pytest.approx((np.log(4) + np.log(4 / 3)) / 2, rel=1e-5)


def test_mask_loss_is_the_mean_over_pixels_and_counted_masks():
    logits = tensor([[[0, 0], [0, 50]], [[50, 50], [50, 50]], [[0, 0], [0, 0]]])
    targets = tensor([[[1, 0], [1, 1]], [[0, 0], [0, 0]], [[1, 1], [1, 1]]])
    loss = losses.mask_loss(logits, targets, mask([1, 0, 1]))
    assert float(loss) == pytest.approx((0.75 * LOG2 + LOG2) / 2, rel=1e-5)


def test_no_chosen_rows_cost_nothing():
    zero, none = tensor(np.zeros((1, 2))), mask([[0, 0]])
    assert float(losses.objectness_loss(zero, none, none)) == 0
    assert float(losses.delta_loss(tensor(np.ones((1, 2, 4))), tensor(np.zeros((1, 2, 4))), none, none, beta=1.0)) == 0
    assert float(losses.class_loss(zero, tensor([0], np.int32), mask([0]))) == 0
    assert float(losses.mask_loss(tensor(np.zeros((1, 2, 2))), tensor(np.zeros((1, 2, 2))), mask([0]))) == 0
