"""Image files as cameras, phones and microscopes write them: orientation, bit depths and kinds of samples."""
import io
import json
import warnings

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from src.contract import InputError
from src.data.checks import warn_of_dark_images
from src.data.decode import Decoding, decode_image, exif_hint, header_size, image_size, orientation, sample_range
from src.data.instance.coco import CocoDataset
from src.data.instance.coco_check import RecordCheck as InstanceCheck
from src.data.instance.target import decode_target
from src.data.pipeline import augmented_batch
from src.data.semantic.voc import ListDataset
from src.data.semantic.voc import RecordCheck as LabelCheck
from src.deeplabv3.augmentation import TrainAugmentation
from src.deeplabv3.preprocess import Preprocess
from tests.data.test_decode import saved
from tests.tiny_coco import annotation
from tests.tiny_seg import Memory, png, raw_png, record

TURN = Decoding("turn")
PICTURE = np.zeros((16, 24, 3), np.uint8)  # a red corner, upper left, in a gray picture
PICTURE[:] = 90
PICTURE[:8, :8] = 250, 0, 0
AT = {1: (4, 4), 2: (4, 20), 3: (12, 20), 4: (12, 4), 5: (4, 4), 6: (4, 12), 7: (20, 12), 8: (20, 4)}  # upright


def photo(tag: int, kind: str = "JPEG", picture: np.ndarray = PICTURE) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = tag
    return saved(Image.fromarray(picture), kind, exif=exif)


@pytest.mark.parametrize("tag", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_turned_images_are_upright_and_raw_ones_are_not(kind, tag):
    data = photo(tag, kind)
    turned, raw = decode_image(data, TURN), decode_image(data)
    assert turned.shape[:2] == image_size(data, TURN) == header_size(data, TURN) == \
        ImageOps.exif_transpose(Image.open(io.BytesIO(data))).size[::-1]
    assert raw.shape[:2] == image_size(data) == header_size(data) == (16, 24)
    y, x = AT[tag]
    assert np.abs(turned[y, x].astype(int) - [250, 0, 0]).max() < 12
    assert np.abs(raw[4, 4].astype(int) - [250, 0, 0]).max() < 12
    assert orientation(data) == tag
    assert ("EXIF orientation" in exif_hint(data)) == (tag != 1)


def test_sizes_of_a_tiff_are_those_that_it_is_decoded_to():
    for how in (TURN, Decoding()):
        assert decode_image(photo(6, "TIFF"), how).shape[:2] == header_size(photo(6, "TIFF"), how) == (24, 16)


def test_an_orientation_behind_the_pixels_of_a_png_turns_it():
    data = photo(6, "PNG")
    at = data.index(b"eXIf") - 4
    chunk = data[at:at + 12 + int.from_bytes(data[at:at + 4], "big")]
    late = data.replace(chunk, b"")[:-12] + chunk + data[-12:]
    assert orientation(late) == 6
    assert decode_image(late, TURN).shape[:2] == header_size(late, TURN) == (24, 16)


def test_an_orientation_of_xmp_alone_turns_nothing():
    """OpenCV and browsers do not regard it, Pillow does."""
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    data = saved(Image.fromarray(PICTURE), "JPEG", xmp=xmp)
    assert Image.open(io.BytesIO(data)).getexif()[0x0112] == 6
    assert orientation(data) == 1
    assert decode_image(data, TURN).shape[:2] == header_size(data, TURN) == (16, 24)


@pytest.mark.parametrize(("start", "kind"), [(b"GIF89a", "a GIF"), (b"\0\0\0\x18ftypheic", "a HEIC file"),
                                             (b"\0\0\0 ftypavif", "an AVIF file")])
def test_kinds_that_training_does_not_read_are_named(start, kind):
    with pytest.raises(InputError, match=f"is {kind}, which is not read; convert it to PNG or JPEG"):
        decode_image(start + bytes(40))


def test_a_damaged_tag_is_none():
    assert orientation(photo(9)) == orientation(b"") == orientation(b"\xff\xd8\xff\xe1\x00\x10Exif\0\0II*\0") == 1


@pytest.mark.parametrize("tag", [3, 6])
def test_deeplab_trains_on_the_upright_picture_under_an_upright_label(tmp_path, tag):
    size = (24, 16) if tag == 6 else (16, 24)
    label = np.zeros(size, np.uint8)
    label[AT[tag][0] - 3:AT[tag][0] + 3, AT[tag][1] - 3:AT[tag][1] + 3] = 1
    (tmp_path / "a.jpg").write_bytes(photo(tag))
    (tmp_path / "a.png").write_bytes(png(label))
    (tmp_path / "list.txt").write_text("a.jpg a.png\n")
    dataset = ListDataset(tmp_path, tmp_path / "list.txt")

    def red_under_the_label(how: Decoding) -> float:
        augmentation = TrainAugmentation(Preprocess("RGB", (0, 0, 0), (1, 1, 1), how), crop_size=33, min_scale=1,
                                         max_scale=1, num_classes=2, ignore_label=255)
        pixels, truth, *_ = augmented_batch(dataset, [0], 0, augmentation=augmentation, seed=1)
        return float(pixels[0, 0][truth[0] == 1].mean())

    assert red_under_the_label(TURN) > 200
    if tag == 3:  # passes every check of sizes
        assert red_under_the_label(Decoding()) < 120
    row = next(iter(dataset.rows([0])))
    for level in ("full", "size"):
        assert LabelCheck(2, 255, level, TURN)(row) == ({0: 348, 1: 36} if level == "full" else {})
        if tag == 6:
            with pytest.raises(InputError, match="image is 16x24 .*, its label 24x16; .*EXIF orientation 6.*exif=turn"):
                LabelCheck(2, 255, level)(row)


def one_photo(root, tag: int, size, box) -> CocoDataset:
    (root / "a.jpg").write_bytes(photo(tag))
    image = {"id": 10, "file_name": "a.jpg"} | ({"height": size[0], "width": size[1]} if size else {})
    (root / "a.json").write_text(json.dumps({
        "images": [image], "categories": [{"id": 3, "name": "dog"}],
        "annotations": [annotation(1, 10, bbox=box, segmentation=None)]}))
    return CocoDataset(root / "a.json", root, how=TURN)


def test_sizes_and_boxes_of_annotations_that_do_not_fit_name_the_orientation(tmp_path):
    row = next(iter(one_photo(tmp_path, 6, (24, 16), [2, 2, 8, 8]).rows([0])))
    for level in ("full", "size"):
        assert InstanceCheck(level, TURN)(row) == {1: 1}
        with pytest.raises(InputError, match="the image is 16x24 .* says 24x16; .*EXIF orientation 6"):
            InstanceCheck(level)(row)
    with pytest.raises(InputError, match="lies outside its image of 24x16 .*EXIF orientation 6"):
        one_photo(tmp_path, 6, (16, 24), [4, 15, 8, 8])


def test_missing_sizes_are_those_of_the_upright_picture(tmp_path):
    dataset = one_photo(tmp_path, 6, None, [2, 2, 8, 8])
    assert decode_target(next(iter(dataset.rows([0]))).target).size == (24, 16)


# --- samples ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("array", "words"), [
    (np.linspace(0, 1, 96, dtype=np.float32).reshape(8, 12), "has samples of floats of 32 bits; scale them"),
    (np.arange(96, dtype=np.int32).reshape(8, 12), "has samples of integers of 32 bits; scale them")])
