"""Parameters and images as a function of their name and index alone: the same bits on every machine, no file needed."""
from __future__ import annotations

import math
import zlib

import numpy as np

SCALE = {  # of a layer's weight, by the end of its name: scores far from 0 and 1, boxes as large as objects
    "bn3.weight": 0.3, "cls_score.weight": 0.1, "bbox_pred.weight": 0.01, "cls_logits.weight": 0.05,
    "mask_fcn_logits.weight": 0.3,
}


def uniform(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Values in [-1, 1), float32: a hash (SplitMix64's finalizer, Steele et al. 2014) of the name and the index."""
    count = math.prod(shape)
    with np.errstate(over="ignore"):
        x = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        x += np.uint64(zlib.crc32(name.encode())) << np.uint64(32)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return ((x >> np.uint64(40)).astype(np.float32) / np.float32(2 ** 23) - 1).reshape(shape)


def parameter(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The parameter or buffer `name` of a torchvision network.

    Weights of convolutions and dense layers keep the size of features through a ReLU (He et al. 2015).
    """
    values = uniform(name, shape)
    scale = np.float32(next((s for end, s in SCALE.items() if name.endswith(end)), 1.0))
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if name.endswith("running_var"):
        return 1 + values / 2
    if name.endswith("running_mean"):
        return values / 10
    if len(shape) == 1:
        return scale * (1 + values / 5) if name.endswith(".weight") else values / 20
    return values * (scale * np.float32(math.sqrt(6 / math.prod(shape[1:]))))


def parameters(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    return {name: parameter(name, tuple(shape)) for name, shape in shapes.items()}


def image(name: str, height: int, width: int) -> np.ndarray:
    """(3, height, width) float32 in [0, 1]: coloured blobs, each of the size of an object, and a little noise."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    result = np.full((3, height, width), 0.5, np.float32)
    for cy, cx, radius, *colour in uniform(name, (8, 6)):
        size = (0.25 + 0.15 * radius) * min(height, width)
        inside = np.hypot(y - (cy + 1) / 2 * height, x - (cx + 1) / 2 * width) < size
        result[:, inside] = (np.float32(colour)[:, None] + 1) / 2
    return np.clip(result + 0.05 * uniform(name + " noise", result.shape), 0, 1)
