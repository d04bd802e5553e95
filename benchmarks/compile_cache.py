"""Tries to get a wrong graph out of the compile cache, and compares every result with an uncached one.

    python benchmarks/compile_cache.py [--only=deeplab_v3_s16] [--keys=dilation,seed] [--blind]

A cache is filled by small networks: cells with constants in a source file, and both models. Then one thing at a time is
changed: constants, the source file, the order of compilation, and every configuration key that shapes a graph, in
training and in inference. Each change runs in a process of its own, which takes its graph through the cache, then
compiles the same cell without it, and compares what both make of fixed inputs and weights, bit by bit. `--blind` gives
all keys of a graph one digest, as if nobody had thought of anything: then the probe alone has to find wrong graphs.
"""
from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

CELLS = '''
import mindspore as ms
import mindspore.nn as nn
import numpy as np

FACTOR = {factor}


class First(nn.Cell):
    def __init__(self, k):
        super().__init__()
        self.k = k
        self.table = ms.Tensor(np.array([1.0, k], np.float32))
        self.conv = nn.Conv2d(3, 2, 3, dilation=int(k), pad_mode="same")

    def construct(self, x):
        return self.conv(x).sum(axis=(2, 3)) * FACTOR {sign} self.table


class Second(First):
    def construct(self, x):
        return self.conv(x).sum(axis=(2, 3)) - self.k
'''
BASE = {"deeplab_v3_s16": {"backbone": "resnet18", "num_classes": 3, "crop_size": 33, "batch_size": 2,
                           "loss_scale": 1.0, "aspp_rates": [1, 2, 3], "dilation": "previous", "epochs": 2},
        "mask_rcnn_r50": {"backbone": "resnet18", "num_classes": 3, "img_width": 64, "img_height": 64, "batch_size": 2,
                          "norm": "batch", "freeze_at": 0, "fpn_out_channels": 16, "rpn_feat_channels": 16,
                          "rcnn_fc_out_channels": 16, "rcnn_mask_out_channels": 8, "max_instance_count": 4,
                          "rpn_proposal_nms_pre": 60, "rpn_proposal_max_num": 40, "rpn_nms_pre": 60, "rpn_max_num": 40,
                          "num_expected_neg": 32, "num_expected_pos": 16, "num_expected_neg_stage2": 16,
                          "num_expected_pos_stage2": 8, "test_max_per_img": 10, "mask_crop_size": 28,
                          "test_batch_size": 2, "test_score_thr": 0.0, "epochs": 2, "loss_scale": 1.0}}
TRAINING = {"epochs": 3, "base_lr": 0.05, "lr_type": "poly", "warmup_steps": 5, "momentum": 0.5, "weight_decay": 0.01,
            "accumulate_steps": 2, "clip_norm": 0.5, "dynamic_loss_scale": True, "seed": 2, "noise": 1, "batch_size": 3,
            "ema_decay": 0.9, "layer_decay": 0.5, "bias_decay": False, "log_grad_norms": True, "warmup_ratio": 0.5,
            "optimizer": "adamw", "adam_betas": [0.5, 0.9], "adam_eps": 1e-4, "lr_epochs": 5,
            "lr_decay_rate": 0.5, "lr_decay_step": 7, "lr_milestones": [1, 2], "loss_scale": 8.0,
            "loss_scale_window": 2, "scale_lr": True}
KEYS = {"deeplab_v3_s16": {**TRAINING, "backbone": "resnet34", "norm": "group", "freeze_bn": True, "bn_momentum": 0.5,
                           "bn_eps": 0.01, "dropout": 0.2, "aspp_rates": [2, 4, 6], "dilation": "multi_grid",
                           "stem_pool": "pad", "head_conv3x3": True, "auxiliary": True, "ignore_label": 254,
                           "resize_align_corners": False, "num_classes": 4, "crop_size": 41, "freeze_at": 3,
                           "class_weights": [0.5, 1.0, 2.0], "label_smoothing": 0.1, "aux_weight": 0.3,
                           "loss": ["ce:1", "dice:0.5"], "ohem_threshold": 0.5, "ohem_min_kept": 100},
        "mask_rcnn_r50": {**TRAINING, "backbone": "resnet34", "norm": "frozen", "freeze_at": 2, "bn_eps": 0.01,
                          "anchor_scales": [4.0], "anchor_ratios": [0.5, 1.0], "anchor_strides": [4, 8, 16, 32, 128],
                          "fpn_out_channels": 8, "rcnn_fc_out_channels": 8, "rpn_target_stds": [0.5] * 4,
                          "rcnn_target_stds": [0.3] * 4, "rpn_head_weight": 0.5, "rpn_loss_cls_weight": 0.5,
                          "rpn_loss_reg_weight": 0.5, "rcnn_loss_cls_weight": 0.5, "rcnn_loss_reg_weight": 0.5,
                          "rcnn_loss_mask_fb_weight": 0.5, "neg_iou_thr": 0.1, "pos_iou_thr": 0.5, "min_pos_iou": 0.1,
                          "num_expected_pos": 8, "num_expected_neg": 48, "neg_iou_thr_stage2": 0.3,
                          "pos_iou_thr_stage2": 0.6, "min_pos_iou_stage2": 0.6, "num_expected_pos_stage2": 4,
                          "num_expected_neg_stage2": 24, "rpn_proposal_nms_thr": 0.4, "rpn_proposal_max_num": 30,
                          "rpn_nms_thr": 0.4, "rpn_max_num": 30, "test_iou_thr": 0.3, "test_max_per_img": 5,
                          "test_score_thr": 0.4, "box_offset": 1, "roi_level": "eps_inside", "img_width": 96,
                          "nms_method": "gaussian", "nms_sigma": 0.3, "delta_clip": "both", "num_classes": 4,
                          "anchor_centre": "pixel", "stem_pool": "same", "fpn_upsample": "asymmetric",
                          "rpn_feat_channels": 8, "rcnn_mask_out_channels": 16, "roi_layer": {"out_size": 5},
                          "roi_align_finest_scale": 28.0, "num_mask_rois": 4, "rpn_proposal_nms_pre": 50,
                          "rpn_nms_pre": 50, "rpn_proposal_min_bbox_size": 4.0, "rpn_min_bbox_min_size": 4.0,
                          "detection_min_size": 4.0}}
