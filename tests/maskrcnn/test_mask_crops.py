"""Crops of masks in their box's frame."""
import numpy as np
import pytest

from src.maskrcnn.mask_crops import crop_mask

MASK = np.array([[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]], np.uint8)


def test_enlarged_crop_repeats_pixels():
    expected = [[255, 255, 255, 255], [255, 255, 255, 255], [255, 255, 0, 0], [255, 255, 0, 0]]
    assert crop_mask(MASK, np.array([1, 1, 3, 3]), 4).tolist() == expected


def test_reduced_crop_holds_shares():
    assert crop_mask(MASK, np.array([0, 0, 4, 4]), 2).tolist() == [[64, 64], [64, 0]]
    assert crop_mask(MASK, np.array([1, 1, 3, 3]), 1).tolist() == [[191]]


def test_box_between_pixels():
    assert crop_mask(MASK, np.array([0.5, 1, 2.5, 2]), 2).tolist() == [[128, 255], [128, 255]]


@pytest.mark.parametrize(("box", "expected"), [([-2, 1, 2, 3], [[0, 128], [0, 128]]), ([1, 1, 5, 2], [[255, 0]] * 2),
                                           ([8, 8, 9, 9], [[0, 0]] * 2)])
def test_what_lies_outside_the_image_is_empty(box, expected):
    assert crop_mask(MASK, np.array(box), 2).tolist() == expected


def test_dtype_and_bool_masks():
    crop = crop_mask(MASK.astype(bool), np.array([1, 1, 3, 3], np.float32), 3)
    assert crop.dtype == np.uint8
    assert crop.shape == (3, 3)
    assert crop[0, 0] == 255
    assert crop[1, 1] == 191
