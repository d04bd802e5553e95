import mindspore as ms
import mindspore.nn as nn
import numpy as np
import pytest
from mindspore import Tensor

from src.layers.conv_norm import norm_factory
from src.layers.resnet import BLOCKS, ResNet, dilation_plan
from tests.conftest import running_mode

NORM = norm_factory("frozen")


pytestmark = pytest.mark.usefixtures("eager")


@pytest.mark.parametrize(("output_stride", "expected"), [
    (32, [(1, [1, 1, 1]), (2, [1] * 4), (2, [1] * 23), (2, [1, 1, 1])]),
    (16, [(1, [1, 1, 1]), (2, [1] * 4), (2, [1] * 23), (1, [2, 4, 8])]),
    (8, [(1, [1, 1, 1]), (2, [1] * 4), (1, [2] * 23), (1, [4, 8, 16])])])
def test_the_model_zoo_s_table_of_strides_and_dilations(output_stride, expected):
    assert dilation_plan(BLOCKS[101], output_stride, "multi_grid") == expected


@pytest.mark.parametrize(("output_stride", "expected"), [
    (16, [(1, [1, 1, 1]), (2, [1] * 4), (2, [1] * 6), (1, [1, 2, 2])]),
    (8, [(1, [1, 1, 1]), (2, [1] * 4), (1, [1] + [2] * 5), (1, [2, 4, 4])])])
def test_torchvision_s_table_of_strides_and_dilations(output_stride, expected):
    assert dilation_plan(BLOCKS[50], output_stride, "previous") == expected


def convolutions(depth: int, output_stride: int) -> dict[str, tuple]:
    network = ResNet(depth, norm=NORM, output_stride=output_stride)
    return {name: (cell.kernel_size[0], cell.stride[0], cell.dilation[0]) for name, cell in network.cells_and_names()
            if isinstance(cell, nn.Conv2d)}


def test_the_stride_sits_on_the_3x3_of_a_bottleneck_and_dilation_there_alone():
    convs = convolutions(50, 8)
    assert convs["layer2.0.conv1"] == (1, 1, 1)
    assert convs["layer2.0.conv2"] == (3, 2, 1)
    assert convs["layer2.0.downsample.0"] == (1, 2, 1)
    assert convs["layer3.0.downsample.0"] == (1, 1, 1)
    assert [convs[f"layer4.{i}.conv2"] for i in range(3)] == [(3, 1, 4), (3, 1, 8), (3, 1, 16)]
    assert all(d == 1 for k, _, d in convs.values() if k == 1)
    assert convs["conv1"] == (7, 2, 1)


def test_both_convolutions_of_a_basic_block_are_dilated():
    convs = convolutions(18, 16)
    assert [convs[f"layer4.{i}.conv{j}"] for i in (0, 1) for j in (1, 2)] == [(3, 1, 2)] * 2 + [(3, 1, 4)] * 2


@pytest.mark.parametrize(("output_stride", "sizes"), [(32, (17, 9, 5, 3)), (16, (17, 9, 5, 5)), (8, (17, 9, 9, 9))])
def test_features_have_the_strides_that_are_said(output_stride, sizes):
    outputs = ResNet(18, norm=NORM, output_stride=output_stride)(Tensor(np.zeros((1, 3, 65, 33), np.float32)))
    assert [x.shape[1:3] for x in outputs] == list(zip((64, 128, 256, 512), sizes))
    assert outputs[0].shape[3] == 9


def test_stem_pools_differ_for_even_sizes_alone():
    """At 32 the pool's input is 16: the model zoo pads it at the bottom and right, torchvision on every side."""
    rng = np.random.default_rng(0)
    for size, equal in ((33, True), (32, False)):
        x = Tensor(rng.normal(size=(1, 3, size, size)).astype(np.float32))
        a, b = ResNet(18, norm=NORM, stem_pool="same"), ResNet(18, norm=NORM, stem_pool="pad")
        for p, q in zip(a.get_parameters(), b.get_parameters()):
            q.set_data(p)
        assert np.array_equal(a(x)[0].asnumpy(), b(x)[0].asnumpy()) == equal


@pytest.mark.parametrize(("wrong", "message"), [
    ({"depth": 20}, "depth=20: expected one of"), ({"output_stride": 4}, "output_stride=4: expected 8, 16 or 32"),
    ({"dilation": "none"}, "dilation='none': expected multi_grid or previous"),
    ({"stem_pool": "valid"}, "stem_pool='valid': expected same or pad")])
def test_wrong_options_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        ResNet(**{"depth": 18, "norm": NORM} | wrong)


class StemPool(nn.Cell):
    def __init__(self, network):
        super().__init__()
        self.border = network.border
        self.pool = network.pool

    def construct(self, x, weight):
        return (self.pool(self.border(x)) * weight).sum()


@pytest.mark.parametrize(("stem_pool", "winners"), [("pad", [0, 1, 4, 5]), ("same", [10, 11, 14, 15])])
def test_stem_pool_gives_the_gradient_to_the_largest_again_and_again(stem_pool, winners):
    """Falling values win at the top left of their 3x3 window, rising ones at its bottom right."""
    values = np.arange(16, dtype=np.float32) if stem_pool == "same" else np.arange(16, 0, -1, dtype=np.float32)
    values = ms.Tensor(values.reshape(1, 1, 4, 4) + 1)
    weight = ms.Tensor(np.arange(1, 5, dtype=np.float32).reshape(1, 1, 2, 2))
    expected = np.zeros(16, np.float32)
    expected[winners] = [1, 2, 3, 4]
    with running_mode("GRAPH"):
        gradient = ms.grad(StemPool(ResNet(18, norm=NORM, stem_pool=stem_pool)))
        for _ in range(5):
            np.testing.assert_array_equal(gradient(values, weight).asnumpy().reshape(-1), expected)
