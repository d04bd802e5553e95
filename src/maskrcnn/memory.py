"""Estimate the memory of a training step before anything is compiled."""
from __future__ import annotations

from src.layers.resnet import BLOCKS, WIDTHS, out_channels
from src.maskrcnn.config import MaskRCNNConfig
from src.maskrcnn.published import feature_shapes

FLOAT = 4
# Arrays of a layer's size that exist at the peak, fitted to `benchmarks/maskrcnn_memory.py` on a CPU.
KEPT = {"frozen": 2, "batch": 2, "sync": 3.5, "group": 3.5}  # of the trained backbone, by normalisation
# Of the pyramid: laterals, sums, levels, RPN and their gradients; unfolded inputs of FPN's and RPN's 3x3 convolutions,
# which take most; RoIAlign's table.
PYRAMID = 21.4
ROIS = 2.2  # of RoIAlign's neighbours and the mask head
IOU_COPIES = 2  # overlaps of every anchor with every ground truth
COMPILER = 0.9 * 2**30
NEIGHBOURS = 4  # cells that a bin reads along each axis


def activation_bytes(config: MaskRCNNConfig) -> int:
    """Bytes that one training step needs in addition to the weights."""
    freeze_at = 0 if config.unfreeze_epoch else config.freeze_at
    kept, channels = KEPT[config.norm], config.fpn_out_channels
    cells = config.train_size[0] * config.train_size[1] / 4
    values = kept * 64 * cells * (freeze_at < 1)
    for stage, (width, out, blocks) in enumerate(zip(WIDTHS, out_channels(config.depth), BLOCKS[config.depth]), 2):
        cells /= 4
        inner = 2 * width if config.depth >= 50 else width
        values += kept * blocks * (inner + out) * cells * (freeze_at < stage) + PYRAMID * channels * cells
    rois, mask_rois = config.num_expected_neg_stage2, config.num_mask_rois or config.num_expected_pos_stage2
    side, mask_side = config.roi_layer.out_size, config.roi_layer.mask_out_size
    neighbours = channels * (rois * (NEIGHBOURS * side) ** 2 + mask_rois * (NEIGHBOURS * mask_side) ** 2)
    values += ROIS * (neighbours + mask_rois * config.rcnn_mask_out_channels * 12 * mask_side ** 2)
    anchors = config.num_anchors * sum(h * w for h, w in feature_shapes(config))
    values += IOU_COPIES * anchors * config.max_instance_count
    return int(config.batch_size * FLOAT * values + COMPILER)