def test_samples_that_would_decode_to_garbage_are_refused_by_what_they_are(array, words):
    data = saved(Image.fromarray(array), "TIFF")
    for decode in (decode_image, image_size):
        with pytest.raises(InputError, match=words):
            decode(data)


def test_signed_samples_are_refused():
    """Those of computed tomography: air has -1000."""
    data = cv2.imencode(".tiff", np.full((8, 12), -1000, np.int16))[1].tobytes()
    with pytest.raises(InputError, match="has samples of signed integers of 16 bits; scale them"):
        decode_image(data)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_twelve_bits_in_sixteen(kind):
    array = np.linspace(0, 4095, 96).astype(np.uint16).reshape(8, 12)
    data = png(array) if kind == "PNG" else saved(Image.fromarray(array), kind)
    assert decode_image(data).max() == 15
    found = decode_image(data, Decoding(bit_depth=12))
    assert found[..., 0].tolist() == (array >> 4).tolist()
    assert sample_range(data) == (0, 4095)


def test_samples_above_the_depth_are_white_and_8_bits_stay():
    assert decode_image(png(np.full((2, 2), 5000, np.uint16)), Decoding(bit_depth=12)).min() == 255
    assert decode_image(png(PICTURE), Decoding(bit_depth=12)).tolist() == PICTURE.tolist()
    assert sample_range(png(PICTURE)) is None


@pytest.mark.parametrize("kind", ["gray", "colour"])
def test_float_tiffs_of_any_number_of_channels(kind):
    array = np.linspace(0, 1, 8 * 12 * 3, dtype=np.float32).reshape(8, 12, 3)
    data = cv2.imencode(".tiff", array if kind == "colour" else array[..., 0])[1].tobytes()
    with pytest.raises(InputError, match="has samples of floats of 32 bits"):
        decode_image(data)


@pytest.mark.parametrize(("depth", "top", "warned"), [(16, 4095, 12), (16, 1000, 10), (12, 4095, 0), (16, 40000, 0)])
def test_images_that_come_out_nearly_black_are_warned_of(caplog, depth, top, warned):
    rows = [record(n, png(np.full((4, 4), value, np.uint16))) for n, value in enumerate((7, top))]
    warn_of_dark_images(Memory([*rows, record(9, png(PICTURE)), record(10, b"text")]), depth)
    expected = f"are 7..{top} in the 2 that were looked at, and come out nearly black: give --bit_depth={warned}"
    assert (expected in caplog.text) == bool(warned) == bool(caplog.records)


def test_an_image_above_pillows_limit_is_sound_and_max_pixels_guards_the_memory():
    side = 14_000  # Pillow takes 89 million pixels without a warning, and twice that at all
    data = raw_png([bytes(side // 8)] * side, side, 1, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert header_size(data) == (side, side)
    for decode in (decode_image, image_size):
        with pytest.raises(InputError, match="14000 x 14000 = 196000000 pixels, above --max_pixels=1000000"):
            decode(data, Decoding(max_pixels=10 ** 6))
    assert image_size(data, Decoding(max_pixels=2 ** 28)) == (side, side)
