import mindspore as ms
import mindspore.nn as nn
import numpy as np
import pytest
from mindspore import Tensor

from src.layers.conv_norm import ConvNormAct, conv2d, norm_factory

pytestmark = pytest.mark.usefixtures("eager")


def moved(kind: str, training: bool = True) -> dict[str, list]:
    """Parameters of a one-channel layer after a forward pass over the values 2 and 4."""
    norm = norm_factory(kind, eps=1e-9, momentum=0.9)(1).set_train(training)
    y = norm(Tensor(np.array([2, 4], np.float32).reshape(2, 1, 1, 1))).asnumpy().ravel().tolist()
    return {"y": y} | {name: p.asnumpy().tolist() for name, p in norm.parameters_and_names()}


@pytest.mark.parametrize("kind", ["batch", "sync"])
def test_batch_statistics_while_training(kind):
    after = moved(kind)
    assert after["y"] == pytest.approx([-1, 1])
    assert after["moving_mean"] == pytest.approx([0.3])               # 0.9 * 0 + 0.1 * 3
    assert after["moving_variance"] == pytest.approx([0.9 + 0.1 * 2])  # of the unbiased variance


@pytest.mark.parametrize(("kind", "training"), [("frozen", True), ("frozen", False), ("batch", False), ("sync", False)])
def test_running_statistics_otherwise(kind, training):
    after = moved(kind, training)
    assert after["y"] == pytest.approx([2, 4])
    assert (after["moving_mean"], after["moving_variance"]) == ([0], [1])


def test_frozen_normalisation_keeps_its_scale_and_shift_trainable():
    assert [p.name for p in norm_factory("frozen")(2).trainable_params()] == ["gamma", "beta"]


def test_group_normalisation_does_not_see_the_batch():
    norm = norm_factory("group", groups=2)(4).set_train()
    x = np.random.default_rng(0).normal(size=(3, 4, 5, 5)).astype(np.float32)
    np.testing.assert_allclose(norm(Tensor(x)).asnumpy()[1:2], norm(Tensor(x[1:2])).asnumpy(), atol=1e-5)


def test_no_epsilon():
    """As published Mask R-CNN weights want it; MindSpore itself refuses 0."""
    norm = norm_factory("frozen", eps=0.0)(2)
    norm.moving_variance.set_data(Tensor(np.array([4, 1e-12], np.float32)))
    y = norm(Tensor(np.array([3, 1e-6], np.float32).reshape(1, 2, 1, 1))).asnumpy().ravel()
    assert y.tolist() == pytest.approx([1.5, 1.0])


def test_unknown_norm():
    with pytest.raises(ValueError, match="norm='layer': expected one of batch, frozen, group, sync"):
        norm_factory("layer")


@pytest.mark.parametrize(("kernel", "stride", "dilation", "size"), [
    (1, 1, 1, 9), (3, 1, 1, 9), (3, 1, 4, 9), (3, 2, 1, 5), (7, 2, 1, 5), (1, 2, 1, 5), (3, 2, 2, 5)])
def test_the_size_is_kept_at_stride_1_and_halved_upwards_at_2(kernel, stride, dilation, size):
    out = conv2d(2, 3, kernel, stride=stride, dilation=dilation)(Tensor(np.ones((1, 2, 9, 9), np.float32)))
    assert out.shape == (1, 3, size, size)


def test_padding_is_the_same_on_all_sides():
    conv = conv2d(1, 1, 3, dilation=2)
    conv.weight.set_data(Tensor(np.ones((1, 1, 3, 3), np.float32)))
    out = conv(Tensor(np.ones((1, 1, 6, 6), np.float32))).asnumpy()[0, 0]
    np.testing.assert_allclose(out, out[::-1, ::-1])
    assert (out[0, 0], out[2, 2], out[0, 2]) == (4, 9, 6)


def test_initial_values_are_those_that_are_said():
    ms.set_seed(1)
    he = conv2d(64, 128, 3).weight.asnumpy()
    assert he.std() == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)  # fan-out
    xavier = conv2d(64, 128, 3, init="xavier").weight.asnumpy()
    assert np.abs(xavier).max() == pytest.approx((6 / ((64 + 128) * 9)) ** 0.5, rel=0.01)
    assert conv2d(2, 2, 1, bias=True).bias.asnumpy().tolist() == [0, 0]


def test_the_block_normalises_and_clips_below_zero():
    block = ConvNormAct(1, 1, 1, norm=norm_factory("frozen", eps=1e-9))
    block.conv.weight.set_data(Tensor(np.full((1, 1, 1, 1), 2, np.float32)))
    block.bn.beta.set_data(Tensor(np.array([-3], np.float32)))
    assert block(Tensor(np.array([[[[1, 4]]]], np.float32))).asnumpy().ravel().tolist() == pytest.approx([0, 5])
    assert isinstance(block, nn.Cell)
    assert [p.name for p in block.trainable_params()] == [
        "conv.weight", "bn.gamma", "bn.beta"]
