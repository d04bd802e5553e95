"""Which RoIs the heads train on, and the box head's losses."""
import src  # noqa: F401  isort: skip
import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from src.maskrcnn.box_head import BoxHead, BoxLoss, RoISampler

GT = np.array([[[0, 0, 10, 10], [40, 40, 80, 80], [0, 0, 0, 0]], [[0, 0, 0, 0]] * 3], np.float32)
VALID, IGNORE = np.array([[1, 1, 0], [0, 0, 0]], bool), np.array([[0, 1, 0], [0, 0, 0]], bool)
# On the object, 60 % of it, 40 % of it, in the crowd region, elsewhere, an empty slot that lies on the object.
PROPOSALS = np.array([[[0, 0, 10, 10], [0, 0, 10, 6], [0, 0, 10, 4], [50, 50, 60, 60], [90, 0, 99, 9],
                       [0, 0, 10, 10]]] * 2, np.float32)
FILLED = np.array([[1, 1, 1, 1, 1, 0]] * 2, bool)


def sample(noise=None, **options):
    noise = np.tile(np.linspace(0.9, 0.1, 9, dtype=np.float32), (2, 1)) if noise is None else noise
    arrays = (PROPOSALS, FILLED, GT, VALID, IGNORE, noise)
    return [a.asnumpy() for a in RoISampler(**({"max_positive": 4, "samples": 6} | options))(*map(Tensor, arrays))]


def test_sampled_rois_of_an_image_with_an_object_and_a_crowd():
    """Positive: the object itself, proposals 0 and 1. Negative: 2 and 4. Left out: the crowd, 3, the empty slots."""
    boxes, matched, is_positive, is_chosen = sample()
    assert is_positive[0].tolist() == [True] * 3 + [False] * 3
    assert is_chosen[0].tolist() == [True] * 5 + [False]
    assert boxes[0, :3].tolist() == [[0, 0, 10, 10], [0, 0, 10, 6], [0, 0, 10, 10]]
    assert sorted(boxes[0, 3:5].tolist()) == [[0, 0, 10, 4], [90, 0, 99, 9]]
    assert matched[0, :3].tolist() == [0, 0, 0]
    assert not boxes[0, 5].any()


def test_image_without_objects_gives_negatives_only():
    _boxes, _, is_positive, is_chosen = sample()
    assert not is_positive[1].any()
    assert is_chosen[1].tolist() == [True] * 5 + [False]


def test_number_of_positives_is_limited_and_negatives_fill_up():
    _, _, is_positive, is_chosen = sample(max_positive=1, samples=3)
    assert is_positive[0].tolist() == [True, False, False]
    assert is_chosen[0].all()


def test_noise_decides_who_is_chosen():
    noise = np.tile(np.linspace(0.9, 0.1, 9, dtype=np.float32), (2, 1))
    boxes, *_ = sample(noise, max_positive=1, samples=2)
    assert boxes[0].tolist() == [[0, 0, 10, 10], [90, 0, 99, 9]]
    boxes, *_ = sample(noise * np.where(np.arange(9) == 1, 0.01, 1).astype(np.float32), max_positive=1, samples=2)
    assert boxes[0].tolist() == [[0, 0, 10, 6], [90, 0, 99, 9]]


def test_box_losses():
    """Three RoIs: one of class 2, off by dx = 1 in units of stds; one background; one empty slot."""
    boxes = np.array([[[0, 0, 10, 10], [50, 50, 60, 60], [0, 0, 0, 0]]], np.float32)
    gt = np.array([[[1, 0, 11, 10], [1, 0, 11, 10], [0, 0, 0, 0]]], np.float32)
    deltas = np.full((3, 3, 4), 7, np.float32)
    deltas[0, 2] = 0
    logits = np.array([[0, 0, 40], [0, 0, 0], [9, -9, 9]], np.float32)
    arrays = (logits, deltas, boxes, gt, np.array([[2, 2, 0]], np.int32), np.array([[1, 0, 0]], bool),
              np.array([[1, 1, 0]], bool))
    cls, reg = BoxLoss(stds=(0.1, 0.1, 0.2, 0.2), beta=1.0)(*map(Tensor, arrays))
    assert float(cls) == pytest.approx(np.log(3) / 2, rel=1e-5)
    assert float(reg) == pytest.approx(0.5 / 2, rel=1e-5)


def test_shapes_of_the_head():
    logits, deltas = BoxHead(4, 5, size=3, hidden=8)(Tensor(np.ones((6, 4, 3, 3), np.float32)))
    assert logits.shape == (6, 5)
    assert deltas.shape == (6, 5, 4)
    assert logits.dtype == ms.float32