# What a key has an effect with, where it is not the default. Both the base and the change of such a key have it.
ADAMW, EXP, DYNAMIC = {"optimizer": "adamw", "base_lr": 0.001}, {"lr_type": "exp"}, {"dynamic_loss_scale": True}
OHEM = {"loss": ["ohem"], "ohem_min_kept": 200}
WITH = {"adam_betas": ADAMW, "adam_eps": ADAMW, "optimizer": {"base_lr": 0.001}, "warmup_ratio": {"warmup_steps": 5},
        "lr_decay_rate": EXP | {"lr_decay_step": 9}, "lr_decay_step": EXP, "loss_scale": DYNAMIC,
        "lr_milestones": {"lr_type": "step", "lr_milestones": [1]}, "loss_scale_window": DYNAMIC,
        "scale_lr": {"accumulate_steps": 2}, "nms_sigma": {"nms_method": "gaussian"},
        "ohem_threshold": OHEM, "ohem_min_kept": OHEM}
# Of Ascend, of the second graph of a run, of what follows a graph, and with one value alone.
SHAPE_NOTHING = {"amp_level", "overflow_check", "unfreeze_epoch", "score_thresholds", "mask_thr_binary",
                 "mask_paste_pad", "warmup_mode"}
NEITHER, BOTH = [[False, False]], [[True, True]]  # of the two graphs of a case, from the cache
NOT_BOTH = [*NEITHER, [True, False], [False, True]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("cells", *BASE))
    parser.add_argument("--keys", default="", help="only these configuration keys, separated by commas")
    parser.add_argument("--blind", action="store_true", help="one digest for all keys of a graph")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return work(json.loads(args.worker))
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="compile_cache_") as folder:
        for kind in [args.only] if args.only else ("cells", *BASE):
            cases = cell_cases(Path(folder)) if kind == "cells" else model_cases(kind, args.keys)
            for name, expected, case in cases:
                result = run({**case, "cache": f"{folder}/{kind}", "blind": args.blind})
                wrong += result["wrong"] or (not args.blind and result["served"] not in expected)
                print(f"{kind:<16}{name:<30}{said(result)}", flush=True)
    print(f"wrong: {wrong}")
    return int(wrong > 0)


def said(result: dict) -> str:
    how = ["from the cache" if one else "compiled" for one in result["served"]]
    return f"{', '.join(how):<34}{'WRONG' if result['wrong'] else 'as uncached'}{'  ' * bool(result['notes'])}" + (
        "; ".join(result["notes"]))


def cell_cases(folder: Path):
    """(what is changed, what may be said of whether each graph came from the cache, the case)"""
    def case(*cells, factor=2.0, sign="+"):
        return {"source": CELLS.format(factor=factor, sign=sign), "folder": str(folder), "cells": cells}

    yield "nothing yet", NEITHER, case(("First", 1), ("Second", 1))
    yield "nothing", BOTH, case(("First", 1), ("Second", 1))
    yield "a constant of the cell", NEITHER, case(("First", 2), ("Second", 2))
    yield "one of two", [[True, False]], case(("First", 1), ("Second", 3))
    yield "the order", NEITHER, case(("Second", 1), ("First", 1))
    yield "a constant of the module", NEITHER, case(("First", 1), ("Second", 1), factor=3.0)
    yield "an operator in the source", NEITHER, case(("First", 1), ("Second", 1), sign="-")
    yield "back again", BOTH, case(("First", 1), ("Second", 1))


def model_cases(model: str, chosen: str):
    """As `cell_cases`. A key of training alone leaves the inference graph as it is, and the other way round."""
    def case(**changes):
        return {"model": model, "changes": changes}

    names = chosen.split(",") if chosen else KEYS[model]
    yield "nothing yet", NEITHER, case()
    yield "nothing", BOTH, case()
    for name in names:
        if name in KEYS[model]:
            base = WITH.get(name, {})
            if base:
                yield ", ".join(base), [*NOT_BOTH, *BOTH], case(**base)
            yield name, NOT_BOTH, case(**base | {name: KEYS[model][name]})
    yield "back again", BOTH, case()


