"""Where the time of a DeepLabV3 step goes on a CPU, by oneDNN primitive.

    python benchmarks/operator_profile.py --output_stride=16 --mode=train

Runs the worker of deeplabv3_speed.py with ONEDNN_VERBOSE=1 and adds up what oneDNN reports: time and calls per step,
and for convolutions the GFLOP/s that they reach. What is not oneDNN's (additions, ReLU, the loss, the optimizer) is the
difference to the step's time.
"""
from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHAPE = re.compile(r"mb(\d+)_ic(\d+)oc(\d+)_ih(\d+)oh(\d+)kh(\d+)sh(\d+)dh(\d+)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output_stride", type=int, default=16, choices=(8, 16))
    parser.add_argument("--mode", default="train", choices=("train", "infer"))
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rows", type=int, default=12, help="convolution shapes to list")
    args = parser.parse_args()
    totals, shapes, seconds = profile(args)
    print(f"{1e3 * seconds:.0f} ms a step (median of {args.steps})")
    print(f"{'ms/step':>9} {'calls':>6} {'GFLOP/s':>8}  primitive")
    rows = sorted(totals.items(), key=lambda row: -row[1][0])
    rows += sorted(shapes.items(), key=lambda row: -row[1][0])[: args.rows]
    for name, (milliseconds, calls, flop) in rows:
        rate = f"{flop / milliseconds / 1e6:8.1f}" if flop else " " * 8
        print(f"{milliseconds / args.steps:9.1f} {calls / args.steps:6.0f} {rate}  {name}")
    rest = 1e3 * seconds - sum(row[0] for row in totals.values()) / args.steps
    print(f"{rest:9.1f} {'':>6} {'':>8}  everything else")


def profile(args: argparse.Namespace) -> tuple[dict, dict, float]:
    """({primitive: [ms, calls, FLOP]}, the same by convolution shape, median seconds a step) over `args.steps`."""
    command = [sys.executable, str(ROOT / "benchmarks" / "deeplabv3_speed.py"), "--worker=mindseg",
               f"--mode={args.mode}", f"--output_stride={args.output_stride}"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                               text=True, env=os.environ | {"ONEDNN_VERBOSE": "1", "OMP_NUM_THREADS": "2"})
    process.stdin.write("go\n" * args.steps)
    process.stdin.close()
    totals, shapes = defaultdict(lambda: [0.0, 0, 0.0]), defaultdict(lambda: [0.0, 0, 0.0])
    ready, seconds = False, []
    for line in process.stdout:
        ready |= line.startswith("ready ")
        if line.startswith("took "):
            seconds.append(float(line.split()[1]))
        elif ready and line.startswith("onednn_verbose") and ",exec," in line:
            _count(line.strip().split(","), totals, shapes)
    return totals, shapes, sorted(seconds)[len(seconds) // 2]


def _count(fields: list[str], totals: dict, shapes: dict) -> None:
    primitive, kind, shape, milliseconds = fields[5], fields[7], fields[-2], float(fields[-1])
    found, flop = SHAPE.match(shape) if primitive == "convolution" else None, 0.0
    if found:
        batch, c_in, c_out, _, side, kernel, stride, dilation = map(int, found.groups())
        flop = 2.0 * batch * c_in * c_out * side * side * kernel * kernel
        name = f"  {kind} {kernel}x{kernel} {c_in}->{c_out} at {side}x{side}, stride {stride}, dilation {dilation + 1}"
        _add(shapes[name], milliseconds, flop)
    _add(totals[f"{primitive} {kind}"], milliseconds, flop)


def _add(row: list[float], milliseconds: float, flop: float) -> None:
    row[0] += milliseconds
    row[1] += 1
    row[2] += flop


if __name__ == "__main__":
    main()
