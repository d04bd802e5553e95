#!/usr/bin/env python3
"""The Ascend lint over every normalisation and amp level of both models, on small networks: one line a graph and chip.

    python benchmarks/ascend_graphs.py [--soc=910B --soc=910]

Each line has the verdicts of `src/tools/ascend_report.py` and those that are not accepted exceptions. The exit status
is 1 if there is any besides Ascend 910's missing gradient of group normalisation. Half a minute per graph on 2 cores.
"""
from __future__ import annotations

import argparse
import itertools
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SMALL = {
    "deeplab_v3_s16": ["--backbone=resnet18", "--crop_size=33", "--batch_size=2", "--auxiliary", "--clip_norm=5",
                       "--loss=ohem,dice", "--ohem_min_kept=99", "--label_smoothing=0.1"],
    "mask_rcnn_r50": ["--backbone=resnet18", "--img_height=128", "--img_width=128", "--fpn_out_channels=16",
                      "--rpn_feat_channels=16", "--rcnn_fc_out_channels=16", "--rcnn_mask_out_channels=16"]}
NORMS, LEVELS = ("batch", "frozen", "group", "sync"), ("O0", "O2", "O3")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--soc", action="append", help="chip; repeat the flag for several (default: 910B and 910)")
    chips = parser.parse_args().soc or ["910B", "910"]
    unexpected = 0
    for model, norm, level in itertools.product(SMALL, NORMS, LEVELS):
        ran = subprocess.run([sys.executable, ROOT / "src/tools/ascend_report.py", f"--model={model}", f"--norm={norm}",
                              f"--amp_level={level}", *(f"--soc={chip}" for chip in chips), *SMALL[model]],
                             capture_output=True, text=True)
        if ran.returncode not in (0, 1):
            print(f"{model} norm={norm} {level}: {ran.stderr.strip()[-500:]}", flush=True)
            unexpected += 1
        for chip, text in re.findall(r"graph on (\w+)\n(.*?)(?:\n\n|\Z)", ran.stdout, re.S):
            problems = re.findall(r"^(\w+) .*; in: ", text, re.M)
            kinds = re.search(r"\d+ kinds of calls: .*", text).group()
            print(f"{model} norm={norm} {level} {chip}: {kinds} {' '.join(problems)}", flush=True)
            unexpected += bool(set(problems) - ({"GroupNormGrad"} if (norm, chip) == ("group", "910") else set()))
    return int(unexpected > 0)


if __name__ == "__main__":
    sys.exit(main())
