import numpy as np
import pytest
from pycocotools import mask as coco_mask

from src.maskrcnn.mask_runs import area, difference, edges_of, intersection, rectangle, to_rle, union


def decoded(edges, size):
    return coco_mask.decode(to_rle(edges, size)).astype(bool)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.95, 1.0])
def test_sets_of_runs_are_sets_of_pixels(share):
    """Regions at the image's borders too, where a run goes on from one column's foot to the next one's head."""
    rng, size = np.random.default_rng(4), (9, 11)
    for _ in range(60):
        full, edges = [], []
        for _ in range(2):
            top, left = rng.integers(0, 5), rng.integers(0, 5)
            region = rng.random((rng.integers(0, 10 - top), rng.integers(0, 12 - left))) < share
            full.append(np.zeros(size, bool))
            full[-1][top:top + region.shape[0], left:left + region.shape[1]] = region
            edges.append(edges_of(region, top, left, size[0]))
        for edge, mask in zip(edges, full):
            assert (np.diff(edge) > 0).all()
            assert area(edge) == mask.sum()
            assert np.array_equal(decoded(edge, size), mask)
        assert np.array_equal(decoded(intersection(*edges), size), full[0] & full[1])
        assert np.array_equal(decoded(union(*edges), size), full[0] | full[1])
        assert np.array_equal(decoded(difference(*edges), size), full[0] & ~full[1])


def test_rectangles():
    assert rectangle(2, 1, 5, 3, 9).tolist() == [11, 14, 20, 23]
    assert rectangle(0, 1, 9, 3, 9).tolist() == [9, 27]
    assert rectangle(4, 1, 4, 3, 9).tolist() == rectangle(1, 3, 5, 3, 9).tolist() == []
