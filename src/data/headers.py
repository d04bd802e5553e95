"""What the header of an image file says: read without the pixels, and for most formats without reading the whole file.

No MindSpore here.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, BinaryIO

from PIL import Image

from src.contract import InputError
from src.data import decode

_ORIENTATION, _BITS, _SAMPLE_FORMAT = 0x0112, 258, 339  # tags of EXIF and TIFF
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
    """

    kind: str
    size: tuple[int, int]
    orientation: int
    bits: int
    channels: str


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
    turned = _orientation(image)
    size = (width, height) if turned > 4 and not how.flags(start) else (height, width)
    return Header(image.format or "", size, turned, _bits(image, start), _CHANNELS.get(image.mode, image.mode))


def _orientation(image: Image.Image) -> int:
    try:
        tag = image.getexif().get(_ORIENTATION, 1) if image.format != "PNG" or "exif" in image.info else 1
    except Exception:  # damaged tags are ignored, as decoders ignore them
        return 1
    return tag if tag in range(1, 9) else 1


def _bits(image: Image.Image, start: bytes) -> int:
    if image.format == "PNG":
        return start[24]
    tags: Any = getattr(image, "tag_v2", {})
    if image.mode == "F" or 3 in _several(tags.get(_SAMPLE_FORMAT, ())):
        return 0
    return max(_several(tags.get(_BITS, ())), default=1 if image.mode == "1" else 8)


def _several(value: Any) -> tuple[int, ...]:
    return tuple(v for v in (value if isinstance(value, tuple) else (value,)) if isinstance(v, int))
