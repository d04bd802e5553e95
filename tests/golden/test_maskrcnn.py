"""Mask R-CNN with converted weights computes what the model zoo's and torchvision's networks do.

A file in the publisher's names is recognised, its conventions build the network, it is loaded and run. Each stage is
compared on the reference's own inputs, so that a failure names the stage.
"""
from __future__ import annotations

import numpy as np
import pytest

import src  # noqa: F401  the CPU switch comes before MindSpore
from src.weights.formats import write_tensors
from src.weights.load import read_weights

EXACT = 1e-3  # absolute, of float32 logits and deltas
HALF = 2e-3   # relative to the largest value, of arrays stored as float16, which rounds to 5e-4
CORNER = 0.1  # pixels


def off(found, expected, *, relative=False):
    """Largest difference, absolute or relative to the largest value."""
    difference = float(np.abs(found.astype(np.float64) - expected).max())
    return difference / float(np.abs(expected.astype(np.float64)).max()) if relative else difference


def build(path, **wrong):
    """(network, conventions) that the weights of `path` ask for; `wrong` options replace some of them."""
    from src.maskrcnn.build import Conventions, Detections, build_network
    from src.weights.load import load_weights

    said = read_weights(path).report.conventions
    network = build_network(Conventions.of_family(said, **wrong), num_classes=said["num_classes"],
                            depth=int(said["backbone"].removeprefix("resnet")),
                            detections=Detections(max_detections=said["detections_per_image"]))
    report = load_weights(network, path)
    assert not report.missing
    assert not report.left_over
    return network.set_train(False), said


def pyramid(network, image):
    """(C5, [P2, ..., P6]) of an image."""
    import mindspore as ms

    features = network.backbone(ms.Tensor(image))
    return features[-1], network.fpn(features)


def aligned(align, levels, boxes):
    """Features (N, 256, s, s) of (N, 4) boxes; `align` is the network's box_align or mask_align."""
    import mindspore as ms

    from src.maskrcnn.network import feature_sizes
    from src.maskrcnn.roi import feature_table

    return align(feature_table(levels[:4]), ms.Tensor(boxes[None]), feature_sizes(levels[:4]))


# --- the zoo ----------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def zoo_path(golden, tmp_path_factory):
    path = tmp_path_factory.mktemp("zoo") / "mask_rcnn-12_7393.npz"
    state = {"moments.rpn_with_loss.rpn_convs_list.0.rpn_cls.bias": np.ones(3, np.float32), "momentum": np.array(0.91)}
    write_tensors(path, {**golden.weights("zoo_maskrcnn_resnet50"), **state}, {})
    return path


@pytest.fixture(scope="module")
def zoo(golden, zoo_path):
    """(network, its levels of the reference's image, C5, the reference's arrays)."""
    arrays = golden.arrays("zoo_maskrcnn_resnet50")
    network, said = build(zoo_path)
    assert said["class_map"] == "coco80"
    assert said["box_offset"] == 1
    c5, levels = pyramid(network, arrays["x"])
    return network, levels, c5, arrays


def test_zoo_backbone(zoo):
    _, _, c5, arrays = zoo
    assert off(c5.asnumpy(), arrays["c5"], relative=True) < HALF


def test_zoo_fpn(zoo):
    _, levels, _, arrays = zoo
    for index, level in enumerate(levels):
        assert off(level.asnumpy(), arrays[f"p{index + 2}"], relative=True) < HALF, f"P{index + 2}"


def test_zoo_rpn(zoo):
    network, levels, _, arrays = zoo
    logits, deltas = network.rpn(levels)
    for index in range(5):
        cls = arrays[f"rpn_cls_{index + 2}"].transpose(0, 2, 3, 1).reshape(1, -1)
        reg = arrays[f"rpn_reg_{index + 2}"].transpose(0, 2, 3, 1).reshape(1, -1, 4)
        assert off(logits[index].asnumpy(), cls) < EXACT, f"P{index + 2}"
        assert off(deltas[index].asnumpy(), reg) < EXACT, f"P{index + 2}"


