"""Cold compile time and peak memory of Mask R-CNN's training step, beside the estimate that `train.py` uses.

    python benchmarks/maskrcnn_memory.py

Each case runs in its own process: build, compile, two steps, then peak resident size minus the size before the network
was built. The first two cases have the published recipe's size, from loaded weights and from scratch.
"""
from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

CASES = (
    {"norm": "frozen", "freeze_at": 2},
    {"norm": "group", "freeze_at": 0},
    {"norm": "frozen", "freeze_at": 2, "img_height": 384, "img_width": 640},
    {"norm": "group", "freeze_at": 0, "backbone": "resnet18", "img_height": 256, "img_width": 384, "batch_size": 4,
     "fpn_out_channels": 64, "rpn_feat_channels": 64, "rcnn_mask_out_channels": 64, "num_expected_neg_stage2": 128,
     "num_expected_pos_stage2": 32, "max_instance_count": 32},
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", type=int, nargs="*", default=list(range(len(CASES))), help="numbers of cases")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker is not None:
        return measure(CASES[args.worker])
    for case in args.case:
        subprocess.run([sys.executable, __file__, "--worker", str(case)], check=True, stderr=subprocess.DEVNULL)


def measure(case: dict) -> None:
    import src  # noqa: F401
    import mindspore as ms

    from src.engine import loop, runtime
    from src.maskrcnn.config import MaskRCNNConfig
    from src.maskrcnn.task import MaskRCNNTask

    settings = MaskRCNNConfig(num_classes=81, device_target="CPU", **case)
    machine = runtime.start("CPU")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    task = MaskRCNNTask(settings)
    network = task.network()
    step = loop.build_step(task, settings, machine, network, 10)
    batch = [ms.Tensor(column) for column in columns(settings)]
    started = time.perf_counter()
    step.compile(*batch)
    compiled = time.perf_counter() - started
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        step(*batch)[0].asnumpy()
        seconds.append(time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    measured = (peak - before) / 2**20
    estimated = loop.needed_bytes(task, network) / 2**30
    print(json.dumps(case))
    print(f"  compile {compiled:.1f} s, first step {seconds[0]:.1f} s, second {seconds[1]:.1f} s; whole process "
          f"{peak * 1024 / 1e9:.2f} GB; a step {measured:.2f} GiB, estimated {estimated:.2f} GiB, ratio "
          f"{estimated / measured:.2f}", flush=True)


def columns(settings) -> list:
    """A batch with one object an image."""
    import numpy as np

    batch, slots, side = settings.batch_size, settings.max_instance_count, settings.mask_crop_size
    height, width = settings.input_size
    valid = np.zeros((batch, slots), bool)
    valid[:, 0] = True
    boxes = np.tile(np.float32([width / 4, height / 4, width / 2, height / 2]), (batch, slots, 1))
    return [np.random.default_rng(0).standard_normal((batch, 3, height, width), np.float32),
            np.tile(np.float32([height, width]), (batch, 1)), boxes, np.ones((batch, slots), np.int32), valid,
            np.zeros_like(valid), np.full((batch, slots, side, side), 255, np.uint8), valid,
            np.arange(batch, dtype=np.int32), np.zeros(batch, np.int32)]


if __name__ == "__main__":
    main()
