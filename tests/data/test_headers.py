"""Headers of image files: what decoding gives, without decoding."""
import io

import cv2
import numpy as np
import pytest
from PIL import Image

from src.contract import InputError
from src.data.decode import Decoding, decode_image
from src.data.headers import read_header


def saved(kind: str, mode: str = "RGB", orientation: int = 1, **options) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = io.BytesIO()
    Image.new(mode, (24, 10)).save(data, kind, exif=exif, **options) if orientation != 1 else \
        Image.new(mode, (24, 10)).save(data, kind, **options)
    return data.getvalue()


@pytest.mark.parametrize(("data", "kind", "channels", "bits"), [
    (saved("JPEG"), "JPEG", "colour", 8), (saved("JPEG", "L"), "JPEG", "gray", 8),
    (saved("JPEG", "CMYK"), "JPEG", "CMYK", 8), (saved("PNG", "RGBA"), "PNG", "colour with alpha", 8),
    (saved("PNG", "1"), "PNG", "black and white", 1), (saved("PNG", "P"), "PNG", "palette", 1),
    (saved("PNG", "I;16"), "PNG", "gray", 16), (saved("TIFF", "F"), "TIFF", "gray", 0),
    (saved("TIFF", "I;16"), "TIFF", "gray", 16), (saved("BMP"), "BMP", "colour", 8),
    (saved("WEBP"), "WEBP", "colour", 8),
    (cv2.imencode(".png", np.zeros((10, 24, 3), np.uint16))[1].tobytes(), "PNG", "colour", 16)],
    ids=lambda value: "" if isinstance(value, bytes) else str(value))
def test_kind_size_channels_and_bits(data, kind, channels, bits):
    header = read_header(io.BytesIO(data))
    assert (header.kind, header.size, header.channels, header.bits) == (kind, (10, 24), channels, bits)
    assert header.orientation == 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("exif", ["turn", "raw"])
def test_the_size_is_that_of_the_decoded_image(kind, exif):
    data = saved(kind, orientation=6)
    header = read_header(io.BytesIO(data), Decoding(exif=exif))
    assert header.size == decode_image(data, Decoding(exif=exif)).shape[:2]
    assert header.orientation == 6


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int32, np.uint32, np.float32])
def test_samples_that_decoding_refuses_are_refused_by_the_header(dtype):
    data = io.BytesIO()
    pixels = np.arange(96, dtype=dtype).reshape(8, 12)
    tags = {258: np.dtype(dtype).itemsize * 8, 339: {"u": 1, "i": 2, "f": 3}[np.dtype(dtype).kind]}
    Image.frombytes({1: "L", 2: "I;16", 4: "F" if dtype is np.float32 else "I"}[pixels.itemsize], (12, 8),
                    pixels.tobytes()).save(data, "TIFF", tiffinfo=tags)
    try:
        decode_image(data.getvalue())
        refusal = ""
    except InputError as error:
        refusal = str(error)
    assert bool(refusal) == (dtype not in (np.uint8, np.uint16))
    assert read_header(data).fault == refusal


def test_only_the_start_of_a_file_is_read():
    data = saved("JPEG") + bytes(1 << 20)
    file = io.BytesIO(data)
    read_header(file)
    assert file.tell() < 1 << 16


@pytest.mark.parametrize("data", [b"", b"text", saved("PNG")[:20], saved("JPEG")[:12], b"GIF8"], ids=len)
def test_no_header(data):
    with pytest.raises(InputError):
        read_header(io.BytesIO(data))
