"""Anchors against the values of the published implementations."""
import numpy as np
import pytest

from src.maskrcnn.anchors import base_anchors, grid_anchors, pyramid_anchors

ZOO = {"scales": (8,), "ratios": (0.5, 1.0, 2.0), "centre": "pixel", "box_offset": 1}
TORCHVISION = {"scales": (8,), "ratios": (0.5, 1.0, 2.0), "centre": "origin", "box_offset": 0}


@pytest.mark.parametrize(("stride", "expected"), [
    (4, [[-21, -9, 24, 12], [-14, -14, 17, 17], [-9, -21, 12, 24]]),
    (16, [[-83, -37, 98, 52], [-56, -56, 71, 71], [-37, -83, 52, 98]]),
    (64, [[-330, -149, 393, 212], [-224, -224, 287, 287], [-149, -330, 212, 393]]),
])
def test_base_anchors_of_the_model_zoo(stride, expected):
    assert base_anchors(stride, **ZOO).tolist() == expected


@pytest.mark.parametrize(("stride", "expected"), [
    (4, [[-23, -11, 23, 11], [-16, -16, 16, 16], [-11, -23, 11, 23]]),
    (64, [[-362, -181, 362, 181], [-256, -256, 256, 256], [-181, -362, 181, 362]]),
])
def test_base_anchors_of_torchvision(stride, expected):
    assert base_anchors(stride, **TORCHVISION).tolist() == expected


def test_ratio_major_order_with_several_scales():
    anchors = base_anchors(4, scales=(1, 2), ratios=(1.0, 4.0), centre="origin", box_offset=0)
    assert anchors.tolist() == [[-2, -2, 2, 2], [-4, -4, 4, 4], [-1, -4, 1, 4], [-2, -8, 2, 8]]


def test_grid_goes_row_by_row_with_the_anchor_fastest():
    base = np.array([[0, 0, 2, 2], [0, 0, 4, 4]], np.float32)
    anchors = grid_anchors(base, (2, 2), (16, 16))
    assert anchors[:, :2].tolist() == [[0, 0], [0, 0], [8, 0], [8, 0], [0, 8], [0, 8], [8, 8], [8, 8]]


def test_step_of_a_level_that_overhangs_the_image():
    """160 pixels over 3 rows of P6: torchvision steps by 53, not by 64."""
    anchors = grid_anchors(np.zeros((1, 4), np.float32), (3, 4), (160, 224))
    assert anchors[[0, 1, 4], :2].tolist() == [[0, 0], [56, 0], [0, 53]]


def test_number_of_anchors_at_the_published_size():
    sizes = [(192, 320), (96, 160), (48, 80), (24, 40), (12, 20)]
    anchors = pyramid_anchors((768, 1280), sizes, strides=(4, 8, 16, 32, 64), **ZOO)
    assert anchors.shape == (245520, 4)
    assert anchors.dtype == np.float32
    assert anchors[184320].tolist() == [-41, -19, 48, 26]


def test_unknown_centre_is_refused():
    with pytest.raises(ValueError, match="corner"):
        base_anchors(4, scales=(8,), ratios=(1.0,), centre="corner", box_offset=0)
