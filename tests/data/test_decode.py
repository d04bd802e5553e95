"""Compressed bytes to pixels: orders, bit depths, palettes, and what damaged files say."""
import io

import numpy as np
import pytest
from PIL import Image

from src.contract import InputError
from src.data.decode import decode_image, decode_label, header_size, image_size
from tests.tiny_seg import image, jpeg, png, raw_png

RED_BLUE = np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8)
INDICES = np.array([[0, 1, 2], [3, 20, 255]], np.uint8)


def saved(picture: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def test_image_is_rgb():
    assert decode_image(png(RED_BLUE)).tolist() == [[[255, 0, 0], [0, 0, 255]]]


def test_gray_image_gets_three_equal_channels():
    assert decode_image(png(np.array([[7]], np.uint8))).tolist() == [[[7, 7, 7]]]


def test_sixteen_bit_image_keeps_the_upper_byte():
    assert decode_image(png(np.array([[0x1234]], np.uint16))).tolist() == [[[0x12] * 3]]


def test_alpha_is_dropped():
    rgba = Image.fromarray(np.array([[[1, 2, 3, 0]]], np.uint8), "RGBA")
    assert decode_image(saved(rgba, "PNG")).tolist() == [[[1, 2, 3]]]


def test_exif_orientation_is_ignored():
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    data = saved(Image.fromarray(np.zeros((4, 9, 3), np.uint8)), "JPEG", exif=exif)
    assert decode_image(data).shape == (4, 9, 3)
    assert image_size(data) == (4, 9)
    assert header_size(data) == (4, 9)


def test_gray_label():
    assert decode_label(png(INDICES)).tolist() == INDICES.tolist()


def test_palette_label_gives_indices_not_luminance():
    picture = Image.fromarray(INDICES, "P")
    picture.putpalette([200, 100, 50] * 256)
    assert decode_label(saved(picture, "PNG")).tolist() == INDICES.tolist()


def test_palette_label_of_four_bits():
    data = raw_png([bytes([0x01, 0x2F])], 4, 4, 3, palette=bytes(range(48)))
    assert decode_label(data).tolist() == [[0, 1, 2, 15]]


@pytest.mark.parametrize(("row", "width", "depth", "expected"), [
    (bytes([0b01100000]), 3, 1, [0, 1, 1]),
    (bytes([0b00011011]), 4, 2, [0, 1, 2, 3]),
    (bytes([0x01, 0x2F]), 4, 4, [0, 1, 2, 15]),
])
def test_gray_label_of_few_bits_is_not_stretched(row, width, depth, expected):
    assert decode_label(raw_png([row], width, depth, 0)).tolist() == [expected]


def test_sixteen_bit_label_with_small_values():
    assert decode_label(png(INDICES.astype(np.uint16))).tolist() == INDICES.tolist()


@pytest.mark.parametrize(("data", "words"), [
    (png(image(0)), "RGB PNG.*get_dataset_lst"),
    (saved(Image.fromarray(np.zeros((2, 2, 4), np.uint8), "RGBA"), "PNG"), "RGBA PNG"),
    (saved(Image.fromarray(np.zeros((2, 2, 2), np.uint8), "LA"), "PNG"), "gray . alpha PNG"),
    (png(np.full((2, 2), 256, np.uint16)), "values up to 256"),
    (jpeg(np.zeros((8, 8, 3), np.uint8)), "JPEG file.*a label is a PNG"),
    (b"", "empty"),
    (b"hello", "not an image"),
    (png(INDICES)[:-20], "truncated"),
    (saved(Image.fromarray(image(0)[..., 0], "P"), "PNG")[:-30], "truncated"),
    (png(INDICES)[:30], "truncated PNG"),
    (saved(Image.fromarray(image(0)[..., 0], "P"), "PNG")[:60], "truncated PNG"),
    (saved(Image.fromarray(image(0)[..., 0], "P"), "PNG")[:-12], "truncated PNG"),
])
def test_what_is_no_label(data, words):
    with pytest.raises(InputError, match=words):
        decode_label(data)


@pytest.mark.parametrize("progressive", [0, 1])
@pytest.mark.parametrize("left", [0.01, 0.3, 0.7, 0.99, -2])
def test_truncated_jpeg_is_refused_wherever_it_was_cut(left, progressive):
    import cv2
    data = jpeg(image(0, 40, 50), cv2.IMWRITE_JPEG_PROGRESSIVE, progressive)
    cut = data[:left] if left < 0 else data[:int(len(data) * left)]
    for decode in (decode_image, image_size):
        with pytest.raises(InputError, match="is a damaged or truncated JPEG"):
            decode(cut)


@pytest.mark.parametrize(("data", "words"), [
    (b"", "is empty"),
    (b"<html>", "not an image.*<html>"),
    (png(image(0))[:-30], "truncated PNG"),
    (saved(Image.fromarray(image(0)), "GIF"), "GIF.*convert"),
    (raw_png([b"\0"] * (1 << 12), 1 << 19, 8, 0), "cannot be decoded .pixels <="),
])
def test_what_is_no_image(data, words):
    with pytest.raises(InputError, match=words):
        decode_image(data)


def test_header_size_of_no_image():
    with pytest.raises(InputError, match="not an image"):
        header_size(b"text")
