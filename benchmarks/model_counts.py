"""Parameters and multiply-adds of both models beside torchvision's own, part by part.

    python benchmarks/model_counts.py --peer_python=PEERS/bin/python

DeepLabV3 with ResNet-101, one image of 321 x 321; Mask R-CNN with ResNet-50-FPN, one image of 256 x 320, its heads on
1,000 and 100 RoIs. The peer counts with `torch.utils.flop_counter`, which knows multiplications and additions: half of
them. Two differences are meant: ours does not run the auxiliary head in inference, and of the mask predictor's 91 rows
it computes the one of the RoI's class.
"""
from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
SIDE, CANVAS, CLASSES = 321, (256, 320), 91


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer_python", required=True, help="python of an environment with requirements/peers.txt")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps(torchvision()))
        return 0
    ran = subprocess.run([args.peer_python, __file__, "--peer_python=x", "--worker"], check=True, capture_output=True,
                         text=True)
    theirs, found = json.loads(ran.stdout.splitlines()[-1]), ours()
    print(f"{'part':<24} {'parameters':>12} {'torchvision':>12} {'multiply-adds':>16} {'torchvision':>16}")
    equal = True
    for part, (parameters, multiply_adds) in found.items():
        same = [parameters, multiply_adds] == theirs[part]
        equal &= same
        print(f"{part:<24} {parameters:>12,} {theirs[part][0]:>12,} {multiply_adds:>16,} {theirs[part][1]:>16,}"
              f"{'' if same else '   differs'}")
    print("equal" if equal else "NOT EQUAL")
    return 0 if equal else 1


def ours() -> dict[str, tuple[int, int]]:
    import numpy as np

    from src import tasks
    from src.engine.layer_counts import count_layers
    from src.weights.families import TORCHVISION_DEEPLABV3

    config = tasks.config_class("deeplab_v3_s8")(model="deeplab_v3_s8", device_target="CPU")
    config = config.adopting(config.translate(TORCHVISION_DEEPLABV3 | {"num_classes": 21, "auxiliary": True}),
                             config.network_keys())
    instances = tasks.config_class("mask_rcnn_r50")(
        model="mask_rcnn_r50", device_target="CPU", norm="batch", coco_classes=tuple(f"c{k}" for k in range(CLASSES)),
        test_max_per_img=100).completed()
    found = {}
    for model, settings, inputs in (
            ("deeplabv3", config, [np.zeros((1, 3, SIDE, SIDE), np.float32)]),
            ("maskrcnn", instances, [np.zeros((1, 3, *CANVAS), np.float32), np.array([CANVAS], np.float32)])):
        layers = count_layers(tasks.create(settings).network(), inputs)
        for name in dict.fromkeys(layer.name.split(".")[0] for layer in layers):
            own = [layer for layer in layers if layer.name.split(".")[0] == name]
            found[f"{model} {name}"] = (sum(one.parameters for one in own), sum(one.multiply_adds for one in own))
    return found


def torchvision() -> dict[str, tuple[int, int]]:
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from torchvision.models import detection, segmentation

    def counted(module, *inputs) -> int:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            module(*inputs)
        return counter.get_total_flops() // 2

    def size(*modules) -> int:
        return sum(p.numel() for module in modules for p in module.parameters())

    with torch.device("meta"):
        net = segmentation.deeplabv3_resnet101(weights=None, weights_backbone=None, num_classes=21, aux_loss=True)
        net.eval()
        image = torch.zeros(1, 3, SIDE, SIDE)
        features = net.backbone(image)["out"]
        aspp, conv, norm, _, classifier = net.classifier
        hidden = aspp(features)
        found = {"backbone": (size(net.backbone), counted(net.backbone, image)),
                 "aspp": (size(aspp), counted(aspp, features)), "head": (size(conv, norm), counted(conv, hidden)),
                 "classifier": (size(classifier), counted(classifier, conv(hidden))),
                 "auxiliary": (size(net.aux_classifier), 0)}
        found = {f"deeplabv3 {name}": pair for name, pair in found.items()}
        net = detection.maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=CLASSES).eval()
        image = torch.zeros(1, 3, *CANVAS)
        stages, heads = net.backbone.body(image), net.roi_heads
        levels = list(net.backbone.fpn(stages).values())
        box = torch.nn.Sequential(heads.box_head, heads.box_predictor)
        mask = torch.nn.Sequential(heads.mask_head, heads.mask_predictor)
        rows = 100 * 28 * 28 * 256 * (CLASSES - 1)  # of other classes
        parts = {"backbone": (size(net.backbone.body), counted(net.backbone.body, image)),
                 "fpn": (size(net.backbone.fpn), counted(net.backbone.fpn, stages)),
                 "rpn": (size(net.rpn.head), counted(net.rpn.head, levels)),
                 "box_head": (size(box), counted(box, torch.zeros(1000, 256, 7, 7))),
                 "mask_head": (size(mask), counted(mask, torch.zeros(100, 256, 14, 14)) - rows)}
    return found | {f"maskrcnn {name}": pair for name, pair in parts.items()}


if __name__ == "__main__":
    raise SystemExit(main())
