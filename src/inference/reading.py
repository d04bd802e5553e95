"""Kinds of picture files, and readers for those that the project's decoder does not read: HEIC, AVIF, GIF."""
from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from src.contract import InputError
from src.data.decode import file_kind

IMAGES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".gif", ".heic", ".heif",
          ".hif", ".avif", ".jp2", ".ppm", ".pgm", ".pbm", ".pnm")
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v")
# Pictures of other kinds: in a folder they are reported instead of passed over.
UNREADABLE = (".arw", ".cr2", ".cr3", ".crw", ".dng", ".erf", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2",
              ".srw", ".jxl", ".psd", ".psb", ".xcf", ".svg", ".eps", ".ai", ".exr", ".hdr", ".tga", ".ico", ".icns",
              ".wmf", ".emf", ".dcm")
_OTHERS = ("HEIC", "AVIF", "GIF")


def read_image(path: str | Path) -> bytes:
    """The bytes of an image file, those of HEIC, AVIF and GIF (its first frame) as a BMP file.

    Raises:
        InputError: of these kinds, a file that is damaged or cannot be read here.
        OSError: the file cannot be read.
    """
    data = Path(path).read_bytes()
    kind = file_kind(data)
    return _as_bmp(data, kind) if kind in _OTHERS else data


def _as_bmp(data: bytes, kind: str) -> bytes:
    if kind == "HEIC":
        _register_heif()
    try:
        with Image.open(io.BytesIO(data)) as image:
            pixels = np.asarray(image.convert("RGB"))
    except UnidentifiedImageError as error:  # its text is a memory address
        raise InputError(f"is a damaged {kind} file ({len(data)} bytes); restore it, or convert it to PNG or JPEG"
                         ) from error
    except (OSError, ValueError, SyntaxError, RuntimeError, Image.DecompressionBombError) as error:
        raise InputError(f"is a damaged {kind} file ({error}); restore it, or convert it to PNG or JPEG") from error
    return cv2.imencode(".bmp", pixels[..., ::-1])[1].tobytes()


def _register_heif() -> None:
    try:
        import pi_heif
    except ImportError as error:
        raise InputError(f"is a HEIC file, and the package pi-heif cannot be loaded ({error}): pip install pi-heif, or "
                         "convert the file to JPEG") from error
    pi_heif.register_heif_opener()
