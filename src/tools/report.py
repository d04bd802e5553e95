#!/usr/bin/env python3
"""Evaluate a trained model and report on it: numbers, predictions beside the truth, learning curve, an HTML page.

    python src/tools/report.py --run_dir=DIR --checkpoint=FILE --data_root=DIR --data_lst=FILE [flags of eval.py]
"""
from __future__ import annotations

import argparse
import json
import logging
import sys
from functools import cached_property
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src import tasks
from src.command_line import Parser, add_flag, entry_point, number_in
from src.contract import Evaluator, InputError, LabelMap, Record
from src.data.decode import decode_label
from src.files import write_file
from src.metrics.calibration import PixelCalibration
from src.metrics.score_thresholds import by_label
from src.metrics.tables import INTERVALS, interval_text
from src.report import analysis, draw, page, rows
from src.results.evaluation import write_evaluation

log = logging.getLogger(__name__)


class Examined:
    """A network's numbers on a split, and the metric of every single image. It is passed to `evaluate` as evaluator.

    Attributes:
        scores: metric of each image in the split's order, None if it is not defined for the image.
    """

    def __init__(self, task, dataset, predictor):
        self.task = task
        self.dataset = dataset
        self.predictor = predictor
        self.whole = task.evaluator()
        self.scores: list[float | None] = []
        self.thresholds: dict[str, float] = getattr(task.config, "thresholds", {})  # only instances have scores
        self.pixels = PixelCalibration(decode_label, len(task.class_names), getattr(task.config, "ignore_label", 255))
        self.sample_ids: dict[int, int] = {}

    def update(self, prediction, target: bytes) -> None:
        self.whole.update(prediction, target)
        self.sample_ids[prediction.image_id] = len(self.sample_ids)
        if isinstance(prediction, LabelMap):
            self.pixels.update(prediction, target)
        single: Evaluator = self.task.evaluator()
        single.update(prediction, target)
        numbers = single.compute()
        self.scores.append(numbers[self.task.metric] if numbers.get("instances", 1) else None)

    @cached_property
    def numbers(self) -> dict:
        """Of the whole split, once all its images are in."""
        return self.whole.compute()

    def worst(self, count: int) -> list[int]:
        """Sample ids of the lowest scores, lowest first."""
        scored = [k for k, score in enumerate(self.scores) if score is not None]
        return sorted(scored, key=lambda k: self.scores[k])[:count]

    def picture(self, sample_ids: list[int]) -> bytes:
        """JPEG with a row of image, truth and prediction for each of some images, which are predicted again."""
        task, records = self.task, list(self.dataset.rows(sample_ids))
        predictions = list(self.predictor(records))
        scores = ["-" if self.scores[k] is None else f"{self.scores[k]:.3f}" for k in sample_ids]
        captions = [f"{record.file_name}   {task.metric} {score}" for record, score in zip(records, scores)]
        return rows.picture(records, predictions, captions, task.class_names, task.preprocess.decoding,
                            by_label(self.thresholds, task.class_names))

    def analysis(self) -> analysis.Analysis:
        """Operating points, calibration and kinds of errors, once all images are in."""
        task = self.task
        if "confusion" in self.numbers:
            return analysis.of_label_maps(self.numbers["confusion"], task.class_names, self.pixels.reliability)
        kinds = [kind for kind in ("bbox", "segm") if self.numbers[kind]]
        return analysis.of_instances(self.whole, kinds, self.thresholds, self._record, task.class_names,
                                     task.preprocess.decoding)

    def _record(self, image_id: int) -> Record:
        return next(iter(self.dataset.rows([self.sample_ids[image_id]])))


