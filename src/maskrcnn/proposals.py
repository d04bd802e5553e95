"""From the RPN's predictions to proposals, from the box head's to detections: rank, decode, clip, suppress, rank."""
from __future__ import annotations

import math
from collections.abc import Sequence

import mindspore as ms
from mindspore import ops

from src.layers.constants import repeated, tiled
from src.layers.sampling import batched_gather
from src.maskrcnn.boxes import BoxCell, clip_to_image, decode, large_enough, nms

# Ascend's suppression takes at most this many boxes in one call.
MAX_NMS_BOXES = 2864
# Ranks a dropped box behind every score and every logit.
DROPPED = -1e8


class ProposalGenerator(BoxCell):
    """Best anchors of each level -> boxes -> suppression in the level -> best of the image (Lin et al. 2017, 4.1).

    Args:
        before_nms: boxes a level and image that enter suppression, at most 2864.
        after_nms: proposals an image at most.
        nms_iou: see `boxes.nms`.
        min_size: boxes with a shorter side (pixels) are dropped before suppression.
        stds, delta_clip, box_offset: see `boxes.decode`.
    """

    def __init__(self, *, before_nms: int, after_nms: int, nms_iou: float = 0.7, min_size: float = 0.0,
                 stds: Sequence[float] = (1.0, 1.0, 1.0, 1.0), delta_clip: str = "above", box_offset: int = 0):
        super().__init__()
        if not 0 < before_nms <= MAX_NMS_BOXES:
            raise ValueError(f"proposals before NMS={before_nms}: expected 1 to {MAX_NMS_BOXES} a level")
        self.before_nms, self.after_nms, self.nms_iou, self.min_size = before_nms, after_nms, nms_iou, min_size
        self.coder = {"stds": tuple(stds), "delta_clip": delta_clip, "box_offset": box_offset}

    def construct(self, logits, deltas, anchors, image_size):
        """Return boxes_input (B, P, 4), best first, and valid (B, P) bool; no gradient flows through them.

        Args:
            logits, deltas: of each level, tuples of (B, A_level) and (B, A_level, 4).
            anchors: (A, 4) of all levels.
            image_size: (B, 2).
        """
        boxes, scores, first = (), (), 0
        for level_logits, level_deltas in zip(logits, deltas):
            count = level_logits.shape[1]
            level_boxes, level_scores = self.best_of_level(
                ops.stop_gradient(level_logits), ops.stop_gradient(level_deltas), anchors[first:first + count],
                image_size)
            boxes, scores, first = boxes + (level_boxes,), scores + (level_scores,), first + count
        boxes, scores = ops.cat(boxes, 1), ops.cat(scores, 1)
        best, index = ops.topk(scores, min(self.after_nms, scores.shape[1]))
        return batched_gather(boxes, index), best > DROPPED

    def best_of_level(self, logits, deltas, anchors, image_size):
        """Boxes (B, k, 4) and logits (B, k) of one level, DROPPED where suppressed."""
        scores, index = ops.topk(logits, min(self.before_nms, logits.shape[1]))
        boxes = decode(batched_gather(deltas, index), ops.gather(anchors, index, 0), **self.coder)
        boxes = clip_to_image(boxes, image_size)
        keep = large_enough(boxes, self.min_size)
        # A dropped box must not suppress others: emptied, it overlaps nothing.
        keep = ops.logical_and(keep, nms(boxes * keep[..., None].astype(ms.float32), self.nms_iou))
        return boxes, ops.where(keep, scores, DROPPED)


class DetectionPostprocess(BoxCell):
    """Class scores and deltas of the proposals -> the best detections of each image.

    All classes are suppressed in one call: boxes of different classes are moved apart first.

    Args:
        max_detections: detections an image (D). candidates: (box, class) pairs that enter suppression, best scores
            first, at most 2864; more would be needed only where fewer than D of these survive.
        score_threshold: pairs that do not exceed it are dropped.
        nms_iou, min_size, stds, delta_clip, box_offset: as in `ProposalGenerator`.
    """

    def __init__(self, *, max_detections: int = 100, candidates: int = 2000, score_threshold: float = 0.05,
                 nms_iou: float = 0.5, min_size: float = 0.0, stds: Sequence[float] = (0.1, 0.1, 0.2, 0.2),
                 delta_clip: str = "above", box_offset: int = 0):
        super().__init__()
        if not max_detections <= candidates <= MAX_NMS_BOXES:
            raise ValueError(f"candidates={candidates}: expected {max_detections} (detections) to {MAX_NMS_BOXES}")
        self.max_detections, self.candidates = max_detections, candidates
        self.score_threshold, self.nms_iou, self.min_size = score_threshold, nms_iou, min_size
        self.coder = {"stds": tuple(stds), "delta_clip": delta_clip, "box_offset": box_offset}

    def construct(self, logits, deltas, proposals, valid, image_size, span):
        """Return boxes_input (B, D, 4), labels (B, D) int32, scores (B, D), valid (B, D) bool, best score first.

        Args:
            logits: (B, P, K); deltas: (B, P, K, 4).
            proposals, valid: (B, P, 4), (B, P) bool.
            image_size: (B, 2).
            span: side in pixels of a square that holds every box; moves the classes apart.
        """
        b, p, k = logits.shape
        scores = ops.softmax(logits, -1)[..., 1:].reshape(b, p * (k - 1))
        row, label = repeated(0, p, k - 1), tiled(1, k, p)
        scores = ops.where(ops.logical_and(take_columns(valid, row), scores > self.score_threshold), scores, DROPPED)
        scores, index = ops.topk(scores, min(self.candidates, p * (k - 1)))
        rows, labels = ops.gather(row, index, 0), ops.gather(label, index, 0)
        boxes = decode(batched_gather(deltas.reshape(b, p * k, 4), rows * k + labels), batched_gather(proposals, rows),
                       **self.coder)
        boxes = clip_to_image(boxes, image_size)
        keep = ops.logical_and(scores > DROPPED, large_enough(boxes, self.min_size))
        apart = (boxes + class_offset(labels, k, span)) * keep[..., None].astype(ms.float32)
        keep = ops.logical_and(keep, nms(apart, self.nms_iou))
        scores, index = ops.topk(ops.where(keep, scores, DROPPED), min(self.max_detections, scores.shape[1]))
        valid = scores > DROPPED
        shown = valid.astype(ms.float32)
        return (batched_gather(boxes, index) * shown[..., None], batched_gather(labels, index) * valid.astype(ms.int32),
                scores * shown, valid)


def take_columns(values, index):
    """values (B, n) and index (m,) -> (B, m)."""
    return ops.gather(values, index, 1)


def class_offset(labels, num_classes: int, span: float):
    """(B, N) int32 labels -> (B, N, 4) float32 shift that puts each class in its own cell of a square grid.

    A grid keeps coordinates small: in one row, the 91st class would lose the last bits of a pixel to float32.
    """
    side = math.ceil(math.sqrt(num_classes))
    row = ops.floor(labels.astype(ms.float32) / side)
    column = labels.astype(ms.float32) - row * side
    return ops.stack((column, row, column, row), -1) * float(span)
