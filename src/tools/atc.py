#!/usr/bin/env python3
"""Turn an exported model into an Ascend 310's own format (.om): print the exact atc command, and run it where atc is.

    python src/tools/atc.py runs/export/model.onnx --soc_version=Ascend310P3 [--aipp] [--out_dir=DIR]

The .om and a preprocess.json for it go into a folder of their own, beside the model by default. With --aipp the chip
normalises: the host then hands over bytes. Not run on Ascend.
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

log = logging.getLogger(__name__)
FRAMEWORKS = {".onnx": 5, ".air": 1}  # atc's numbers


def main() -> int:
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help=".onnx or .air file beside its preprocess.json")
    add_flag(parser, "soc_version", "Ascend310P3", "chip, as `npu-smi info` names it: Ascend310, Ascend310P3, ...")
    add_flag(parser, "aipp", False, "let the chip normalise")
    add_flag(parser, "out_dir", "", "folder for the .om; default: om/ beside the model")
    args = parser.parse_args()
    model = Path(args.model)
    if model.suffix not in FRAMEWORKS:
        raise InputError(f"{model}: atc takes {' and '.join(FRAMEWORKS)} files; export one of them")
    if not model.is_file():
        raise InputError(f"{model}: no such file")
    spec = preprocess_spec.read(model.with_name(preprocess_spec.FILE_NAME))
    out = Path(args.out_dir) if args.out_dir else model.with_name("om")
    out.mkdir(parents=True, exist_ok=True)
    aipp = out / "aipp.cfg" if args.aipp else None
    if aipp:
        aipp.write_text(aipp_config(spec), encoding="utf-8")
    command = atc_command(model, spec, out / model.stem, args.soc_version, aipp)
    print(shlex.join(command))
    if not shutil.which("atc"):
        log.info("atc is not installed here (it is part of CANN); run this line there and keep %s beside the .om",
                 preprocess_spec.FILE_NAME)
    elif status := subprocess.run(command).returncode:
        raise InputError(f"atc ended with status {status}; its own message stands above")
    preprocess_spec.write(om_spec(spec, f"{model.stem}.om", aipp is not None), out / preprocess_spec.FILE_NAME)
    return 0


def atc_command(model: Path, spec: dict[str, Any], output: Path, soc_version: str, aipp: Path | None) -> list[str]:
    """The words of the atc command; `output` is without suffix. Shapes are those of preprocess.json."""
    shapes = ";".join(f"{entry['name']}:{','.join(map(str, entry['shape']))}" for entry in spec["inputs"])
    command = ["atc", f"--model={model}", f"--framework={FRAMEWORKS[model.suffix]}", f"--output={output}",
               f"--soc_version={soc_version}", f"--input_shape={shapes}", "--input_format=NCHW",
               "--precision_mode=allow_mix_precision"]
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
