import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from src.layers.resize import bilinear_matrix, bilinear_resize


@pytest.mark.parametrize(("rule", "expected"), [
    ("align_corners", [[1, 0], [2 / 3, 1 / 3], [1 / 3, 2 / 3], [0, 1]]),
    ("half_pixel", [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]]),
    ("asymmetric", [[1, 0], [0.5, 0.5], [0, 1], [0, 1]])])
def test_rows_of_two_pixels_made_four(rule, expected):
    np.testing.assert_allclose(bilinear_matrix(2, 4, rule), expected, atol=1e-7)


@pytest.mark.parametrize("rule", ["align_corners", "half_pixel", "asymmetric"])
@pytest.mark.parametrize(("size_in", "size_out"), [(1, 5), (5, 1), (3, 7), (7, 3), (33, 513), (4, 4)])
def test_weights_are_shares(rule, size_in, size_out):
    matrix = bilinear_matrix(size_in, size_out, rule)
    assert matrix.shape == (size_out, size_in)
    assert matrix.min() >= 0
    np.testing.assert_allclose(matrix.sum(1), 1, rtol=1e-6)


def test_rows_and_columns_are_not_exchanged():
    x = np.arange(6, dtype=np.float32).reshape(1, 1, 2, 3)
    out = bilinear_resize(Tensor(x), (3, 5), rule="align_corners").asnumpy()[0, 0]
    np.testing.assert_allclose(out, [[0, 0.5, 1, 1.5, 2], [1.5, 2, 2.5, 3, 3.5], [3, 3.5, 4, 4.5, 5]], atol=1e-6)


def test_it_equals_mindspore_s_operator():
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 4)).astype(np.float32)
    for align in (True, False):
        expected = ms.ops.interpolate(Tensor(x), size=(13, 9), mode="bilinear", align_corners=align).asnumpy()
        ours = bilinear_resize(Tensor(x), (13, 9), rule="align_corners" if align else "half_pixel").asnumpy()
        np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_the_same_size_is_the_same_array():
    x = Tensor(np.ones((1, 1, 3, 3), np.float32))
    assert bilinear_resize(x, (3, 3), rule="half_pixel") is x


def test_unknown_rule():
    with pytest.raises(ValueError, match="rule='cubic': expected one of align_corners, half_pixel, asymmetric"):
        bilinear_matrix(2, 4, "cubic")
