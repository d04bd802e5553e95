"""Version 2 of the noise: what it computes, how random that is, and that a device which computes otherwise is refused.

Statistics are judged in standard deviations of true noise; hashes are fixed, so a test that passes passes for ever.
"""
import math

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from src.contract import InputError
from src.layers import product_noise
from src.layers.product_noise import (
    bits,
    check_device,
    mix,
    position_words,
    probe_results,
    sample_key,
    to_keep,
    to_uniform,
)

COUNT = 1 << 16
MASK = 0xFFFFFFFF


def ints(*values) -> np.ndarray:
    return np.array(values, np.int64).astype(np.uint32).view(np.int32)


def draw(seed, epochs, samples, *, count=COUNT, stream=0) -> np.ndarray:
    """(B, count) int32 words."""
    return bits(position_words(count, stream), sample_key(seed, ints(*epochs), ints(*samples)))


def uniform(*key, **options) -> np.ndarray:
    return to_uniform(draw(*key, stream=0, **options), draw(*key, stream=1, **options))


@pytest.fixture(scope="module")
def uniforms() -> np.ndarray:
    """(64, COUNT) of the samples of `words`."""
    epochs, samples = np.divmod(np.arange(64), 16)
    return uniform(1, epochs, samples)


@pytest.fixture(scope="module")
def words() -> np.ndarray:
    """Neighbouring samples and epochs, whose keys differ least: 4 epochs of 16 samples."""
    epochs, samples = np.divmod(np.arange(64), 16)
    return draw(1, epochs, samples)


def unsigned_mix(x: int) -> int:
    x = ((x ^ x >> 16) * 0x7FEB352D) & MASK
    x = ((x ^ x >> 16) * 0x846CA68B) & MASK
    return x ^ x >> 16


def test_the_formula_in_unsigned_integers_of_any_length():
    def word(step, last):
        return unsigned_mix((unsigned_mix((unsigned_mix((7 + 3 * step) & MASK) + 5) & MASK) + last) & MASK)

    a, c = word(0x2545F491, 0x9E3779B9) | 1, word(0x27D4EB2F, 0x165667B1)
    expected = []
    for position in position_words(6, 1).view(np.uint32).tolist():
        x = (position * a + c) & MASK
        expected.append((x + (x * x & MASK | 5)) & MASK)
    found = draw(3, [5], [7], count=6, stream=1)
    assert found.view(np.uint32).tolist() == [expected]
    high = [(x + 2 ** 31 & MASK) >> 20 for x in expected]
    numbers = [(high[i] * 4096 + high[i + 3]) / 2 ** 24 for i in range(3)]
    assert to_uniform(found[0, :3], found[0, 3:]).tolist() == numbers
    assert to_keep(found, 0.25).tolist() == [[(x + 2 ** 31 & MASK) >= 2 ** 30 for x in expected]]


def test_mixing_is_one_to_one():
    assert len(np.unique(mix(np.arange(-(1 << 20), 1 << 20, dtype=np.int32)))) == 1 << 21


def test_words_of_positions_and_of_a_sample_never_repeat(words):
    assert len(np.unique(position_words(1 << 20, 0))) == 1 << 20
    assert all(len(np.unique(row)) == COUNT for row in words)


def test_numbers_are_uniform(uniforms):
    """Mean, variance, and chi-square over 256 bins of each sample; 64 samples, so 5 deviations are far."""
    u = uniforms
    assert u.dtype == np.float32
    assert u.min() >= 0
    assert u.max() < 1
    assert np.abs(u.mean(1) - 0.5).max() < 5 * math.sqrt(1 / 12 / COUNT)
    assert np.abs(u.var(1) - 1 / 12).max() < 5 * math.sqrt(1 / 180 / COUNT)
    counts = np.stack([np.bincount((row * 256).astype(int), minlength=256) for row in u])
    chi_square = ((counts - COUNT / 256) ** 2 / (COUNT / 256)).sum(1)
    assert np.abs(chi_square - 255).max() < 5 * math.sqrt(2 * 255)
    assert abs(chi_square.mean() - 255) < 5 * math.sqrt(2 * 255 / 64)  # nor too even


@pytest.mark.parametrize("bit", range(20, 32))
def test_every_bit_that_counts_is_balanced_and_independent_of_other_samples_and_epochs(words, bit):
    signs = (words >> bit & 1).astype(np.float32) * 2 - 1
    assert np.abs(signs.mean(1)).max() < 5 / math.sqrt(COUNT)
    between = signs @ signs.T / math.sqrt(COUNT) - math.sqrt(COUNT) * np.eye(64)
    assert np.abs(between).max() < 5.5  # of 2016 pairs
    assert (between ** 2).sum() / (64 * 63) == pytest.approx(1, abs=0.15)


def test_bits_of_one_number_are_independent(uniforms):
    """All 24, those of both words: no pair of them agrees more often than by chance."""
    numbers = (uniforms[:16].reshape(-1) * 2 ** 24).astype(np.int64)
    signs = (numbers[:, None] >> np.arange(24) & 1).astype(np.float32) * 2 - 1
    between = signs.T @ signs / math.sqrt(len(signs)) - math.sqrt(len(signs)) * np.eye(24)
    assert np.abs(between).max() < 5


