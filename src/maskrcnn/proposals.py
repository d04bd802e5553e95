"""Proposals from the RPN's predictions and detections from the box head's: rank, decode, clip, NMS, rank."""
from __future__ import annotations

from collections.abc import Sequence

import mindspore as ms
from mindspore import ops

from src.layers.constants import full, repeated, tiled
from src.layers.sampling import batched_gather
from src.maskrcnn.boxes import BoxCell, clip_to_image, decode, large_enough
from src.maskrcnn.nms import MAX_BOXES, nms
from src.maskrcnn.soft_nms import SoftNMS

# Ranks a dropped box below every score and logit. If TopK computes in float16, the smallest number is -65504; this one
# is exact there, and values above half of it count as kept.
DROPPED = -49152.0


class ProposalGenerator(BoxCell):
    """Best anchors of each level -> boxes -> NMS within the level -> best of the image (Lin et al. 2017, 4.1).

    Args:
        before_nms: boxes per level and image that enter NMS, at most 2864.
        after_nms: proposals per image, at most.
        nms_iou: threshold of `nms.nms`.
        min_size: boxes with a shorter side (pixels) are dropped before NMS.
        stds, delta_clip, box_offset: see `boxes.decode`. plain: see `nms.nms`.
    """

    def __init__(self, *, before_nms: int, after_nms: int, nms_iou: float = 0.7, min_size: float = 0.0,
                 stds: Sequence[float] = (1.0, 1.0, 1.0, 1.0), delta_clip: str = "above", box_offset: int = 0,
                 plain: bool = False):
        super().__init__()
        if not 0 < before_nms <= MAX_BOXES:
            raise ValueError(f"proposals before NMS={before_nms}: expected 1 to {MAX_BOXES} a level")
        self.before_nms = before_nms
        self.after_nms = after_nms
        self.nms_iou = nms_iou
        self.min_size = min_size
        self.plain = plain
        self.coder = {"stds": tuple(stds), "delta_clip": delta_clip, "box_offset": box_offset}

    def construct(self, logits, deltas, anchors, image_size):
        """Return boxes_input (B, P, 4), best first, valid (B, P) bool and undecided (B,) int32; without gradients.

        Args:
            logits, deltas: of each level, tuples of (B, A_level) and (B, A_level, 4).
            anchors: (A, 4) of all levels.
            image_size: (B, 2).
        """
        boxes, scores, usable, first = (), (), (), 0
        for level_logits, level_deltas in zip(logits, deltas):
            count = level_logits.shape[1]
            level = self.best_of_level(ops.stop_gradient(level_logits), ops.stop_gradient(level_deltas),
                                       anchors[first:first + count], image_size)
            boxes, scores, usable = boxes + (level[0],), scores + (level[1],), usable + (level[2],)
            first += count
        keep, undecided = self.suppress(boxes, usable)
        scores = ops.where(ops.cat(keep, 1), ops.cat(scores, 1), DROPPED)
        best, index = ops.topk(scores, min(self.after_nms, scores.shape[1]))
        return batched_gather(ops.cat(boxes, 1), index), best > DROPPED / 2, undecided

    def best_of_level(self, logits, deltas, anchors, image_size):
        """Boxes (B, k, 4), logits (B, k) and which are large enough (B, k) of one level, best first."""
        scores, index = ops.topk(logits, min(self.before_nms, logits.shape[1]))
        boxes = decode(batched_gather(deltas, index), ops.gather(anchors, index, 0), **self.coder)
        boxes = clip_to_image(boxes, image_size)
        return boxes, scores, large_enough(boxes, self.min_size)

    def suppress(self, boxes, usable):
        """Tuples of (B, k, 4) and (B, k) bool of the levels -> which are kept, alike, and undecided (B,) int32."""
        if self.plain:
            return self.suppress_at_once(boxes, usable)
        keep = ()
        for level, good in zip(boxes, usable):
            keep += (ops.logical_and(good, nms(emptied(level, good), self.nms_iou)[0]),)
        return keep, full((boxes[0].shape[0],), 0, ms.int32)

    def suppress_at_once(self, boxes, usable):
        """All levels as one batch, padded with empty boxes to the longest, so that NMS is in the graph only once."""
        b, longest, every, keep = boxes[0].shape[0], 0, (), ()
        for level in boxes:
            longest = max(longest, level.shape[1])
        for level, good in zip(boxes, usable):
            level = emptied(level, good)
            if level.shape[1] < longest:
                level = ops.cat((level, full((b, longest - level.shape[1], 4), 0.0)), 1)
            every += (level,)
        kept, undecided = nms(ops.cat(every, 0), self.nms_iou, plain=True)
        for place, good in enumerate(usable):
            keep += (ops.logical_and(good, kept[place * b:place * b + b, :good.shape[1]]),)
        return keep, undecided.reshape(-1, b).sum(axis=0, dtype=ms.int32)


