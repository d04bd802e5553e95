import numpy as np
import pytest

from src.data.semantic.rare_classes import rare_pixel, rarity


def test_rarity_of_literal_counts():
    weights = rarity({0: 100, 1: 25, 255: 4}, 255)
    assert weights[[0, 1, 2, 255]].tolist() == [0.1, 0.2, 1.0, 0.0]
    assert rarity({0: 100, 1: 25}, 0)[:2].tolist() == [0.0, 0.2]


def test_classes_are_drawn_by_their_weights_and_their_pixels_alike():
    label = np.zeros((20, 30), np.uint8)
    label[3, 4], label[19, 29], label[0] = 1, 1, 255
    weights = rarity({0: 900, 1: 100}, 255)  # 1 : 3
    drawn = [rare_pixel(label, weights, np.random.default_rng(seed)) for seed in range(400)]
    rare = [place for place in drawn if label[place] == 1]
    assert 0.68 < len(rare) / 400 < 0.82
    assert set(rare) == {(3, 4), (19, 29)}
    assert 0.35 < rare.count((3, 4)) / len(rare) < 0.65
    assert not any(label[place] == 255 for place in drawn)


@pytest.mark.parametrize("label", [np.full((3, 4), 255, np.uint8), np.zeros((3, 4), np.uint8)])
def test_nothing_to_draw(label):
    assert rare_pixel(label, rarity({1: 5}, 255) * (np.arange(256) == 1), np.random.default_rng(0)) is None
