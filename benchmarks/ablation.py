"""What each option brings on the practice set: the plain recipes with one addition, three seeds each.

    python benchmarks/ablation.py [--model=deeplabv3|maskrcnn] [--seeds=1,2,3] [--only=NAME,...] [--run_dir=DIR]

Trains and evaluates what is not there yet, so the same command continues an interrupted one, and prints a table: the
means over the seeds, and their difference from the plain recipe, on the same images and with the same seeds, with its
95 % interval over the images, and the differences of the single seeds. The plain recipes are the quick start's, Mask
R-CNN's with momentum instead of AdamW. Both models start from random weights and take as many steps in every row. Left
out is what the practice set cannot show: repeat factors (its shapes are equally frequent), frozen stages and rates by
stage (there are no weights to keep).
"""
from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from src.command_line import entry_point
from src.contract import InputError
from src.engine.run_folder import checkpoints_of
from src.metrics.bootstrap import Samples, Shape, bootstrap
from src.metrics.image_statistics import Name
from src.results.image_files import beside, read_statistics

PLAIN = "plain"
# Flags of train.py, and of eval.py alone behind "--". The span of the moving average fits 280 and 720 steps.
ADDITIONS: dict[str, dict[str, list[str]]] = {
    "deeplabv3": {
        PLAIN: [],
        "no auxiliary head": ["--auxiliary=False"],
        "ema": ["--ema_decay=0.98"],
        "adamw": ["--optimizer=adamw", "--base_lr=0.001", "--weight_decay=0.05"],
        "dice": ["--loss=ce:1,dice:1"],
        "lovasz": ["--loss=ce:1,lovasz:1"],
        "ohem": ["--loss=ohem", "--ohem_min_kept=2352"],  # a quarter of a crop
        "class weights": ["--class_weights=median_frequency"],
        "label smoothing": ["--label_smoothing=0.1"],
        "rare class crops": ["--rare_class_crops=0.5"],
        "colour jitter": ["--colour_jitter=0.3,0.3,0.3,0.05"],
        "rotation": ["--rotation=10"],
        "blur": ["--blur=1"],
        "mirrored in evaluation": ["--", "--flip"],
        "three scales in evaluation": ["--", "--scales=0.75,1,1.25"],
    },
    "maskrcnn": {
        PLAIN: [],
        "ema": ["--ema_decay=0.98"],
        "adamw": ["--optimizer=adamw", "--base_lr=0.001", "--weight_decay=0.05"],
        "multi-scale": ["--train_scales=0.8,0.9,1.0"],
        "large-scale jitter": ["--min_scale=0.5", "--max_scale=2"],
        "copy-paste": ["--copy_paste_ratio=0.5"],
        "quarter turns": ["--rotate_ratio=0.75"],
        "mirrored in evaluation": ["--", "--flip"],
        "linear soft-NMS": ["--", "--nms_method=linear", "--test_score_thr=0.001"],
        "gaussian soft-NMS": ["--", "--nms_method=gaussian", "--test_score_thr=0.001"],
    },
}
# The presets; that of Mask R-CNN has AdamW because of its row here, so the recipe names what it is compared with.
MOMENTUM = ["--optimizer=momentum", "--momentum=0.9", "--base_lr=0.02", "--weight_decay=0.0001"]
PLAIN_RECIPES = {"deeplabv3": ["--config=quickstart"], "maskrcnn": ["--config=quickstart", *MOMENTUM]}
NUMBERS: dict[str, dict[Name, str]] = {
    "deeplabv3": {("miou",): "mean IoU"},
    "maskrcnn": {("bbox", "AP"): "box AP", ("segm", "AP"): "mask AP"},
}
NETWORKS = {"deeplabv3": "deeplab_v3_s16", "maskrcnn": "mask_rcnn_r50"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=list(ADDITIONS), default="deeplabv3")
    parser.add_argument("--seeds", type=whole_numbers, default="1,2,3")
    parser.add_argument("--only", default="", help="these additions, beside the plain recipe")
    parser.add_argument("--run_dir", default="runs/ablation")
    args = parser.parse_args()
    known = ADDITIONS[args.model]
    names = [PLAIN, *(args.only.split(",") if args.only else [name for name in known if name != PLAIN])]
    if unknown := set(names) - known.keys():
        parser.error(f"--only={','.join(sorted(map(repr, unknown)))}: expected some of {', '.join(known)}")
    run_dir = Path(args.run_dir).resolve()
    if not (run_dir / "data/voc_train_lst.txt").is_file():
        run(run_dir / "data.log", "src/tools/make_sample_set.py", f"--out={run_dir / 'data'}")
        run(run_dir / "data.log", "src/tools/get_dataset_lst.py", f"--data_root={run_dir / 'data'}")
    found = {}
    for name in names:  # a whole row at a time, so that an interrupted run has rows to show
        found[name] = [samples(evaluated(args.model, name, seed=seed, run_dir=run_dir)) for seed in args.seeds]
        show(name, found[name], found[PLAIN], NUMBERS[args.model])