def run(case: dict) -> dict:
    done = subprocess.run([sys.executable, __file__, f"--worker={json.dumps(case)}"], capture_output=True, text=True,
                          env={**os.environ, "GLOG_v": "3"}, cwd=ROOT)
    lines = [line for line in done.stdout.splitlines() if line.startswith("result ")]
    if done.returncode or not lines:
        return {"served": [], "wrong": done.returncode >= 0, "notes": [
            f"the process ended with status {done.returncode}", *done.stderr.strip().splitlines()[-1:]]}
    return json.loads(lines[0].removeprefix("result "))


# --- the process of a case --------------------------------------------------------------------------------------------

def work(case: dict) -> int:
    from src.compile_cache import private
    private.claim()
    import mindspore as ms

    from src.compile_cache import cache, probe
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_seed(1)
    graphs = cell_graphs(case) if "cells" in case else model_graphs(case)
    notes: list[str] = []
    compile_cache = blinded(case) if case["blind"] else cache.activate(case["cache"], {"case": "benchmark"})
    compile_cache.entries.discard = noting(compile_cache.entries.discard, notes)
    served, wrong = [], False
    for what, cell, inputs in graphs:
        compilation = compile_cache.load(cell, inputs, what)
        served.append(compilation is None)
        if compilation:
            with compilation:
                cell(*map(ms.Tensor, inputs))
            compilation.store()
        through_cache = probe.outcome(cell, inputs)
        cache._forget(cell)
        wrong |= probe.outcome(cell, inputs) != through_cache
    print("result " + json.dumps({"served": served, "wrong": wrong, "notes": notes}))
    return 0


def noting(discard, notes: list[str]):
    def noted(key, reason):
        notes.append(reason)
        discard(key, reason)
    return noted


def blinded(case: dict):
    """A cache whose entries are found by the graph's purpose alone."""
    from src.compile_cache import cache
    from src.compile_cache import key as keys

    made = cache.activate(case["cache"], {})
    whole = keys.digest
    keys.digest = lambda value: whole(value["graph"] if isinstance(value, dict) and "graph" in value else value)
    return made


def cell_graphs(case: dict):
    import importlib
    import time

    import numpy as np

    folder = Path(case["folder"])
    (folder / "cells_of_the_benchmark.py").write_text(case["source"])
    sys.path.insert(0, str(folder))
    time.sleep(0.05)
    module = importlib.import_module("cells_of_the_benchmark")
    from src.compile_cache import key

    key.STARTED = time.time()  # the source was written by this process itself
    inputs = [np.random.default_rng(1).standard_normal((2, 3, 9, 9)).astype(np.float32)]
    for name, k in case["cells"]:
        yield "the graph", getattr(module, name)(float(k)), inputs


def model_graphs(case: dict):
    """The training step and the inference network of a configuration, with a batch for each."""
    from src import tasks
    from src.config import build
    from src.engine import loop, runtime

    values = {"model": case["model"], "device_target": "CPU", "amp_level": "O0"} | BASE[case["model"]] | case["changes"]
    config = build(tasks.config_class(case["model"]), values).completed()
    task = tasks.create(config)
    machine = runtime.Runtime("CPU")
    step = loop.build_step(task, config, machine, task.network(), 20)
    yield "the training graph", step, training_batch(config)
    network = task.network().set_train(False)
    yield "the inference graph", network, inference_batch(config)


def training_batch(config) -> list:
    import numpy as np

    rng, count = np.random.default_rng(1), config.batch_size
    ends = [np.arange(count, dtype=np.int32), np.zeros(count, np.int32)]
    if config.model.startswith("deeplab"):
        side = config.crop_size
        return [rng.standard_normal((count, 3, side, side)).astype(np.float32),
                rng.integers(0, config.num_classes, (count, side, side)).astype(np.int32), *ends]
    height, width, most = config.img_height, config.img_width, config.max_instance_count
    corners = rng.uniform(0, 20, (count, most, 2)).astype(np.float32)
    boxes = np.concatenate([corners, corners + rng.uniform(15, 40, (count, most, 2))], -1).astype(np.float32)
    some = np.ones((count, most), np.uint8)
    masks = rng.integers(0, 256, (count, most, config.mask_crop_size, config.mask_crop_size)).astype(np.uint8)
    labels = rng.integers(1, config.num_classes, (count, most)).astype(np.int32)
    sizes = np.tile(np.array([height, width], np.float32), (count, 1))
    return [rng.standard_normal((count, 3, height, width)).astype(np.float32), sizes, boxes, labels, some, some * 0,
            masks, some, *ends]


def inference_batch(config) -> list:
    batch = training_batch(config)
    return batch[:1] if config.model.startswith("deeplab") else batch[:2]


if __name__ == "__main__":
    sys.exit(main())
