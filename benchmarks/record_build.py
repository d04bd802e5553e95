#!/usr/bin/env python3
"""Images per second of a MindRecord build, beside a plain FileWriter loop without checks or manifest.

    python benchmarks/record_build.py --data_root=../shared/data/camvid

Wall time of `build`, from reading the files to the finished manifest, with a warm page cache and MindSpore already
imported. The methods take turns; each line has the median of all runs, their range, and the ratio to plain FileWriter.
"""
from __future__ import annotations

import logging
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.command_line import Parser, add_flag, entry_point
from src.data.records.mindrecord import SCHEMA, BuildOptions, RecordDataset, build, verify
from src.data.semantic.voc import ListDataset, RecordCheck
from src.data.semantic.voc_layout import make_lists


def plain(dataset: ListDataset, dst: Path) -> None:
    """The method of the model zoo's tool: read files and pass 1,000 at a time to FileWriter."""
    from mindspore.mindrecord import FileWriter

    dst.parent.mkdir(parents=True)
    writer = FileWriter(str(dst), 8)
    writer.add_schema(SCHEMA, "plain")
    rows = [{name: getattr(record, name) for name in SCHEMA} for record in dataset.rows(range(len(dataset)))]
    for start in range(0, len(rows), 1000):
        writer.write_raw_data(rows[start:start + 1000])
    writer.commit()


def ways(dataset: ListDataset, check: RecordCheck) -> dict[str, Callable[[Path], object]]:
    size = RecordCheck(check.num_classes, check.ignore_label, "size")
    return {
        "plain FileWriter, 8 shards": lambda dst: plain(dataset, dst),
        "build --check=none": lambda dst: build(dataset, dst),
        "build --check=size": lambda dst: build(dataset, dst, check=size),
        "build --check=full": lambda dst: build(dataset, dst, check=check),
        "build --check=full, 8 shards": lambda dst: build(dataset, dst, BuildOptions(num_shards=8), check=check),
    }


def measure(run: Callable[[Path], object], folder: Path) -> float:
    shutil.rmtree(folder / "run", ignore_errors=True)
    start = time.perf_counter()
    run(folder / "run" / "r")
    return time.perf_counter() - start


def report(name: str, images: int, seconds: list[float], base: list[float]) -> None:
    rates = sorted(images / s for s in seconds)
    ratio = statistics.median(base) / statistics.median(seconds)
    print(f"{name:30s} {statistics.median(rates):6.0f} images/s ({rates[0]:.0f}..{rates[-1]:.0f})  {ratio:.2f}x plain")


def main() -> int:
    parser = Parser(description=__doc__.splitlines()[0])
    add_flag(parser, "data_root", "../shared/data/camvid", "folder in VOC's layout")
    add_flag(parser, "num_classes", 11, "of its labels")
    add_flag(parser, "runs", 7, "of every way")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    import mindspore.dataset
    import mindspore.mindrecord  # noqa: F401

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lists = list(make_lists(args.data_root, folder))
        (folder / "all.txt").write_text("".join(path.read_text() for path in lists))
        dataset = ListDataset(args.data_root, folder / "all.txt")
        runs = ways(dataset, RecordCheck(args.num_classes, 255))
        seconds: dict[str, list[float]] = {way: [] for way in runs}
        for turn in range(args.runs + 1):
            for way, run in runs.items():
                taken = measure(run, folder)
                if turn:  # the first turn warms the page cache
                    seconds[way].append(taken)
        for way, taken in seconds.items():
            report(way, len(dataset), taken, seconds["plain FileWriter, 8 shards"])
        manifest = build(dataset, folder / "final" / "r")
        allocated = sum(path.stat().st_blocks * 512 for path in (folder / "final").iterdir())
        print(f"allocated {allocated / manifest.bytes:.3f} of the input's {manifest.bytes / 1e6:.1f} MB")
        records = RecordDataset(folder / "final" / "r")
        for what, function in (("read all records", lambda: list(records.rows(range(len(records))))),
                               ("verify", lambda: verify(folder / "final" / "r"))):
            start = time.perf_counter()
            function()
            print(f"{what:30s} {len(records) / (time.perf_counter() - start):6.0f} images/s")
    return 0


if __name__ == "__main__":
    entry_point(main)
