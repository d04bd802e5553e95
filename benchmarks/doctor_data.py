#!/usr/bin/env python3
"""Time and memory of the data doctor: headers and annotations of COCO's size, and decoding beside OpenCV alone.

    python benchmarks/doctor_data.py               # 118,000 images with 860,000 annotations: some minutes
    python benchmarks/doctor_data.py --scale=0.1   # a tenth of them

The first part generates image files that end after their headers, and annotations (those of `--coco_root`, or random
polygons, repeated with new ids), runs `doctor_data.py --decode=0` in a process of its own, and prints wall time, CPU
time of all its processes, and their peak memory together: the largest sum of proportional set sizes. The second part
decodes JPEG images of 640 x 480 in rounds that alternate with OpenCV alone in as many processes.
"""
from __future__ import annotations

import functools
import io
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import psutil
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.annotation_load import source, write
from src.command_line import Parser, add_flag, entry_point, number_in
from src.data.decode import Decoding
from src.data.instance.coco import CocoDataset
from src.doctor.data.look import Ways, look

IMAGES, ANNOTATIONS = 118_000, 860_000
ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    parser = Parser(description=__doc__.splitlines()[0])
    add_flag(parser, "coco_root", "../shared/data/coco_open", "data set whose annotations and images are repeated; "
             "random ones if absent")
    add_flag(parser, "scale", 1.0, "of the number of images of the first part; 0 leaves it out",
             type=number_in(float, 0, 100))
    add_flag(parser, "photos", 1000, "JPEG images of the second part; 0 leaves it out", type=number_in(int, 0))
    add_flag(parser, "rounds", 5, "rounds of the second part", type=number_in(int, 1))
    add_flag(parser, "workers", 2, "processes", type=number_in(int, 1))
    args = parser.parse_args()
    print(f"[{os.cpu_count()} cores, {platform.machine()}, {date.today()}, load {os.getloadavg()[0]:.1f}]")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        if args.scale:
            headers_and_annotations(root, Path(args.coco_root), int(IMAGES * args.scale), args.workers)
        if args.photos:
            decoding(root / "photos", Path(args.coco_root), args)
    return 0


# --- headers and annotations ------------------------------------------------------------------------------------------

