"""oneDNN's instruction sets and hints on a CPU: seconds of a training step with each, and the kernels that it chose.

    python benchmarks/cpu_isa.py                 # all instruction sets that the processor has, then all hints
    python benchmarks/cpu_isa.py --rounds=10 --settings AVX2 DEFAULT

A step of DeepLabV3-ResNet-18 (batch 2, 97 x 97, 2 threads) under each value of ONEDNN_MAX_CPU_ISA, and under each of
ONEDNN_CPU_ISA_HINTS beside the set that `src/__init__.py` chooses, which is what the ratios are to. The settings take
turns, each in a process of its own; a value that the processor lacks falls back to what it has. A ratio below 1 means
that the setting is faster; ratios of CPU time say more where other programs use the cores.
"""
from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks import interleave

SETS = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI", "AVX512_CORE_BF16",
        "AVX512_CORE_FP16", "AVX512_CORE_AMX", "AVX512_CORE_AMX_FP16", "AVX10_1_512", "AVX10_1_512_AMX", "DEFAULT")
HINTS = ("NO_HINTS", "PREFER_YMM")
BASE = "AVX2"
BATCH, SIDE, CLASSES = 2, 97, 6
KERNEL = re.compile(r"^onednn_verbose,v1,primitive,exec,cpu,convolution,([^,]*),([^,]*),")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--settings", nargs="+", default=[*SETS, *(f"{BASE}+{hint}" for hint in HINTS)],
                        help="SET or SET+HINT")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return interleave.serve(prepare())
    print(f"{'':24} {'ms':>8} {'ratio to ' + BASE:>24} {'of CPU time':>24}  convolution kernels")
    for setting in args.settings:
        show(setting, args.rounds)


def show(setting: str, rounds: int) -> None:
    """Run a setting and the chosen one in turn, and print a line."""
    workers = [worker(BASE), worker(setting)]
    seconds, cpu = compared(workers, rounds)
    for one in workers:
        one.stop()
    wall, used = ([b / a for a, b in zip(*times)] for times in (seconds, cpu))
    print(f"{setting:24} {1e3 * statistics.median(seconds[1]):8.0f} {spread(wall):>24} {spread(used):>24}  "
          f"{kernels(setting)}", flush=True)


def compared(workers: list[interleave.Worker], rounds: int) -> tuple[list[list[float]], list[list[float]]]:
    """Seconds and seconds of CPU time of each worker's steps; the first round is not counted."""
    seconds, cpu = [[], []], [[], []]
    for i in range(rounds + 1):
        for k, one in enumerate(workers):
            before, taken = one.cpu, one.once()
            if i:
                seconds[k].append(taken)
                cpu[k].append(max(one.cpu - before, 0.01))
    return seconds, cpu


def spread(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def environment(setting: str) -> dict[str, str]:
    """Of a worker: SET, or SET+HINT."""
    limit, _, hint = setting.partition("+")
    return {"ONEDNN_MAX_CPU_ISA": limit, "OMP_NUM_THREADS": "2"} | ({"ONEDNN_CPU_ISA_HINTS": hint} if hint else {})


def worker(setting: str) -> interleave.Worker:
    return interleave.Worker(setting, [sys.executable, __file__, "--worker"], environment(setting))


def kernels(setting: str) -> str:
    """The kernels that oneDNN takes for the convolutions of a step, with the number of calls."""
    ran = subprocess.run([sys.executable, __file__, "--worker"], input="go\n", capture_output=True, text=True,
                         env=os.environ | environment(setting) | {"ONEDNN_VERBOSE": "1"}, check=True)
    of_step = ran.stdout.partition("\nready ")[2]
    counts = Counter(found[1] for line in of_step.splitlines() if (found := KERNEL.match(line)))
    return ", ".join(f"{count} x {name}" for name, count in counts.most_common())


def prepare():
    """The step that is timed."""
    import src  # noqa: F401  keeps the instruction set of the environment
    import mindspore as ms

    from src.deeplabv3.loss import DeepLabV3Loss
    from src.deeplabv3.network import DeepLabV3
    from src.engine.optim import momentum_optimizer
    from src.engine.train_step import TrainStep
    from src.layers.conv_norm import norm_factory
    from src.layers.resnet import ResNet

    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device("CPU")
    norm, rng = norm_factory("batch"), np.random.default_rng(0)
    network = DeepLabV3(ResNet(18, norm=norm, output_stride=16), num_classes=CLASSES, aspp_rates=(1, 2, 3), norm=norm)
    optimizer = momentum_optimizer(network.trainable_params(), np.full(1000, 0.01, np.float32), momentum=0.9,
                                   weight_decay=1e-4)
    step = TrainStep(DeepLabV3Loss(network, ignore_label=255), optimizer).set_train()
    image = ms.Tensor(rng.standard_normal((BATCH, 3, SIDE, SIDE), np.float32))
    label = ms.Tensor(rng.integers(0, CLASSES, (BATCH, SIDE, SIDE)).astype(np.int32))
    ids = ms.Tensor(np.arange(BATCH, dtype=np.int32))

    def train() -> float:
        return float(step(image, label, ids, ids)[0].asnumpy())

    train()  # compiles
    return train


if __name__ == "__main__":
    main()
