"""Read the raw tensors that the model zoo's two packages write to `result_Files` as predictions.

    DeepLabV3    NAME_0.bin   float32 (K, S, S) class probabilities of the network's canvas
    Mask R-CNN   NAME_0.bin   float16 or float32 (N, 5): x1, y1, x2, y2 (last pixel counted, original image), score
                 NAME_1.bin   int32 (N,) class without background
                 NAME_2.bin   bool, one byte (N,): which rows count
                 NAME_3.bin   float16 or float32 (N, 28, 28) mask probabilities

NAME is the image's file name up to its first dot; little-endian. No MindSpore here.
"""
from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from src.contract import InputError, Instances, LabelMap
from src.data import image_ops
from src.deeplabv3.inference import to_image_frame
from src.maskrcnn.paste import mask_to_rle

MASK_SIDE = 28
MOST_DETECTIONS = 128  # an image, in the packages' own evaluation
EXPORT = "they come from another export; give the flags that fit it, or run the inference again"


def is_raw_folder(folder: str | Path) -> bool:
    return any(Path(folder).glob("*_0.bin"))


def label_map(folder: str | Path, file_name: str, image_id: int, *, image_size: tuple[int, int], crop_size: int,
              num_classes: int) -> LabelMap | None:
    """The label map of an image of `image_size` (H, W), None where its file is absent.

    Raises:
        InputError: the file has not num_classes x crop_size x crop_size values, or some that are not finite.
    """
    path = _path(folder, file_name, 0)
    if not path.is_file():
        return None
    if path.stat().st_size != 4 * num_classes * crop_size * crop_size:
        raise InputError(f"{path}: has {path.stat().st_size} bytes, expected float32 {num_classes} x {crop_size} x "
                         f"{crop_size} (--num_classes, --crop_size); {EXPORT}")
    scores = np.fromfile(path, "<f4").reshape(num_classes, crop_size, crop_size)
    _expect_finite(path, scores)
    resized = to_image_frame(scores, image_ops.fit_long_side(image_size, crop_size), image_size)
    return LabelMap(image_id, resized.argmax(-1).astype(np.uint8))


def instances(folder: str | Path, file_name: str, image_id: int, *, image_size: tuple[int, int]) -> Instances | None:
    """The detections of an image of `image_size` (H, W), best first, None where its files are absent.

    Raises:
        InputError: a file is missing, has another number of rows than the labels, or values that are not finite.
    """
    paths = [_path(folder, file_name, k) for k in range(4)]
    if not paths[0].is_file():
        return None
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise InputError(f"{missing[0]}: does not exist, {paths[0].name} does; run the inference again")
    labels = np.fromfile(paths[1], "<i4")
    boxes = _floats(paths[0], (len(labels), 5))
    masks = _floats(paths[3], (len(labels), MASK_SIDE, MASK_SIDE))
    valid = np.fromfile(paths[2], np.uint8)
    if len(valid) != len(labels):
        raise InputError(f"{paths[2]}: {len(valid)} rows, {paths[1].name} has {len(labels)}; {EXPORT}")
    rows = np.flatnonzero(valid)
    _expect_finite(paths[0], boxes[rows])
    _expect_finite(paths[3], masks[rows])
    rows = rows[np.argsort(-boxes[rows, 4], kind="stable")][:MOST_DETECTIONS]
    corners = boxes[rows, :4]
    rles = [mask_to_rle(masks[row], box, image_size, paste_pad=0) for row, box in zip(rows, corners)]
    half_open = corners + np.array([0, 0, 1, 1], np.float32)
    return Instances(image_id, half_open, labels[rows] + 1, boxes[rows, 4], rles)


def _path(folder: str | Path, file_name: str, output: int) -> Path:
    return Path(folder) / f"{os.path.basename(file_name).split('.')[0]}_{output}.bin"


def _floats(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """(shape) float32 from a file of float16 or float32; its size tells which."""
    width, rest = divmod(path.stat().st_size, int(np.prod(shape)) or 1)
    if rest or width not in ((2, 4) if shape[0] else (0,)):
        raise InputError(f"{path}: {path.stat().st_size} bytes are not float16 or float32 {shape}; {EXPORT}")
    return np.fromfile(path, f"<f{width or 4}").reshape(shape).astype(np.float32)


def _expect_finite(path: Path, values: np.ndarray) -> None:
    broken = int((~np.isfinite(values)).sum())
    if broken:
        raise InputError(f"{path}: {broken} of its values are NaN or infinite; the network that wrote it diverged or "
                         "overflowed: evaluate its checkpoint, export that again and run the inference again")
