"""Keys of the published table of parameters that are not options: their formulas, or why they have no effect."""
from __future__ import annotations

from typing import Any

STRIDES = (4, 8, 16, 32, 64)  # of P2..P6


def feature_shapes(c: Any) -> tuple[tuple[int, int], ...]:
    """(H, W) of P2..P6 in training."""
    sizes = [(c.train_size[0] // stride, c.train_size[1] // stride) for stride in STRIDES[:4]]
    return (*sizes, tuple((side + 1) // 2 for side in sizes[-1]))


def _resnet(c: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    from src.layers.resnet import BLOCKS, out_channels

    return BLOCKS[c.depth], out_channels(c.depth)


# key: its value as a function of the configuration
DERIVED = {
    "mask_shape": lambda c: (2 * c.roi_layer.mask_out_size,) * 2,
    "feature_shapes": feature_shapes,
    "num_anchors": lambda c: len(c.anchor_scales) * len(c.anchor_ratios),
    "num_bboxes": lambda c: c.num_anchors * sum(h * w for h, w in feature_shapes(c)),
    "num_gts": lambda c: c.max_instance_count,
    "resnet_block": lambda c: _resnet(c)[0],
    "resnet_in_channels": lambda c: (64, *_resnet(c)[1][:3]),
    "resnet_out_channels": lambda c: _resnet(c)[1],
    "fpn_in_channels": lambda c: _resnet(c)[1],
    "fpn_num_outs": lambda c: len(STRIDES),
    "rpn_in_channels": lambda c: c.fpn_out_channels,
    "roi_align_out_channels": lambda c: c.fpn_out_channels,
    "rcnn_in_channels": lambda c: c.fpn_out_channels,
    "rcnn_num_layers": lambda c: 2,
    "rpn_cls_out_channels": lambda c: 1,
    "activate_num_classes": lambda c: 2,
    "use_sigmoid_cls": lambda c: True,
    "rpn_head_use_sigmoid": lambda c: True,
    "rpn_head_loss_type": lambda c: "CrossEntropyLoss",
    "rpn_target_means": lambda c: (0.0,) * 4,
    "rcnn_target_means": lambda c: (0.0,) * 4,
    "roi_align_featmap_strides": lambda c: STRIDES[:4],
    "roi_sample_num": lambda c: c.num_expected_pos_stage2 + c.num_expected_neg_stage2,
    "num_bboxes_stage2": lambda c: c.rpn_proposal_max_num,
    "num_expected_total_stage2": lambda c: c.num_expected_neg_stage2,
    "rpn_proposal_nms_across_levels": lambda c: False,
    "rpn_nms_across_levels": lambda c: False,
    "rpn_proposal_nms_post": lambda c: c.rpn_proposal_nms_pre,
    "rpn_nms_post": lambda c: c.rpn_nms_pre,
}
# key: why it has no effect
RETIRED = {
    "base_step": "has no effect: the steps of an epoch follow from the data: images // (batch_size x processes)",
    "sgd_momentum": "has no effect and never had any: the optimizer's momentum is the key momentum",
    "only_create_dataset": "has no effect: src/tools/build_coco_data.py builds the records",
}
