"""Box head: class scores and class-specific deltas of RoIs, the RoIs that it trains on, and its losses."""
from __future__ import annotations

from collections.abc import Sequence

import mindspore as ms
import mindspore.nn as nn
from mindspore import ops
from mindspore.common.initializer import Normal, XavierUniform

from src.layers.sampling import balanced_sample, batched_gather
from src.maskrcnn.boxes import iou_by_image, share_by_image
from src.maskrcnn.losses import class_loss, delta_loss
from src.maskrcnn.matching import CROWD_SHARE, match, usable_boxes
from src.maskrcnn.rpn import box_targets


class BoxHead(nn.Cell):
    """Two dense layers and two predictors: (N, C, s, s) -> logits (N, K) and deltas (N, K, 4), float32."""

    def __init__(self, channels: int, num_classes: int, *, size: int = 7, hidden: int = 1024):
        super().__init__()
        self.num_classes = num_classes
        self.fc1 = _dense(channels * size * size, hidden, XavierUniform())
        self.fc2 = _dense(hidden, hidden, XavierUniform())
        self.cls = _dense(hidden, num_classes, Normal(0.01))
        self.reg = _dense(hidden, num_classes * 4, Normal(0.001))

    def construct(self, x):
        x = ops.relu(self.fc1(x.reshape(x.shape[0], -1)))
        x = ops.relu(self.fc2(x))
        deltas = self.reg(x).reshape(x.shape[0], self.num_classes, 4)
        return self.cls(x).astype(ms.float32), deltas.astype(ms.float32)


def _dense(in_channels: int, out_channels: int, init) -> nn.Dense:
    return nn.Dense(in_channels, out_channels, weight_init=init, bias_init="zeros")


class RoISampler(nn.Cell):
    """Chooses the RoIs that the heads train on from proposals and ground truth boxes.

    Args:
        negative_iou, positive_iou, best_iou: see `matching.match`; best_iou None = only by IoU.
        max_positive: positives per image, at most; samples: RoIs per image (R).
        box_offset: see the package's vocabulary. plain: see `boxes.iou`.
    """

    def __init__(self, *, negative_iou: float = 0.5, positive_iou: float = 0.5, best_iou: float | None = None,
                 max_positive: int = 128, samples: int = 512, box_offset: int = 0, plain: bool = False):
        super().__init__()
        self.rule = {"negative_iou": negative_iou, "positive_iou": positive_iou, "best_iou": best_iou}
        self.max_positive = max_positive
        self.samples = samples
        self.form = {"box_offset": box_offset, "plain": plain}

    def construct(self, proposals, valid, gt_boxes, gt_valid, gt_ignore, priority):
        """Return boxes (B, R, 4), index of their ground truth (B, R) int32, is_positive and is_chosen (B, R) bool.

        Positives come first. Ground truth boxes are added to the proposals, so that there are positives from the first
        step; they come last, so that the noise of a proposal does not depend on the number of slots.

        Args:
            proposals, valid: (B, P, 4), (B, P) bool.
            gt_boxes, gt_valid, gt_ignore: (B, G, 4), (B, G) bool, (B, G) bool.
            priority: (B, P + G) uniform noise, see `sampling.balanced_sample`.
        """
        objects = ops.logical_and(gt_valid, ops.logical_not(gt_ignore))
        crowds = ops.logical_and(gt_valid, gt_ignore)
        boxes = ops.cat((proposals, gt_boxes), 1)
        usable = ops.cat((valid, objects), 1)
        overlap = iou_by_image(boxes, usable_boxes(gt_boxes, objects), **self.form)
        matched, positive, negative = match(overlap, **self.rule)
        in_crowd = share_by_image(boxes, usable_boxes(gt_boxes, crowds), **self.form) > CROWD_SHARE
        positive = ops.logical_and(positive, usable)
        negative = ops.logical_and(ops.logical_and(negative, usable), ops.logical_not(in_crowd))
        index, is_positive, is_chosen = balanced_sample(positive, negative, priority, max_positive=self.max_positive,
                                                        total=self.samples)
        boxes = batched_gather(boxes, index) * is_chosen[..., None].astype(ms.float32)
        return ops.stop_gradient(boxes), batched_gather(matched, index), is_positive, is_chosen


class BoxLoss(nn.Cell):
    """Compares the box head's output with the ground truths of the sampled RoIs.

    Args:
        stds: of the deltas. beta: of the smooth L1 loss. box_offset: see the package's vocabulary.
    """

    def __init__(self, *, stds: Sequence[float] = (0.1, 0.1, 0.2, 0.2), beta: float = 1.0, box_offset: int = 0):
        super().__init__()
        self.stds = tuple(stds)
        self.beta = beta
        self.box_offset = box_offset

    def construct(self, logits, deltas, boxes, gt_boxes, gt_labels, is_positive, is_chosen):
        """Return the class loss and the box loss.

        Args:
            logits, deltas: (B * R, K), (B * R, K, 4).
            boxes, gt_boxes: (B, R, 4) RoIs and the ground truth of each.
            gt_labels: (B, R) int32 class of that ground truth.
            is_positive, is_chosen: (B, R) bool. RoIs that are chosen but not positive are background, label 0.
        """
        labels = (gt_labels * is_positive.astype(ms.int32)).reshape(-1)
        own = batched_gather(deltas, labels[:, None]).squeeze(1)
        targets = box_targets(boxes, gt_boxes, is_positive, stds=self.stds, box_offset=self.box_offset)
        is_positive, is_chosen = is_positive.reshape(-1), is_chosen.reshape(-1)
        return (class_loss(logits, labels, is_chosen),
                delta_loss(own, targets.reshape(logits.shape[0], 4), is_positive, is_chosen, beta=self.beta))
