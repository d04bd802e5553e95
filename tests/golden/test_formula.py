"""Our networks and losses against torchvision's, whose arrays make_golden.py computed from weights by formula.

Small, self-contained, and run everywhere; the arrays of the published networks in ../shared are the larger check.
"""
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import src  # noqa: F401  the CPU switch comes before MindSpore
from src.weights.formats import read_tensors, write_tensors
from tests.golden import formula

FOLDER = Path(__file__).parent / "arrays"
RELATIVE = 1e-4  # of the largest value, of float32 features and logits
CORNER = 0.05    # pixels
EVERYTHING = 1_000_000


def arrays(name: str) -> dict[str, np.ndarray]:
    with np.load(FOLDER / f"{name}.npz") as file:
        return dict(file)


def weights_file(name: str, folder: Path) -> Path:
    """The file that a user of torchvision has: its names, our formula's values."""
    shapes = json.loads((FOLDER / f"{name}.shapes.json").read_text())
    path = folder / f"{name}.safetensors"
    write_tensors(path, formula.parameters(shapes), {})
    return path


def assert_close(found, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found.asnumpy(), expected, rtol=0, atol=RELATIVE * float(np.abs(expected).max()))


def load(network, path: Path):
    from src.weights.load import load_weights

    report = load_weights(network, path)
    assert not report.missing
    assert not report.left_over
    return network.set_train(False)


def test_resnet18_features(tmp_path):
    """A classification file becomes the backbone of a network; its classifier is left over."""
    import mindspore as ms
    from mindspore import nn

    from src.layers.conv_norm import norm_factory
    from src.layers.resnet import ResNet
    from src.weights.load import load_weights

    class Network(nn.Cell):
        def __init__(self):
            super().__init__()
            self.backbone = ResNet(18, norm=norm_factory("frozen"), stem_pool="pad")

    network, expected = Network(), arrays("resnet18")
    report = load_weights(network, weights_file("resnet18", tmp_path))
    assert report.conventions["backbone"] == "resnet18"
    assert not report.missing
    assert_close(network.set_train(False).backbone(ms.Tensor(expected["x"]))[3], expected["c5"])


@pytest.fixture(scope="module")
def deeplabv3(tmp_path_factory):
    from src.deeplabv3.config import DeepLabV3Config
    from src.deeplabv3.task import DeepLabV3Task
    from src.weights.load import read_weights

    path = weights_file("deeplabv3_resnet50", tmp_path_factory.mktemp("weights"))
    config = DeepLabV3Config()
    config = config.adopting(config.translate(read_weights(path).report.conventions), config.network_keys())
    assert (config.backbone, config.num_classes, config.model) == ("resnet50", 5, "deeplab_v3_s8")
    return load(DeepLabV3Task(config).network(), path)


def test_deeplabv3_logits_and_losses(deeplabv3):
    import mindspore as ms

    from src.deeplabv3.loss import softmax_cross_entropy

    expected = arrays("deeplabv3_resnet50")
    x = ms.Tensor(expected["x"])
    features = deeplabv3.backbone(x)
    assert_close(features[3][:, ::16], expected["c5"])
    logits, auxiliary = deeplabv3(x), deeplabv3.auxiliary_logits(features[2], x)
    assert_close(logits, expected["logits"])
    assert_close(auxiliary, expected["auxiliary_logits"])
    label = ms.Tensor(expected["label"][None].astype(np.int32))
    losses = [softmax_cross_entropy(values, label, 255).asnumpy() for values in (logits, auxiliary)]
    np.testing.assert_allclose(losses, expected["losses"], rtol=RELATIVE)


@pytest.fixture(scope="module")
def maskrcnn(tmp_path_factory):
    """(network, what the file says of its conventions)."""
    from src.maskrcnn.build import Conventions, Detections, Proposals, build_network
    from src.weights.load import read_weights

    path = weights_file("maskrcnn_resnet50_fpn", tmp_path_factory.mktemp("weights"))
    said = read_weights(path).report.conventions
    assert (said["backbone"], said["num_classes"]) == ("resnet50", 7)
    network = build_network(Conventions.of_family(said), num_classes=7, depth=50,
                            proposals=Proposals(before_nms=300, after_nms=300),
                            detections=Detections(max_detections=20))
    return load(network, path), said


def test_maskrcnn_detections(maskrcnn):
    import mindspore as ms
    from pycocotools import mask as coco_mask

    from src.maskrcnn.paste import to_instances

    network, said = maskrcnn
    expected = arrays("maskrcnn_resnet50_fpn")
    size = expected["image"].shape[1:]
    found = network(ms.Tensor(expected["input"]), ms.Tensor(np.float32([size])))
    found = tuple(x.asnumpy()[0] for x in found)
    boxes, labels, scores, valid, _ = found
    assert valid.all()
    np.testing.assert_array_equal(labels, expected["labels"])
    np.testing.assert_allclose(scores, expected["scores"], rtol=0, atol=RELATIVE)
    np.testing.assert_allclose(boxes, expected["boxes"], rtol=0, atol=CORNER)
    instances = to_instances(1, found, image_size=size, original_size=size, paste_pad=said["mask_paste_pad"])
    ours = coco_mask.decode(instances.rles).transpose(2, 0, 1).astype(bool)
    theirs = np.unpackbits(expected["masks"], axis=-1).astype(bool)
    assert theirs.any((1, 2)).all()
    assert ((ours & theirs).sum((1, 2)) / (ours | theirs).sum((1, 2))).min() > 0.97


def test_maskrcnn_losses():
    import mindspore as ms

    from src.maskrcnn.box_head import BoxLoss
    from src.maskrcnn.rpn import RPNLoss

    a = arrays("losses")
    truth = ms.Tensor(a["truth"][None])
    there, crowd = ms.Tensor(np.ones((1, 3), bool)), ms.Tensor(np.zeros((1, 3), bool))
    rpn = RPNLoss(max_positive=EVERYTHING, samples=EVERYTHING)(
        ms.Tensor(a["objectness"][None]), ms.Tensor(a["deltas"][None]), ms.Tensor(a["anchors"]), truth, there, crowd,
        ms.Tensor(np.full((1, 260), 0.5, np.float32)))
    np.testing.assert_allclose([x.asnumpy() for x in rpn], a["rpn"], rtol=RELATIVE)
    classes = ms.Tensor(a["roi_classes"][None])
    roi = BoxLoss(beta=1 / 9)(
        ms.Tensor(a["class_logits"]), ms.Tensor(a["box_deltas"]), ms.Tensor(a["anchors"][None, 200:]),
        ms.Tensor(np.tile(a["truth"], (20, 1))[None]), classes, classes > 0, ms.Tensor(np.ones((1, 60), bool)))
    np.testing.assert_allclose([x.asnumpy() for x in roi], a["roi"], rtol=RELATIVE)


@pytest.mark.parametrize("name", ["zip", "legacy", "protocol4", "protocol5", "legacy_protocol4"])
def test_files_of_torch_save(name):
    expected = arrays("state_dict")
    found, _ = read_tensors(FOLDER / f"{name}.pth")
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key].dtype == value.dtype, key
        np.testing.assert_array_equal(found[key], value, err_msg=key)


def test_a_state_dict_of_a_module():
    """It carries the version of each module as an attribute."""
    found, _ = read_tensors(FOLDER / "module.pth")
    assert {name: array.shape for name, array in found.items()} == {
        "0.weight": (2, 3), "0.bias": (2,), "1.weight": (2,), "1.bias": (2,), "1.running_mean": (2,),
        "1.running_var": (2,), "1.num_batches_tracked": ()}
