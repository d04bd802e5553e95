"""Shared part of the comparisons with torchvision: their flags, and a worker for each side.

The peer's worker runs in its own environment (requirements/peers.txt), without our CPU switch. A comparison provides
two functions `args -> work` that prepare one unit of work; `work()` may return counts, which are printed.
"""
from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import interleave

THREADS = 2
Prepare = Callable[[argparse.Namespace], Callable[[], dict | None]]


def flags(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--peer_python", help="python of the environment with torchvision")
    parser.add_argument("--mode", default="both", choices=("train", "infer", "both"))
    parser.add_argument("--inference_engine", "--engine", default="mindspore", choices=("mindspore", "openvino"),
                        help="what runs our inference, as in eval.py")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--result_path", default="", help="JSON file for the numbers")
    parser.add_argument("--worker", choices=("mindseg", "torchvision"), help=argparse.SUPPRESS)
    parser.add_argument("--weights", default="", help=argparse.SUPPRESS)
    return parser


def served(args: argparse.Namespace, cell):
    """A cell, in evaluation mode, as a function of arrays in the engine of the flags."""
    from src.engine.inference_engine import InferenceEngine

    shaping = {name: value for name, value in vars(args).items() if name not in ("weights", "worker", "peer_python")}
    engine = InferenceEngine(args.inference_engine, "CPU", shaping | {"benchmark": Path(sys.argv[0]).stem})
    return engine.function(cell)


def main(parser: argparse.ArgumentParser, title: str, *, ours: Prepare, torchvision: Prepare) -> None:
    """Run the comparison, or one side as its worker. `title` is a format string over the flags' values."""
    args = parser.parse_args()
    if args.worker:
        return _work(args, ours if args.worker == "mindseg" else torchvision)
    if not args.peer_python:
        parser.error("--peer_python is missing: python of an environment with requirements/peers.txt")
    results = {}
    for mode in ("train", "infer") if args.mode == "both" else (args.mode,):
        results[mode] = _compare(args, mode)
        interleave.show(title.format(**vars(args) | {"mode": mode}), results[mode])
    if args.result_path:
        Path(args.result_path).write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def _compare(args: argparse.Namespace, mode: str) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        def worker(name: str, python: str) -> interleave.Worker:
            command = [python, *sys.argv, f"--worker={name}", f"--mode={mode}", f"--weights={folder}/weights.pth"]
            return interleave.Worker(name, command, {"OMP_NUM_THREADS": str(THREADS)})

        peer = worker("torchvision", args.peer_python)  # first: it may write weights for both
        mindseg = worker("mindseg", sys.executable)
        result = interleave.compare(mindseg, peer, args.rounds)
        mindseg.stop()
        peer.stop()
    return result


def _work(args: argparse.Namespace, prepare: Prepare) -> None:
    if args.worker == "torchvision":
        os.environ.pop("ONEDNN_MAX_CPU_ISA", None)
        import torch

        torch.set_num_threads(THREADS)
        torch.manual_seed(0)
    work = prepare(args)
    started = time.perf_counter()
    facts = work() or {}
    interleave.serve(work, **{"first call s": time.perf_counter() - started}, **facts)
