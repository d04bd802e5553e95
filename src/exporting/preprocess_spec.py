"""`preprocess.json`: the data file beside an exported model with all that a program needs to run it.

A task's `export.preprocess_spec()` gives what depends on the model, `complete` adds its origin. The keys:

    format, version     "mindseg.preprocess", 1
    task                "semantic" or "instance"
    model, family       the model's name, and whose weights they were
    checkpoint          {file, sha256}
    class_names         index 0 first
    category_ids        instance: the category id that a result file has for each label; 0 for the background
    conventions         keys of the configuration that the weights were trained with (`Config.conventions`)
    files               {"MINDIR": "x.mindir", "ONNX": "x.onnx"}
    inputs, outputs     [{name, shape, dtype, meaning}]: in the order of the model; an input also has its layout
    decode              colour_order of the input's channels, what becomes of gray and alpha; exif_orientation is
                        "turned" or "ignored"; bits16 is "upper byte" or "upper 8 of N bits"
    resize              rule "long_side", "canvas" or "stretch", size (H, W), rounding of the sides "round" (half up) or
                        "floor", interpolation; or rule "slide", size (H, W) and slide_stride; or rule "tiles", with
                        tile_size (h, w), tile_overlap, and tile_rule "canvas" or "stretch" with what belongs to it
    pad                 position, and value of what is not image: "zero_after_normalisation",
                        "black_before_normalisation", or "mean" where the model normalises: the nearest byte to it
    normalise           mean and std in `colour_order` on the 0..255 scale; whether the model does it itself
    postprocess         done_in_model, and what is left: resize_back, "average" for windows (semantic), mask_threshold,
                        paste_pad, for tiles merged_max_per_img and, where they were chosen, score_thresholds {class
                        name: least score of a result} (instance)

Rules of `resize`, for an image of (h, w) and a size (H, W):

    long_side   the long side becomes H, the short one int(H * short / long), 1 at least
    canvas      both sides times min(min(H, W) / min(h, w), max(H, W) / max(h, w)), rounded; if a side is then above
                H or W, both again times what makes it fit, rounded
    stretch     (H, W)
    slide       the image keeps its size; windows of (H, W) start every slide_stride pixels from the top left, the last
                one of a row and of a column moved inwards to the border; the probabilities of windows that overlap are
                averaged. Only where the image is smaller than a window, it is padded
    tiles       tiles of (h, w) start every h - tile_overlap rows and w - tile_overlap columns of the image, the last
                one of a row and of a column moved inwards to the border; each is resized by tile_rule, and detections
                of several tiles are merged (`src/maskrcnn/merge.py`)
"""
from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from src.contract import InputError
from src.data.decode import Decoding
from src.files import replacing, sha256

FILE_NAME = "preprocess.json"
FORMAT, VERSION = "mindseg.preprocess", 1
_UPPER_BYTE = "upper byte"


def decode_spec(exif: str, bit_depth: int) -> dict[str, str]:
    """The part of `decode` that is the same for both models, from the keys `exif` and `bit_depth`."""
    return {"exif_orientation": "turned" if exif == "turn" else "ignored", "gray": "three equal channels",
            "bits16": _UPPER_BYTE if bit_depth == 16 else f"upper 8 of {bit_depth} bits", "alpha": "dropped"}


def decoding_of(spec: Mapping[str, Any]) -> Decoding:
    """How the images of a `preprocess.json` are decoded."""
    exif = "turn" if spec["decode"].get("exif_orientation") == "turned" else "raw"
    bits = spec["decode"].get("bits16", _UPPER_BYTE)
    return Decoding(exif, 16 if bits == _UPPER_BYTE else int(bits.split()[-2]))


def tensor(name: str, shape: tuple[int, ...], dtype: str, meaning: str, **more: str) -> dict[str, Any]:
    """An entry of `inputs` or `outputs`."""
    return {"name": name, "shape": list(shape), "dtype": dtype, **more, "meaning": meaning}


def complete(preprocess: Mapping[str, Any], *, model: str, family: str, checkpoint: Path,
             conventions: Mapping[str, Any]) -> dict[str, Any]:
    """A task's `export.preprocess_spec()` with the model's origin; `files` is still empty."""
    return {"format": FORMAT, "version": VERSION, "model": model, "family": family,
            "checkpoint": {"file": checkpoint.name, "sha256": sha256(checkpoint)}, **preprocess,
            "conventions": dict(conventions), "files": {}}


def read(path: Path) -> dict[str, Any]:
    """Read a preprocess.json.

    Raises:
        InputError: missing, no JSON, or not written by export as it is.
    """
    try:
        spec = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; export.py writes it beside the model") from None
    except ValueError as error:
        raise InputError(f"{path}: not readable as JSON ({error}); export the model again") from error
    if not isinstance(spec, dict) or spec.get("format") != FORMAT or spec.get("version") != VERSION:
        raise InputError(f"{path}: not a {FORMAT} file of version {VERSION}; export the model again")
    for key in ("checkpoint", "files"):
        if not isinstance(spec.get(key), dict):
            raise InputError(f"{path}: the key {key!r} is missing or no JSON object; undo the edit, or export "
                             "the model again into another folder")
    return spec


def merge(spec: Mapping[str, Any], folder: Path, files: Mapping[str, str]) -> dict[str, Any]:
    """`spec` with `files` and with the files that the folder's preprocess.json already names.

    Raises:
        InputError: the folder belongs to another checkpoint, or holds other files exported with other settings.
    """
    path, kept = folder / FILE_NAME, {}
    if path.exists():
        before = read(path)
        if before["checkpoint"].get("sha256") != spec["checkpoint"]["sha256"]:
            raise InputError(f"{path}: belongs to models of {before['checkpoint'].get('file', 'another checkpoint')}; "
                             "give --file_name another folder, one preprocess.json describes one checkpoint")
        kept = {kind: name for kind, name in before["files"].items() if kind not in files and (folder / name).exists()}
        if kept and {**before, "files": {}} != {**spec, "files": {}}:
            raise InputError(f"{path}: {', '.join(kept.values())} was exported with other settings; export all formats "
                             "at once, or give --file_name another folder")
    return {**spec, "files": {**kept, **files}}


def write(spec: Mapping[str, Any], path: Path) -> None:
    """Write the file atomically."""
    with replacing(path) as unfinished:
        unfinished.write_text(json.dumps(spec, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        unfinished.chmod(0o644)
