"""Region proposal network (Ren et al. 2015, arXiv:1506.01497): objectness and deltas of anchors, and their losses."""
from __future__ import annotations

from collections.abc import Sequence

import mindspore as ms
import mindspore.nn as nn
from mindspore import ops
from mindspore.common.initializer import Normal

from src.layers.constants import constant
from src.layers.sampling import balanced_sample, batched_gather
from src.maskrcnn.boxes import encode, intersection_over_area, iou
from src.maskrcnn.losses import delta_loss, objectness_loss
from src.maskrcnn.matching import CROWD_SHARE, match, usable_boxes


def flatten_level(x, values: int):
    """(B, n * values, h, w) -> (B, h * w * n, values): order (row, column, anchor)."""
    return x.transpose(0, 2, 3, 1).reshape(x.shape[0], -1, values)


class RPNHead(nn.Cell):
    """One 3x3 convolution and two 1x1 predictors, shared by all levels.

    `construct`: (P2, ..., P6) -> logits, a tuple of (B, A_level), and deltas, a tuple of (B, A_level, 4), both float32.
    """

    def __init__(self, channels: int, hidden: int, num_anchors: int):
        super().__init__()
        self.conv = _conv(channels, hidden, 3)
        self.cls = _conv(hidden, num_anchors, 1)
        self.reg = _conv(hidden, num_anchors * 4, 1)

    def construct(self, levels):
        logits, deltas = (), ()
        for level in levels:
            hidden = ops.relu(self.conv(level))
            logits += (flatten_level(self.cls(hidden), 1).squeeze(-1).astype(ms.float32),)
            deltas += (flatten_level(self.reg(hidden), 4).astype(ms.float32),)
        return logits, deltas


def _conv(in_channels: int, out_channels: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel, pad_mode="same", has_bias=True, weight_init=Normal(0.01),
                     bias_init="zeros")


class RPNLoss(nn.Cell):
    """Samples anchors of each image and compares their predictions with the ground truth.

    Args:
        negative_iou, positive_iou, best_iou: see `matching.match`.
        max_positive: positives per image, at most; samples: anchors per image.
        stds: of the deltas. beta: of the smooth L1 loss. box_offset: see the package's vocabulary. plain: see
            `boxes.iou`.
    """

    def __init__(self, *, negative_iou: float = 0.3, positive_iou: float = 0.7, best_iou: float = 0.3,
                 max_positive: int = 128, samples: int = 256, stds: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
                 beta: float = 1.0 / 9.0, box_offset: int = 0, plain: bool = False):
        super().__init__()
        self.rule = {"negative_iou": negative_iou, "positive_iou": positive_iou, "best_iou": best_iou}
        self.max_positive = max_positive
        self.samples = samples
        self.stds = tuple(stds)
        self.beta = beta
        self.box_offset = box_offset
        self.form = {"box_offset": box_offset, "plain": plain}

    def construct(self, logits, deltas, anchors, gt_boxes, gt_valid, gt_ignore, priority):
        """Return the objectness loss and the box loss.

        Args:
            logits, deltas: (B, A) and (B, A, 4), all levels.
            anchors: (A, 4).
            gt_boxes, gt_valid, gt_ignore: (B, G, 4), (B, G) bool, (B, G) bool.
            priority: (B, A) uniform noise, see `sampling.balanced_sample`.
        """
        objects = ops.logical_and(gt_valid, ops.logical_not(gt_ignore))
        crowds = ops.logical_and(gt_valid, gt_ignore)
        overlap = iou(anchors, usable_boxes(gt_boxes, objects), **self.form)
        matched, positive, negative = match(overlap, **self.rule)
        in_crowd = intersection_over_area(anchors, usable_boxes(gt_boxes, crowds), **self.form) > CROWD_SHARE
        negative = ops.logical_and(negative, ops.logical_not(in_crowd))
        index, is_positive, is_chosen = balanced_sample(positive, negative, priority, max_positive=self.max_positive,
                                                        total=self.samples)
        targets = box_targets(ops.gather(anchors, index, 0), batched_gather(gt_boxes, batched_gather(matched, index)),
                              is_positive, stds=self.stds, box_offset=self.box_offset)
        return (objectness_loss(batched_gather(logits, index), is_positive, is_chosen),
                delta_loss(batched_gather(deltas, index), targets, is_positive, is_chosen, beta=self.beta))


def box_targets(boxes, gt_boxes, is_positive, *, stds: Sequence[float], box_offset: int = 0):
    """Deltas from boxes to their ground truth, (B, R, 4); 0 for boxes that are not positive."""
    unit = ops.zeros_like(boxes) + constant((0, 0, 1, 1))
    chosen = is_positive[..., None]
    return encode(ops.where(chosen, boxes, unit), ops.where(chosen, gt_boxes, unit), stds=stds, box_offset=box_offset)
