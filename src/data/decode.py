"""Decode compressed images and labels, the same way in training, evaluation, record building and prediction.

An image becomes RGB, a label map becomes class indices, or an `InputError` says what is wrong with the bytes. The
caller adds the place where they were read (`src.contract.Record.place`). No MindSpore here.
"""
from __future__ import annotations

import io
import zlib
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from PIL import Image

from src.contract import InputError

Image.MAX_IMAGE_PIXELS = None  # headers are read of images of any size; `Decoding.max_pixels` guards the memory
_UNTURNED = cv2.IMREAD_IGNORE_ORIENTATION
_GRAY = cv2.IMREAD_GRAYSCALE | _UNTURNED

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_GRAY, _PNG_PALETTE = 0, 3
_PNG_COLOUR_TYPES = {2: "an RGB", 4: "a gray + alpha", 6: "an RGBA"}
_ORIENTATION, _BITS, _SAMPLE_FORMAT = 0x0112, 258, 339  # tags of EXIF and TIFF
_KINDS = {b"\xff\xd8": "JPEG", _PNG_SIGNATURE: "PNG", b"GIF8": "GIF", b"BM": "BMP", b"RIFF": "WebP", b"II*\0": "TIFF",
          b"MM\0*": "TIFF"}
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_NOT_READ = {"GIF": "a GIF", "HEIC": "a HEIC file", "AVIF": "an AVIF file"}
_MAKE_GRAY = "make gray label PNGs with src/tools/get_dataset_lst.py and list those"
_MASKS = "binary masks of any kind become labels with src/tools/import_data.py masks"


@dataclass(frozen=True)
class Decoding:
    """How image files become pixels: the part of the input recipe that comes first.

    Attributes:
        exif: "turn" shows photos upright, as their EXIF orientation says and as labelling tools draw on them (JPEG,
            PNG, WebP; OpenCV turns TIFF always); "raw" leaves them as they are stored.
        bit_depth: significant bits of 16-bit samples, of which the upper 8 are kept: 12 where a camera or microscope
            stored 0..4095.
        max_pixels: larger images are refused before they fill the memory; 0: no limit but OpenCV's of 2**30.
    """

    exif: str = "raw"
    bit_depth: int = 16
    max_pixels: int = 0

    def turns(self, data: bytes) -> bool:
        """Whether an image file, of which `data` is the start, is turned upright as its EXIF orientation says."""
        return self.exif == "turn" and file_kind(data) in ("JPEG", "PNG", "WebP")

    def flags(self, data: bytes) -> int:
        """Of OpenCV's decoder, which does not turn WebP files."""
        return 0 if self.turns(data) and file_kind(data) != "WebP" else _UNTURNED


AS_STORED = Decoding()


def decode_image(data: bytes, how: Decoding = AS_STORED) -> np.ndarray:
    """Decode an image file to (H, W, 3) uint8 RGB.

    JPEG, PNG, BMP, TIFF, WebP and whatever else OpenCV reads. Gray images get three equal channels, alpha is dropped.

    Raises:
        InputError: no bytes, not an image, not complete (a truncated file), or samples that are neither 8 nor 16 bits.
    """
    _refuse_other_samples(data)
    _refuse_large(data, how.max_pixels)
    if how.bit_depth == 16 or not _may_have_16_bits(data):
        return _upright(_imdecode(data, cv2.IMREAD_COLOR_RGB | how.flags(data)), data, how)
    image = _imdecode(data, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH | how.flags(data))
    if image.dtype == np.uint8:
        return image
    return np.minimum(image >> (how.bit_depth - 8), 255).astype(np.uint8)


def image_size(data: bytes, how: Decoding = AS_STORED) -> tuple[int, int]:
    """Decode the luminance of every pixel and return (H, W).

    Checks a record: it reads the file to its end and raises what `decode_image` raises, in half the time.
    """
    _refuse_other_samples(data)
    _refuse_large(data, how.max_pixels)
    height, width = _upright(_imdecode(data, cv2.IMREAD_GRAYSCALE | how.flags(data)), data, how).shape
    return height, width


def header_size(data: bytes, how: Decoding = AS_STORED) -> tuple[int, int]:
    """(H, W) according to the file's header, without decoding pixels.

    Raises:
        InputError: no header of a known image format.
    """
    try:
        width, height = Image.open(io.BytesIO(data)).size
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(why_not_image(data)) from error
    # Pillow's size of a TIFF is that of the upright picture.
    return (width, height) if how.turns(data) and orientation(data) > 4 else (height, width)


