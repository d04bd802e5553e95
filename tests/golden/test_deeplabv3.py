"""DeepLabV3 with converted weights computes what the model zoo's and torchvision's networks do.

The whole way of a user is walked: a file in the publisher's names, recognised, its conventions adopted by the
configuration without a flag, loaded, run.
"""
from __future__ import annotations

import numpy as np
import pytest

import src  # noqa: F401  the CPU switch comes before MindSpore
from src.deeplabv3.config import DeepLabV3Config
from src.engine.weight_files import write_tensors
from src.engine.weights import read_weights

LOGITS = 1e-3  # absolute, of float32 arrays
HALF = 1e-2    # relative to the largest value, of arrays stored as float16


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


def run(path, image, **flags):
    """(C5, logits) of the network that the weights of `path` ask for."""
    import mindspore as ms

    from src.deeplabv3.task import DeepLabV3Task
    from src.engine.weights import load_weights

    config = DeepLabV3Config(**{key: value for key, value in flags.items() if key == "model"})
    config = config.adopting(config.translate(read_weights(path).report.conventions), config.network_keys)
    config = config.model_copy(update=flags)
    network = DeepLabV3Task(config).network().set_train(False)
    report = load_weights(network, path)
    assert not report.missing and not report.left_over
    image = ms.Tensor(image)
    return config, network.backbone(image)[-1].asnumpy(), network(image).asnumpy()


def off(found, expected, *, relative=False):
    """Largest difference, absolute or relative to the largest value."""
    difference = float(np.abs(found.astype(np.float64) - expected).max())
    return difference / float(np.abs(expected).max()) if relative else difference


@pytest.mark.parametrize("stride", [16, 8])
def test_zoo(golden, zoo, stride):
    arrays = golden.arrays("zoo_deeplab_v3")
    config, c5, logits = run(zoo, arrays["x"], model=f"deeplab_v3_s{stride}")
    assert config.colour_order == "BGR" and config.image_mean == (103.53, 116.28, 123.675)
    assert off(c5, arrays[f"c5_s{stride}"], relative=True) < HALF
    assert off(logits, arrays[f"logits_s{stride}"]) < LOGITS


def test_torchvision(golden, torchvision):
    arrays = golden.arrays("torchvision_deeplabv3_resnet101")
    config, c5, logits = run(torchvision, arrays["x"])
    assert config.colour_order == "RGB" and config.model == "deeplab_v3_s8" and config.auxiliary
    assert off(c5, arrays["c5"], relative=True) < HALF
    assert off(logits[..., ::4, ::4], arrays["logits"]) < LOGITS
