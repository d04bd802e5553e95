"""Files of binary masks: which pixels are the object's, and what only looks like such a mask. No MindSpore here."""
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from src.contract import InputError

LOSSY = (".jpg", ".jpeg", ".webp")
FEW = 32  # values up to here are indices, not shades of gray
_NEAR = 16  # gray levels from 0 or 255 that lossy compression and smooth edges leave
_SMOOTH = 0.1  # largest share of pixels between them


def read_binary(path: Path) -> np.ndarray:
    """(H, W) bool of a mask file: 0 and any one other value, or dark and bright where it was compressed or smoothed.

    Raises:
        InputError: damaged, or several values, which are indices or shades.
    """
    pixels = _one_channel(_read(path), path)
    values = np.unique(pixels)
    if len(values) <= 2 and (values[0] == 0 or len(values) == 1):
        return pixels > 0
    if values[-1] <= FEW or pixels.dtype != np.uint8 or (len(values) == 3 and values[1] <= FEW):
        raise InputError(f"{path}: has the values {values[:6].tolist()}, which are indices of several classes and no "
                         "binary mask; train on it directly, see docs/own_data.md")
    between = np.count_nonzero((pixels > _NEAR) & (pixels < 255 - _NEAR)) / pixels.size
    if between > _SMOOTH:
        raise InputError(f"{path}: {between:.0%} of its pixels are neither dark nor bright, so it is no mask; restore "
                         "it, or leave it out with --on_bad=skip")
    return pixels > 127


def _read(path: Path) -> np.ndarray:
    """The pixels of a mask file as they are stored; colours of palettes, and the first frame of a GIF."""
    try:
        if path.suffix.lower() == ".gif":
            with Image.open(path) as image:
                return np.asarray(image.convert("RGB"))
        pixels = cv2.imdecode(np.frombuffer(path.read_bytes() or b"?", np.uint8), cv2.IMREAD_UNCHANGED)
    except (OSError, ValueError, SyntaxError, EOFError, cv2.error) as error:
        raise InputError(f"{path}: cannot be read ({error}); restore the file") from error
    if pixels is None:
        raise InputError(f"{path}: not an image that can be read; restore it, or leave it out with --on_bad=skip")
    return pixels


def _one_channel(pixels: np.ndarray, path: Path) -> np.ndarray:
    """(H, W) of (H, W[, C]): the brightest channel, or the alpha channel where that has the shape.

    Raises:
        InputError: more than two colours, which are several classes.
    """
    if pixels.ndim == 2:
        return pixels
    alpha = pixels[..., 3] if pixels.shape[2] == 4 else None
    colours = pixels[..., :3]
    if alpha is not None and alpha.min() < alpha.max():
        seen = colours[alpha > 0]
        if (seen != seen[:1]).any():
            raise InputError(f"{path}: has both transparent pixels and several colours, so it is not clear what the "
                             "object is; save it as black and white")
        return alpha
    if (colours != colours[..., :1]).any():
        exact = path.suffix.lower() not in LOSSY
        count = len(np.unique((colours if exact else colours > 127).reshape(-1, 3), axis=0))
        if count > 2:
            raise InputError(f"{path}: has {count} colours, which are several classes and no binary mask; save one "
                             "mask for each class, as masks/CLASS/NAME.png, or see docs/own_data.md for label maps")
        if colours.max(2).min() > _NEAR:
            raise InputError(f"{path}: has no black background, so it is not clear which colour is the object; save it "
                             "as black and white")
    return colours.max(2)


def object_value(path: Path) -> int:
    """The gray value of a mask's object, or its colour as a number above 255; 0 where there is no one value."""
    try:
        pixels = _read(path)
        _one_channel(pixels, path)
    except InputError:
        return 0  # said where the mask is read
    colours = np.unique(pixels[..., :3].reshape(-1, 3), axis=0) if pixels.ndim == 3 else np.unique(pixels)[:, None]
    colours = colours[colours.any(1)]
    if len(colours) != 1:
        return 0
    *_, last = colour = colours[0].tolist()
    return last if set(colour) == {last} else 256 + int.from_bytes(bytes(min(v, 255) for v in colour), "big")
