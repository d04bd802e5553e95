"""What the header of an image file says: read without the pixels, and for most formats without reading the whole file.

No MindSpore here.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image

from src.contract import InputError
from src.data import decode

_CHANNELS = {"1": "black and white", "L": "gray", "I": "gray", "F": "gray", "I;16": "gray", "I;16B": "gray",
             "LA": "gray with alpha", "P": "palette", "PA": "palette", "RGB": "colour", "YCbCr": "colour",
             "RGBA": "colour with alpha", "CMYK": "CMYK"}
_START = 32  # bytes that hold the signature of every format, and the bit depth of a PNG


@dataclass(frozen=True, slots=True)
class Header:
    """What the header of an image file says.

    Attributes:
        kind: the format, e.g. "JPEG" or "PNG".
        size: (H, W) of the decoded image.
        orientation: of EXIF, 1 to 8; 1 is upright. In a PNG it is found in front of the pixels alone.
        bits: of a sample; 0 for samples of floats, which are refused.
        channels: "gray", "colour", "palette", ...
        fault: why its samples are refused, "" where they are not.
    """

    kind: str
    size: tuple[int, int]
    orientation: int
    bits: int
    channels: str
    fault: str = ""


def read_header(file: BinaryIO, how: decode.Decoding = decode.AS_STORED) -> Header:
    """Read the header of an image file that is open at its start.

    Args:
        how: the image is going to be decoded; `exif` decides whether the size is that of the upright image.

    Raises:
        InputError: no header of a known image format.
    """
    start = file.read(_START)
    file.seek(0)
    try:
        image = Image.open(file)
        width, height = image.size
    except Exception as error:  # Pillow raises a dozen kinds of exceptions for damaged headers
        file.seek(0)
        raise InputError(decode.why_not_image(file.read())) from error
    is_late = image.format == "PNG" and "exif" not in image.info  # Pillow would decode the pixels to look behind them
    turned = 1 if is_late else decode.orientation_of(image)
    size = (width, height) if turned > 4 and how.turns(start) else (height, width)
    kind, bits = ("integers", start[24]) if image.format == "PNG" else decode.sample_kind(image)
    return Header(image.format or "", size, turned, 0 if kind == "floats" else bits,
                  _CHANNELS.get(image.mode, image.mode), decode.sample_fault(kind, bits))
