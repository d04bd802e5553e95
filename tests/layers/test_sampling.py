"""Balanced random choice of rows."""
import src  # noqa: F401  isort: skip
import numpy as np
from mindspore import Tensor

from src.layers.sampling import balanced_sample, batched_gather

PRIORITY = Tensor(np.array([[0.1, 0.9, 0.5, 0.3, 0.7, 0.2]], np.float32))


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


def test_batched_gather_takes_from_the_own_image():
    values = Tensor(np.arange(12, dtype=np.float32).reshape(2, 3, 2))
    rows = batched_gather(values, Tensor(np.array([[2, 0], [1, 1]], np.int32)))
    assert rows.asnumpy().tolist() == [[[4, 5], [0, 1]], [[8, 9], [8, 9]]]
    flat = batched_gather(values[..., 0], Tensor(np.array([[2], [0]], np.int32)))
    assert flat.asnumpy().tolist() == [[4], [6]]
