#!/usr/bin/env python3
"""Compare runs on the same val set: numbers with 95 % intervals, paired differences and p-values, what differs.

    python src/tools/compare_runs.py RUN_A RUN_B [RUN_C ...] --output_dir=DIR

A run is a results file of eval.py, report.py or postprocess.py, or the folder that holds one; the per-image statistics
beside it are read. The others are compared with the first run. compare.json and compare.html are written.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __name__ == "__main__":  # works from any folder, as a file too
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src.command_line import Parser, add_flag, entry_point, number_in
from src.contract import InputError
from src.files import write_file
from src.metrics.bootstrap_options import SEED, add_samples_flag


def parse_args(argv: list[str]) -> argparse.Namespace:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", metavar="RUN", help="results of eval.py or report.py, or a folder with them")
    add_flag(parser, "output_dir", ".", "folder for compare.json and compare.html")
    add_samples_flag(parser, 2000)
    add_flag(parser, "seed", SEED, "seed of the samples", type=number_in(int, 0))
    args = parser.parse_args(argv)
    if Path(args.output_dir).is_file():
        raise InputError(f"--output_dir={args.output_dir}: a file; name a folder")
    return args


def main() -> int:
    args = parse_args(sys.argv[1:])
    from src.results import comparison, comparison_page, runs
    from src.results.files import write_json

    opened = runs.open_runs(args.runs)
    compared = comparison.compare(opened, samples=args.bootstrap, seed=args.seed)
    print(comparison.as_text(compared))
    folder = Path(args.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "compare.json", comparison.as_json(compared))
    write_file(folder / "compare.html", comparison_page.render(compared, opened))
    print(f"\n{folder / 'compare.html'} has the learning curves too; the numbers are in {folder / 'compare.json'}")
    return 0


if __name__ == "__main__":
    entry_point(main)
