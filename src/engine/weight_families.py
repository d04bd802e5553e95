"""What is published under which names, and with which arithmetic: one table of names and one of options a family.

A family is the weights of one network by one publisher. Its rows say how its parameter names and layouts become ours
and back; its conventions say what the network and its input have to do so that the weights give their publisher's
numbers. Both are data: the names of networks appear in this file only, and nothing here computes.

Conventions travel as metadata of a converted checkpoint, as JSON. So they hold lists, never tuples.

Input, all networks
    colour_order        "RGB" or "BGR": order of the network's three input channels
    image_mean          mean and
    image_std           standard deviation by channel, on the 0..255 scale, in `colour_order`
    stem_pool           3x3 stride 2 max pooling after conv1: "pad" = one row and column on every side; "same" = zoo's,
                        for even sizes one at the bottom and right alone
    bn_eps              epsilon of every batch norm

DeepLabV3
    dilation            "multi_grid" = a dilated layer4 multiplies its dilation by 1, 2, 4 over its blocks, every block
                        of a dilated layer is dilated; "previous" = no grid, and the first block of a dilated layer
                        keeps the dilation of the layer before it
    aspp_rates          {output stride as text: dilations of the three 3x3 branches}
    head_conv3x3        a 3x3 convolution + BN + ReLU between ASPP's projection and the classifier
    resize_align_corners  how the logits are resized to the input
    output_stride       8 or 16; null = either, the names and shapes do not tell

Mask R-CNN
    num_classes         including background at index 0
    class_map           "coco80" = indices 1..80 are COCO's categories in order; "coco91" = the index is the category id
    box_offset          1 = widths are x2 - x1 + 1 in IoU, deltas, anchors and levels (NMS has none); 0 = x2 - x1
    anchor_scale        side of the square anchor in strides of its level
    anchor_ratios       heights by widths, in the order of the channels
    anchor_centre       "pixel" = base anchors are centred on (stride - 1) / 2; "origin" = on 0. Both round corners to
                        even halves
    fpn_upsample        "asymmetric" = bilinear with source = target * ratio (no half pixels); "nearest"
    rpn_stds, box_stds  standard deviations that deltas are divided by (torchvision's weights are their inverses)
    delta_clip          "both" = dw and dh limited to +-log(1000 / 16); "above" = at its upper end alone
    roi_level           "eps_inside" = floor(log2(scale / 56 + 1e-6)); "eps_outside" = floor(log2(scale / 56) + 1e-6);
                        clipped to P2..P5; scale = sqrt of the RoI's area, with `box_offset`
    proposal_min_size   proposals with a shorter side (pixels) are dropped before NMS
    detection_min_size  detections likewise
    detections_per_image  how many of the best stay
    mask_paste_pad      pixels that a predicted mask is padded by, and its box expanded with it, before pasting
    resize_rule         "canvas" = fit into `resize_size` (height, width), portrait images in two steps, padded to all of
                        it; "short_side" = short side `resize_size[0]`, long side at most `resize_size[1]`, padded to
                        multiples of `pad_multiple`
    resize_rounding     "round" (half up) or "floor" of the scaled sides
    pad_before_normalise  true = padding is black, so -mean/std in the network's input; false = it is 0 there
"""
from __future__ import annotations

from typing import Any

_RGB_MEAN, _RGB_STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
_BGR_MEAN, _BGR_STD = [103.53, 116.28, 123.675], [57.375, 57.12, 58.395]

ZOO_RESNET: dict[str, Any] = {
    "colour_order": "RGB", "image_mean": _RGB_MEAN, "image_std": _RGB_STD, "stem_pool": "same", "bn_eps": 1e-4,
}
TORCHVISION_RESNET: dict[str, Any] = {
    "colour_order": "RGB", "image_mean": _RGB_MEAN, "image_std": _RGB_STD, "stem_pool": "pad", "bn_eps": 1e-5,
}
ZOO_DEEPLABV3: dict[str, Any] = {
    "colour_order": "BGR", "image_mean": _BGR_MEAN, "image_std": _BGR_STD, "stem_pool": "same", "bn_eps": 1e-5,
    "dilation": "multi_grid", "aspp_rates": {"8": [6, 12, 18], "16": [6, 12, 18]}, "head_conv3x3": False,
    "resize_align_corners": True, "output_stride": None,
}
TORCHVISION_DEEPLABV3: dict[str, Any] = {
    "colour_order": "RGB", "image_mean": _RGB_MEAN, "image_std": _RGB_STD, "stem_pool": "pad", "bn_eps": 1e-5,
    "dilation": "previous", "aspp_rates": {"8": [12, 24, 36], "16": [12, 24, 36]}, "head_conv3x3": True,
    "resize_align_corners": False, "output_stride": 8,
}
ZOO_MASKRCNN: dict[str, Any] = {
    "colour_order": "RGB", "image_mean": _RGB_MEAN, "image_std": _RGB_STD, "stem_pool": "same", "bn_eps": 1e-5,
    "num_classes": 81, "class_map": "coco80", "box_offset": 1,
    "anchor_scale": 8, "anchor_ratios": [0.5, 1.0, 2.0], "anchor_centre": "pixel", "fpn_upsample": "asymmetric",
    "rpn_stds": [1.0, 1.0, 1.0, 1.0], "box_stds": [0.1, 0.1, 0.2, 0.2], "delta_clip": "both",
    "roi_level": "eps_inside", "proposal_min_size": 0.0, "detection_min_size": 0.0, "detections_per_image": 128,
    "mask_paste_pad": 0, "resize_rule": "canvas", "resize_size": [768, 1280], "resize_rounding": "round",
    "pad_before_normalise": True, "pad_multiple": 32,
}
TORCHVISION_MASKRCNN: dict[str, Any] = {
    "colour_order": "RGB", "image_mean": _RGB_MEAN, "image_std": _RGB_STD, "stem_pool": "pad", "bn_eps": 1e-5,
    "num_classes": 91, "class_map": "coco91", "box_offset": 0,
    "anchor_scale": 8, "anchor_ratios": [0.5, 1.0, 2.0], "anchor_centre": "origin", "fpn_upsample": "nearest",
    "rpn_stds": [1.0, 1.0, 1.0, 1.0], "box_stds": [0.1, 0.1, 0.2, 0.2], "delta_clip": "above",
    "roi_level": "eps_outside", "proposal_min_size": 1e-3, "detection_min_size": 1e-2, "detections_per_image": 100,
    "mask_paste_pad": 1, "resize_rule": "short_side", "resize_size": [800, 1333], "resize_rounding": "floor",
    "pad_before_normalise": False, "pad_multiple": 32,
}
