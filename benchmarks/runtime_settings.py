"""Settings of MindSpore's runtime and compiler on a CPU: a step of the quick start's Mask R-CNN, and its compilation.

    python benchmarks/runtime_settings.py [--rounds=12]

Each setting has a process of its own, with the practice set's first batch; the steps take turns, and the ratios are to
MindSpore's defaults. A ratio below 1 means that the setting is faster; ratios of CPU time say more where other programs
use the cores. "First call" is the compilation with the first step, timed once.
"""
from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks import interleave

SETTINGS = {
    "defaults": lambda ms: None,
    "dispatch_threads_num(1)": lambda ms: ms.runtime.dispatch_threads_num(1),
    "set_kernel_launch_group(2, 8)": lambda ms: ms.runtime.set_kernel_launch_group(2, 8),
    "jit_syntax_level=STRICT": lambda ms: ms.set_context(jit_syntax_level=ms.STRICT),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--worker", choices=SETTINGS, help=argparse.SUPPRESS)
    parser.add_argument("--data", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return work(args)
    from src.data.practice.sample_set import write_sample_set

    with tempfile.TemporaryDirectory() as folder:
        write_sample_set(f"{folder}/data")
        workers = [interleave.Worker(name, [sys.executable, __file__, f"--data={folder}/data", f"--worker={name}"],
                                     {"OMP_NUM_THREADS": "2"}) for name in SETTINGS]
        seconds, cpu = turns(workers, args.rounds)
        for one in workers:
            one.stop()
    for one in workers:
        print(f"{one.name:30} first call {one.facts['first call s']:5.1f} s, step "
              f"{statistics.median(seconds[one.name]):.3f} s, ratio {spread(seconds, one.name)}, of CPU time "
              f"{spread(cpu, one.name)}")


def turns(workers: list[interleave.Worker], rounds: int) -> tuple[dict, dict]:
    """{setting: seconds of each step} and the same in CPU time; the first round is not counted."""
    seconds, cpu = ({one.name: [] for one in workers} for _ in range(2))
    for i in range(rounds + 1):
        for one in workers if i % 2 else workers[::-1]:
            before, taken = one.cpu, one.once()
            if i:
                seconds[one.name].append(taken)
                cpu[one.name].append(max(one.cpu - before, 0.01))
    return seconds, cpu


def spread(times: dict[str, list[float]], name: str) -> str:
    ratios = [a / b for a, b in zip(times[name], times["defaults"])]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def work(args: argparse.Namespace) -> None:
    """The worker of one setting."""
    import mindspore as ms

    from src import tasks
    from src.engine import loop, runtime

    words = ["--model=mask_rcnn_r50", "--config=quickstart", f"--coco_root={args.data}"]
    settings = tasks.with_conventions(tasks.parse_settings(words, program="train.py", groups=("train",)))
    machine = runtime.start("CPU", seed=settings.seed)
    SETTINGS[args.worker](ms)
    task = tasks.create(settings)
    dataset = task.dataset("train")
    step = loop.build_step(task, settings, machine, task.network(), len(dataset) // settings.batch_size)
    batch = next(loop._batches(task, settings, machine, dataset).create_tuple_iterator())

    def train() -> None:
        for result in step(*batch):
            result.asnumpy()

    started = time.perf_counter()
    train()
    interleave.serve(train, **{"first call s": time.perf_counter() - started})


if __name__ == "__main__":
    main()
