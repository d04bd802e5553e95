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


def test_colours_of_literal_pixels():
    pixel = np.array([[[100, 50, 200]]], np.uint8)  # gray: 0.299 * 100 + 0.587 * 50 + 0.114 * 200 = 82
    assert image_ops.coloured(pixel).tolist() == pixel.tolist()
    assert image_ops.coloured(pixel, brightness=1.5)[0, 0].tolist() == [150, 75, 255]
    assert image_ops.coloured(pixel, contrast=0.5)[0, 0].tolist() == [91, 66, 141]
    assert image_ops.coloured(pixel, saturation=0.0)[0, 0].tolist() == [82, 82, 82]
    red = np.array([[[255, 0, 0]]], np.uint8)
    for third, expected in ((1 / 3, (0, 255, 0)), (-1 / 3, (0, 0, 255))):
        turned = image_ops.coloured(red, hue=third)[0, 0]
        assert np.abs(turned.astype(int) - expected).max() <= 6  # the circle has 256 steps


def test_rotation_by_a_quarter_is_exact():
    label = np.arange(25, dtype=np.uint8).reshape(5, 5)
    np.testing.assert_array_equal(image_ops.rotated(label, 90, "nearest", 255), np.rot90(label, -1))
    assert (image_ops.rotated(label, 45, "nearest", 255)[0, [0, 4]] == 255).all()


def test_blur_keeps_the_mean_and_spreads_by_sigma():
    image = np.zeros((41, 41, 3), np.uint8)
    image[20, 20] = 255
    out = image_ops.blurred(image, 2.0).astype(float)
    spread = np.sqrt((out[..., 0].sum(0) * (np.arange(41) - 20.0) ** 2).sum() / out[..., 0].sum())
    assert spread == pytest.approx(2.0, abs=0.25)
    np.testing.assert_array_equal(image_ops.blurred(image, 0.0), image)


@pytest.mark.parametrize(("size", "crop", "point"), [((50, 40), (10, 10), (0, 39)), ((50, 40), (10, 10), (25, 20)),
                                                     ((5, 40), (10, 10), (4, 3)), ((5, 6), (10, 10), (2, 5))])
def test_a_window_around_a_point_holds_it_and_stays_inside(size, crop, point):
    for seed in range(30):
        window = image_ops.window_around(size, crop, point, np.random.default_rng(seed))
        for part, side, length, at in zip(window, size, crop, point):
            assert part.start >= 0
            assert part.stop - part.start == length
            assert part.start <= at < part.stop
            assert part.stop <= side or side < length
