"""Targets as bytes, and masks as run-length encodings and crops."""
import contextlib

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from src.contract import InputError
from src.data.instance.coco_check import checked_encoding
from src.data.instance.target import (
    Category,
    are_encodings,
    class_names,
    compress,
    decode_target,
    encode_categories,
    encode_instances,
    encode_target,
    mask_crop,
    mask_window,
    run_lengths,
    to_rle,
)
from tests.tiny_coco import POLYGON, RUNS

SIZE = (24, 32)
RECTANGLE = np.zeros(SIZE, np.uint8)
RECTANGLE[6:11, 4:12] = 1
ENCODED = coco_mask.encode(np.asfortranarray(RECTANGLE))["counts"].decode()


def test_target_comes_back_as_it_was():
    instance = {"id": 5, "label": 2, "category_id": 9, "bbox": [1.25, 2, 3, 40], "area": 1, "iscrowd": 1}
    categories = (Category(1, 4, "kæt"), Category(2, 9, "dog"))
    data = encode_target(77, SIZE, encode_categories(categories), encode_instances([instance]))
    target = decode_target(data)
    assert (target.image_id, target.size, target.categories, target.instances) == (77, SIZE, categories, [instance])
    np.testing.assert_array_equal(target.boxes_image, [[1.25, 2, 4.25, 24]])  # clipped at the lower border
    assert target.labels.tolist() == [2]
    assert target.crowds.tolist() == [True]


def test_target_without_instances_has_arrays_of_the_right_shape():
    target = decode_target(encode_target(1, SIZE, "[]", "[]"))
    assert target.boxes_image.shape == (0, 4)
    assert target.labels.shape == target.crowds.shape == (0,)


@pytest.mark.parametrize("data", [b"\x89PNG", b"[1]", b"{}", b""])
def test_other_bytes_are_no_target(data):
    with pytest.raises(InputError, match="build_coco_data"):
        decode_target(data)


def test_names_of_indices_without_a_category():
    assert class_names((Category(1, 1, "a"), Category(3, 3, "b"))) == ("background", "a", "class_2", "b")


def test_run_lengths_of_a_rectangle():
    assert run_lengths(ENCODED).tolist() == RUNS
    assert compress(RUNS, SIZE) == {"size": [24, 32], "counts": ENCODED}


def test_run_lengths_of_random_masks():
    rng = np.random.default_rng(0)
    for density in (0.02, 0.5, 0.98, 0.0, 1.0):
        mask = (rng.random((61, 47)) < density).astype(np.uint8, order="F")
        runs = run_lengths(coco_mask.encode(mask)["counts"].decode())
        np.testing.assert_array_equal(np.repeat(np.arange(len(runs)) % 2, runs), mask.ravel(order="F"))


def encoding(rng: np.random.Generator) -> tuple[str, tuple[int, int]]:
    """The text of a random mask, or one with other characters in it, and the mask's size."""
    size = tuple(rng.integers(1, 40, 2).tolist())
    mask = np.asfortranarray(rng.random(size) < rng.random(), np.uint8)
    text = list(coco_mask.encode(mask)["counts"].decode())
    for _ in range(rng.integers(0, 3)):
        text[rng.integers(len(text))] = rng.choice(["", "0", "1", "O", "P", "o", "oo", "~", " ", "é", "PPPPPPP1"])
    return "".join(text), size


def test_many_encodings_are_checked_as_each_is():
    rng = np.random.default_rng(5)
    texts, sizes = zip(*(encoding(rng) for _ in range(1500)))
    found = are_encodings(texts, np.prod(sizes, 1))
    assert 300 < found.sum() < 1200
    for text, size, good in zip(texts, sizes, found):
        with contextlib.nullcontext() if good else pytest.raises(InputError):
            checked_encoding({"size": list(size), "counts": text}, size)
    assert are_encodings([], np.zeros(0, int)).tolist() == []


@pytest.mark.parametrize("counts", ["", "n", "Zz", "\x10", "é", "oooooooooooo0"])
def test_text_that_is_no_encoding(counts):
    with pytest.raises(InputError, match="no run-length encoding"):
        run_lengths(counts)


@pytest.mark.parametrize("segmentation", [POLYGON, {"size": [24, 32], "counts": ENCODED}])
@pytest.mark.parametrize("window", [(0, 0, 32, 24), (4, 6, 12, 11), (2, 8, 30, 9), (12, 0, 13, 24)])
def test_window_is_that_part_of_the_mask(segmentation, window):
    left, top, right, bottom = window
    np.testing.assert_array_equal(mask_window(segmentation, SIZE, window), RECTANGLE[top:bottom, left:right])


def test_several_polygons_are_one_mask():
    both = [*POLYGON, [20, 20, 22, 20, 22, 22, 20, 22]]
    expected = RECTANGLE.copy()
    expected[20:22, 20:22] = 1
    np.testing.assert_array_equal(coco_mask.decode(to_rle(both, SIZE)), expected)


def test_crop_literal():
    """A box of 4 x 2 pixels from (4, 6), of which the mask covers the left 3 columns, in 2 x 2 cells."""
    mask = np.zeros((8, 10), np.uint8, order="F")
    mask[6:8, 4:7] = 1
    rle = {"size": [8, 10], "counts": coco_mask.encode(mask)["counts"].decode()}
    crop = mask_crop(rle, (8, 10), np.array([4, 6, 8, 8], np.float32), 2)
    assert crop.tolist() == [[255, 128], [255, 128]]


def test_crop_edges_inside_pixels():
    """The box starts half a pixel into an empty column: the first of 3 cells, 1 pixel wide, is covered by a half."""
    mask = np.zeros((4, 6), np.uint8, order="F")
    mask[:, 2:4] = 1
    rle = {"size": [4, 6], "counts": coco_mask.encode(mask)["counts"].decode()}
    crop = mask_crop(rle, (4, 6), np.array([1.5, 0, 4.5, 4], np.float32), 3)
    assert crop.tolist() == [[128, 255, 128]] * 3


def test_a_crop_finer_than_the_pixels_keeps_their_edges():
    crop = mask_crop(POLYGON, SIZE, np.array([2, 6, 14, 11], np.float32), 60)
    expected = np.zeros((60, 60), np.uint8)
    expected[:, 10:50] = 255
    np.testing.assert_array_equal(crop, expected)