def parse_args(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The flags of this tool, and the words for eval.py."""
    parser = Parser(description=__doc__, add_help=False, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_flag(parser, "run_dir", "", "folder for metrics.json, report.html and the pictures")
    add_flag(parser, "count", 8, "number of images shown from all over the split, and of the worst ones",
             type=number_in(int, 1, 1000))
    add_flag(parser, "least", "", "exit with status 1 if a number in metrics.json is below what is required here: "
             "miou=0.6, or bbox.AP50=0.5,segm.AP50=0.5")
    args, rest = parser.parse_known_args(argv)
    args.least = _requirements(args.least)
    if {"-h", "--help"} & set(rest):
        parser.print_help()
    elif not args.run_dir:
        raise InputError("--run_dir is missing: the folder for the report")
    return args, rest


def main() -> int:
    args, rest = parse_args(sys.argv[1:])
    settings = tasks.parse_settings(rest, program="report.py", groups=("eval",))
    if not settings.checkpoint:
        raise InputError("--checkpoint is missing: the one to show")
    tasks.check(settings, "val")
    settings = tasks.with_conventions(settings)
    found = examine(settings)
    print(found.task.describe(found.numbers), flush=True)
    write_report(Path(args.run_dir), found, settings, args.count)
    return 0 if all([passes(found.numbers, name, least) for name, least in args.least.items()]) else 1


def _requirements(text: str) -> dict[str, float]:
    """'a.b=0.5,c=0.6' -> {'a.b': 0.5, 'c': 0.6}"""
    required = {}
    for part in filter(None, text.split(",")):
        name, _, number = part.partition("=")
        try:
            required[name] = float(number)
        except ValueError:
            raise InputError(f"--least={text}: {part!r} is not NAME=NUMBER, e.g. miou=0.6") from None
    return required


def passes(numbers: dict, name: str, least: float) -> bool:
    """Whether a number ("a.b" for a nested one) is at least `least`; prints both.

    Raises:
        InputError: there is no such number.
    """
    value = numbers
    for key in name.split("."):
        if not isinstance(value, dict) or key not in value:
            raise InputError(f"--least={name}: not a number of this evaluation, which has {', '.join(numbers)}")
        value = value[key]
    enough = value is not None and value >= least
    shown = "-" if value is None else f"{value:.4f}"
    print(f"held-out {name}: {shown} (required {least:.2f}: {'passed' if enough else 'FAILED'})", flush=True)
    return enough


def examine(settings) -> Examined:
    """Evaluate the checkpoint that `settings` names."""
    from src.engine import inference_engine, runtime
    from src.engine.evaluate import evaluate
    from src.engine.precision import apply_inference_amp
    from src.weights.load import load_weights

    runtime.start(settings.device_target, device_id=settings.device_id,
                  deterministic=settings.deterministic, jit_level=settings.jit_level,
                  compile_cache=settings.compile_cache, configuration=settings.shaping())
    task = tasks.create(settings)
    network = task.network().set_train(False)
    weights = load_weights(network, settings.checkpoint, expect_unexpected=task.may_be_missing)
    apply_inference_amp(network, settings.amp_level, settings.device_target, weights.conventions)
    log.info("inference in %s%s", task.engine.name, inference_engine.hint(settings))
    found = Examined(task, task.dataset("val"), task.predictor(network, confidence=True))
    return evaluate(found.predictor, found.dataset, found)


def write_report(folder: Path, found: Examined, settings, count: int) -> None:
    """Write eval.py's results, report.html and the pictures into `folder`, each file complete or not at all."""
    task, numbers = found.task, found.numbers
    curve = _curve(task, folder, Path(settings.checkpoint))
    pictures = {"curve.png": curve} if curve else {}
    shown = found.picture(rows.spread(len(found.dataset), count))
    pictures |= {
        "predictions.jpg": page.Picture("Predictions", shown, "From all over the split."),
        "worst.jpg": page.Picture("Worst images", found.picture(found.worst(count)), "The lowest scores first.")}
    more = found.analysis()
    pictures |= more.pictures
    colours = dict(zip(task.class_names, draw.palette(task.class_names).tolist()))
    facts = {"model": settings.model, "checkpoint": settings.checkpoint, "inference_engine": task.engine.name,
             "split": found.dataset.name}
    folder.mkdir(parents=True, exist_ok=True)
    if intervals := write_evaluation(folder / "metrics.json", task, found.whole, numbers, settings):
        facts[INTERVALS] = interval_text(intervals, len(found.dataset))
    whole = page.Page(f"{settings.model}: {folder.name}", task.metric, numbers | more.tables, colours, facts,
                      list(pictures.values()))
    write_file(folder / "analysis.json", json.dumps(more.numbers) + "\n")
    for name, picture in pictures.items():
        write_file(folder / name, picture.data)
    write_file(folder / "report.html", page.render(whole))
    log.info("%s: report.html, metrics.json, metrics.images.npz, analysis.json, %s", folder, ", ".join(pictures))


def _curve(task, folder: Path, checkpoint: Path) -> page.Picture | None:
    """The learning curve, if the run's log is beside the checkpoint or in the folder."""
    from src.engine.metrics_log import read
    from src.report.curves import learning_curve

    for place in (checkpoint.parent, folder):
        lines = read(place / "metrics.jsonl")
        if any(line["kind"] == "train" for line in lines):
            return page.Picture("Learning curve", learning_curve(lines, loss_names=task.loss_names, metric=task.metric),
                                kind="png")
    return None


if __name__ == "__main__":
    entry_point(main)
