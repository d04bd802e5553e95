import numpy as np
import pytest
from mindspore import Tensor

from src.layers.random import hash_uniform, mix, sample_key

pytestmark = pytest.mark.usefixtures("graph_mode")


def ints(*values) -> Tensor:
    return Tensor(np.array(values, np.int64).astype(np.uint32).view(np.int32))


def lowbias32(x: int) -> int:
    """The published hash on unsigned numbers."""
    x = ((x ^ x >> 16) * 0x7FEB352D) & 0xFFFFFFFF
    x = ((x ^ x >> 15) * 0x846CA68B) & 0xFFFFFFFF
    return x ^ x >> 16


def test_mix_is_the_published_hash_in_two_s_complement():
    values = [0, 1, 2, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 123456789]
    assert mix(ints(*values)).asnumpy().view(np.uint32).tolist() == [lowbias32(v) for v in values]


def test_numbers_are_those_of_the_formula():
    key = int(sample_key(3, ints(5), ints(7)).asnumpy().view(np.uint32)[0])
    seeded = lowbias32((7 + 3 * 0x2545F491) & 0xFFFFFFFF)
    assert key == lowbias32((lowbias32((seeded + 5) & 0xFFFFFFFF) + 0x9E3779B9) & 0xFFFFFFFF)
    hashes = [lowbias32((lowbias32(i * 0x9E3779B9 & 0xFFFFFFFF) + key) & 0xFFFFFFFF) for i in range(4)]
    expected = [(h >> 8) / 2 ** 24 for h in hashes]
    assert hash_uniform(ints(key), 4).asnumpy().tolist() == [expected]


def test_numbers_are_uniform():
    values = hash_uniform(sample_key(1, ints(0, 0), ints(0, 1)), 100_000).asnumpy()
    assert values.dtype == np.float32
    assert values.min() >= 0
    assert values.max() < 1
    counts = np.stack([np.histogram(row, 20, (0, 1))[0] for row in values])
    np.testing.assert_allclose(counts / 5000, 1, atol=0.06)  # four standard deviations of a fair die
    np.testing.assert_allclose(values.mean(1), 0.5, atol=0.004)


def test_seed_epoch_sample_and_stream_each_give_other_numbers():
    draws = [hash_uniform(sample_key(seed, ints(epoch), ints(sample)), 1000, stream).asnumpy()[0]
             for seed, epoch, sample, stream in [(1, 0, 5, 0), (2, 0, 5, 0), (1, 1, 5, 0), (1, 0, 6, 0), (1, 0, 5, 1),
                                                 (0, 1, 5, 0), (1, 5, 0, 0)]]
    correlation = np.corrcoef(draws) - np.eye(len(draws))
    assert np.abs(correlation).max() < 0.15


def test_a_sample_s_numbers_do_not_depend_on_its_batch():
    together = hash_uniform(sample_key(1, ints(2, 2, 2), ints(4, 9, 6)), 50).asnumpy()
    alone = hash_uniform(sample_key(1, ints(2), ints(9)), 50).asnumpy()
    np.testing.assert_array_equal(together[1], alone[0])
