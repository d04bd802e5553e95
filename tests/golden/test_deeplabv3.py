"""DeepLabV3 with converted weights computes what the model zoo's and torchvision's networks do.

The whole way of a user is walked: a file in the publisher's names, recognised, its conventions adopted by the
configuration without a flag, loaded, run.
"""
from __future__ import annotations

import numpy as np
import pytest

import src  # noqa: F401  the CPU switch comes before MindSpore
from src.deeplabv3.config import DeepLabV3Config
from src.weights.formats import write_tensors
from src.weights.load import read_weights

LOGITS = 2e-5  # absolute, of float32 arrays; logits reach 0.3, and 3e-7 was seen
HALF = 2e-3    # relative to the largest value, of arrays stored as float16, which rounds to 5e-4


@pytest.fixture(scope="module")
def zoo(golden, tmp_path_factory):
    path = tmp_path_factory.mktemp("zoo") / "deeplab_v3-300_41.npz"
    state = {"moments.network.aspp.conv2.bias": np.ones(21, np.float32), "global_step": np.array([12300])}
    write_tensors(path, {**golden.weights("zoo_deeplab_v3"), **state}, {})
    return path


@pytest.fixture(scope="module")
def torchvision(golden, tmp_path_factory):
    path = tmp_path_factory.mktemp("torchvision") / "deeplabv3_resnet101.safetensors"
    write_tensors(path, golden.weights("torchvision_deeplabv3_resnet101"), {})
    return path


def build(path, **flags):
    """(configuration, network) that the weights of `path` and flags ask for."""
    from src.deeplabv3.task import DeepLabV3Task
    from src.weights.load import load_weights

    config = DeepLabV3Config(**flags)
    config = config.adopting(config.translate(read_weights(path).report.conventions), config.network_keys())
    network = DeepLabV3Task(config).network().set_train(False)
    report = load_weights(network, path)
    assert not report.missing
    assert not report.left_over
    return config, network


def run(network, image):
    """(C5, logits)."""
    import mindspore as ms

    image = ms.Tensor(image)
    return network.backbone(image)[-1].asnumpy(), network(image).asnumpy()


def off(found, expected, *, relative=False):
    """Largest difference, absolute or relative to the largest value."""
    difference = float(np.abs(found.astype(np.float64) - expected).max())
    return difference / float(np.abs(expected).max()) if relative else difference


@pytest.mark.parametrize("stride", [16, 8])
def test_zoo(golden, zoo, stride):
    arrays = golden.arrays("zoo_deeplab_v3")
    config, network = build(zoo, model=f"deeplab_v3_s{stride}")
    c5, logits = run(network, arrays["x"])
    assert config.colour_order == "BGR"
    assert config.image_mean == (103.53, 116.28, 123.675)
    assert off(c5, arrays[f"c5_s{stride}"], relative=True) < HALF
    assert off(logits, arrays[f"logits_s{stride}"]) < LOGITS


def test_torchvision(golden, torchvision):
    arrays = golden.arrays("torchvision_deeplabv3_resnet101")
    config, network = build(torchvision)
    c5, logits = run(network, arrays["x"])
    assert config.colour_order == "RGB"
    assert config.model == "deeplab_v3_s8"
    assert config.auxiliary
    assert off(c5, arrays["c5"], relative=True) < HALF
    assert off(logits[..., ::4, ::4], arrays["logits"]) < LOGITS


# Each of these is wrong by as little as a mistake in a table would be. Rates that reach past the features of the small
# image, and the padding of a pool over an odd size, cannot show; those are left out.
@pytest.mark.slow
@pytest.mark.parametrize("wrong", [
    {"aspp_rates": (5, 12, 18)}, {"aspp_rates": (6, 11, 18)}, {"dilation": "previous"}, {"resize_align_corners": False},
    {"bn_eps": 1e-4}])
def test_one_wrong_option_shows_at_the_zoo(golden, zoo, wrong):
    arrays = golden.arrays("zoo_deeplab_v3")
    _, network = build(zoo, model="deeplab_v3_s8", **wrong)
    assert off(run(network, arrays["x"])[1], arrays["logits_s8"]) > LOGITS


@pytest.mark.slow
@pytest.mark.parametrize("wrong", [
    {"aspp_rates": (11, 24, 36)}, {"aspp_rates": (12, 23, 36)}, {"dilation": "multi_grid"}, {"stem_pool": "same"},
    {"resize_align_corners": True}, {"bn_eps": 1e-4}])
def test_one_wrong_option_shows_at_torchvision(golden, torchvision, wrong):
    arrays = golden.arrays("torchvision_deeplabv3_resnet101")
    _, network = build(torchvision, **wrong)
    assert off(run(network, arrays["x"])[1][..., ::4, ::4], arrays["logits"]) > LOGITS


@pytest.mark.slow
@pytest.mark.parametrize("name", ["backbone.layer3.11.conv2.weight", "aspp.branches.2.conv.weight",
                                  "aspp.pooling.bn.moving_mean", "classifier.bias"])
def test_one_wrong_weight_shows(golden, zoo, name):
    """Every eighth channel of one layer (a single one may be dead) is off by a tenth of the layer's spread."""
    import mindspore as ms

    arrays = golden.arrays("zoo_deeplab_v3")
    _, network = build(zoo, model="deeplab_v3_s8")
    parameter = dict(network.parameters_and_names())[name]
    value = parameter.asnumpy().copy()
    value[::8] += 0.1 * value.std()
    parameter.set_data(ms.Tensor(value))
    assert off(run(network, arrays["x"])[1], arrays["logits_s8"]) > LOGITS
