"""DeepLabV3-ResNet-101 against torchvision's on a CPU: one training step, one inference.

    python benchmarks/deeplabv3_speed.py --peer_python=PEERS/bin/python --output_stride=16

`PEERS` is a virtual environment with requirements/peers.txt; the peer runs there, without our CPU switch. Batch 2,
321 x 321, 2 threads, random weights and data. A ratio below 1 means that ours is faster.
"""
from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks import interleave  # noqa: E402

BATCH, SIDE, CLASSES = 2, 321, 21


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer_python", help="python of the environment with torchvision")
    parser.add_argument("--output_stride", type=int, default=16, choices=(8, 16))
    parser.add_argument("--mode", default="both", choices=("train", "infer", "both"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--result_path", default="", help="JSON file for the numbers")
    parser.add_argument("--worker", choices=("mindseg", "torchvision"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return (ours if args.worker == "mindseg" else torchvision_peer)(args.output_stride, args.mode)
    if not args.peer_python:
        parser.error("--peer_python is missing: python of an environment with requirements/peers.txt")
    results = {}
    for mode in ("train", "infer") if args.mode == "both" else (args.mode,):
        results[mode] = run(args, mode)
        interleave.show(f"DeepLabV3-R101 {mode}, output stride {args.output_stride}", results[mode])
    if args.result_path:
        Path(args.result_path).write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def run(args: argparse.Namespace, mode: str) -> dict:
    def worker(name: str, python: str) -> interleave.Worker:
        command = [python, __file__, f"--worker={name}", f"--mode={mode}", f"--output_stride={args.output_stride}"]
        return interleave.Worker(name, command, {"OMP_NUM_THREADS": "2"})

    workers = worker("mindseg", sys.executable), worker("torchvision", args.peer_python)
    result = interleave.compare(*workers, args.rounds)
    for w in workers:
        w.stop()
    return result


def ours(output_stride: int, mode: str) -> None:
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
    network = DeepLabV3(ResNet(101, norm=norm, output_stride=output_stride), num_classes=CLASSES,
                        aspp_rates=(6, 12, 18), norm=norm)
    image = ms.Tensor(rng.standard_normal((BATCH, 3, SIDE, SIDE), np.float32))
    label = ms.Tensor(rng.integers(0, CLASSES, (BATCH, SIDE, SIDE)).astype(np.int32))
    ids = ms.Tensor(np.arange(BATCH, dtype=np.int32))
    if mode == "train":
        optimizer = momentum_optimizer(network.trainable_params(), np.full(1000, 0.01, np.float32), momentum=0.9,
                                       weight_decay=1e-4)
        step = TrainStep(DeepLabV3Loss(network, ignore_label=255), optimizer).set_train()
        work = lambda: step(image, label, ids, ids)[0].asnumpy()  # noqa: E731
    else:
        network.set_train(False)
        work = lambda: network(image).asnumpy()  # noqa: E731
    _serve(work)


def torchvision_peer(output_stride: int, mode: str) -> None:
    os.environ.pop("ONEDNN_MAX_CPU_ISA", None)
    import torch
    from torchvision.models import resnet101
    from torchvision.models._utils import IntermediateLayerGetter
    from torchvision.models.segmentation.deeplabv3 import DeepLabHead, DeepLabV3

    torch.set_num_threads(2)
    torch.manual_seed(0)
    backbone = resnet101(replace_stride_with_dilation=[False, output_stride == 8, True])
    network = DeepLabV3(IntermediateLayerGetter(backbone, {"layer4": "out"}), DeepLabHead(2048, CLASSES))
    image = torch.randn(BATCH, 3, SIDE, SIDE)
    label = torch.randint(0, CLASSES, (BATCH, SIDE, SIDE))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)

    def train() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(image)["out"], label, ignore_index=255).backward()
        optimizer.step()

    def infer() -> None:
        with torch.inference_mode():
            network(image)

    network.train(mode == "train")
    _serve(train if mode == "train" else infer)


def _serve(work) -> None:
    started = time.perf_counter()
    work()
    interleave.serve(work, **{"first call s": time.perf_counter() - started})


if __name__ == "__main__":
    main()
