"""Parameters and multiply-adds of both models are torchvision's; shapes, uses, restoring of what counting replaces.

The literals are torchvision 0.29.2's with torch 2.15.0: sums of `parameters()`, and half of what
`torch.utils.flop_counter` counts, as `benchmarks/model_counts.py` prints them.
"""
import json
import sys

import mindspore as ms
import mindspore.nn as nn
import numpy as np
import pytest

from src import tasks
from src.engine.layer_counts import Layer, count_layers, summed
from src.tools import model_summary
from src.weights.families import TORCHVISION_DEEPLABV3

# ResNet-101, one image of 321 x 321, 21 classes; torchvision's evaluation runs the auxiliary head, ours does not.
PARAMETERS, MULTIPLY_ADDS, BACKBONE, AUXILIARY = 60_996_202, 102_897_131_200, 72_693_044_416, 3_975_013_632
ASPP, HEAD, CLASSIFIER = 25_228_541_952, 991_494_144, 9_037_056
# One image of 256 x 320, 91 classes; the heads of 1,000 and 100 RoIs.
MASKRCNN = {"backbone": (23_508_032, 6_672_875_520), "fpn": (3_344_384, 4_639_948_800),
            "rpn": (593_935, 4_048_788_480), "box_head": (13_895_680 + 466_375, 14_359_552_000),
            "mask_head": (2_360_320 + 285_787, 53_206_630_400)}


def layers_of(model: str, inputs, **values) -> list[Layer]:
    config = tasks.config_class(model)(model=model, device_target="CPU", **values)
    if model != "mask_rcnn_r50":
        conventions = config.translate(TORCHVISION_DEEPLABV3 | {"num_classes": 21, "auxiliary": True})
        config = config.adopting(conventions, config.network_keys())
    task = tasks.create(config.completed())
    layers = count_layers(task.network(), inputs)
    return layers


def part(layers: list[Layer], name: str) -> tuple[int, int]:
    """(parameters, multiply-adds) of the layers whose names start so."""
    own = [layer for layer in layers if f"{layer.name}.".startswith(f"{name}.")]
    return sum(layer.parameters for layer in own), sum(layer.multiply_adds for layer in own)


def test_deeplabv3_has_torchvisions_counts():
    layers = layers_of("deeplab_v3_s8", [np.zeros((1, 3, 321, 321), np.float32)], backbone="resnet101")
    assert sum(layer.parameters for layer in layers) == PARAMETERS
    assert sum(layer.multiply_adds for layer in layers) == MULTIPLY_ADDS - AUXILIARY
    assert part(layers, "backbone")[1] == BACKBONE
    assert [part(layers, name)[1] for name in ("aspp", "head", "classifier")] == [ASPP, HEAD, CLASSIFIER]
    assert [layer.uses for layer in layers if layer.name.startswith("auxiliary")] == [0, 0, 0]


