"""Convert published weights to our names, or our weights to the names of torchvision or the model zoo.

    python src/tools/convert_checkpoint.py deeplab_v3_s16-300_41.ckpt --to converted.ckpt
    python src/tools/convert_checkpoint.py resnet50.pth --to resnet50.ckpt --family=torchvision_resnet
    python src/tools/convert_checkpoint.py mask_rcnn_best.ckpt --to out.safetensors --family=torchvision

Reads .ckpt, .pth, .safetensors and .npz, writes .ckpt, .safetensors and .npz. The family of SOURCE is recognised from
names and shapes. `--family` requires a certain family of SOURCE, or, with a publisher's name (torchvision, zoo), writes
OUT under that publisher's names. Every name is reported; a name that is left over or missing is an error unless it is
declared as expected.
"""
from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src.command_line import Parser, entry_point
from src.contract import InputError
from src.weights.families import FAMILIES
from src.weights.formats import WRITABLE
from src.weights.load import read_weights, write_published, write_weights

PUBLISHERS = ("torchvision", "zoo")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SOURCE", help="weights file: .ckpt, .pth, .safetensors or .npz")
    parser.add_argument("--to", required=True, metavar="OUT", help=f"file to write: {', '.join(WRITABLE)}")
    parser.add_argument("--family", default="auto", metavar="NAME",
                        help=f"auto, a family of SOURCE ({', '.join(FAMILIES)}), or the publisher whose names OUT gets "
                             f"({', '.join(PUBLISHERS)})")
    for what in ("missing", "unexpected"):
        parser.add_argument(f"--expect_{what}", action="append", default=[], metavar="GLOB",
                            help=f"names that may be {what}; may be repeated")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Convert one file and print what became of every name."""
    args = parse(argv)
    out = Path(args.to)
    if out.exists():
        raise InputError(f"--to={out}: exists already; give another name or remove it")
    if out.suffix not in WRITABLE:
        raise InputError(f"--to={out}: suffix {out.suffix!r} is none of {', '.join(WRITABLE)}")
    back = args.family in PUBLISHERS
    weights = read_weights(args.source, "auto" if back else args.family)
    report = dataclasses.replace(weights.report, expected=[*args.expect_missing, *args.expect_unexpected])
    report.check("If that is meant, name what is missing with --expect_missing=GLOB and what is left over with "
                 "--expect_unexpected=GLOB")
    print(report)
    if back:
        table, differences = write_published(weights, out, args.family)
        print(f"{out}: written with the names of {table.name}")
        for difference in differences:
            print(f"warning: {table.name}'s own network computes otherwise than these weights expect: {difference}")
    else:
        write_weights(weights, out)
        for key, value in report.conventions.items():
            print(f"{key:<22} {value}")
        print(f"{out}: written with our names and these conventions")


if __name__ == "__main__":
    entry_point(main)
