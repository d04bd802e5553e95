"""Peak memory of real training steps, beside the estimate by which `train.py` refuses settings that cannot fit.

    python benchmarks/memory_estimate.py

Each case runs in its own process: build, two steps, then peak resident size minus that before building the network.
"""
from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

# backbone, model, batch size, crop size
CASES = (("resnet18", "deeplab_v3_s16", 8, 193), ("resnet18", "deeplab_v3_s16", 4, 321),
         ("resnet50", "deeplab_v3_s16", 2, 321), ("resnet101", "deeplab_v3_s16", 2, 321),
         ("resnet101", "deeplab_v3_s8", 2, 257), ("resnet101", "deeplab_v3_s16", 4, 257))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return measure(*args.worker[:2], *map(int, args.worker[2:]))
    print(f"{'backbone':<10} {'model':<16} {'batch':>5} {'crop':>5} {'measured GiB':>13} {'estimated GiB':>14} ratio")
    for case in CASES:
        subprocess.run([sys.executable, __file__, "--worker", *map(str, case)], check=True, stderr=subprocess.DEVNULL)


def measure(backbone: str, model: str, batch_size: int, crop_size: int) -> None:
    import src  # noqa: F401
    import mindspore as ms
    import numpy as np

    from src.deeplabv3.config import DeepLabV3Config
    from src.deeplabv3.task import DeepLabV3Task
    from src.engine import loop, runtime

    settings = DeepLabV3Config(backbone=backbone, model=model, batch_size=batch_size, crop_size=crop_size,
                               device_target="CPU", loss_scale=1.0)
    machine = runtime.start("CPU")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    task = DeepLabV3Task(settings)
    network = task.network()
    step = loop.build_step(task, settings, machine, network, 10)
    batch = [ms.Tensor(np.zeros((batch_size, 3, crop_size, crop_size), np.float32)),
             ms.Tensor(np.zeros((batch_size, crop_size, crop_size), np.int32)),
             *[ms.Tensor(np.arange(batch_size, dtype=np.int32))] * 2]
    for _ in range(2):
        step(*batch)[0].asnumpy()
    measured = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
    estimated = loop.needed_bytes(task, network) / 2**30
    print(f"{backbone:<10} {model:<16} {batch_size:>5} {crop_size:>5} {measured:>13.2f} {estimated:>14.2f} "
          f"{estimated / measured:>6.2f}", flush=True)


if __name__ == "__main__":
    main()
