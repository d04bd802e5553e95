"""Fine-tuning DeepLabV3 from each family: the first loss of train.py on real data is the one computed apart.

Apart means: a network built here, with the family's arithmetic written out and without a configuration, and the formula
of the loss in numpy. Small ResNets stand in for the published ones; the names and the arithmetic are the families'.
"""
from __future__ import annotations

import numpy as np
import pytest

import src  # noqa: F401  the CPU switch comes before MindSpore
from tests.fine_tuning import check_taken_over, first_step, publish, random_weights

SIDE = 96  # its half is even, where the ways to pad the stem's pool differ
RGB = {"colour_order": "RGB", "mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}
BGR = {"colour_order": "BGR", "mean": (103.53, 116.28, 123.675), "std": (57.375, 57.12, 58.395)}
ZOO = {"backbone": {"output_stride": 16, "dilation": "multi_grid", "stem_pool": "same"}, "eps": 1e-5,
       "network": {"aspp_rates": (6, 12, 18), "resize_rule": "align_corners"}}
TORCHVISION = {"backbone": {"output_stride": 8, "dilation": "previous", "stem_pool": "pad"}, "eps": 1e-5,
               "network": {"aspp_rates": (12, 24, 36), "resize_rule": "half_pixel", "head_conv": True,
                           "auxiliary": True}}
# Backbones go into this project's own DeepLabV3, with the stem, epsilon and input that they were trained with.
ZOO_BACKBONE = ZOO | {"eps": 1e-4}
TORCHVISION_BACKBONE = ZOO | {"backbone": ZOO["backbone"] | {"stem_pool": "pad"}}
CLASSIFIER = {"classifier.weight", "classifier.bias"}
BOTH = CLASSIFIER | {"auxiliary.classifier.weight", "auxiliary.classifier.bias"}


def build(options, num_classes):
    """DeepLabV3 with a ResNet-18, batch statistics and no dropout."""
    from src.deeplabv3.network import DeepLabV3
    from src.layers.conv_norm import norm_factory
    from src.layers.resnet import ResNet

    norm = norm_factory("batch", eps=options["eps"])
    return DeepLabV3(ResNet(18, norm=norm, **options["backbone"]), num_classes=num_classes, norm=norm, dropout=0.0,
                     **options["network"]).set_train()


def batch(dataset, preprocess):
    """image and label of the first batch, as the training pipeline makes them."""
    from src.data import order
    from src.data.pipeline import augmented_batch
    from src.deeplabv3.augmentation import TrainAugmentation
    from src.deeplabv3.preprocess import Preprocess

    ids = order.rank_order(len(dataset), seed=1, epoch=0, batch_size=len(dataset))
    augmentation = TrainAugmentation(Preprocess(**preprocess), crop_size=SIDE, min_scale=0.5, max_scale=2.0,
                                     num_classes=11,
                               ignore_label=255)
    return augmented_batch(dataset, ids, 0, augmentation=augmentation, seed=1)[:2]


def cross_entropy(logits, label):
    """Mean over the pixels that count of -log softmax(logits)[label]; (B, K, H, W) and (B, H, W)."""
    logits = logits.astype(np.float64) - logits.max(1, keepdims=True)
    log_probability = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    b, y, x = np.nonzero(label != 255)
    return -log_probability[b, label[b, y, x], y, x].mean()


def loss_apart(options, weights, num_classes, image, label):
    import mindspore as ms

    network = build(options, num_classes)
    for name, parameter in network.parameters_and_names():
        parameter.set_data(ms.Tensor(weights[name]))
    image = ms.Tensor(image)
    loss = cross_entropy(network(image).asnumpy(), label)
    if network.auxiliary is not None:
        auxiliary = network.auxiliary_logits(network.backbone(image)[2], image)
        loss += 0.5 * cross_entropy(auxiliary.asnumpy(), label)
    return loss


@pytest.mark.slow
@pytest.mark.parametrize(("family", "options", "preprocess", "num_classes", "replaced"), [
    ("zoo_resnet", ZOO_BACKBONE, RGB, 11, None), ("torchvision_resnet", TORCHVISION_BACKBONE, RGB, 11, None),
    ("zoo_deeplabv3", ZOO, BGR, 21, set()), ("zoo_deeplabv3", ZOO, BGR, 11, CLASSIFIER),
    ("torchvision_deeplabv3", TORCHVISION, RGB, 21, set()), ("torchvision_deeplabv3", TORCHVISION, RGB, 11, BOTH)])
def test_first_loss(shared, tmp_path, family, options, preprocess, num_classes, replaced):
    from src.data.semantic.voc import ListDataset

    camvid = shared / "data/camvid"
    names = (camvid / "ImageSets/Segmentation/train.txt").read_text().split()[:4]
    lst = tmp_path / "list.txt"
    lst.write_text("".join(f"JPEGImages/{n}.jpg SegmentationClassGray/{n}.png\n" for n in names))
    published = random_weights({n: p.shape for n, p in build(options, 21).parameters_and_names()})
    if replaced is None:
        backbone = {n.removeprefix("backbone."): a for n, a in published.items() if n.startswith("backbone.")}
        more = random_weights({"fc.weight": (1000, 512), "fc.bias": (1000,)})
        path = publish(tmp_path / "weights.safetensors", family, backbone | more)
        published = {f"backbone.{n}": a for n, a in backbone.items()}
    else:
        path = publish(tmp_path / "weights.safetensors", family, published)

    stride = options["backbone"]["output_stride"]
    line, weights, printed = first_step(
        tmp_path, path, f"--model=deeplab_v3_s{stride}", f"--data_root={camvid}", f"--data_lst={lst}", "--dropout=0",
        "--batch_size=4", f"--crop_size={SIDE}", f"--num_classes={num_classes}")
    image, label = batch(ListDataset(camvid, lst), preprocess)
    assert line["loss"] == pytest.approx(loss_apart(options, weights, num_classes, image, label), rel=1e-5)
    check_taken_over(weights, published, replaced or set())
    if replaced:
        said = printed.split("as the classifier is replaced: ")[1].splitlines()[0].split(", ")
        assert set(said) == replaced
        assert weights["classifier.weight"].shape == (11, 256, 1, 1)
    else:
        assert "replaced" not in printed
