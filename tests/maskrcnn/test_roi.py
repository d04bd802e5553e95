"""RoIAlign over a pyramid against a loop over samples."""
import src  # noqa: F401  isort: skip
import numpy as np
import pytest
from mindspore import Tensor

from src.maskrcnn.roi import RoIAlign, feature_table, roi_level

STRIDES = (4, 8, 16, 32)


def by_loops(levels, boxes, level, size):
    """RoIAlign of one image's boxes as its paper writes it: bilinear samples, two a bin and axis, averaged."""
    out = np.zeros((len(boxes), levels[0].shape[0], size, size))
    for n, (box, index) in enumerate(zip(boxes, level)):
        x1, y1, x2, y2 = box / STRIDES[index]
        bin_h, bin_w = max(y2 - y1, 1) / size, max(x2 - x1, 1) / size
        for i, j, a, b in np.ndindex(size, size, 2, 2):
            y, x = y1 + (i + (a + 0.5) / 2) * bin_h, x1 + (j + (b + 0.5) / 2) * bin_w
            out[n, :, i, j] += bilinear(levels[index], y, x) / 4
    return out


def bilinear(feature, y, x):
    height, width = feature.shape[1:]
    if not (-1 <= y <= height and -1 <= x <= width):
        return np.zeros(feature.shape[0])
    y, x = np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)
    i, j = int(y), int(x)
    k, m = min(i + 1, height - 1), min(j + 1, width - 1)
    top = feature[:, i, j] * (1 - (x - j)) + feature[:, i, m] * (x - j)
    bottom = feature[:, k, j] * (1 - (x - j)) + feature[:, k, m] * (x - j)
    return top * (1 - (y - i)) + bottom * (y - i)


def test_align_of_two_images_on_four_levels():
    rng = np.random.default_rng(5)
    levels = [rng.normal(size=(2, 3, 64 // s * 4, 96 // s * 4)).astype(np.float32) for s in STRIDES]
    sizes = tuple(level.shape[2:] for level in levels)
    boxes = np.array([[[0, 0, 40, 60], [3.5, 7, 200, 130], [380, 250, 384, 256], [0, 0, 384, 256]],
                      [[100, 20, 350, 250], [383.5, 255.5, 384, 256], [10, 10, 10, 10], [-30, -6, 100, 124]]],
                     np.float32)
    level = roi_level(Tensor(boxes), levels=4, rule="eps_outside").asnumpy()
    assert level.tolist() == [[0, 1, 0, 2], [2, 0, 0, 1]]
    table = feature_table([Tensor(x) for x in levels])
    for size in (2, 7):
        got = RoIAlign(size)(table, Tensor(boxes), sizes).asnumpy().reshape(2, 4, 3, size, size)
        for image in range(2):
            expected = by_loops([x[image] for x in levels], boxes[image], level[image], size)
            np.testing.assert_allclose(got[image], expected, atol=1e-5)


@pytest.mark.parametrize(("side", "expected"), [(10, 0), (111, 0), (112, 1), (223, 1), (224, 2), (448, 3), (4000, 3)])
def test_level_of_a_square_roi(side, expected):
    box = Tensor(np.array([[5, 5, 5 + side, 5 + side]], np.float32))
    assert roi_level(box, levels=4, rule="eps_outside").asnumpy().tolist() == [expected]
    assert roi_level(box, levels=4, rule="eps_inside").asnumpy().tolist() == [expected]


def test_level_that_counts_pixels():
    box = Tensor(np.array([[0, 0, 111, 111]], np.float32))
    assert roi_level(box, levels=4, rule="eps_inside", box_offset=1).asnumpy().tolist() == [1]


def test_level_follows_the_finest_scale():
    box = Tensor(np.array([[0, 0, 60, 60]], np.float32))
    assert roi_level(box, levels=4, rule="eps_outside", finest_scale=14).asnumpy().tolist() == [2]


def test_unknown_level_rule_is_refused():
    with pytest.raises(ValueError, match="round"):
        roi_level(Tensor(np.zeros((1, 4), np.float32)), levels=4, rule="round")
