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


# --- what is off by default -------------------------------------------------------------------------------------------

ALL = {"rotation": 20.0, "rare_class_crops": 0.5, "colour_jitter": (0.4, 0.4, 0.4, 0.1), "blur": 1.5,
       "rarity": np.ones(256)}


@pytest.mark.parametrize("name", ["rotation", "rare_class_crops", "colour_jitter", "blur"])
def test_every_option_is_a_pure_function_of_the_sample_s_generator_and_changes_what_it_is_for(name):
    pixels, label = png(image(3, 60, 50)), png(image(5, 60, 50)[..., 0] % 3)
    options = {key: ALL[key] for key in (name, "rarity")}
    plain = augmentation()
    changed = augmentation(**options)
    different = []
    for seed in range(12):
        first, again = (changed(pixels, label, np.random.default_rng(seed)) for _ in range(2))
        np.testing.assert_array_equal(first[0], again[0])
        np.testing.assert_array_equal(first[1], again[1])
        assert (first[0].shape, first[1].shape) == ((3, 24, 24), (24, 24))
        before = plain(pixels, label, np.random.default_rng(seed))
        different.append(not np.array_equal(first[0], before[0]))
        if name in ("colour_jitter", "blur"):  # no geometry
            np.testing.assert_array_equal(first[1], before[1])
    assert sum(different) >= 3


def test_off_is_the_published_augmentation_to_the_last_bit():
    pixels, label = png(image(3, 60, 50)), png(image(5, 60, 50)[..., 0] % 3)
    off = augmentation(rotation=0.0, rare_class_crops=0.0, colour_jitter=(), blur=0.0, rarity=np.ones(256))
    for seed in range(5):
        for ours, theirs in zip(*(a(pixels, label, np.random.default_rng(seed)) for a in (off, augmentation()))):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_rotation_keeps_image_and_label_aligned_and_ignores_the_corners(order):
    pixels, label = aligned(24, 30)
    turn = augmentation(rotation=40.0, crop_size=30, colour_order=order)
    channel, seen = order.index("R"), 0
    for seed in range(8):
        x, y = turn(png(pixels), png(label), np.random.default_rng(seed))
        red = x[channel] * STD[channel] + MEAN[channel]
        inside = cv2.erode((y != 255).astype(np.uint8), np.ones((5, 5)), borderValue=0) > 0
        assert np.abs(red - y)[inside].max() < 12
        corner = cv2.erode((y == 255).astype(np.uint8), np.ones((5, 5)), borderValue=1) > 0
        assert np.abs(x[:, corner]).max(initial=0) < 0.02  # the mean colour
        seen += corner.sum()
    assert seen > 50


def test_crops_hold_the_rare_class_as_often_as_asked():
    """A single pixel of class 1 in 100 x 100: a crop of 10 x 10 has it in 1 of 100 at random."""
    label = np.zeros((100, 100), np.uint8)
    label[70, 20] = 1
    weights = np.zeros(256)
    weights[1] = 1.0
    counts = []
    for fraction in (0.0, 0.5, 1.0):
        crops = augmentation(crop_size=10, rare_class_crops=fraction, rarity=weights)
        found = [crops(png(np.zeros((100, 100, 3), np.uint8)), png(label), np.random.default_rng(s))[1]
                 for s in range(100)]
        counts.append(sum((y == 1).any() for y in found))
        if fraction == 1.0:  # at all places of the crop
            rows, columns = zip(*(np.argwhere(y == 1)[0] for y in found))
            assert (set(rows), set(columns)) == (set(range(10)), set(range(10)))
    assert counts[0] < 6
    assert 35 < counts[1] < 65
    assert counts[2] == 100


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.9])
def test_a_rare_pixel_is_in_the_crop_at_every_scale(scale):
    label = np.zeros((64, 48), np.uint8)
    label[60:63, 1:4] = 2
    weights = np.zeros(256)
    weights[2] = 1.0
    crops = augmentation(crop_size=16, rare_class_crops=1.0, rarity=weights, min_scale=scale, max_scale=scale)
    for seed in range(20):
        assert (crops(png(np.zeros((64, 48, 3), np.uint8)), png(label), np.random.default_rng(seed))[1] == 2).any()
    empty = np.full((64, 48), 255, np.uint8)
    assert (crops(png(np.zeros((64, 48, 3), np.uint8)), png(empty), np.random.default_rng(0))[1] == 255).all()
