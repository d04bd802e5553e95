"""The command line of `predict.py`."""
from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from src.command_line import Parser, add_flag, number_in
from src.contract import InputError
from src.engine.inference_engine import CHOICES, check
from src.exporting.runners import RUNTIMES
from src.literals import items


def settings_of(args: argparse.Namespace) -> dict[str, Any]:
    """The keys of the model's configuration among the flags, for `src.inference.model.load`."""
    names = ("amp_level", "scales", "flip", "eval_mode", "slide_stride", "tile_size", "tile_overlap",
             "merged_max_per_img", "score_thresholds")
    given = {name: getattr(args, name) for name in names}
    cache = {"compile_cache": args.compile_cache} if args.compile_cache else {}
    return {name: value for name, value in given.items() if value not in ("auto", None) and value is not False} | cache


def _sides(text: str) -> tuple[int, ...]:
    """Height and width, or one side."""
    values = tuple(number_in(int, 1)(word) for word in text.split(","))
    if len(values) > 2:
        raise argparse.ArgumentTypeError(f"{text!r} has {len(values)} numbers, expected HEIGHT,WIDTH or one SIDE")
    return values


def _scales(text: str) -> list[float]:
    return [number_in(float, 0.05, 16)(word) for word in text.split(",")]


def parse(argv: Sequence[str], *, description: str) -> argparse.Namespace:
    """The flags of predict.py.

    Raises:
        InputError: the model file does not exist, or there is nothing to predict.
    """
    parser = Parser(description=description)
    parser.add_argument("images", nargs="*", help="image files, folders of them (searched through) and videos")
    parser.add_argument("--model_path", "--checkpoint", "--ckpt_path", "--ckpt_file", required=True,
                        help="checkpoint, or a .mindir or .onnx file beside its preprocess.json")
    add_flag(parser, "output_dir", "runs/predict", "folder for overlays and results (docs/results.md)")
    add_flag(parser, "dataset_path", "", "folder that names in the results, and the paths of --image_list, start from")
    add_flag(parser, "image_list", "", "file with the path of an image, and perhaps its COCO id, in each line")
    add_flag(parser, "ann_file", "", "COCO annotations with the ids of images and classes for detections.json")
    add_flag(parser, "device_target", "CPU", "device of a checkpoint", choices=("Ascend", "CPU"))
    add_flag(parser, "amp_level", "auto", "precision of a checkpoint: O0 float32, O2 float16 except in normalisation "
             "layers, O3 float16; auto: O0 on a CPU, on Ascend what it was trained with",
             choices=("auto", "O0", "O2", "O3"))
    add_flag(parser, "inference_engine", "auto", "what runs the network: openvino, about twice as fast on a CPU; "
             "mindspore; auto: OpenVINO on a CPU where it is installed and takes the network", choices=CHOICES)
    parser.add_argument("--score_threshold", "--least_score", type=number_in(float, 0, 1), help="draw instances of at "
                        "least this score; all of them are written (default: what score_thresholds says, 0.5 for "
                        "classes without)")
    parser.add_argument("--score_thresholds", action="extend", type=items, help="Mask R-CNN: least score of each class "
                        "that is drawn and written, NAME=NUMBER,... or a JSON file of src/tools/score_thresholds.py; "
                        "empty: write all (default: as the model was trained or exported)")
    add_flag(parser, "batch_size", 1, "images per batch, or windows or tiles of a large image (checkpoints only, an "
             "exported file has its own; tiles go one by one on a CPU)")
    parser.add_argument("--scales", type=_scales, action="extend", help="scales of the image whose predictions are "
                        "united, for example 0.75,1,1.25 (checkpoints only; default: 1)")
    add_flag(parser, "flip", False, "unite the predictions of the mirrored image with them (checkpoints only)")
    add_flag(parser, "eval_mode", "auto", "whole scales an image to the network's input; slide (DeepLabV3) keeps its "
             "scale and averages windows of that size; tiles (Mask R-CNN) merges the detections of its parts; auto: as "
             "the model was trained or exported", choices=("auto", "whole", "slide", "tiles"))
    parser.add_argument("--slide_stride", type=number_in(int, 1), help="eval_mode=slide: pixels from one window to the "
                        "next (default: two thirds of a window)")
    parser.add_argument("--tile_size", type=_sides, help="eval_mode=tiles: height and width of a tile, or the side of "
                        "a square one, in pixels of the image (default: the network's input)")
    parser.add_argument("--tile_overlap", type=number_in(int, 0), help="eval_mode=tiles: overlap of neighbouring "
                        "tiles, in pixels of the image (default: a quarter of a tile's short side)")
    parser.add_argument("--merged_max_per_img", type=number_in(int, 0), help="eval_mode=tiles: detections per image "
                        "after merging, at most (default: all)")
    add_flag(parser, "compile_cache", "", "folder of compiled graphs for the next start of a checkpoint in MindSpore; "
             "auto: ~/.cache/mindseg/compiled")
    # Bare, it would take the image behind it for its value.
    args = parser.parse_args(["--flip=True" if word == "--flip" else word for word in argv])
    path = Path(args.model_path)
    if path.suffix not in RUNTIMES:  # exported files say themselves what runs them
        check(args.inference_engine, args.device_target)
    if not path.is_file():
        problem = "is a folder; name the file in it" if path.is_dir() else "no such file"
        raise InputError(f"--model_path={path}: {problem}")
    if not args.images and not args.image_list:
        raise InputError("nothing to predict; name images, folders or videos, or give --image_list=FILE")
    return args