def whole_numbers(text: str) -> list[int]:
    """The seeds in "1,2,3"."""
    words = text.split(",")
    if not all(word.isdecimal() for word in words) or len(set(map(int, words))) < len(words):
        raise argparse.ArgumentTypeError(f"{text!r}: expected different whole numbers, for example 1,2,3")
    return [int(word) for word in words]


def evaluated(model: str, name: str, *, seed: int, run_dir: Path) -> Path:
    """The results file of a seed, which is trained and evaluated where it is missing."""
    folder = run_dir / model / name.replace(" ", "_") / f"seed_{seed}"
    results, flags = folder / "results.json", ADDITIONS[model][name]
    split = flags.index("--") if "--" in flags else len(flags)
    data, network = run_dir / "data", f"--model={NETWORKS[model]}"
    keep_to_flags(folder, [*PLAIN_RECIPES[model], *flags])
    if not beside(results).is_file():
        trained = folder if flags[:split] or name == PLAIN else run_dir / model / PLAIN / f"seed_{seed}"
        if trained == folder:
            run(folder / "train.log", "train.py", network, *PLAIN_RECIPES[model], *split_of(model, data, "train"),
                f"--seed={seed}", f"--train_dir={folder / 'ckpt'}", "--preview_interval=0", "--resume", *flags[:split])
        checkpoints = checkpoints_of(trained / "ckpt", NETWORKS[model])
        if not checkpoints:
            raise InputError(f"{trained / 'ckpt'}: its checkpoint is gone; move {trained} away, and it is trained anew")
        run(folder / "eval.log", "eval.py", network, "--config=quickstart", *split_of(model, data, "val"),
            f"--ckpt_path={checkpoints[-1]}", f"--result_path={results}", "--bootstrap=0", *flags[split + 1:])
    return results


def keep_to_flags(folder: Path, flags: list[str]) -> None:
    """Note the flags of a new folder, and refuse one of others: a row would say what it is not."""
    note, now = folder / "flags.txt", " ".join(flags)
    if folder.exists():
        before = note.read_text().strip() if note.is_file() else "unknown flags"
        if before != now:
            raise InputError(f"{folder} has results of {before}, not of {now}; move it away, or give another --run_dir")
    folder.mkdir(parents=True, exist_ok=True)
    note.write_text(f"{now}\n")


def split_of(model: str, data: Path, split: str) -> list[str]:
    """The flags that name a split of the practice set; Mask R-CNN's programs find theirs in COCO's folders."""
    if model == "maskrcnn":
        return [f"--coco_root={data}"]
    return [f"--data_root={data}", f"--data_lst={data}/voc_{split}_lst.txt"]


def run(log: Path, *words: str) -> None:
    """Run one of the project's programs."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "a", encoding="utf-8") as file:
        if subprocess.run([sys.executable, *words], cwd=ROOT, stdout=file, stderr=subprocess.STDOUT).returncode:
            raise InputError(f"{words[0]} failed, see {log}")


def samples(results: Path) -> dict[Name, Samples]:
    return bootstrap(read_statistics(beside(results)), 2000, 1)


def mean(several: Iterable[Samples]) -> Samples:
    """Of several runs on the same images."""
    parts = list(several)
    return Samples(float(np.mean([one.value for one in parts])), np.mean([one.drawn for one in parts], 0),
                   np.mean([one.left_out for one in parts], 0), parts[0].images)


def show(name: str, own: list[dict[Name, Samples]], plain: list[dict[Name, Samples]], numbers: dict[Name, str]) -> None:
    """Print a row of the table: the means, and their differences from the plain recipe."""
    cells = []
    for number, title in numbers.items():
        cells.append(f"{title} {np.mean([one[number].value for one in own]):.4f}")
        if own is not plain:
            differences = [mine[number] - theirs[number] for mine, theirs in zip(own, plain)]
            whole = mean(differences)
            shape = Shape.of(whole)
            ends = "no interval" if shape is None else "{:+.4f} to {:+.4f}".format(*shape.interval())
            cells.append(f"{whole.value:+.4f} ({ends}; seeds {', '.join(f'{one.value:+.3f}' for one in differences)})")
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    entry_point(main)
