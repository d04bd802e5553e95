"""Repeat-factor sampling: the published formula, expected counts, epochs of one length, ranks, and resuming."""
import logging

import numpy as np
import pytest

from src.contract import InputError, Record
from src.data import order
from src.data.repeats import RepeatedDataset, num_records, repeat_rare, repeats_of
from tests.data.test_pipeline import assert_equal, batches

# Of 8 images, class 1 is in all, class 2 in two (share 0.25), class 3 in one (0.125), class 4 in none.
PRESENT = np.array([[0, 1, 0, 0, 0]] * 5 + [[0, 1, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]], bool)
REPEATS = np.array([1.0, 2.5, 1.0, 1.3, 3.0, 1.0, 1.0, 1.7, 1.0])  # sum 13.5
ORDER = [1, 16, 13, 0, 22, 8, 4, 5, 6, 10, 7, 2]  # of seed 1, epoch 0


def test_factors_literal():
    """sqrt(0.5 / 0.25) = 1.414 and sqrt(0.5 / 0.125) = 2; the largest of an image's classes counts."""
    assert order.repeat_factors(PRESENT, 0.5).round(3).tolist() == [1, 1, 1, 1, 1, 1.414, 2, 1]
    assert order.repeat_factors(PRESENT, 0.125).tolist() == [1] * 8
    assert order.repeat_factors(np.zeros((2, 3), bool), 0.5).tolist() == [1, 1]


def counts(seed: int) -> np.ndarray:
    ids = order.repeated(REPEATS, np.random.default_rng(seed))
    assert len(set(ids.tolist())) == len(ids)  # copies have ids of their own
    return np.bincount(ids % len(REPEATS), minlength=len(REPEATS))


def test_each_sample_appears_its_factor_rounded_down_or_up_and_on_average_exactly():
    drawn = np.array([counts(seed) for seed in range(4000)])
    assert (drawn >= np.floor(REPEATS)).all()
    assert (drawn <= np.ceil(REPEATS)).all()
    np.testing.assert_allclose(drawn.mean(0), REPEATS, atol=0.03)
    assert set(drawn.sum(1)) == {13, 14}
    assert order.epoch_size(REPEATS) == 13


def test_whole_factors_and_sums_do_not_suffer_from_rounding():
    for repeats in (np.full(1000, 1.1), np.full(30, 4 / 3), np.ones(7)):
        for seed in range(50):
            ids = order.repeated(repeats, np.random.default_rng(seed))
            assert len(ids) in (order.epoch_size(repeats), order.epoch_size(repeats) + 1)
    assert order.epoch_size(np.full(1000, 1.1)) == 1100
    assert sorted(order.repeated(np.ones(7), np.random.default_rng(1)).tolist()) == list(range(7))


def test_epochs_have_one_length_and_other_samples():
    options = {"seed": 3, "batch_size": 2, "repeats": REPEATS}
    epochs = [order.rank_order(13, epoch=epoch, **options) for epoch in range(20)]
    assert {len(ids) for ids in epochs} == {12}
    assert len({tuple(sorted(ids)) for ids in epochs}) > 10
    seen = np.bincount(np.concatenate(epochs) % 9, minlength=9) / 20
    assert seen[4] > 2.4
    assert (seen[[0, 2, 5, 6, 8]] <= 1).all()


def test_the_order_of_a_seed_stays_the_same_in_later_versions():
    assert order.rank_order(13, seed=1, epoch=0, batch_size=2, repeats=REPEATS).tolist() == ORDER


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_are_disjoint_and_see_together_what_one_process_sees(world_size):
    options = {"seed": 5, "epoch": 3, "repeats": REPEATS}
    whole = order.rank_order(13, batch_size=2 * world_size, **options)
    parts = [order.rank_order(13, batch_size=2, world_size=world_size, rank=r, **options) for r in range(world_size)]
    np.testing.assert_array_equal(np.concatenate([part.reshape(-1, 2) for part in parts], 1).reshape(-1), whole)
    assert len(set(np.concatenate(parts).tolist())) == len(whole)


def test_training_order_goes_on_where_it_stopped():
    options = {"seed": 3, "epochs": 3, "batch_size": 2, "repeats": REPEATS}
    whole = [(e, *pair) for e, ids in order.training_order(13, **options) for pair in ids.reshape(-1, 2).tolist()]
    assert len(whole) == 18
    for start in range(19):
        rest = [(e, *pair) for e, ids in order.training_order(13, start_step=start, **options)
                for pair in ids.reshape(-1, 2).tolist()]
        assert rest == whole[start:]


# --- datasets ---------------------------------------------------------------------------------------------------------

def test_copies_are_augmented_differently_and_runs_resume(dataset):
    repeated = RepeatedDataset(dataset, REPEATS)
    whole = batches(repeated)
    assert len(whole) == 12  # two epochs of 13 // 2
    images = {int(i): image for image_batch, _, ids, epochs in whole for image, i, epoch in
              zip(image_batch, ids, epochs) if epoch == 0}
    copies = [i for i in images if i % 9 == 4]
    assert len(copies) >= 2
    assert not np.array_equal(images[copies[0]], images[copies[1]])
    assert_equal(batches(repeated, start_step=7), whole[7:])
    ranks = [batches(repeated, batch_size=1, world_size=2, rank=rank) for rank in (0, 1)]
    assert_equal([tuple(map(np.concatenate, zip(a, b))) for a, b in zip(*ranks)], whole)


def classes_of(record: Record) -> list[int]:
    return np.flatnonzero(PRESENT[int(record.file_name.split("/")[-1].split(".")[0]) % 8]).tolist()


def test_rare_classes_are_found_and_named(dataset, caplog):
    caplog.set_level(logging.INFO)
    names = ("background", "sky", "bus", "bird", "never")
    repeated = repeat_rare(dataset, 0.5, classes_of, names)
    present = np.array([PRESENT[int(r.file_name.split("/")[-1].split(".")[0]) % 8] for r in dataset.rows(range(9))])
    np.testing.assert_allclose(repeats_of(repeated), order.repeat_factors(present, 0.5))
    assert (num_records(repeated), len(repeated)) == (9, order.epoch_size(repeats_of(repeated)))
    assert "9 images make epochs of 10: rare are bird in 1 images, 2.12 times, bus in 2 images, 1.5" in caplog.text
    assert [r.image_id for r in repeated.rows([3, 12, 9])] == [r.image_id for r in dataset.rows([3, 3, 0])]


def test_no_threshold_no_repeats_and_useless_thresholds_are_said(dataset, caplog):
    assert repeat_rare(dataset, 0.0, classes_of, ("background",)) is dataset
    assert (repeats_of(dataset), num_records(dataset)) == (None, 9)
    repeat_rare(dataset, 0.01, classes_of, ("background", "a", "b", "c", "d"))
    assert "repeat_factor_threshold=0.01: every class" in caplog.text
    with pytest.raises(InputError, match="no image of .* shows an object, so that none can be rare"):
        repeat_rare(dataset, 0.5, lambda record: [], ("background", "a"))