def test_zoo_roi_align(zoo):
    network, levels, _, arrays = zoo
    for align, name in ((network.box_align, "roi_box"), (network.mask_align, "roi_mask")):
        assert off(aligned(align, levels, arrays["rois"][:, 1:]).asnumpy(), arrays[name], relative=True) < HALF, name


def test_zoo_box_head(zoo):
    network, levels, _, arrays = zoo
    logits, deltas = network.box_head(aligned(network.box_align, levels, arrays["rois"][:, 1:]))
    assert off(logits.asnumpy(), arrays["cls_logits"]) < EXACT
    assert off(deltas.asnumpy().reshape(40, -1), arrays["box_deltas"]) < EXACT


def test_zoo_mask_head(zoo):
    """Our head computes the mask of one class; three different ones for each of eight RoIs."""
    import mindspore as ms

    network, levels, _, arrays = zoo
    features = aligned(network.mask_align, levels, arrays["rois"][:8, 1:])
    for shift in (0, 27, 54):
        labels = (np.arange(8) * 11 + shift) % 81
        masks = network.mask_head(features, ms.Tensor(labels.astype(np.int32))).asnumpy()
        assert off(masks, arrays["mask_logits"][np.arange(8), labels], relative=True) < HALF


# --- torchvision ------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def torchvision_path(golden, tmp_path_factory):
    path = tmp_path_factory.mktemp("torchvision") / "maskrcnn_resnet50_fpn.safetensors"
    write_tensors(path, golden.weights("torchvision_maskrcnn_resnet50_fpn"), {})
    return path


@pytest.fixture(scope="module")
def torchvision(golden, torchvision_path):
    """(network, its levels of the reference's image, the reference's arrays)."""
    arrays = golden.arrays("torchvision_maskrcnn_resnet50_fpn")
    network, _ = build(torchvision_path)
    return network, pyramid(network, arrays["input"])[1], arrays


def test_torchvision_input(golden, torchvision_path):
    arrays = golden.arrays("torchvision_maskrcnn_resnet50_fpn")
    said = read_weights(torchvision_path).report.conventions
    assert said["class_map"] == "coco91"
    assert said["bn_eps"] == 1e-5
    assert said["colour_order"] == "RGB"
    mean, std = (np.float32(said[name]).reshape(3, 1, 1) for name in ("image_mean", "image_std"))
    assert off((arrays["image"] * 255 - mean) / std, arrays["input"][0]) < 1e-4


def test_torchvision_fpn(torchvision):
    _, levels, arrays = torchvision
    for level, name in zip(levels, ("fpn_0", "fpn_1", "fpn_2", "fpn_3", "fpn_pool"), strict=True):
        assert off(level.asnumpy(), arrays[name], relative=True) < HALF, name


def proposals_of(network, image, levels):
    """(N, 4) proposals of one image."""
    import mindspore as ms

    size = ms.Tensor(np.float32([image.shape[2:]]))
    boxes, valid, _ = network.proposals(*network.rpn(levels), network.anchors(ms.Tensor(image), levels), size)
    return boxes.asnumpy()[0][valid.asnumpy()[0]]


def test_torchvision_proposals(torchvision):
    network, levels, arrays = torchvision
    proposals = proposals_of(network, arrays["input"], levels)
    assert proposals.shape == arrays["proposals"].shape
    assert off(proposals, arrays["proposals"]) < CORNER


def test_torchvision_box_head(torchvision):
    network, levels, arrays = torchvision
    some = slice(None, None, 3)
    logits, deltas = network.box_head(aligned(network.box_align, levels, arrays["proposals"][some]))
    assert off(logits.asnumpy(), arrays["cls_logits"][some]) < EXACT
    assert off(deltas.asnumpy().reshape(len(logits), -1), arrays["box_deltas"][some], relative=True) < HALF


@pytest.fixture(scope="module")
def detections(torchvision):
    """Boxes, labels, scores, valid and masks of the whole network, for one image."""
    import mindspore as ms

    network, _, arrays = torchvision
    size = ms.Tensor(np.float32([arrays["input"].shape[2:]]))
    return tuple(x.asnumpy()[0] for x in network(ms.Tensor(arrays["input"]), size))


