"""What both versions of the noise promise: numbers of a sample follow from seed, epoch and sample id alone."""
import numpy as np
import pytest
from mindspore import Tensor

from src.layers.random import SampleDropout, hash_uniform, keep_mask, sample_key

pytestmark = [pytest.mark.usefixtures("graph_mode"), pytest.mark.parametrize("noise", [1, 2])]


def ints(*values) -> Tensor:
    return Tensor(np.array(values, np.int32))


def test_a_sample_s_numbers_do_not_depend_on_its_batch(noise):
    together = hash_uniform(sample_key(1, ints(2, 2, 2), ints(4, 9, 6), noise=noise), 50, noise=noise).asnumpy()
    alone = hash_uniform(sample_key(1, ints(2), ints(9), noise=noise), 50, noise=noise).asnumpy()
    np.testing.assert_array_equal(together[1], alone[0])


def test_numbers_are_uniform(noise):
    key = sample_key(1, ints(0, 0), ints(0, 1), noise=noise)
    values = hash_uniform(key, 100_000, noise=noise).asnumpy()
    assert values.dtype == np.float32
    assert values.min() >= 0
    assert values.max() < 1
    counts = np.stack([np.histogram(row, 20, (0, 1))[0] for row in values])
    np.testing.assert_allclose(counts / 5000, 1, atol=0.06)  # four standard deviations of a fair die
    kept = keep_mask(key, 100_000, 0.7, noise=noise).asnumpy()
    np.testing.assert_allclose(kept.mean(1), 0.3, atol=0.006)


def test_dropout_scales_what_it_keeps_and_differs_by_epoch(noise):
    dropout, x = SampleDropout(0.75, noise=noise), np.ones((2, 8, 16, 16), np.float32)
    first, second = (dropout(Tensor(x), ints(3, 4), ints(epoch, epoch)).asnumpy() for epoch in (0, 1))
    assert set(np.unique(first)) == {0, 4}
    np.testing.assert_allclose(first.mean((1, 2, 3)), 1, atol=0.2)
    assert (first != second).mean() == pytest.approx(2 * 0.75 * 0.25, abs=0.04)
    np.testing.assert_array_equal(SampleDropout(0.0, noise=noise)(Tensor(x), ints(3, 4), ints(0, 0)).asnumpy(), x)
