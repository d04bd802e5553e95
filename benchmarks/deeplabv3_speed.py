"""DeepLabV3-ResNet-101 against torchvision's on a CPU: one training step, one inference.

    python benchmarks/deeplabv3_speed.py --peer_python=PEERS/bin/python --output_stride=16
    python benchmarks/deeplabv3_speed.py --peer_python=PEERS/bin/python --mode=infer --inference_engine=openvino

`PEERS` is a virtual environment with requirements/peers.txt; the peer runs there, without our CPU switch. Batch 2,
321 x 321, 2 threads, random weights and data. A ratio below 1 means that ours is faster.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks import torchvision_peer

BATCH, SIDE, CLASSES = 2, 321, 21


def main() -> None:
    parser = torchvision_peer.flags(__doc__.splitlines()[0])
    parser.add_argument("--output_stride", type=int, default=16, choices=(8, 16))
    torchvision_peer.main(parser, "DeepLabV3-R101 {mode}, output stride {output_stride}, {inference_engine}", ours=ours,
                          torchvision=torchvision)


def ours(args: argparse.Namespace):
    import src  # noqa: F401  the CPU switch
    import mindspore as ms
    import numpy as np

    from src.deeplabv3.loss import DeepLabV3Loss
    from src.deeplabv3.network import DeepLabV3
    from src.engine.optim import momentum_optimizer
    from src.engine.train_step import TrainStep
    from src.layers.conv_norm import norm_factory
    from src.layers.resnet import ResNet

    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device("CPU")
    norm, rng = norm_factory("batch"), np.random.default_rng(0)
    network = DeepLabV3(ResNet(101, norm=norm, output_stride=args.output_stride), num_classes=CLASSES,
                        aspp_rates=(6, 12, 18), norm=norm)
    pixels = rng.standard_normal((BATCH, 3, SIDE, SIDE), np.float32)
    image = ms.Tensor(pixels)
    label = ms.Tensor(rng.integers(0, CLASSES, (BATCH, SIDE, SIDE)).astype(np.int32))
    ids = ms.Tensor(np.arange(BATCH, dtype=np.int32))
    if args.mode == "train":
        optimizer = momentum_optimizer(network.trainable_params(), np.full(1000, 0.01, np.float32), momentum=0.9,
                                       weight_decay=1e-4)
        step = TrainStep(DeepLabV3Loss(network, ignore_label=255), optimizer).set_train()
        return lambda: {"loss": float(step(image, label, ids, ids)[0].asnumpy())}
    run = torchvision_peer.served(args, network.set_train(False))

    def infer() -> None:
        run(pixels)

    return infer


def torchvision(args: argparse.Namespace):
    import torch
    from torchvision.models import resnet101
    from torchvision.models._utils import IntermediateLayerGetter
    from torchvision.models.segmentation.deeplabv3 import DeepLabHead, DeepLabV3

    backbone = resnet101(replace_stride_with_dilation=[False, args.output_stride == 8, True])
    network = DeepLabV3(IntermediateLayerGetter(backbone, {"layer4": "out"}), DeepLabHead(2048, CLASSES))
    image = torch.randn(BATCH, 3, SIDE, SIDE)
    label = torch.randint(0, CLASSES, (BATCH, SIDE, SIDE))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)

    def train() -> dict[str, float]:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(image)["out"], label, ignore_index=255)
        loss.backward()
        optimizer.step()
        return {"loss": loss.item()}

    def infer() -> None:
        with torch.inference_mode():
            network(image)

    network.train(args.mode == "train")
    return train if args.mode == "train" else infer


if __name__ == "__main__":
    main()