def test_maskrcnn_has_torchvisions_counts():
    """Of 20 RoIs and 4 masks, as the heads' counts are proportional to them. Of the mask predictor's 91 rows, which
    torchvision computes for every RoI, ours computes that of the RoI's class."""
    layers = layers_of("mask_rcnn_r50", [np.zeros((1, 3, 256, 320), np.float32), np.array([[256, 320]], np.float32)],
                       coco_classes=tuple(f"c{k}" for k in range(91)), rpn_max_num=20, rpn_nms_pre=20,
                       test_max_per_img=4, norm="batch")
    found = {name: part(layers, name) for name in MASKRCNN}
    predictor = 4 * 28 * 28 * 256
    expected = MASKRCNN | {
        "box_head": (MASKRCNN["box_head"][0], MASKRCNN["box_head"][1] // 1000 * 20),
        "mask_head": (MASKRCNN["mask_head"][0], MASKRCNN["mask_head"][1] // 100 * 4 - 90 * predictor)}
    assert found == expected
    assert {layer.name: layer.uses for layer in layers if layer.name.startswith("rpn")} == {
        "rpn.conv": 5, "rpn.cls": 5, "rpn.reg": 5}


class Tiny(nn.Cell):
    """(B, 3, H, W) -> (B, 5), with a layer that is used twice and one that is not used."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, stride=2, pad_mode="same", has_bias=True)
        self.again = nn.Conv2d(4, 4, (3, 1), dilation=(2, 1), pad_mode="pad", padding=(1, 0, 0, 2), group=2)
        self.norm = nn.BatchNorm2d(4)
        self.dense = nn.Dense(4, 5)
        self.unused = nn.Dense(2, 2)

    def construct(self, x):
        x = self.norm(self.again(self.again(self.first(x))))
        return self.dense(x.mean((2, 3)))


def test_shapes_bytes_and_multiply_adds_by_hand():
    """21 x 30 -> 11 x 15; then a kernel of height 5 over 11 + 1: 8 rows, 15 + 2 columns; then 5 rows, 19 columns."""
    network = Tiny()
    layers = count_layers(network, [np.zeros((2, 3, 21, 30), np.float32)])
    rows = {layer.name: (layer.shape, layer.parameters, layer.multiply_adds, layer.activations, layer.uses)
            for layer in layers}
    assert rows == {
        "first": ((2, 4, 11, 15), 112, 2 * 4 * 11 * 15 * 27, 4 * 2 * 4 * 11 * 15, 1),
        "again": ((2, 4, 8, 17), 24, 2 * 4 * (8 * 17 + 5 * 19) * 2 * 3, 4 * 2 * 4 * (8 * 17 + 5 * 19), 2),
        "norm": ((2, 4, 5, 19), 8, 0, 4 * 2 * 4 * 5 * 19, 1),
        "dense": ((2, 5), 25, 2 * 5 * 4, 4 * 2 * 5, 1), "unused": ((), 6, 0, 0, 0)}
    x = ms.Tensor(np.ones((1, 3, 21, 30), np.float32))
    assert network.again(network.first(x)).shape == (1, 4, 8, 17), "the real layer disagrees"
    assert np.abs(network.first(x).asnumpy()).max() > 0, "layers compute again afterwards"


def test_what_was_replaced_is_restored_after_a_failure():
    before = nn.Conv2d.construct, nn.Dense.construct, nn.BatchNorm2d.__dict__.get("construct")
    with pytest.raises(IndexError):
        count_layers(Tiny(), [np.zeros((2, 3), np.float32)])
    assert (nn.Conv2d.construct, nn.Dense.construct, nn.BatchNorm2d.__dict__.get("construct")) == before


def test_layers_are_summed_by_the_beginnings_of_their_names():
    layers = [Layer("a.b.c", "Conv2d", (1, 2), 3, 4, 5, 1), Layer("a.b.d", "Dense", (1, 7), 10, 20, 30, 2),
              Layer("a.x", "Dense", (), 1, 0, 0, 0)]
    assert summed(layers, 2) == [Layer("a.b", "", (1, 7), 13, 24, 35, 2), Layer("a.x", "Dense", (), 1, 0, 0, 0)]
    assert summed(layers, 0) == layers


def test_the_tool(capsys, tmp_path, monkeypatch):
    path = tmp_path / "counts.json"
    monkeypatch.setattr(sys, "argv", ["model_summary.py", "--model=deeplabv3", "--backbone=resnet18", "--input_size=65",
                                      "--device_target=CPU", f"--json={path}"])
    assert model_summary.main() == 0
    lines = capsys.readouterr().out.splitlines()
    content = json.loads(path.read_text())
    assert lines[0] == "deeplab_v3_s16, one image of 65 x 65"
    assert any(line.split()[:8] == ["backbone.conv1", "1", "x", "64", "x", "33", "x", "33"] for line in lines)
    assert lines[-1].split()[1] == f"{sum(layer['parameters'] for layer in content['layers']):,}"
    assert content["totals"]["multiply_adds"] == sum(layer["multiply_adds"] for layer in content["layers"]) > 1e8
    monkeypatch.setattr(sys, "argv", ["model_summary.py", f"--json={tmp_path}/none/a.json"])
    with pytest.raises(ValueError, match="its folder does not exist"):
        model_summary.main()


@pytest.mark.parametrize(("flags", "classes"), [((), 81), (("--num_classes=4",), 4),
                                                (("--coco_classes=background,cat",), 2)])
def test_the_tool_needs_no_data(flags, classes, capsys, monkeypatch):
    """The documented command of Mask R-CNN, whose classes data would name otherwise; smaller."""
    monkeypatch.setattr(sys, "argv", ["model_summary.py", "--model=maskrcnn", "--backbone=resnet18", "--img_height=64",
                                      "--img_width=64", "--depth=0", "--device_target=CPU", *flags])
    assert model_summary.main() == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("box_head.cls "))
    assert line.split()[3] == str(classes)