def emptied(boxes, usable):
    """Boxes (B, N, 4) with those that are not usable (B, N) made empty: they overlap nothing and suppress nothing."""
    return boxes * usable[..., None].astype(ms.float32)


class DetectionPostprocess(BoxCell):
    """Class scores and deltas of the proposals -> the best detections of each image.

    One call of NMS handles all classes; boxes of different classes do not suppress each other.

    Args:
        max_detections: detections per image (D). candidates: (box, class) pairs that enter NMS, best scores first, at
            most 2864; more would be needed only if fewer than D of these survive.
        score_threshold: pairs whose score does not exceed it are dropped.
        nms_iou, min_size, stds, delta_clip, box_offset, plain: as in `ProposalGenerator`.
        nms_method: "hard", or one of `soft_nms.METHODS`. nms_sigma: of "gaussian".
    """

    def __init__(self, *, max_detections: int = 100, candidates: int = 2000, score_threshold: float = 0.05,
                 nms_iou: float = 0.5, nms_method: str = "hard", nms_sigma: float = 0.5, min_size: float = 0.0,
                 stds: Sequence[float] = (0.1, 0.1, 0.2, 0.2), delta_clip: str = "above", box_offset: int = 0,
                 plain: bool = False):
        super().__init__()
        if not max_detections <= candidates <= MAX_BOXES:
            raise ValueError(f"candidates={candidates}: expected {max_detections} (detections) to {MAX_BOXES}")
        self.max_detections = max_detections
        self.candidates = candidates
        self.plain = plain
        self.score_threshold = score_threshold
        self.nms_iou = nms_iou
        self.min_size = min_size
        self.coder = {"stds": tuple(stds), "delta_clip": delta_clip, "box_offset": box_offset}
        self.soft = None if nms_method == "hard" else SoftNMS(nms_method, limit=max_detections, iou=nms_iou,
                                                              sigma=nms_sigma)

    def construct(self, logits, deltas, proposals, valid, image_size, span):
        """Return boxes_input (B, D, 4), labels (B, D) int32, scores (B, D), valid (B, D) bool, best score first.

        Undecided (B,) int32 follows, see `nms.nms`.

        Args:
            logits: (B, P, K); deltas: (B, P, K, 4).
            proposals, valid: (B, P, 4), (B, P) bool.
            image_size: (B, 2).
            span: see `nms.nms`.
        """
        b, p, k = logits.shape
        scores = ops.softmax(logits, -1)[..., 1:].reshape(b, p * (k - 1))
        row, label = repeated(0, p, k - 1), tiled(1, k, p)
        # Scores are gathered instead of taken from TopK, which may have rounded them to float16.
        usable = ops.logical_and(take_columns(valid, row), scores > self.score_threshold)
        best, index = ops.topk(ops.where(usable, scores, DROPPED), min(self.candidates, p * (k - 1)))
        scores = batched_gather(scores, index)
        rows, labels = ops.gather(row, index, 0), ops.gather(label, index, 0)
        boxes = decode(batched_gather(deltas.reshape(b, p * k, 4), rows * k + labels), batched_gather(proposals, rows),
                       **self.coder)
        boxes = clip_to_image(boxes, image_size)
        usable = ops.logical_and(best > DROPPED / 2, large_enough(boxes, self.min_size))
        if self.soft is not None:
            return self.lowered(boxes, labels, scores, usable)
        keep, undecided = nms(emptied(boxes, usable), self.nms_iou, plain=self.plain, labels=labels, span=span,
                              num_labels=k)
        keep = ops.logical_and(usable, keep)
        best, index = ops.topk(ops.where(keep, scores, DROPPED), min(self.max_detections, scores.shape[1]))
        valid = best > DROPPED / 2
        shown = valid.astype(ms.float32)
        return (batched_gather(boxes, index) * shown[..., None], batched_gather(labels, index) * valid.astype(ms.int32),
                batched_gather(scores, index) * shown, valid, undecided)


    def lowered(self, boxes, labels, scores, usable):
        """The best detections by Soft-NMS; what is lowered to the score threshold or below is dropped."""
        index, scores = self.soft(emptied(boxes, usable), labels, scores, usable)
        valid = scores > self.score_threshold
        shown = valid.astype(ms.float32)
        return (batched_gather(boxes, index) * shown[..., None], batched_gather(labels, index) * valid.astype(ms.int32),
                scores * shown, valid, full((scores.shape[0],), 0, ms.int32))


def take_columns(values, index):
    """values (B, n) and index (m,) -> (B, m)."""
    return ops.gather(values, index, 1)
