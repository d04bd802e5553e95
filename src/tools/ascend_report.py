#!/usr/bin/env python3
"""Report where each operator of a model runs on an Ascend chip, without the chip.

    python src/tools/ascend_report.py --model=mask_rcnn_r50 --soc=910B [training flags]
    python src/tools/ascend_report.py --model=deeplab_v3_s16 --soc=310P --graph=export

Compiles the graph for the settings' sizes on this machine's CPU and compares it with the vendor's tables in
src/exporting/ascend_operators.yaml. Exit status 1 if a call runs nowhere, on the AI CPU, or with less precision than
the graph asks for, unless it is a known and accepted exception. No device is needed.
"""
from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import cv2
import numpy as np

from src import tasks
from src.command_line import Parser, add_flag, entry_point
from src.contract import InputError, Task
from src.data.instance.target import Category, encode_categories, encode_instances, encode_target
from src.exporting.calls import Call

log = logging.getLogger(__name__)


def main() -> int:
    own, others = _flags(sys.argv[1:])
    program, group = "ascend_report.py", own.graph
    settings = tasks.parse_settings(others, program=program, groups=(group,))
    if not settings.num_classes and not settings.checkpoint:
        log.info("no number of classes is given: 81, as in COCO")
        settings = tasks.parse_settings([*others, "--num_classes=81"], program=program, groups=(group,))
    from src.exporting import ascend
    from src.exporting.ascend_table import TRAINING_CHIPS, family

    chips = list(dict.fromkeys(map(family, own.soc or ["910B"])))
    if own.graph == "train" and not set(chips) <= set(TRAINING_CHIPS):
        raise InputError(f"--soc={', '.join(own.soc)}: not all of these chips can train; give --graph=export, or some "
                         f"of {', '.join(TRAINING_CHIPS)}")
    level = settings.jit_level
    engine = own.graph == "export" or (None if level == "auto" else level == "O2")
    found = {}
    for check, alike in chips_by_check(settings.overflow_check, chips).items():
        on_chip = tasks.with_conventions(settings.model_copy(update={"overflow_check": check}))
        calls = _calls(tasks.create(on_chip), own.graph)
        found |= {chip: ascend.rows(calls, chip, graph_engine=engine) for chip in alike}
    for chip, rows in found.items():
        print(f"{settings.model}: {own.graph} graph on {chip}\n{ascend.report(rows, chip)}\n")
    return int(any(row.is_problem for rows in found.values() for row in rows))


def chips_by_check(overflow_check: str, chips: Sequence[str]) -> dict[str, list[str]]:
    """{value of overflow_check: the chips whose training step it makes}; a step on 910 reads the overflow register."""
    found: dict[str, list[str]] = {}
    for chip in chips:
        check = "status" if (overflow_check, chip) == ("auto", "910") else overflow_check
        found.setdefault(check, []).append(chip)
    return found


def _flags(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """This tool's own flags, and the words for the model's configuration."""
    parser = Parser(description=__doc__.splitlines()[0], add_help=False)
    parser.add_argument("--soc", action="append", help="chip: 910, 910B, A3, 310, 310B, 310P, or a name of `npu-smi "
                        "info`; repeat the flag for several (default: 910B)")
    add_flag(parser, "graph", "train", "train: the training step; export: what export.py freezes",
             choices=("train", "export"))
    if {"-h", "--help"} & set(argv):
        print(__doc__)
        parser.print_help()
        print("\nThe flags of train.py, or of export.py with --graph=export:\n")
    return parser.parse_known_args(argv)


def _calls(task: Task, graph: str) -> list[Call]:
    """The calls of the training step or of the exported network, compiled for their real sizes."""
    import mindspore as ms

    from src.engine import loop
    from src.engine.runtime import Runtime
    from src.exporting import calls

    ms.set_context(mode=ms.GRAPH_MODE)
    log.info("compiling the graph, which takes up to minutes")
    network = task.network()
    if graph == "train":
        return calls.of_cell(loop.build_step(task, task.config, Runtime("Ascend"), network, 10), training_batch(task))
    pixels = np.zeros((64, 64, 3), np.uint8)
    size = task.export.preprocess_spec()["inputs"][0]["shape"][0]
    batch = [np.stack([column] * size) for column in task.export.inputs(pixels)]
    return calls.of_cell(task.export.cell(network).set_train(False), batch)


def training_batch(task: Task) -> list[np.ndarray]:
    """A batch of the shapes and types of training: a black image without objects, through the task's augmentation."""
    config, black = task.config, np.zeros((64, 64, 3), np.uint8)
    if "label" in task.columns:
        target = _png(black[..., 0])
    else:
        categories = [Category(k, k, name) for k, name in enumerate(config.names[1:], 1)]
        target = encode_target(0, (64, 64), encode_categories(categories), encode_instances([]))
    columns = task.train_augmentation()(_png(black), target, np.random.default_rng(0))
    ids = np.zeros(config.batch_size, np.int32)
    return [*(np.stack([column] * config.batch_size) for column in columns), ids, ids]


def _png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


if __name__ == "__main__":
    entry_point(main)
