"""Decode compressed images and labels, the same way in training, evaluation, record building and prediction.

An image becomes RGB, a label map becomes class indices, or an `InputError` says what is wrong with the bytes. The
caller adds the place where they were read (`src.contract.Record.place`). No MindSpore here.
"""
from __future__ import annotations

import io
import zlib

import cv2
import numpy as np
from PIL import Image

from src.contract import InputError

# Orientation tags are ignored: labels and boxes are drawn in the frame in which the pixels are stored.
_RGB = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
_GRAY = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_GRAY, _PNG_PALETTE = 0, 3
_PNG_COLOUR_TYPES = {2: "an RGB", 4: "a gray + alpha", 6: "an RGBA"}
_KINDS = {b"\xff\xd8": "JPEG", _PNG_SIGNATURE: "PNG", b"GIF8": "GIF", b"BM": "BMP", b"RIFF": "WebP", b"II*\0": "TIFF",
          b"MM\0*": "TIFF"}
_MAKE_GRAY = "make gray label PNGs with src/tools/get_dataset_lst.py and list those"


def decode_image(data: bytes) -> np.ndarray:
    """Decode an image file to (H, W, 3) uint8 RGB.

    JPEG, PNG, BMP, TIFF, WebP and whatever else OpenCV reads. Gray images get three equal channels, 16-bit images keep
    the upper byte, alpha is dropped and the EXIF orientation is ignored.

    Raises:
        InputError: no bytes, not an image, or not complete (a truncated file).
    """
    return _imdecode(data, _RGB)


def image_size(data: bytes) -> tuple[int, int]:
    """Decode the luminance of every pixel and return (H, W).

    Checks a record: it reads the file to its end and raises what `decode_image` raises, in half the time.
    """
    height, width = _imdecode(data, _GRAY).shape
    return height, width


def header_size(data: bytes) -> tuple[int, int]:
    """(H, W) from the file's header; no pixel is decoded.

    Raises:
        InputError: no header of a known image format.
    """
    try:
        width, height = Image.open(io.BytesIO(data)).size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(_why_not_image(data)) from error
    return height, width


def decode_label(data: bytes, *, advice: str = _MAKE_GRAY) -> np.ndarray:
    """Decode a label PNG or BMP to (H, W) uint8 class indices.

    A gray file holds the indices as its samples, a palette file (PASCAL VOC's own labels) as its palette positions;
    both may have 1, 2, 4 or 8 bits. A 16-bit gray PNG is taken where its values fit into 8 bits, an RGB one where its
    three channels are equal; alpha is dropped where it is opaque everywhere.

    Args:
        advice: what to do with labels that hold no indices, for messages.

    Raises:
        InputError: no bytes, another format, not complete, or colours instead of indices.
    """
    kind = _kind(data)
    if kind == "BMP":
        return _bmp_label(data, advice)
    if kind != "PNG" or len(data) < 33:
        raise InputError(_why_not_label(data, advice))
    depth, colour_type = data[24], data[25]
    if colour_type in _PNG_COLOUR_TYPES:
        return _narrow(_equal_channels(_imdecode(data, cv2.IMREAD_UNCHANGED), _PNG_COLOUR_TYPES[colour_type], advice),
                       advice)
    if colour_type == _PNG_PALETTE:
        data = _palette_as_gray(data)
    if depth == 16:
        return _narrow(_imdecode(data, cv2.IMREAD_UNCHANGED), advice)
    label = _imdecode(data, _GRAY)
    # Decoders stretch samples of few bits over 0..255; the class index is the sample itself.
    return label if depth == 8 else label // (255 // (2 ** depth - 1))


def _bmp_label(data: bytes, advice: str) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(data)) as file:
            label = np.asarray(file)  # palette positions of palette files
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(_why_not_image(data)) from error
    return label.astype(np.uint8) if label.ndim == 2 else _equal_channels(label, "a colour", advice, kind="BMP")


def _equal_channels(label: np.ndarray, what: str, advice: str, kind: str = "PNG") -> np.ndarray:
    """(H, W[, C]) -> (H, W): what all colour channels hold."""
    if label.ndim == 2:
        return label
    if label.shape[2] == 4 and label[..., 3].min() != np.iinfo(label.dtype).max:
        raise InputError(f"is {what} {kind} with transparent pixels; a label holds one class index a pixel: {advice}")
    if not (label[..., :1] == label[..., :3]).all():
        raise InputError(f"is {what} {kind} of colours; a label holds one class index a pixel: {advice}")
    return np.ascontiguousarray(label[..., 0])


def _imdecode(data: bytes, flags: int) -> np.ndarray:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error as error:
        raise InputError(f"cannot be decoded ({error.err}); restore it or scale it down") from error
    if image is None:
        raise InputError(_why_not_image(data))
    return image


def _palette_as_gray(data: bytes) -> bytes:
    """A palette PNG declared as gray: the same pixel data, so that a decoder returns positions instead of colours.

    Everything between the header and the pixel data (the palette above all) is left out.
    """
    at = 8
    while data[at + 4:at + 8] not in (b"IDAT", b""):
        at += 12 + int.from_bytes(data[at:at + 4], "big")
    header = b"IHDR" + data[16:25] + bytes([_PNG_GRAY]) + data[26:29]
    return _PNG_SIGNATURE + data[8:12] + header + zlib.crc32(header).to_bytes(4, "big") + data[at:]


def _narrow(label: np.ndarray, advice: str) -> np.ndarray:
    if label.max() > 255:
        raise InputError(f"is a 16-bit PNG with values up to {label.max()}; class indices lie in 0..255: {advice}")
    return label.astype(np.uint8)


def _kind(data: bytes) -> str:
    """The format that the first bytes announce, or an empty string."""
    return next((kind for start, kind in _KINDS.items() if data.startswith(start)), "")


def _why_not_image(data: bytes) -> str:
    """Why no decoder takes these bytes, and what to do."""
    kind = _kind(data)
    if not data:
        return "is empty (0 bytes); restore the file"
    if kind == "GIF":
        return "is a GIF, which is not read; convert it to PNG or JPEG"
    if kind:
        return f"is a damaged or truncated {kind} ({len(data)} bytes); restore the file"
    return f"is not an image ({len(data)} bytes, starting {data[:8]!r}); restore the file or leave it out"


def _why_not_label(data: bytes, advice: str) -> str:
    kind = _kind(data)
    if kind and kind != "PNG":
        return f"is a {kind} file; a label is a PNG with one class index a pixel: {advice}"
    return _why_not_image(data)