@pytest.mark.parametrize("lag", [1, 2, 3, 65, 65 * 65])
def test_neighbours_in_a_row_a_column_and_a_channel_are_independent(uniforms, lag):
    u = uniforms.astype(np.float64) - 0.5
    z = (u[:, :-lag] * u[:, lag:]).mean(1) * 12 * math.sqrt(COUNT - lag)
    assert np.abs(z).max() < 5
    assert (z ** 2).mean() == pytest.approx(1, abs=0.9)  # 5 deviations of chi-square / 64


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.7])
def test_masks_drop_their_share_and_pairs_and_triples_of_samples_meet_by_chance(words, rate):
    dropped = ~to_keep(words, rate)
    assert np.abs(dropped.mean(1) - rate).max() < 5 * math.sqrt(rate * (1 - rate) / COUNT)
    p = rate ** 2
    pairs = (dropped.astype(np.float32) @ dropped.T.astype(np.float32))[np.triu_indices(64, 1)] / COUNT
    assert np.abs(pairs - p).max() < 5.5 * math.sqrt(p * (1 - p) / COUNT)
    p = rate ** 3
    triples = (dropped[:-2] & dropped[1:-1] & dropped[2:]).mean(1)
    assert np.abs(triples - p).max() < 5 * math.sqrt(p * (1 - p) / COUNT)


def test_features_are_dropped_alike_often_over_many_samples():
    """What one position meets in 4,000 samples: the table's words must not favour any."""
    dropped = np.concatenate([~to_keep(draw(1, [e] * 400, range(400), count=2000), 0.1) for e in range(10)]).mean(0)
    z = (dropped - 0.1) / math.sqrt(0.09 / 4000)
    assert np.abs(z).max() < 5
    assert (z ** 2).mean() == pytest.approx(1, abs=5 * math.sqrt(2 / 2000))


def test_seed_epoch_sample_and_stream_each_give_other_numbers():
    keys = [(1, 0, 5, 0), (2, 0, 5, 0), (1, 1, 5, 0), (1, 0, 6, 0), (1, 0, 5, 1), (0, 1, 5, 0), (1, 5, 0, 0)]
    draws = [draw(seed, [epoch], [sample], stream=stream)[0] for seed, epoch, sample, stream in keys]
    assert np.abs(np.corrcoef(draws) - np.eye(len(keys))).max() < 5 / math.sqrt(COUNT)


def test_keys_of_a_long_run_do_not_collide():
    epochs, samples = np.divmod(np.arange(300 * 5000), 5000)
    a, c = sample_key(1, ints(*epochs), ints(*samples))
    assert len(np.unique(a.astype(np.int64) << 32 | c.astype(np.int64) & MASK)) == len(epochs)


def test_a_device_that_computes_as_numpy_does_is_accepted(graph_mode):
    check_device()


def saturating(epoch, sample_id):
    """A device whose int32 products stop at the largest number."""
    a, c = sample_key(3, epoch.asnumpy(), sample_id.asnumpy())

    def words(stream):
        x = position_words(1 << 12, stream).astype(np.int64)[None] * a[:, None] + c[:, None]
        return np.clip(x, -(1 << 31), (1 << 31) - 1).astype(np.int32)

    return map(Tensor, probe_results(words(0), words(1)))


def through_float32(epoch, sample_id):
    """A device that has integer sums in float32, of 24 bits."""
    key = sample_key(3, epoch.asnumpy(), sample_id.asnumpy())
    words = [bits(position_words(1 << 12, stream), key).astype(np.float32).astype(np.int64).astype(np.int32)
             for stream in (0, 1)]
    return map(Tensor, probe_results(*words))


@pytest.mark.parametrize("device", [saturating, through_float32])
def test_a_device_that_computes_otherwise_is_refused_with_the_way_out(device):
    with pytest.raises(InputError, match=r"of 12288 int32 words that CPU computes .* --noise=1"):
        check_device(device)


@pytest.mark.parametrize(("place", "name"), [(1, "uniform numbers"), (2, "dropout masks")])
def test_wrong_numbers_and_masks_from_right_words_are_refused_too(place, name):
    def device(epoch, sample_id):
        key = sample_key(3, epoch.asnumpy(), sample_id.asnumpy())
        arrays = list(probe_results(*(bits(position_words(1 << 12, stream), key) for stream in (0, 1))))
        arrays[place] = np.roll(arrays[place], 1)
        return map(Tensor, arrays)

    with pytest.raises(InputError, match=name):
        check_device(device)


def test_the_graph_has_no_shift(graph_mode, tmp_path):
    from src.exporting import graph, mindir

    class Noise(ms.nn.Cell):
        def construct(self, epoch, sample_id):
            key = product_noise.sample_key(1, epoch, sample_id)
            return product_noise.uniform(key, 10), product_noise.keep(key, 10, 0.5)

    mindir.write(Noise(), (ints(0, 1), ints(2, 3)), tmp_path / "noise.mindir", "MINDIR")
    found = {operation.primitive for operation in graph.read(tmp_path / "noise.mindir").operations}
    assert {"Mul", "BitwiseXor", "GreaterEqual"} <= found
    assert not {name for name in found if "Shift" in name}
