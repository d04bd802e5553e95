import cv2
import numpy as np
import pytest

from src.contract import InputError
from src.deeplabv3.augmentation import TrainAugmentation
from src.deeplabv3.preprocess import Preprocess
from tests.tiny_seg import image, png

MEAN, STD = (123.0, 116.0, 103.0), (58.0, 57.0, 55.0)


def augmentation(**values) -> TrainAugmentation:
    preprocess = Preprocess(values.pop("colour_order", "RGB"), MEAN, STD)
    return TrainAugmentation(preprocess, **{"crop_size": 24, "min_scale": 1.0, "max_scale": 1.0, "num_classes": 255,
                                     "ignore_label": 255} | values)


def aligned(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A smooth image whose red channel is its label."""
    rows, columns = np.mgrid[:height, :width]
    label = (rows * 5 + columns * 4).astype(np.uint8)
    return np.dstack([label, rows.astype(np.uint8), columns.astype(np.uint8)]), label


def published(pixels, label, crop, rng, scales) -> tuple[np.ndarray, np.ndarray]:
    """The published order on whole images: scale, normalise, pad with 0 and 255, crop, mirror."""
    scale = rng.uniform(*scales)
    height, width = (int(scale * side) for side in label.shape)
    pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_CUBIC)
    label = cv2.resize(label, (width, height), interpolation=cv2.INTER_NEAREST)
    pixels = (pixels.astype(np.float64) - MEAN) / STD
    below, right = max(crop - height, 0), max(crop - width, 0)
    pixels = np.pad(pixels, ((0, below), (0, right), (0, 0)))
    label = np.pad(label, ((0, below), (0, right)), constant_values=255)
    top = rng.integers(0, pixels.shape[0] - crop, endpoint=True)
    left = rng.integers(0, pixels.shape[1] - crop, endpoint=True)
    pixels, label = pixels[top:top + crop, left:left + crop], label[top:top + crop, left:left + crop]
    if rng.random() < 0.5:
        pixels, label = pixels[:, ::-1], label[:, ::-1]
    return pixels.transpose(2, 0, 1).astype(np.float32), label.astype(np.int32)


@pytest.mark.parametrize(("height", "width"), [(40, 30), (16, 40), (10, 12), (1, 1)])
@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_published_augmentation(height, width, seed):
    pixels, label = image(seed, height, width), image(seed + 9, height, width)[..., 0] % 200
    scales = (1.0, 2.0)
    ours = augmentation(min_scale=1.0, max_scale=2.0)(png(pixels), png(label), np.random.default_rng(seed))
    theirs = published(pixels, label, 24, np.random.default_rng(seed), scales)
    np.testing.assert_allclose(ours[0], theirs[0], atol=1e-6)
    np.testing.assert_array_equal(ours[1], theirs[1])
    assert (ours[0].dtype, ours[1].dtype) == (np.float32, np.int32)
    assert ours[0].flags["C_CONTIGUOUS"]
    assert ours[1].flags["C_CONTIGUOUS"]


@pytest.mark.parametrize("seed", range(6))
def test_image_and_label_stay_aligned_through_scale_crop_and_flip(seed):
    pixels, label = aligned(30, 20)
    x, y = augmentation(min_scale=0.5, max_scale=2.0, crop_size=16)(png(pixels), png(label),
                                                                    np.random.default_rng(seed))
    red = x[0] * STD[0] + MEAN[0]
    inside = y != 255
    assert inside.any()
    assert np.abs(red - y)[inside].max() < 12
    assert (x[:, ~inside] == 0).all()


def test_half_of_the_samples_are_mirrored_and_scales_are_spread():
    pixels, label = aligned(24, 24)
    ramps = [augmentation()(png(pixels), png(label), np.random.default_rng(s))[1][0] for s in range(200)]
    assert 80 < sum(row[0] > row[-1] for row in ramps) < 120


def test_bgr_weights_get_bgr_with_their_own_mean():
    pixels = np.full((24, 24, 3), (10, 20, 30), np.uint8)
    x, _ = augmentation(colour_order="BGR")(png(pixels), png(pixels[..., 0]), np.random.default_rng(0))
    np.testing.assert_allclose(x[:, 3, 3], [(30 - 123) / 58, (20 - 116) / 57, (10 - 103) / 55], rtol=1e-6)


def test_serving_fits_the_long_side_and_pads_at_the_bottom_and_right():
    preprocess = Preprocess("RGB", (0, 0, 0), (1, 1, 1))
    x, size = preprocess.fit(np.full((10, 20, 3), 7, np.uint8), 40)
    assert (x.shape, size) == ((3, 40, 40), (20, 40))
    assert (x[:, :20] == 7).all()
    assert (x[:, 20:] == 0).all()


def test_wrong_labels_are_named():
    pixels = image(0, 30, 20)
    with pytest.raises(InputError, match="image is 30x20 .*, its label 20x30"):
        augmentation()(png(pixels), png(np.zeros((20, 30), np.uint8)), np.random.default_rng(0))
    with pytest.raises(InputError, match="values 21, but classes are 0..20 and 255 is ignored"):
        augmentation(num_classes=21)(png(pixels), png(np.full((30, 20), 21, np.uint8)), np.random.default_rng(0))
    augmentation(num_classes=21)(png(pixels), png(np.full((30, 20), 255, np.uint8)), np.random.default_rng(0))