def test_torchvision_detections(torchvision, detections):
    arrays = torchvision[2]
    boxes, labels, scores, valid, _ = detections
    assert valid.all()
    assert len(labels) == 100
    np.testing.assert_array_equal(labels, arrays["labels"])
    assert off(scores, arrays["scores"]) < EXACT
    assert off(boxes, arrays["boxes"]) < CORNER


def test_torchvision_masks(torchvision, detections, torchvision_path):
    from pycocotools import mask as coco_mask

    from src.maskrcnn.paste import to_instances

    expected = torchvision[2]["masks"]
    size = expected.shape[1:]
    pad = read_weights(torchvision_path).report.conventions["mask_paste_pad"]
    instances = to_instances(1, detections, image_size=size, original_size=size, paste_pad=pad)
    found = coco_mask.decode(instances.rles).transpose(2, 0, 1).astype(bool)
    union = (found | expected).sum((1, 2))
    iou = (found & expected).sum((1, 2)) / np.maximum(union, 1)
    assert expected.any((1, 2)).sum() > 50
    assert iou[union > 0].min() > 0.98


# --- that a mistake shows ---------------------------------------------------------------------------------------------

def zoo_misses(network, arrays):
    """Whether any stage of the zoo's network is off, with RoIs that the reference was given."""
    levels = pyramid(network, arrays["x"])[1]
    logits, _ = network.box_head(aligned(network.box_align, levels, arrays["rois"][:, 1:]))
    rpn = network.rpn(levels)[0][0].asnumpy()
    return (off(logits.asnumpy(), arrays["cls_logits"]) > EXACT
            or off(rpn, arrays["rpn_cls_2"].transpose(0, 2, 3, 1).reshape(1, -1)) > EXACT)


@pytest.mark.slow
@pytest.mark.parametrize("wrong", [{"stem_pool": "pad"}, {"fpn_upsample": "nearest"}, {"bn_eps": 1e-4}])
def test_one_wrong_option_shows_at_the_zoo(golden, zoo_path, wrong):
    assert zoo_misses(build(zoo_path, **wrong)[0], golden.arrays("zoo_maskrcnn_resnet50"))


@pytest.mark.slow
@pytest.mark.parametrize("wrong", [
    {"stem_pool": "same"}, {"fpn_upsample": "asymmetric"}, {"bn_eps": 1e-4}, {"box_offset": 1}, {"delta_clip": "both"},
    {"anchor_centre": "pixel"}, {"anchor_ratios": (0.5, 1, 1.9)}, {"anchor_scales": (7.9,)}, {"proposal_min_size": 1.0},
    {"rpn_stds": (1, 1, 1, 0.99)}])
def test_one_wrong_option_shows_at_torchvision(golden, torchvision_path, wrong):
    arrays = golden.arrays("torchvision_maskrcnn_resnet50_fpn")
    network, _ = build(torchvision_path, **wrong)
    found = proposals_of(network, arrays["input"], pyramid(network, arrays["input"])[1])
    assert found.shape != arrays["proposals"].shape or off(found, arrays["proposals"]) > CORNER


@pytest.mark.slow
@pytest.mark.parametrize("name", ["backbone.layer2.1.conv2.weight", "backbone.layer4.2.bn3.gamma", "fpn.output.0.bias",
                                  "rpn.conv.weight", "box_head.fc2.weight", "box_head.cls.bias"])
def test_one_wrong_weight_shows(golden, zoo_path, name):
    """Every eighth channel of one layer (a single one may be dead) is off by a tenth of the layer's spread."""
    import mindspore as ms

    network, _ = build(zoo_path)
    parameter = dict(network.parameters_and_names())[name]
    value = parameter.asnumpy().copy()
    value[::8] += 0.1 * value.std()
    parameter.set_data(ms.Tensor(value))
    assert zoo_misses(network, golden.arrays("zoo_maskrcnn_resnet50"))
