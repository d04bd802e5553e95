import math

import mindspore as ms
import mindspore.nn as nn
import numpy as np
import pytest
from mindspore import Tensor, ops

from src.deeplabv3.loss import DeepLabV3Loss, softmax_cross_entropy


class Loss(nn.Cell):
    def construct(self, logits, label):
        return softmax_cross_entropy(logits, label, 255)


def logits(*pixels, dtype=np.float32) -> Tensor:
    """(1, K, 1, W) from the logits of W pixels."""
    return Tensor(np.array(pixels, dtype).T[None, :, None, :])


def labels(*values) -> Tensor:
    return Tensor(np.array(values, np.int32)[None, None, :])


@pytest.fixture(scope="module")
def loss():
    return Loss()


@pytest.mark.parametrize(("pixels", "label", "expected"), [
    ([(0, 0)], [1], math.log(2)),
    ([(math.log(3), 0)], [1], math.log(4)),
    ([(math.log(3), 0)], [0], math.log(4 / 3)),
    ([(0, 0), (math.log(3), 0)], [0, 1], (math.log(2) + math.log(4)) / 2),
    ([(0, 0), (5, -5)], [0, 255], math.log(2)),        # an ignored pixel counts neither above nor below the line
    ([(1000, 0), (0, 1000)], [1, 1], 500.0),            # no overflow
    ([(3, 1), (2, 2)], [255, 255], 0.0)])
def test_mean_over_the_pixels_that_count(loss, pixels, label, expected):
    assert float(loss(logits(*pixels), labels(*label))) == pytest.approx(expected, rel=1e-6, abs=1e-7)


def test_gradient_is_softmax_minus_truth_and_zero_where_ignored(loss):
    gradient = ops.grad(loss)(logits((math.log(3), 0), (7, 1)), labels(1, 255)).asnumpy()[0, :, 0]
    np.testing.assert_allclose(gradient, [[0.75, 0], [-0.75, 0]], atol=1e-6)


def test_a_batch_without_a_pixel_that_counts_has_no_gradient(loss):
    gradient = ops.grad(loss)(logits((1, 2), (7, 1)), labels(255, 255)).asnumpy()
    assert gradient.tolist() == np.zeros((1, 2, 1, 2)).tolist()


def test_float16_logits_are_computed_in_float32(loss):
    value = loss(logits((60000, -60000), (0, 0), dtype=np.float16), labels(1, 0))
    assert value.dtype == ms.float32
    assert float(value) == pytest.approx((120000 + math.log(2)) / 2, rel=1e-3)


def test_the_graph_holds_no_one_hot_array(tmp_path):
    """A batch of 32 x 513 x 513 pixels and 21 classes would have one of 707 MB."""
    ms.set_context(save_graphs=2, save_graphs_path=str(tmp_path))
    ops.grad(Loss())(Tensor(np.zeros((2, 5, 3, 4), np.float32)), Tensor(np.zeros((2, 3, 4), np.int32)))
    ms.set_context(save_graphs=0)
    graphs = "".join(path.read_text() for path in tmp_path.rglob("*.ir"))
    assert "GatherD" in graphs
    assert "OneHot" not in graphs


class Features(nn.Cell):
    def construct(self, image):
        return image, image, image * 0.5, image


class Constant(nn.Cell):
    """A network whose logits are its image, and half of it in the auxiliary head."""

    def __init__(self, auxiliary: bool):
        super().__init__()
        self.backbone = Features()
        self.auxiliary = nn.Identity() if auxiliary else None

    def train_logits(self, c5, image, sample_id, epoch):
        return c5

    def auxiliary_logits(self, c4, image):
        return c4


@pytest.mark.parametrize(("auxiliary", "expected"), [(False, math.log(5)), (True, math.log(5) + 0.5 * math.log(3))])
def test_the_auxiliary_head_counts_half(auxiliary, expected):
    cell = DeepLabV3Loss(Constant(auxiliary), ignore_label=255)
    nothing = Tensor(np.zeros(1, np.int32))
    total, = cell(logits((math.log(4), 0)), labels(1), nothing, nothing)
    assert float(total) == pytest.approx(expected, rel=1e-6)


class WithGradient(nn.Cell):
    def __init__(self, gather: bool):
        super().__init__()
        self.gather = gather
        self.both = ops.value_and_grad(self.loss, 0)

    def loss(self, logits, label):
        return softmax_cross_entropy(logits, label, 255, gather=self.gather)

    def construct(self, logits, label):
        return self.both(logits, label)


@pytest.mark.usefixtures("graph_mode")
def test_comparing_labels_is_gathering_to_the_last_bit():
    rng = np.random.default_rng(0)
    x = Tensor(rng.normal(0, 5, (2, 7, 9, 11)).astype(np.float32))
    label = rng.integers(0, 7, (2, 9, 11)).astype(np.int32)
    label[:, :3] = 255
    gathered, compared = (WithGradient(gather)(x, Tensor(label)) for gather in (True, False))
    for ours, theirs in zip(gathered, compared):
        np.testing.assert_array_equal(ours.asnumpy(), theirs.asnumpy())


@pytest.mark.parametrize("gather", [True, False])
def test_weights_of_classes_make_a_weighted_mean(gather):
    value = softmax_cross_entropy(logits((0, 0), (math.log(3), 0), (5, 1)), labels(0, 1, 255), 255, gather=gather,
                                  class_weights=(1.0, 3.0))
    assert float(value) == pytest.approx((math.log(2) + 3 * math.log(4)) / 4, rel=1e-6)
