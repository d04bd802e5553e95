"""Version 1 of the noise: runs that began with it have to find the same numbers for ever."""
import numpy as np
import pytest
from mindspore import Tensor

from src.layers.random import hash_uniform, sample_key, sampling_priority
from src.layers.shift_noise import mix

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
    key = int(sample_key(3, ints(5), ints(7), noise=1).asnumpy().view(np.uint32)[0])
    seeded = lowbias32((7 + 3 * 0x2545F491) & 0xFFFFFFFF)
    assert key == lowbias32((lowbias32((seeded + 5) & 0xFFFFFFFF) + 0x9E3779B9) & 0xFFFFFFFF)
    hashes = [lowbias32((lowbias32(i * 0x9E3779B9 & 0xFFFFFFFF) + key) & 0xFFFFFFFF) for i in range(4)]
    expected = [(h >> 8) / 2 ** 24 for h in hashes]
    assert hash_uniform(ints(key), 4, noise=1).asnumpy().tolist() == [expected]
    assert sampling_priority(ints(key), 4, stream=0, noise=1).asnumpy().tolist() == [[1 - u for u in expected]]
