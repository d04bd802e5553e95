import numpy as np
import pytest

from src.data import order

FIRST, SECOND = [5, 0, 1, 4, 2, 6, 3, 7], [6, 1, 4, 0, 3, 2, 5, 7]
OTHER_SEED = [6, 5, 7, 2, 3, 4, 0, 1]
STREAM = 0.21417082220672068


def test_steps_are_full_batches_of_all_ranks():
    assert order.steps_per_epoch(10582, 32, 8) == 41
    assert order.steps_per_epoch(10582, 16, 8) == 82
    assert order.steps_per_epoch(1464, 16, 8) == 11
    assert order.steps_per_epoch(7, 2, 4) == 0


def test_order_of_a_seed_and_epoch_stays_the_same_in_later_versions():
    """A changed order would make every run that is resumed after an update another run."""
    assert order.rank_order(8, seed=1, epoch=0, batch_size=2).tolist() == FIRST
    assert order.rank_order(8, seed=1, epoch=1, batch_size=2).tolist() == SECOND
    assert order.rank_order(8, seed=2, epoch=0, batch_size=2).tolist() == OTHER_SEED


@pytest.mark.parametrize("world_size", [2, 3, 8])
def test_ranks_together_see_the_batches_of_one_process(world_size):
    whole = order.rank_order(103, seed=5, epoch=3, batch_size=2 * world_size).reshape(-1, 2 * world_size)
    parts = [order.rank_order(103, seed=5, epoch=3, batch_size=2, world_size=world_size,
                              rank=r).reshape(-1, 2) for r in range(world_size)]
    np.testing.assert_array_equal(np.concatenate(parts, 1), whole)


def test_an_epoch_leaves_out_less_than_a_global_batch_and_others_each_time():
    left_out = []
    for epoch in range(20):
        seen = np.concatenate([order.rank_order(11, seed=1, epoch=epoch, batch_size=2, world_size=2,
                                                rank=r) for r in (0, 1)])
        assert len(seen) == len(set(seen.tolist())) == 8
        left_out.append(frozenset(range(11)) - set(seen.tolist()))
    assert len(set(left_out)) > 10
    assert frozenset().union(*left_out) == set(range(11))


def test_4096_ranks_share_an_epoch_without_a_sample_twice():
    parts = [order.rank_order(20000, seed=7, epoch=2, batch_size=2, world_size=4096, rank=r) for r in range(4096)]
    assert {len(part) for part in parts} == {4}
    assert len(set(np.concatenate(parts).tolist())) == 4096 * 4


@pytest.mark.parametrize(("count", "world_size"), [(1449, 4096), (1449, 8), (10, 3), (0, 2)])
def test_evaluation_shares_hold_every_sample_once_and_differ_by_one(count, world_size):
    shares = [order.share(count, world_size=world_size, rank=r) for r in range(world_size)]
    assert [i for part in shares for i in part] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_training_order_goes_on_where_it_stopped():
    options = {"seed": 3, "epochs": 3, "batch_size": 2}
    whole = order.training_order(9, **options)
    batches = [(epoch, *pair) for epoch, ids in whole for pair in ids.reshape(-1, 2).tolist()]
    assert [epoch for epoch, *_ in batches] == [0] * 4 + [1] * 4 + [2] * 4
    for start in range(13):
        rest = [(epoch, *pair) for epoch, ids in order.training_order(9, start_step=start, **options)
                for pair in ids.reshape(-1, 2).tolist()]
        assert rest == batches[start:]


def test_the_augmentation_stream_belongs_to_seed_epoch_and_sample():
    draws = {key: order.sample_rng(*key).random() for key in [(1, 0, 5), (2, 0, 5), (1, 1, 5), (1, 0, 6), (0, 1, 5)]}
    assert len(set(draws.values())) == 5
    assert draws[1, 0, 5] == order.sample_rng(1, 0, 5).random() == pytest.approx(STREAM, rel=1e-12)
