#!/usr/bin/env python3
"""Seconds and peak memory of opening annotations of COCO's size, beside pycocotools' `COCO()`.

    python benchmarks/annotation_load.py                   # as many as COCO's train2017 has: some minutes
    python benchmarks/annotation_load.py --scale=0.1       # a tenth of them

The annotations of `--coco_root` (random polygons where it is absent) are repeated with new ids up to 118,287 images, in
a temporary folder with empty files as images. Three programs take turns, each run in a process of its own: pycocotools,
which indexes the file and checks nothing; `CocoDataset`, which checks everything and looks the images up; and the same
with the index that the run before has left. Seconds are without imports, and ratios to pycocotools in the same round;
those of processor time bear a busy machine. Memory is the largest of the process.
"""
from __future__ import annotations

import itertools
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.command_line import Parser, add_flag, entry_point, number_in

IMAGES = 118_287  # of train2017
PROGRAMS = ("pycocotools", "CocoDataset", "with index")


def main() -> int:
    parser = Parser(description=__doc__.splitlines()[0])
    add_flag(parser, "coco_root", "../shared/data/coco_open", "data set that is repeated; random polygons if absent")
    add_flag(parser, "data_type", "train2017", "its split")
    add_flag(parser, "scale", 1.0, "of the number of images", type=number_in(float, 0.0001, 100))
    add_flag(parser, "rounds", 3, "runs of each program", type=number_in(int, 1))
    add_flag(parser, "program", "", "run one program on the folder in --coco_root and print what it took (internal)",
             choices=("", *PROGRAMS))
    args = parser.parse_args()
    if args.program:
        print(json.dumps(measure(args.program, Path(args.coco_root))))
        return 0
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        path = write(root, source(Path(args.coco_root), args.data_type), int(IMAGES * args.scale))
        print(f"{path.stat().st_size / 1e6:.0f} MB   [{os.cpu_count()} cores, {platform.machine()}, {date.today()}]")
        report([[shown(program, in_a_process(program, root)) for program in PROGRAMS] for _ in range(args.rounds)])
    return 0


def measure(program: str, root: Path) -> dict[str, float]:
    """Run one program in this process."""
    path = root / "annotations/instances_train.json"
    index = path.with_name(f"{path.name}.index.npz")
    if program == "pycocotools":
        from pycocotools.coco import COCO

        started = time.perf_counter(), time.process_time()
        opened = COCO(path)
        count = len(opened.anns)
    else:
        from src.data.instance.coco import CocoDataset

        if program == "CocoDataset":
            index.unlink(missing_ok=True)
        started = time.perf_counter(), time.process_time()
        opened = CocoDataset(path, root / "train")
        count = opened.objects + opened.crowds
    return {"seconds": time.perf_counter() - started[0], "processor": time.process_time() - started[1],
            "gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, "count": count}


def in_a_process(program: str, root: Path) -> dict[str, float]:
    command = [sys.executable, __file__, f"--program={program}", f"--coco_root={root}"]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return json.loads(lines[-1])


def shown(program: str, run: dict[str, float]) -> dict[str, float]:
    """Say what a run took, as some take minutes."""
    print(f"  {program}: {run['seconds']:.2f} s", file=sys.stderr)
    return run


def report(rounds: list[list[dict[str, float]]]) -> None:
    """Print medians, spread and ratios of rounds of runs of the programs."""
    assert len({run["count"] for runs in rounds for run in runs}) == 1, "the programs read other annotations"
    for k, program in enumerate(PROGRAMS):
        print(f"{program:12s} peak {max(runs[k]['gigabytes'] for runs in rounds):.2f} GB")
        for what, unit in (("seconds", "s"), ("processor", "s of processor time")):
            times = [runs[k][what] for runs in rounds]
            ratios = [runs[k][what] / runs[0][what] for runs in rounds]
            print(f"    median {statistics.median(times):.2f} {unit} ({min(times):.2f} to {max(times):.2f}), "
                  f"ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")
    print(f"{rounds[0][0]['count']} annotations, {len(rounds)} rounds")


# --- the file ---------------------------------------------------------------------------------------------------------

def source(root: Path, data_type: str) -> dict[str, list]:
    """The annotations that are repeated."""
    path = root / f"annotations/instances_{data_type}.json"
    if path.is_file():
        return json.loads(path.read_bytes())
    rng = np.random.default_rng(1)
    images = [{"id": n, "file_name": f"{n}.jpg", "height": 480, "width": 640} for n in range(1, 101)]
    categories = [{"id": n, "name": f"class {n}", "supercategory": "thing"} for n in range(1, 81)]
    return {"images": images, "categories": categories,
            "annotations": [annotation(rng, image["id"]) for image in images for _ in range(9)]}


def annotation(rng: np.random.Generator, image_id: int) -> dict:
    """A random polygon of about as many points as COCO's have."""
    points = rng.uniform([0, 0], [640, 480], (rng.integers(5, 60), 2)).round(2)
    low, sides = points.min(0), np.ptp(points, 0)
    return {"segmentation": [points.ravel().tolist()], "area": float(sides.prod()), "iscrowd": 0, "image_id": image_id,
            "bbox": [*low.tolist(), *sides.tolist()], "category_id": int(rng.integers(1, 81))}


def write(root: Path, data: dict[str, list], count: int) -> Path:
    """Write an annotation file of `count` images, and empty files for them; return the former."""
    (root / "train").mkdir()
    (root / "annotations").mkdir()
    path = root / "annotations/instances_train.json"
    names = [f"{number:012d}.jpg" for number in range(1, count + 1)]
    for name in names:
        (root / "train" / name).touch()
    entries = itertools.islice(itertools.cycle(data["images"]), count)
    images = [entry | {"id": number, "file_name": name} for number, (entry, name) in enumerate(zip(entries, names), 1)]
    head = json.dumps({"categories": data["categories"], "images": images})
    with path.open("w") as file:
        file.write(f'{head[:-1]}, "annotations": [')
        file.writelines(annotations(data, count))
        file.write("]}")
    return path


def annotations(data: dict[str, list], count: int) -> Iterator[str]:
    """The texts of the annotations of `count` images, with commas between them."""
    position = {entry["id"]: number for number, entry in enumerate(data["images"], 1)}
    number = 0
    for first in range(0, count, len(position)):
        for entry in data["annotations"]:
            image_id = first + position[entry["image_id"]]
            if image_id <= count:
                number += 1
                yield ", " * (number > 1) + json.dumps(entry | {"id": number, "image_id": image_id})


if __name__ == "__main__":
    entry_point(main)
