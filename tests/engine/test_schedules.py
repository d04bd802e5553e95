import numpy as np
import pytest

from src.engine.schedules import learning_rates


def check(rates, expected):
    assert rates.dtype == np.float32
    np.testing.assert_allclose(rates, expected, rtol=1e-6)


def test_cos_is_half_a_cosine_from_base_to_almost_zero():
    check(learning_rates("cos", base_lr=0.1, total_steps=4), [0.1, 0.0853553391, 0.05, 0.0146446609])


def test_poly_has_the_power_0_9():
    check(learning_rates("poly", base_lr=1.0, total_steps=4), [1.0, 0.771890, 0.535886731, 0.287174589])


def test_exp_falls_in_stairs():
    check(learning_rates("exp", base_lr=0.2, total_steps=5, decay_steps=2, decay_rate=0.1),
          [0.2, 0.2, 0.02, 0.02, 0.002])


def test_step_falls_when_a_milestone_is_reached():
    check(learning_rates("step", base_lr=1.0, total_steps=5, decay_rate=0.1, milestones=(2, 3)),
          [1.0, 1.0, 0.1, 0.01, 0.01])


def test_milestones_count_from_the_start_also_after_warm_up():
    check(learning_rates("step", base_lr=1.0, total_steps=5, decay_rate=0.5, milestones=(3,), warmup_steps=2,
                         warmup_ratio=0.0), [0.0, 0.5, 1.0, 0.5, 0.5])


def test_warm_up_is_linear_and_the_decay_starts_at_its_end():
    check(learning_rates("cos", base_lr=0.3, total_steps=5, warmup_steps=3, warmup_ratio=1 / 3),
          [0.1, 0.1666666667, 0.2333333333, 0.3, 0.15])
    check(learning_rates("exp", base_lr=0.4, total_steps=4, warmup_steps=1, warmup_ratio=0.5, decay_steps=2,
                         decay_rate=0.5), [0.2, 0.4, 0.4, 0.2])


def test_a_run_shorter_than_its_warm_up_ends_within_it():
    check(learning_rates("poly", base_lr=1.0, total_steps=2, warmup_steps=4, warmup_ratio=0.5), [0.5, 0.625])


def test_one_update_has_the_base_rate():
    check(learning_rates("cos", base_lr=0.015, total_steps=1), [0.015])


def test_unknown_type_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match="lr_type='linear': expected one of cos, poly, exp, step"):
        learning_rates("linear", base_lr=1.0, total_steps=2)
