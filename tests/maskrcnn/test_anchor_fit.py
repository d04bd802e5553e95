"""Anchors in place: the same best IoU as all anchors of the grid give, one by one."""
import numpy as np
import pytest

from src.maskrcnn.anchor_fit import best_overlaps, overlaps_in_place
from src.maskrcnn.anchors import pyramid_anchors

SIZE, FEATURES = (128, 192), [(32, 48), (16, 24), (8, 12), (4, 6), (2, 3)]


@pytest.mark.parametrize("centre", ["origin", "pixel"])
def test_the_best_anchor_of_the_grid_is_found_without_its_others(centre):
    rng = np.random.default_rng(3)
    corner, side = rng.uniform(0, 100, (200, 2)), rng.uniform(2, 90, (200, 2))
    boxes = np.concatenate([corner, corner + side], 1).clip(0, [192, 128, 192, 128])
    shape = {"scales": (2.0, 3.5), "ratios": (0.5, 1.0)}
    anchors = pyramid_anchors(SIZE, FEATURES, strides=(4, 8, 16, 32, 64), centre=centre, box_offset=0, **shape)
    low, high = (f(boxes[:, None, part], anchors[None, :, part])
                 for f, part in ((np.maximum, slice(2)), (np.minimum, slice(2, 4))))
    shared = np.clip(high - low, 0, None).prod(-1)
    areas = [(b[:, 2:] - b[:, :2]).prod(1) for b in (boxes, anchors)]
    expected = (shared / (areas[0][:, None] + areas[1] - shared)).max(1)
    np.testing.assert_allclose(overlaps_in_place(boxes, FEATURES, centre=centre, **shape), expected, rtol=1e-5)


def test_a_grid_can_only_be_worse_than_anchors_anywhere():
    boxes = np.array([[3.0, 5, 13, 15], [50, 60, 53, 64]])
    shape = {"scales": (2.0,), "ratios": (1.0,)}
    anywhere = best_overlaps(boxes[:, 2:] - boxes[:, :2], **shape)
    in_place = overlaps_in_place(boxes, FEATURES, **shape)
    assert (in_place <= anywhere + 1e-6).all()
    assert in_place[0] < anywhere[0]
