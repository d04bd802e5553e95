#!/usr/bin/env python3
"""Parameters, multiply-adds and activation memory of a model's layers, for one image of a given size.

    python src/tools/model_summary.py --model=deeplabv3 --crop_size=513
    python src/tools/model_summary.py --model=maskrcnn --img_height=768 --img_width=1280 --depth=0

All other flags are those of export.py; without a checkpoint the weights are random. The inference network is counted:
layers that only training runs have no multiply-adds. See docs/model_summary.md.
"""
from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":  # works from any folder, as a file too
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src import tasks
from src.command_line import Parser, add_flag, entry_point, number_in
from src.contract import InputError
from src.data.instance.coco_classes import COCO_CLASSES
from src.files import write_file
from src.maskrcnn.splits import names_data

if TYPE_CHECKING:
    from src.engine.layer_counts import Layer


def parse_args(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The flags of this tool, and the words for the configuration."""
    parser = Parser(description=__doc__, add_help=False, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_flag(parser, "depth", 2, "parts of their names by which layers are summed up; 0: every layer",
             type=number_in(int, 0, 20))
    add_flag(parser, "json", "", "file for the numbers as JSON too")
    args, rest = parser.parse_known_args(argv)
    if {"-h", "--help"} & set(rest):
        parser.print_help()
    if args.json and not Path(args.json).absolute().parent.is_dir():
        raise InputError(f"--json={args.json}: its folder does not exist; create it first")
    return args, rest


def table(layers: Sequence[Layer], every: Sequence[Layer]) -> str:
    """A line a layer, and the sums of `every` layer."""
    width = max(len(layer.name) for layer in layers)
    lines = [f"{'layer':<{width}} {'output':>18} {'parameters':>12} {'multiply-adds':>16} {'activations MB':>14}"]
    for layer in layers:
        shape = " x ".join(map(str, layer.shape)) or "training alone"
        uses = f"  {layer.uses} times" if layer.uses > 1 else ""
        lines.append(f"{layer.name:<{width}} {shape:>18} {layer.parameters:>12,} {layer.multiply_adds:>16,} "
                     f"{layer.activations / 1e6:>14.1f}{uses}")
    sums = totals(every)
    lines.append(f"{'all':<{width}} {'':>18} {sums['parameters']:>12,} {sums['multiply_adds']:>16,} "
                 f"{sums['activations'] / 1e6:>14.1f}")
    return "\n".join(lines)


def totals(layers: Sequence[Layer]) -> dict[str, int]:
    """Sums over the layers."""
    return {name: sum(getattr(layer, name) for layer in layers)
            for name in ("parameters", "multiply_adds", "activations")}


def with_classes(settings: Any) -> Any:
    """The settings, with COCO's 81 classes for a Mask R-CNN whose classes neither weights, flags nor data name."""
    if settings.num_classes or settings.checkpoint or names_data(settings):
        return settings
    return settings.model_copy(update={"num_classes": len(COCO_CLASSES)})


def main() -> int:
    args, rest = parse_args(sys.argv[1:])
    settings = tasks.parse_settings(rest, program="model_summary.py", groups=("export",))
    tasks.check(settings)
    settings = tasks.with_conventions(with_classes(settings))
    import numpy as np

    from src.engine.layer_counts import count_layers, summed

    task = tasks.create(settings)
    network = task.network()
    inputs = [x[None] for x in task.export.inputs(np.zeros((64, 64, 3), np.uint8))]
    layers = count_layers(task.export.cell(network), inputs)
    for layer in layers:
        layer.name = layer.name.removeprefix("network.")
    print(f"{settings.model}, one image of {' x '.join(map(str, inputs[0].shape[2:]))}\n")
    print(table(summed(layers, args.depth), layers))
    if args.json:
        content = {"model": settings.model, "input": list(inputs[0].shape), "totals": totals(layers),
                   "layers": [vars(layer) for layer in layers]}
        write_file(Path(args.json), json.dumps(content, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    entry_point(main)
