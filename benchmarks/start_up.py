"""From the command to the first result: train.py, eval.py and predict.py without a compile cache, filling one, from it.

    python benchmarks/start_up.py [--rounds=3] [--only=train] [--size=published]

The three ways take turns, all processes on the practice set. `quickstart` networks are the presets of that name,
`published` ones DeepLabV3-R101 at 321 x 321 and Mask R-CNN R50-FPN at 384 x 640, batch 2. The time ends with the first
training step, the first batch of the evaluation, and the prediction of one image; the check of a cached graph is part
of it. eval.py and predict.py run in MindSpore (`--inference_engine=mindspore`). The processor time of the process until
then is compared, too: it says more where other programs keep the machine busy.
"""
from __future__ import annotations

import argparse
import datetime
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
MODELS = {"deeplabv3": "deeplab_v3_s16", "maskrcnn": "mask_rcnn_r50"}
PUBLISHED = {"deeplabv3": ("--num_classes=6", "--crop_size=321", "--batch_size=2"),
             "maskrcnn": ("--img_width=640", "--img_height=384", "--batch_size=2", "--test_batch_size=1",
                          "--num_classes=6")}
TRAINING = {"deeplabv3": (), "maskrcnn": ("--total_epoch=0",)}
FIRST = {"train": r"step: ?1[ ,]", "eval": r"ran it for the first time", "predict": r"images and \d+ videos in"}
WAYS = ("uncached", "filling", "cached")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", choices=("quickstart", "published"), default="quickstart")
    parser.add_argument("--only", choices=tuple(FIRST), help="one of the three programs")
    parser.add_argument("--model", choices=tuple(MODELS), help="one of the two models")
    args = parser.parse_args()
    print(f"{args.size} networks, {args.rounds} rounds   [{os.cpu_count()} cores, {platform.machine()}, "
          f"{datetime.date.today()}]\n{'':<29}{'uncached':>10}{'filling':>10}{'cached':>10}   filling/uncached   "
          "cached/uncached")
    with tempfile.TemporaryDirectory(prefix="start_up_") as folder:
        place = Path(folder)
        _run(["src/tools/make_sample_set.py", f"--out={place / 'data'}"])
        _run(["src/tools/get_dataset_lst.py", f"--data_root={place / 'data'}"])
        for model in [args.model] if args.model else MODELS:
            checkpoint = train_one_step(model, args.size, place)
            for program in [args.only] if args.only else FIRST:
                times = rounds(program, model, args, place, checkpoint)
                for kind, name in enumerate(("time", "processor")):
                    show(f"{program}.py {model}, {name}", {way: [one[kind] for one in times[way]] for way in WAYS})


def train_one_step(model: str, size: str, place: Path) -> Path:
    """A checkpoint of the model, from which the other programs start."""
    folder = place / f"{model}_weights"
    process, _ = _until(command("train", model, size, place, None) + [f"--train_dir={folder}", "--save_steps=1"],
                        FIRST["train"])
    while not (found := sorted(folder.glob("*-1_1.ckpt"))):
        if process.poll() is not None:
            raise SystemExit("train.py ended without a checkpoint")
        time.sleep(0.1)
    process.kill()
    process.wait()
    return found[0]


def command(program: str, model: str, size: str, place: Path, checkpoint: Path | None) -> list[str]:
    data, engine = place / "data", "--inference_engine=mindspore"
    shape = ["--config=quickstart"] if size == "quickstart" else [*PUBLISHED[model], "--device_target=CPU"]
    split = "train" if program == "train" else "val"
    where = ([f"--data_root={data}", f"--data_lst={data}/voc_{split}_lst.txt"] if model == "deeplabv3"
             else [f"--coco_root={data}"])
    if program == "predict":
        image = min((data / "JPEGImages").iterdir())
        results = place / f"{model}_predictions"
        return ["predict.py", f"--model_path={checkpoint}", f"--output_dir={results}", engine, str(image)]
    words = [f"{program}.py", f"--model={MODELS[model]}", *shape, *where]
    if program == "train":
        return [*words, "--log_steps=1", "--epochs=100", *TRAINING[model], "--preview_interval=0"]
    return [*words, f"--ckpt_path={checkpoint}", f"--result_path={place / 'result.json'}", engine]


def rounds(program: str, model: str, args: argparse.Namespace, place: Path, checkpoint: Path) -> dict[str, list]:
    """{way: (seconds, seconds of the processor) of each round}"""
    times: dict[str, list] = {way: [] for way in WAYS}
    for _ in range(args.rounds):
        cache = place / "cache"
        shutil.rmtree(cache, ignore_errors=True)
        for way in WAYS:
            words = command(program, model, args.size, place, checkpoint)
            words += [f"--train_dir={tempfile.mkdtemp(dir=place)}/run"] if program == "train" else []
            words += [] if way == "uncached" else [f"--compile_cache={cache}"]
            process, seconds = _until(words, FIRST[program])
            times[way].append(seconds)
            if way == "filling":  # the entry follows the first step
                while process.poll() is None and not list(cache.glob("*/manifest.json")):
                    time.sleep(0.05)
            process.kill()
            process.wait()
    return times


def show(what: str, times: dict[str, list[float]]) -> None:
    ratios = [[a / b for a, b in zip(times[way], times["uncached"])] for way in WAYS[1:]]
    medians = "".join(f"{statistics.median(times[way]):>8.2f} s" for way in WAYS)
    print(f"{what:<29}{medians}   " + "   ".join(
        f"{statistics.median(one):.2f} ({min(one):.2f} to {max(one):.2f})" for one in ratios), flush=True)


def _until(words: list[str], pattern: str) -> tuple[subprocess.Popen, tuple[float, float]]:
    """Start one of the programs; (the process, seconds and processor seconds until a line with `pattern`)."""
    begun = time.monotonic()
    process = subprocess.Popen([sys.executable, *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, env={**os.environ, "GLOG_v": "3"})
    lines = []
    for line in process.stdout:
        lines.append(line)
        if re.search(pattern, line):
            return process, (time.monotonic() - begun, sum(psutil.Process(process.pid).cpu_times()[:2]))
    raise SystemExit(f"{' '.join(words)} ended with status {process.wait()}:\n{''.join(lines[-20:])}")


def _run(words: list[str]) -> None:
    subprocess.run([sys.executable, *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