def headers_and_annotations(root: Path, coco_root: Path, count: int, workers: int) -> None:
    data = source(coco_root, "train2017")
    data["annotations"] = data["annotations"][:round(len(data["images"]) * ANNOTATIONS / IMAGES)]
    path = write(root, data, count)
    for number, entry in enumerate(data["images"] * (count // len(data["images"]) + 1), 1):
        if number > count:
            break
        (root / f"train/{number:012d}.jpg").write_bytes(header(entry["height"], entry["width"], number))
    print(f"{count} headers, {path.stat().st_size / 1e6:.0f} MB of annotations")
    command = [sys.executable, ROOT / "src/tools/doctor_data.py", "--model=mask_rcnn_r50", f"--coco_root={root}",
               "--train_data_type=train", "--decode=0", "--samples=False", f"--workers={workers}", "--to=out"]
    seconds, cpu, peak, lines = measured(command, root)
    print("\n".join(line for line in lines if "files:" in line or "classes:" in line))
    print(f"doctor_data.py --decode=0: {seconds:.1f} s, {cpu:.1f} s of CPU time, peak {peak / 1e9:.2f} GB")


def header(height: int, width: int, number: int) -> bytes:
    """A JPEG file that ends where its pixels would begin; files have different lengths and contents."""
    start, comment = start_of_jpeg(height, width), str(number).encode() * (number % 20 + 1)
    return start[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + start[2:]


@functools.cache
def start_of_jpeg(height: int, width: int) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (width, height)).save(data, "JPEG")
    return data.getvalue()[:data.getvalue().index(b"\xff\xda") + 20]


def measured(command: list, folder: Path) -> tuple[float, float, float, list[str]]:
    """(seconds, CPU seconds, peak bytes, lines printed) of a program and its children."""
    started, peak, cpu = time.perf_counter(), 0, {}
    with (folder / "log").open("w") as log:
        process = psutil.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        while process.poll() is None:
            try:
                family = [process, *process.children(recursive=True)]
                peak = max(peak, sum(one.memory_full_info().pss for one in family))
                cpu |= {one.pid: sum(one.cpu_times()[:2]) for one in family}
            except psutil.Error:
                pass  # one of them has just ended
            time.sleep(0.1)
    lines = (folder / "log").read_text().splitlines()
    if process.returncode not in (0, 1):
        raise SystemExit("\n".join(lines[-20:]))
    return time.perf_counter() - started, sum(cpu.values()), peak, lines


# --- decoding ---------------------------------------------------------------------------------------------------------

def decoding(root: Path, coco_root: Path, args) -> None:
    cv2.setNumThreads(1)  # before processes are forked; the processes are the parallelism
    names = write_photos(root, coco_root, args.photos)
    dataset = CocoDataset(root / "photos.json", root / "images")
    ways = Ways(Decoding(), semantic=False, pixels=frozenset(range(len(dataset))))
    runs: dict[str, Callable[[], object]] = {
        "OpenCV alone": lambda: alone(names, args.workers),
        "data doctor": lambda: look(dataset, ways, workers=args.workers)}
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for turn in range(args.rounds + 1):
        for name, run in runs.items():
            started, before = time.perf_counter(), cpu_seconds()
            run()
            if turn:  # the first turn warms the page cache
                rates[name].append((len(names) / (time.perf_counter() - started),
                                    len(names) / (cpu_seconds() - before)))
    for k, what in enumerate(("images/s", "images per second of CPU time")):
        for name, values in rates.items():
            print(f"{name:13s} {what}: {spread([value[k] for value in values], '.0f')}")
        ratios = [a[k] / b[k] for a, b in zip(rates["data doctor"], rates["OpenCV alone"])]
        print(f"{'ratio':13s} {what}: {spread(ratios, '.3f')}")


def cpu_seconds() -> float:
    """Of this process and its children that have ended."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def spread(values: list[float], form: str) -> str:
    return f"median {statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def write_photos(root: Path, coco_root: Path, count: int) -> list[str]:
    """Write JPEG images of 640 x 480, and `photos.json` with an object in each; return the images' paths."""
    (root / "images").mkdir(parents=True)
    found = sorted((coco_root / "train2017").glob("*.jpg"))
    photos = [cv2.resize(cv2.imread(str(path)), (640, 480)) for path in found[:50]]
    photos = photos or [cv2.resize(np.random.default_rng(k).integers(0, 256, (60, 80, 3), np.uint8), (640, 480))
                        for k in range(20)]
    names = [f"{number:05d}.jpg" for number in range(1, count + 1)]
    for number, name in enumerate(names):
        cv2.imwrite(str(root / "images" / name), np.roll(photos[number % len(photos)], 8 * number, 1))
    images = [{"id": k, "file_name": name, "height": 480, "width": 640} for k, name in enumerate(names, 1)]
    objects = [{"id": k, "image_id": k, "category_id": 1, "bbox": [9, 9, 99, 99], "iscrowd": 0}
               for k in range(1, count + 1)]
    (root / "photos.json").write_text(json.dumps({"images": images, "annotations": objects,
                                                  "categories": [{"id": 1, "name": "thing"}]}))
    return [str(root / "images" / name) for name in names]


def alone(names: list[str], workers: int) -> None:
    """Decode files with OpenCV and do nothing else."""
    blocks = [names[k:k + 64] for k in range(0, len(names), 64)]
    with ProcessPoolExecutor(workers, get_context("fork")) as pool:
        list(pool.map(_decode, blocks))


def _decode(names: list[str]) -> int:
    return sum(cv2.imread(name).size > 0 for name in names)


if __name__ == "__main__":
    entry_point(main)
