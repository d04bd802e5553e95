import numpy as np
import pytest

from src.data import image_ops


def test_nearest_keeps_label_values():
    label = np.array([[0, 255], [7, 3]], np.uint8)
    assert image_ops.resize(label, (4, 4), "nearest").tolist() == [
        [0, 0, 255, 255], [0, 0, 255, 255], [7, 7, 3, 3], [7, 7, 3, 3]]


def test_bilinear_samples_at_pixel_centres():
    row = np.array([[0, 100]], np.float32)
    assert image_ops.resize(row, (1, 4), "bilinear").tolist() == [[0, 25, 75, 100]]


def test_sizes_are_height_and_width():
    assert image_ops.resize(np.zeros((3, 5, 3), np.uint8), (7, 2), "bicubic").shape == (7, 2, 3)


@pytest.mark.parametrize(("size", "expected"), [
    ((375, 500), (384, 513)), ((500, 375), (513, 384)), ((513, 513), (513, 513)), ((1, 1000), (1, 513)),
    ((1000, 1), (513, 1)), ((2, 2), (513, 513))])
def test_long_side_is_fitted_and_the_short_one_rounded_down_but_not_to_nothing(size, expected):
    assert image_ops.fit_long_side(size, 513) == expected


def test_normalised_image_stands_at_the_top_of_zeros():
    image = np.array([[[10, 20, 30], [20, 20, 20]]], np.uint8)
    out = image_ops.normalise(image, (10, 10, 10), (1, 2, 4), (2, 3))
    assert out.dtype == np.float32
    assert out.tolist() == [[[0, 10, 0], [0, 0, 0]], [[5, 5, 0], [0, 0, 0]], [[5, 2.5, 0], [0, 0, 0]]]
    assert image_ops.normalise(image, (10, 10, 10), (1, 2, 4), (2, 3), left=1)[0].tolist() == [[0, 0, 10], [0, 0, 0]]


def test_mean_and_std_are_in_the_colour_order_of_the_output():
    image = np.array([[[10, 20, 30]]], np.uint8)
    out = image_ops.normalise(image, (1, 2, 3), (1, 1, 2), (1, 1), colour_order="BGR")
    assert out.ravel().tolist() == [29, 18, 3.5]


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (5, 3)])
def test_every_size_is_written_into_the_canvas(size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    out = image_ops.normalise(image, (0, 0, 0), (1, 1, 1), (7, 7), left=0)
    np.testing.assert_array_equal(out[:, : size[0], : size[1]], image.transpose(2, 0, 1))
    assert out.sum() == image.sum()


def test_mirrored_images_and_labels_are_contiguous():
    out = image_ops.mirrored(np.array([[1, 2, 3]], np.uint8))
    assert out.tolist() == [[3, 2, 1]]
    assert out.flags["C_CONTIGUOUS"]
    assert image_ops.mirrored(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)).tolist() == [[[4, 5, 6], [1, 2, 3]]]


def test_window_reaches_every_place_and_no_other():
    rng = np.random.default_rng(0)
    windows = [image_ops.random_window((5, 9), (3, 9), rng) for _ in range(200)]
    assert {(w[0].start, w[0].stop) for w in windows} == {(0, 3), (1, 4), (2, 5)}
    assert {(w[1].start, w[1].stop) for w in windows} == {(0, 9)}


def test_window_of_a_smaller_image_is_all_of_it():
    window = image_ops.random_window((2, 4), (3, 3), np.random.default_rng(0))
    assert np.zeros((2, 4))[window].shape == (2, 3)


def test_padding_goes_to_the_bottom_and_right():
    assert image_ops.pad_to(np.array([[1, 2]], np.uint8), (2, 3), 255).tolist() == [[1, 2, 255], [255, 255, 255]]
