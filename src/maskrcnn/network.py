"""Mask R-CNN: the inference network and the cell that computes its training losses."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import mindspore as ms
import mindspore.nn as nn
from mindspore import Tensor, ops

from src.layers.random import NEWEST, sample_key, sampling_priority
from src.layers.sampling import batched_gather
from src.maskrcnn.anchors import pyramid_anchors
from src.maskrcnn.box_head import BoxLoss, RoISampler
from src.maskrcnn.losses import mask_loss
from src.maskrcnn.mask_head import mask_targets
from src.maskrcnn.proposals import ProposalGenerator
from src.maskrcnn.roi import feature_table
from src.maskrcnn.rpn import RPNLoss

STRIDES = (4, 8, 16, 32, 64)


class Anchors(nn.Cell):
    """The anchors of an input and its pyramid, a constant of the graph. Arguments: see `anchors.base_anchors`.

    `scales` are multiplied by `strides`, one per level; strides smaller than the levels' own suit small objects.
    """

    def __init__(self, *, scales: Sequence[float] = (8,), ratios: Sequence[float] = (0.5, 1.0, 2.0),
                 centre: str = "origin", box_offset: int = 0, strides: Sequence[float] = STRIDES):
        super().__init__()
        self.rule = (tuple(strides), tuple(scales), tuple(ratios), centre, box_offset)
        self.per_cell = len(scales) * len(ratios)

    def construct(self, image, levels):
        """(B, 3, H, W) and (P2, ..., P6) -> (A, 4)."""
        return _anchor_constant(image.shape[2:], feature_sizes(levels), self.rule)


@ops.constexpr
def _anchor_constant(image_size, sizes, rule):
    if image_size[0] % 32 or image_size[1] % 32:
        raise ValueError(f"network input {image_size[0]} x {image_size[1]}: both sides have to be multiples of 32")
    strides, scales, ratios, centre, box_offset = rule
    return Tensor(pyramid_anchors(image_size, sizes, strides=strides, scales=scales, ratios=ratios, centre=centre,
                                  box_offset=box_offset))


def feature_sizes(levels):
    """Tuple of (B, C, h, w) -> tuple of (h, w)."""
    sizes = ()
    for level in levels:
        sizes += (level.shape[2:],)
    return sizes


class MaskRCNN(nn.Cell):
    """The inference network: image -> at most D detections with their masks; also what export freezes.

    Args:
        backbone: image -> (C2, C3, C4, C5). fpn: those -> (P2, ..., P6). rpn: `RPNHead`. anchors: `Anchors`.
        box_head, mask_head: with `box_align` and `mask_align` before them.
        proposals, detections: the cells of inference; training has its own proposals.
    """

    def __init__(self, *, backbone: nn.Cell, fpn: nn.Cell, rpn: nn.Cell, anchors: Anchors, box: Sequence[nn.Cell],
                 mask: Sequence[nn.Cell], proposals: nn.Cell, detections: nn.Cell):
        super().__init__()
        self.backbone = backbone
        self.fpn = fpn
        self.rpn = rpn
        self.anchors = anchors
        self.box_align, self.box_head = box
        self.mask_align, self.mask_head = mask
        self.proposals = proposals
        self.detections = detections

    def construct(self, image, image_size):
        """Return boxes_input (B, D, 4), labels (B, D) int32, scores (B, D), valid (B, D) bool, masks (B, D, S, S).

        Detections are sorted by score, best first; slots that are not valid hold zeros. Masks are probabilities.

        Args:
            image: (B, 3, H, W), H and W multiples of 32. image_size: (B, 2) height and width of the valid part.
        """
        return self.detect(image, image_size)[:5]

    def detect(self, image, image_size):
        """What `construct` returns, and (B,) int32, how many boxes suppression left undecided (`nms.plain_nms`)."""
        levels = self.fpn(self.backbone(image))
        proposals, valid, open_proposals = self.proposals(*self.rpn(levels), self.anchors(image, levels), image_size)
        pyramid = levels[:4]
        table, sizes = feature_table(pyramid), feature_sizes(pyramid)
        b, p = valid.shape
        logits, deltas = self.box_head(self.box_align(table, proposals, sizes))
        span = max(image.shape[2], image.shape[3]) + 1
        boxes, labels, scores, valid, open_detections = self.detections(
            logits.reshape(b, p, -1), deltas.reshape(b, p, -1, 4), proposals, valid, image_size, span)
        masks = ops.sigmoid(self.mask_head(self.mask_align(table, boxes, sizes), labels.reshape(-1)))
        masks = masks.reshape(labels.shape + masks.shape[1:]) * valid[..., None, None].astype(ms.float32)
        return boxes, labels, scores, valid, masks, open_proposals + open_detections


class CountedDetections(nn.Cell):
    """`MaskRCNN.detect` as a cell: the detections and how many boxes of each image stayed undecided."""

    def __init__(self, network: MaskRCNN):
        super().__init__(auto_prefix=False)
        self.network = network

    def construct(self, image, image_size):
        return self.network.detect(image, image_size)


class BoxMasks(nn.Cell):
    """Masks of given boxes: image (B, 3, H, W), boxes_input (B, D, 4), labels (B, D) int32 -> (B, D, S, S)."""

    def __init__(self, network: MaskRCNN):
        super().__init__(auto_prefix=False)
        self.network = network

    def construct(self, image, boxes, labels):
        pyramid = self.network.fpn(self.network.backbone(image))[:4]
        features = self.network.mask_align(feature_table(pyramid), boxes, feature_sizes(pyramid))
        masks = ops.sigmoid(self.network.mask_head(features, labels.reshape(-1)))
        return masks.reshape(labels.shape + masks.shape[1:])


@dataclass(frozen=True)
class LossWeights:
    """Weights of the losses in the sums of `MaskRCNNLosses`."""

    rpn: float = 1.0
    rpn_cls: float = 1.0
    rpn_reg: float = 1.0
    rcnn_cls: float = 1.0
    rcnn_reg: float = 1.0
    rcnn_mask: float = 1.0


class MaskRCNNLosses(nn.Cell):
    """Training cell: batch columns -> the losses named in `maskrcnn.LOSS_NAMES`, float32 scalars, total first.

    If NMS uses plain operators, the number of boxes that it left undecided follows (`maskrcnn.UNDECIDED`).

    It shares its parameters with `network`. Sampling depends only on (seed, epoch, sample id), so a resumed run and any
    number of ranks draw the same anchors and RoIs for an image.

    Args:
        network: `MaskRCNN`.
        proposals: `ProposalGenerator` for training. rpn_loss: `RPNLoss`. sampler: `RoISampler`. box_loss: `BoxLoss`.
        mask_rois: positives per image that train the mask head; chosen at random if there are more.
        weights: of the losses in their sums. The parts are returned unweighted.
        seed: of the sampling. noise: version of its hash, see `layers.random`.
    """

    def __init__(self, network: MaskRCNN, *, proposals: ProposalGenerator, rpn_loss: RPNLoss, sampler: RoISampler,
                 box_loss: BoxLoss, mask_rois: int = 128, weights: LossWeights = LossWeights(), seed: int = 1,
                 noise: int = NEWEST):
        super().__init__(auto_prefix=False)
        self.network = network
        self.proposals = proposals
        self.rpn_loss = rpn_loss
        self.sampler = sampler
        self.box_loss = box_loss
        self.mask_rois = min(mask_rois, sampler.max_positive)
        self.seed = seed
        self.noise = noise
        self.weights = [float(weight) for weight in astuple(weights)]

    def construct(self, image, image_size, gt_boxes, gt_labels, gt_valid, gt_ignore, gt_masks, gt_has_mask, sample_id,
                  epoch):
        """See the package's vocabulary for the columns; returns a tuple of scalars."""
        gt_valid, gt_ignore = gt_valid.astype(ms.bool_), gt_ignore.astype(ms.bool_)
        truth = (gt_boxes, gt_valid, gt_ignore)
        key = sample_key(self.seed, epoch, sample_id, noise=self.noise)
        levels = self.network.fpn(self.network.backbone(image))
        logits, deltas = self.network.rpn(levels)
        anchors = self.network.anchors(image, levels)
        rpn_cls, rpn_reg = self.rpn_loss(ops.cat(logits, 1), ops.cat(deltas, 1), anchors, *truth,
                                         sampling_priority(key, anchors.shape[0], stream=0, noise=self.noise))
        proposals, valid, undecided = self.proposals(logits, deltas, anchors, image_size)
        priority = sampling_priority(key, proposals.shape[1] + gt_boxes.shape[1], stream=1, noise=self.noise)
        rois = self.sampler(proposals, valid, *truth, priority)
        pyramid = levels[:4]
        table, sizes = feature_table(pyramid), feature_sizes(pyramid)
        rcnn_cls, rcnn_reg = self.box_branch(table, sizes, rois, gt_boxes, gt_labels)
        rcnn_mask = self.mask_branch(table, sizes, rois, (gt_boxes, gt_labels, gt_masks, gt_has_mask))
        losses = self.sums(rpn_cls, rpn_reg, rcnn_cls, rcnn_reg, rcnn_mask)
        return losses + (undecided.astype(ms.float32).sum(),) if self.proposals.plain else losses

    def box_branch(self, table, sizes, rois, gt_boxes, gt_labels):
        boxes, matched, is_positive, is_chosen = rois
        logits, deltas = self.network.box_head(self.network.box_align(table, boxes, sizes))
        return self.box_loss(logits, deltas, boxes, batched_gather(gt_boxes, matched), batched_gather(gt_labels,
                                                                                                      matched),
                             is_positive, is_chosen)

    def mask_branch(self, table, sizes, rois, truth):
        boxes, matched, is_positive, _ = rois
        gt_boxes, gt_labels, gt_masks, gt_has_mask = truth
        count = min(self.mask_rois, boxes.shape[1])
        boxes, matched, is_positive = boxes[:, :count], matched[:, :count], is_positive[:, :count]
        labels = (batched_gather(gt_labels, matched) * is_positive.astype(ms.int32)).reshape(-1)
        logits = self.network.mask_head(self.network.mask_align(table, boxes, sizes), labels)
        crops = batched_gather(gt_masks.astype(ms.float32) / 255.0, matched)
        targets = mask_targets(crops.reshape((-1,) + crops.shape[2:]), batched_gather(gt_boxes, matched).reshape(-1, 4),
                               boxes.reshape(-1, 4), logits.shape[-1])
        counts = ops.logical_and(is_positive, batched_gather(gt_has_mask.astype(ms.bool_), matched))
        return mask_loss(logits, targets, counts.reshape(-1))

    def sums(self, rpn_cls, rpn_reg, rcnn_cls, rcnn_reg, rcnn_mask):
        rpn_weight, rpn_cls_weight, rpn_reg_weight, cls_weight, reg_weight, mask_weight = self.weights
        rpn = rpn_weight * (rpn_cls_weight * rpn_cls + rpn_reg_weight * rpn_reg)
        rcnn = cls_weight * rcnn_cls + reg_weight * rcnn_reg + mask_weight * rcnn_mask
        return rpn + rcnn, rpn, rcnn, rpn_cls, rpn_reg, rcnn_cls, rcnn_reg, rcnn_mask
