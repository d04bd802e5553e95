"""Profile of a step on a CPU, by oneDNN primitive and by MindSpore operator.

    python benchmarks/operator_profile.py --model=deeplab_v3 --output_stride=16 --mode=train
    python benchmarks/operator_profile.py --model=mask_rcnn_r50 --mode=infer

Runs the worker of deeplabv3_speed.py or maskrcnn_speed.py with ONEDNN_VERBOSE=1 and adds up what oneDNN reports: time
and calls per step, and for convolutions the GFLOP/s that they reach. Then one more step under MindSpore's profiler: the
operators and the places in the network that take longest, oneDNN's or not.
"""
from __future__ import annotations

import argparse
import csv
import os
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHAPE = re.compile(r"mb(\d+)_ic(\d+)oc(\d+)_ih\d+oh(\d+)kh(\d+)sh(\d+)dh(\d+)(?:ph\d+_iw\d+ow(\d+))?")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="deeplab_v3", choices=("deeplab_v3", "mask_rcnn_r50"))
    parser.add_argument("--output_stride", type=int, default=16, choices=(8, 16), help="of DeepLabV3")
    parser.add_argument("--mode", default="train", choices=("train", "infer"))
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rows", type=int, default=12, help="convolution shapes and places to list")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        totals, shapes, seconds = profile(args, folder)
        operators, places = (kernels(folder, name, args.rows) for name in ("type", "detail"))
    print(f"{1e3 * seconds:.0f} ms a step (median of {args.steps})")
    print(f"{'ms/step':>9} {'calls':>6} {'GFLOP/s':>8}  primitive")
    rows = sorted(totals.items(), key=lambda row: -row[1][0])
    rows += sorted(shapes.items(), key=lambda row: -row[1][0])[: args.rows]
    for name, (milliseconds, calls, flop) in rows:
        rate = f"{flop / milliseconds / 1e6:8.1f}" if flop else " " * 8
        print(f"{milliseconds / args.steps:9.1f} {calls / args.steps:6.0f} {rate}  {name}")
    rest = 1e3 * seconds - sum(row[0] for row in totals.values()) / args.steps
    print(f"{rest:9.1f} {'':>6} {'':>8}  everything else")
    for title, table in (("operator", operators), ("place (calls of one cell go by the first one's name)", places)):
        print(f"\n{'ms':>9} {'calls':>6}  {title}")
        for milliseconds, calls, name in table:
            print(f"{milliseconds:9.1f} {calls:6d}  {name}")


def kernels(folder: str, table: str, rows: int) -> list[tuple[float, int, str]]:
    """(ms, calls, name) of the longest rows of "type" or "detail", two tables that MindSpore's profiler wrote."""
    columns = {"type": ("total_compute_time", "type_occurrences", "op_type"),
               "detail": ("op_total_time(ms)", "op_occurrences", "full_op_name")}[table]
    path, = Path(folder).glob(f"*/FRAMEWORK/cpu_op_{table}_info_0.csv")
    with path.open(encoding="utf-8") as file:
        found = [(float(row[columns[0]]), int(row[columns[1]]), row[columns[2]]) for row in csv.DictReader(file)]
    return sorted(found, reverse=True)[:rows]


def profile(args: argparse.Namespace, folder: str) -> tuple[dict, dict, float]:
    """({primitive: [ms, calls, FLOP]}, the same by convolution shape, median seconds a step) over `args.steps`.

    MindSpore's own profile of one more step goes into `folder`.
    """
    worker = {"deeplab_v3": ["deeplabv3_speed.py", f"--output_stride={args.output_stride}"],
              "mask_rcnn_r50": ["maskrcnn_speed.py"]}[args.model]
    command = [sys.executable, str(ROOT / "benchmarks" / worker[0]), "--worker=mindseg", f"--mode={args.mode}",
               *worker[1:]]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                               text=True, env=os.environ | {"ONEDNN_VERBOSE": "1", "OMP_NUM_THREADS": "2"})
    process.stdin.write("go\n" * args.steps + f"kernels {folder}\n")
    process.stdin.close()
    totals, shapes = defaultdict(lambda: [0.0, 0, 0.0]), defaultdict(lambda: [0.0, 0, 0.0])
    ready, seconds = False, []
    for line in process.stdout:
        ready = (ready or line.startswith("ready ")) and not line.startswith("profiling")
        if line.startswith("took "):
            seconds.append(float(line.split()[1]))
        elif ready and line.startswith("onednn_verbose") and ",exec," in line:
            _count(line.strip().split(","), totals, shapes)
    return totals, shapes, sorted(seconds)[len(seconds) // 2]


def _count(fields: list[str], totals: dict, shapes: dict) -> None:
    primitive, kind, shape, milliseconds = fields[5], fields[7], fields[-2], float(fields[-1])
    found, flop = SHAPE.match(shape) if primitive == "convolution" else None, 0.0
    if found:
        batch, c_in, c_out, height, kernel, stride, dilation = map(int, found.groups()[:7])
        width = int(found[8] or height)
        flop = 2.0 * batch * c_in * c_out * height * width * kernel * kernel
        name = (f"  {kind} {kernel}x{kernel} {c_in}->{c_out} at {batch} x {height}x{width}, stride {stride}, dilation "
                f"{dilation + 1}")
        _add(shapes[name], milliseconds, flop)
    _add(totals[f"{primitive} {kind}"], milliseconds, flop)


def _add(row: list[float], milliseconds: float, flop: float) -> None:
    row[0] += milliseconds
    row[1] += 1
    row[2] += flop


if __name__ == "__main__":
    main()
