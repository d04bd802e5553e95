"""The tables of conventions against what the publishers' own code and configuration say, written down a second time.

The arrays of the other golden tests come from networks that are told these options; a wrong option in the tables alone
would pass there.
"""
import numpy as np
import pytest

from src.maskrcnn.anchors import base_anchors
from src.weights.families import FAMILIES

RGB_MEAN, RGB_STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
RGB = {"colour_order": "RGB", "image_mean": RGB_MEAN, "image_std": RGB_STD}
BGR = {"colour_order": "BGR", "image_mean": RGB_MEAN[::-1], "image_std": RGB_STD[::-1]}
BOXES = {"anchor_scale": 8, "anchor_ratios": [0.5, 1.0, 2.0], "rpn_stds": [1.0] * 4, "box_stds": [0.1, 0.1, 0.2, 0.2],
         "pad_multiple": 32, "bn_eps": 1e-5}
PUBLISHED = {
    "zoo_resnet": {**RGB, "stem_pool": "same", "bn_eps": 1e-4},
    "zoo_deeplabv3": {
        **BGR, "stem_pool": "same", "bn_eps": 1e-5, "dilation": "multi_grid", "head_conv3x3": False,
        "aspp_rates": {"8": [6, 12, 18], "16": [6, 12, 18]}, "resize_align_corners": True, "output_stride": None},
    "zoo_maskrcnn": {
        **RGB, **BOXES, "stem_pool": "same", "class_map": "coco80", "box_offset": 1, "anchor_centre": "pixel",
        "fpn_upsample": "asymmetric", "delta_clip": "both", "roi_level": "eps_inside", "proposal_min_size": 0.0,
        "detection_min_size": 0.0, "detections_per_image": 128, "mask_paste_pad": 0, "resize_rule": "canvas",
        "resize_size": [768, 1280], "resize_rounding": "round", "pad_before_normalise": True},
    "torchvision_resnet": {**RGB, "stem_pool": "pad", "bn_eps": 1e-5},
    "torchvision_deeplabv3": {
        **RGB, "stem_pool": "pad", "bn_eps": 1e-5, "dilation": "previous", "head_conv3x3": True,
        "aspp_rates": {"8": [12, 24, 36], "16": [12, 24, 36]}, "resize_align_corners": False, "output_stride": 8},
    "torchvision_maskrcnn": {
        **RGB, **BOXES, "stem_pool": "pad", "class_map": "coco91", "box_offset": 0, "anchor_centre": "origin",
        "fpn_upsample": "nearest", "delta_clip": "above", "roi_level": "eps_outside", "proposal_min_size": 1e-3,
        "detection_min_size": 1e-2, "detections_per_image": 100, "mask_paste_pad": 1, "resize_rule": "short_side",
        "resize_size": [800, 1333], "resize_rounding": "floor", "pad_before_normalise": False},
}


@pytest.mark.parametrize("family", PUBLISHED)
def test_conventions(family):
    assert FAMILIES[family].conventions == PUBLISHED[family]


def test_no_family_is_left_out():
    assert PUBLISHED.keys() == FAMILIES.keys() - {"mindseg"}


@pytest.mark.parametrize(("family", "stride", "expected"), [
    ("zoo_maskrcnn", 32, [[-165, -75, 196, 106], [-112, -112, 143, 143], [-75, -165, 106, 196]]),
    ("zoo_maskrcnn", 64, [[-330, -149, 393, 212], [-224, -224, 287, 287], [-149, -330, 212, 393]]),
    ("torchvision_maskrcnn", 4, [[-23, -11, 23, 11], [-16, -16, 16, 16], [-11, -23, 11, 23]]),
    ("torchvision_maskrcnn", 64, [[-362, -181, 362, 181], [-256, -256, 256, 256], [-181, -362, 181, 362]])])
def test_anchors_at_the_origin(family, stride, expected):
    said = FAMILIES[family].conventions
    found = base_anchors(stride, scales=(said["anchor_scale"],), ratios=said["anchor_ratios"],
                         centre=said["anchor_centre"], box_offset=said["box_offset"])
    np.testing.assert_array_equal(found, expected)
