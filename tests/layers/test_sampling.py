"""Balanced random choice of rows."""
import src  # noqa: F401  isort: skip
import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, ops

from src.layers.sampling import balanced_sample, batched_gather

PRIORITY = Tensor(np.array([[0.9, 0.1, 0.5, 0.7, 0.3, 0.8]], np.float32))


TOPK = ops.topk


def choose(positive, negative, max_positive, total):
    arrays = balanced_sample(Tensor(np.array([positive], bool)), Tensor(np.array([negative], bool)), PRIORITY,
                             max_positive=max_positive, total=total)
    return [array.asnumpy()[0].tolist() for array in arrays]


def test_positives_come_first_then_negatives_by_priority():
    index, is_positive, is_chosen = choose([1, 0, 1, 0, 0, 0], [0, 1, 0, 1, 1, 1], 2, 4)
    assert index == [2, 0, 1, 4]
    assert is_positive == [True, True, False, False]
    assert is_chosen == [True] * 4


def test_surplus_positives_are_left_out_not_made_negative():
    index, is_positive, _ = choose([1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1], 1, 4)
    assert index == [1, 4, 3, 5]
    assert is_positive == [True, False, False, False]


def test_free_places_of_positives_go_to_negatives_and_empty_slots_are_marked():
    index, is_positive, is_chosen = choose([0, 0, 0, 0, 0, 0], [0, 1, 0, 1, 0, 1], 2, 5)
    assert index[:3] == [1, 3, 5]
    assert is_positive == [False] * 5
    assert is_chosen == [True, True, True, False, False]


def test_more_slots_than_rows():
    index, is_positive, is_chosen = choose([1] * 6, [0] * 6, 10, 10)
    assert sorted(index) == list(range(6))
    assert all(is_positive)
    assert all(is_chosen)


ANCHORS = 245_520  # of a 1280 x 768 input


def draw_many(images, positives, seed=0):
    """Numbers of how often each anchor was chosen, and the choices: (B, total) index and is_positive."""
    rng = np.random.default_rng(seed)
    positive = np.zeros((images, ANCHORS), bool)
    positive[:, :positives] = True
    negative = ~positive
    negative[:, -1000:] = False  # neither
    priority = rng.integers(0, 1 << 24, (images, ANCHORS)).astype(np.float32) / (1 << 24)
    return positive, negative, priority


def sample(positive, negative, priority):
    arrays = balanced_sample(Tensor(positive), Tensor(negative), Tensor(priority), max_positive=128, total=256)
    return [array.asnumpy() for array in arrays]


@pytest.fixture
def float16_topk(monkeypatch):
    """TopK as it is on Ascend 910: keys and values in float16."""
    def topk(x, k):
        values, index = TOPK(x.astype(ms.float16).astype(ms.float32), k)
        return values, index

    monkeypatch.setattr("src.layers.sampling.ops.topk", topk)


@pytest.mark.parametrize("positives", [0, 60, 400])
def test_the_smallest_priorities_are_chosen_whatever_their_number(positives):
    positive, negative, priority = draw_many(2, positives)
    index, is_positive, is_chosen = sample(positive, negative, priority)
    for i in range(2):
        found = min(positives, 128)
        best = np.sort(priority[i, positive[i]])[:found], np.sort(priority[i, negative[i]])[:256 - found]
        assert priority[i, index[i]].tolist() == [*best[0], *best[1]]
        assert len(set(index[i])) == 256
        assert positive[i, index[i, :found]].all()
        assert negative[i, index[i, found:]].all()
        assert is_positive[i].tolist() == [True] * found + [False] * (256 - found)
    assert is_chosen.all()


@pytest.mark.parametrize("positives", [60, 400])
def test_float16_keeps_the_choice_but_for_ties_at_its_border(positives, float16_topk):
    """2^-11 of the border's priority is rounded away: no more than a couple of rows in 256 are other ones."""
    positive, negative, priority = draw_many(8, positives)
    index, is_positive, is_chosen = sample(positive, negative, priority)
    assert is_chosen.all()
    assert (is_positive.sum(1) == min(positives, 128)).all()
    for i in range(8):
        rows = np.flatnonzero(negative[i])
        exact = rows[np.argsort(priority[i, rows])[:256 - is_positive[i].sum()]]
        assert len(np.setdiff1d(index[i][~is_positive[i]], exact)) <= 2
    before, after = np.unique(priority[negative][:ANCHORS]), np.unique((1 + priority[negative]).astype(np.float16))
    assert len(after) < 1100 < len(before)  # what keys of the form 1 + u would be left with


def test_no_anchor_is_favoured_in_float16(float16_topk):
    """Ties fall to the first rows: with keys that collapse, nearly all choices would lie among those."""
    positive, negative, priority = draw_many(12, 300)
    index, is_positive, _ = sample(positive, negative, priority)
    places = index[~is_positive] / ANCHORS
    assert abs(places.mean() - 0.5) < 5 * (1 / 12 / len(places)) ** 0.5
    counts = np.histogram(places, 8, (0, 1))[0] / len(places) * 8
    np.testing.assert_allclose(counts, 1, atol=5 * (8 / len(places)) ** 0.5)


def test_batched_gather_takes_from_the_own_image():
    values = Tensor(np.arange(12, dtype=np.float32).reshape(2, 3, 2))
    rows = batched_gather(values, Tensor(np.array([[2, 0], [1, 1]], np.int32)))
    assert rows.asnumpy().tolist() == [[[4, 5], [0, 1]], [[8, 9], [8, 9]]]
    flat = batched_gather(values[..., 0], Tensor(np.array([[2], [0]], np.int32)))
    assert flat.asnumpy().tolist() == [[4], [6]]
