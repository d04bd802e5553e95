#!/usr/bin/env python3
"""Convert an exported model to an Ascend 310's own format (.om): print the exact atc command, and run it if possible.

    python src/tools/atc.py runs/export/model.onnx --soc_version=Ascend310P3 [--aipp] [--out_dir=DIR]
    python src/tools/atc.py --check runs/export/model.onnx --soc_version=Ascend310P3

The .om and a preprocess.json for it go into a folder of their own, beside the model by default. With --aipp the chip
normalises, and the host passes bytes. --check writes nothing: it compares the operators of an ONNX file with the
vendor's tables for the chip, looks for known problems, and exits with status 1 if it finds one. Not run on Ascend.
"""
from __future__ import annotations

import logging
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src.command_line import Parser, add_flag, entry_point
from src.contract import InputError
from src.exporting import preprocess_spec
from src.exporting.ascend import keeps_float32
from src.exporting.ascend_table import family

log = logging.getLogger(__name__)
FRAMEWORKS = {".onnx": 5, ".air": 1}  # atc's numbers
PRECISION_MODES = ("must_keep_origin_dtype", "allow_fp32_to_fp16", "allow_mix_precision", "force_fp16")


def main() -> int:
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help=".onnx file, or .air (a deprecated format), beside its preprocess.json")
    parser.add_argument("--check", action="store_true", help="lint an .onnx file for the chip; needs no device")
    add_flag(parser, "soc_version", "Ascend310P3", "chip, as `npu-smi info` names it: Ascend310, Ascend310P3, ...")
    add_flag(parser, "precision_mode", "", "atc's own flag; by default must_keep_origin_dtype where the chip has all "
             "operators in float32, else allow_fp32_to_fp16", choices=("", *PRECISION_MODES))
    add_flag(parser, "aipp", False, "let the chip normalise")
    add_flag(parser, "out_dir", "", "folder for the .om; default: om/ beside the model")
    args = parser.parse_args()
    model = Path(args.model)
    if model.suffix not in FRAMEWORKS:
        raise InputError(f"{model}: atc takes {' and '.join(FRAMEWORKS)} files; export one of them")
    if not model.is_file():
        raise InputError(f"{model}: no such file")
    if args.check:
        return check(model, args.soc_version)
    mode = args.precision_mode or default_precision(args.soc_version)
    spec = preprocess_spec.read(model.with_name(preprocess_spec.FILE_NAME))
    out = Path(args.out_dir) if args.out_dir else model.with_name("om")
    out.mkdir(parents=True, exist_ok=True)
    aipp = out / "aipp.cfg" if args.aipp else None
    if aipp:
        aipp.write_text(aipp_config(spec), encoding="utf-8")
    command = atc_command(model, spec, out / model.stem, args.soc_version, aipp, mode)
    print(shlex.join(command))
    if not shutil.which("atc"):
        log.info("atc is not installed here (it is part of CANN); run this line there and keep %s beside the .om",
                 preprocess_spec.FILE_NAME)
    elif status := subprocess.run(command).returncode:
        raise InputError(f"atc ended with status {status}; its own message is above")
    preprocess_spec.write(om_spec(spec, f"{model.stem}.om", aipp is not None), out / preprocess_spec.FILE_NAME)
    return 0


def check(model: Path, soc_version: str) -> int:
    """Print what the vendor's tables say of an ONNX file; 1 where ATC or the chip would stumble."""
    if model.suffix != ".onnx":
        raise InputError(f"--check {model}: reads .onnx files; export with --file_format=ONNX")
    try:
        from src.exporting import onnx_check
    except ImportError as error:
        raise InputError("--check: the package onnx is missing; pip install -r requirements/export.txt") from error
    result = onnx_check.check(model, family(soc_version))
    print(f"{model.name} on {soc_version}, --precision_mode={default_precision(soc_version)}")
    print(onnx_check.report(result))
    return int(result.is_problem)


def default_precision(soc_version: str) -> str:
    """The precision mode that keeps float32 wherever the chip can.

    must_keep_origin_dtype takes the AI CPU for a float32 operator that the AI Core has in float16 alone, and fails
    where the AI CPU has none either (atc's page on --precision_mode_v2=origin), as for convolutions on 310P. There
    allow_fp32_to_fp16 lowers such operators and leaves the others, boxes among them, in float32.
    """
    return "must_keep_origin_dtype" if keeps_float32(family(soc_version)) else "allow_fp32_to_fp16"


def atc_command(model: Path, spec: dict[str, Any], output: Path, soc_version: str, aipp: Path | None,
                precision_mode: str) -> list[str]:
    """The words of the atc command; `output` is without suffix. Shapes are those of preprocess.json."""
    shapes = ";".join(f"{entry['name']}:{','.join(map(str, entry['shape']))}" for entry in spec["inputs"])
    command = ["atc", f"--model={model}", f"--framework={FRAMEWORKS[model.suffix]}", f"--output={output}",
               f"--soc_version={soc_version}", f"--input_shape={shapes}", "--input_format=NCHW",
               f"--precision_mode={precision_mode}"]
    return [*command, f"--insert_op_conf={aipp}"] if aipp else command


def aipp_config(spec: dict[str, Any]) -> str:
    """AIPP's configuration that normalises as the recipe does: (byte - min) * var_reci, channel by channel."""
    mean, std = spec["normalise"]["mean"], spec["normalise"]["std"]
    lines = ["aipp_mode: static", "input_format: RGB888_U8", "csc_switch: false", "rbuv_swap_switch: false"]
    lines += [f"min_chn_{k}: {value:g}" for k, value in enumerate(mean)]
    lines += [f"var_reci_chn_{k}: {1 / value:.9g}" for k, value in enumerate(std)]
    return "aipp_op {\n" + "".join(f"    {line}\n" for line in lines) + "}\n"


def om_spec(spec: dict[str, Any], name: str, in_model: bool) -> dict[str, Any]:
    """preprocess.json of the .om. The padding that was 0 after normalisation is the nearest byte to the mean before."""
    spec = spec | {"files": {"OM": name}}
    if not in_model:
        return spec
    image = spec["inputs"][0] | {"dtype": "uint8", "layout": "NHWC",
                                 "shape": [spec["inputs"][0]["shape"][k] for k in (0, 2, 3, 1)]}
    value = spec["pad"]["value"]
    return spec | {"inputs": [image, *spec["inputs"][1:]], "normalise": spec["normalise"] | {"in_model": True},
                   "pad": spec["pad"] | {"value": "mean" if value == "zero_after_normalisation" else value}}


if __name__ == "__main__":
    entry_point(main)