def _upright(image: np.ndarray, data: bytes, how: Decoding) -> np.ndarray:
    """A decoded image turned as its file says, where OpenCV's decoder has not done it."""
    if file_kind(data) != "WebP" or not how.turns(data):
        return image
    tag = orientation(data)
    image = image.swapaxes(0, 1) if tag > 4 else image
    across, down = (-1 if tag in (2, 3, 6, 7) else 1), (-1 if tag in (3, 4, 7, 8) else 1)
    return np.ascontiguousarray(image[::down, ::across])


def orientation(data: bytes) -> int:
    """The EXIF orientation of an image file, 1 (upright) where it has none."""
    if file_kind(data) == "PNG" and b"eXIf" not in data:
        return 1  # Pillow would decode the whole file to look for it
    try:
        with Image.open(io.BytesIO(data)) as file:
            if file.format == "PNG" and "exif" not in file.info:
                file.load()  # it stands behind the pixels
            return orientation_of(file)
    except Exception:  # as for damaged tags
        return 1


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation of an opened image, 1 (upright) where it has none.

    Pillow's own reader falls back on XMP, which OpenCV and browsers do not regard.
    """
    try:
        exif = getattr(image, "tag_v2", None)  # of a TIFF
        if exif is None:
            exif = Image.Exif()
            exif.load(image.info.get("exif") or b"")
        tag = exif.get(_ORIENTATION, 1)
    except Exception:  # Pillow raises a dozen kinds of exceptions for damaged tags, and OpenCV ignores such tags
        return 1
    return tag if tag in range(1, 9) else 1


def exif_hint(data: bytes) -> str:
    """What a message about sizes or boxes has to add where the image has an orientation tag."""
    return orientation_hint(orientation(data))


def orientation_hint(tag: int) -> str:
    """As `exif_hint`, of an image with the EXIF orientation `tag`."""
    return "" if tag == 1 else (f". The image has the EXIF orientation {tag}: labels drawn on the upright picture need "
                                "--exif=turn, those drawn on the pixels as they are stored --exif=raw")


def sample_range(data: bytes) -> tuple[int, int] | None:
    """(least, greatest) sample of a 16-bit image, but for the highest one in a thousand; None of other images."""
    if not _may_have_16_bits(data):
        return None
    image = _imdecode(data, cv2.IMREAD_UNCHANGED | _UNTURNED)
    if image.dtype != np.uint16:
        return None
    place = image.size - 1 - image.size // 1000
    return int(image.min()), int(np.partition(image, place, None)[place])


def _may_have_16_bits(data: bytes) -> bool:
    kind = file_kind(data)
    return data[24:25] == b"\x10" if kind == "PNG" else kind not in ("JPEG", "BMP", "WebP", "GIF")


def _refuse_other_samples(data: bytes) -> None:
    """InputError for samples of floats, signed integers or 32 bits, which a decoder would turn into garbage."""
    if file_kind(data) in ("JPEG", "PNG", "BMP", "WebP", "GIF"):
        return  # formats without such samples
    try:
        with Image.open(io.BytesIO(data)) as file:
            kind, bits = sample_kind(file)
    except (OSError, ValueError, SyntaxError):  # OpenCV reads more kinds than Pillow, or says what is wrong
        image = _imdecode(data, cv2.IMREAD_UNCHANGED | _UNTURNED)
        kind = {"f": "floats", "i": "signed integers"}.get(image.dtype.kind, "integers")
        bits = 8 * image.dtype.itemsize
    fault = sample_fault(kind, bits)
    if fault:
        raise InputError(fault)


def sample_kind(image: Image.Image) -> tuple[str, int]:
    """What the samples of an opened image are, "integers", "signed integers" or "floats", and their bits."""
    tags: Any = getattr(image, "tag_v2", {})
    formats, bits = (_numbers(tags.get(tag, ())) for tag in (_SAMPLE_FORMAT, _BITS))
    kind = "floats" if image.mode == "F" or 3 in formats else "signed integers" if 2 in formats else "integers"
    return kind, max(bits, default=1 if image.mode == "1" else 8)


def _numbers(value: Any) -> tuple[int, ...]:
    """The numbers of a tag; a damaged one may hold something else."""
    return tuple(v for v in (value if isinstance(value, tuple) else (value,)) if isinstance(v, int))


def sample_fault(kind: str, bits: int) -> str:
    """Why samples of this kind (see `sample_kind`) are refused, "" where they are not."""
    if kind == "integers" and bits <= 16:
        return ""
    what = kind.removeprefix("signed ") if bits > 16 else kind
    return (f"has samples of {what} of {bits} bits; scale them to 0..255 (or 0..65535) yourself, so that it is known "
            "what is black and white, and save them with 8 or 16 bits")


def _refuse_large(data: bytes, max_pixels: int) -> None:
    if not max_pixels:
        return
    try:
        width, height = Image.open(io.BytesIO(data)).size
    except (OSError, ValueError, SyntaxError):
        return  # the decoder says what is wrong
    if width * height > max_pixels:
        raise InputError(f"has {height} x {width} = {width * height} pixels, above --max_pixels={max_pixels}; raise "
                         "that where the memory allows it (3 bytes a pixel for each worker), or scale the image down "
                         "or cut it into tiles")


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
    kind = file_kind(data)
    if kind == "BMP":
        return _bmp_label(data, advice)
    if kind != "PNG" or len(data) < 33:
        raise InputError(_why_not_label(data))
    depth, colour_type = data[24], data[25]
    if colour_type in _PNG_COLOUR_TYPES:
        return _narrow(_equal_channels(_imdecode(data, cv2.IMREAD_UNCHANGED), _PNG_COLOUR_TYPES[colour_type], advice))
    if colour_type == _PNG_PALETTE:
        data = _palette_as_gray(data)
    if depth == 16:
        return _narrow(_imdecode(data, cv2.IMREAD_UNCHANGED))
    label = _imdecode(data, _GRAY)
    # Decoders stretch samples of few bits over 0..255; the class index is the sample itself.
    return label if depth == 8 else label // (255 // (2 ** depth - 1))


def _bmp_label(data: bytes, advice: str) -> np.ndarray:
    bits = int.from_bytes(data[28:30], "little")
    if bits <= 8:
        return _imdecode(_with_gray_palette(data, bits), _GRAY)
    return _equal_channels(_imdecode(data, cv2.IMREAD_UNCHANGED), "a colour", advice, kind="BMP")


def _with_gray_palette(data: bytes, bits: int) -> bytes:
    """A palette BMP whose colour at each position is that gray, so that a decoder returns positions.

    (Pillow 12 takes every palette of black and white alone for one of 1 bit a pixel.)
    """
    header, pixels = (int.from_bytes(data[at:at + 4], "little") for at in (14, 10))
    entry = 3 if header == 12 else 4  # bytes; 12 is OS/2's header, which does not say how many colours are used
    palette = b"".join(bytes([k, k, k, 0][:entry]) for k in range(2 ** bits))
    info = data[14:46] + bytes(4) + data[50:14 + header] if header >= 40 else data[14:14 + header]  # 0: all colours
    start = 14 + header + len(palette)
    return data[:10] + start.to_bytes(4, "little") + info + palette + data[pixels:]


def _equal_channels(label: np.ndarray, what: str, advice: str, kind: str = "PNG") -> np.ndarray:
    """(H, W[, C]) -> (H, W): what all colour channels hold."""
    if label.ndim == 2:
        return label
    if label.shape[2] == 4 and label[..., 3].min() != np.iinfo(label.dtype).max:
        raise InputError(f"is {what} {kind} with transparent pixels; a label holds one class index a pixel: save it "
                         "without transparency, or, if its opaque pixels are one class, make labels with "
                         "src/tools/import_data.py masks")
    if not (label[..., :1] == label[..., :3]).all():
        raise InputError(f"is {what} {kind} of colours; a label holds one class index a pixel: {advice}")
    return np.ascontiguousarray(label[..., 0])


def _imdecode(data: bytes, flags: int) -> np.ndarray:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error as error:
        raise InputError(f"cannot be decoded ({error.err}); restore it or scale it down") from error
    if image is None:
        raise InputError(why_not_image(data))
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


def _narrow(label: np.ndarray) -> np.ndarray:
    if label.max() > 255:
        raise InputError(f"is a 16-bit PNG with values up to {label.max()}; class indices lie in 0..255: {_MASKS}, "
                         "others have to be renumbered first")
    return label.astype(np.uint8)


def file_kind(data: bytes) -> str:
    """The format that the first bytes announce, or an empty string."""
    if data[4:8] == b"ftyp":
        return "AVIF" if data[8:12] in (b"avif", b"avis") else "HEIC" if data[8:12] in _HEIF_BRANDS else ""
    return next((kind for start, kind in _KINDS.items() if data.startswith(start)), "")


def why_not_image(data: bytes) -> str:
    """Why no decoder takes these bytes, and what to do."""
    kind = file_kind(data)
    if not data:
        return "is empty (0 bytes); restore the file"
    if kind in _NOT_READ:
        return f"is {_NOT_READ[kind]}, which is not read; convert it to PNG or JPEG"
    if kind:
        return f"is a damaged or truncated {kind} ({len(data)} bytes); restore the file"
    return f"is not an image ({len(data)} bytes, starting {data[:8]!r}); restore the file or leave it out"


def _why_not_label(data: bytes) -> str:
    kind = file_kind(data)
    if kind and kind != "PNG":
        return (f"is a {kind} file; a label is a PNG with one class index a pixel: save it as one, without loss; "
                f"{_MASKS}")
    return why_not_image(data)
