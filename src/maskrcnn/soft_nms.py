"""Soft-NMS (Bodla et al. 2017, arXiv:1704.04503) in a graph of static shapes: overlapping boxes lose score.

One box is taken after another, always the best that is left, and lowers the scores of those that it overlaps. The turns
depend on each other, so they are a loop inside the graph; its size does not depend on the number of boxes.
"""
from __future__ import annotations

import mindspore as ms
import mindspore.nn as nn
from mindspore import ops

from src.layers.constants import constant, full, linspace
from src.layers.sampling import batched_gather
from src.maskrcnn.boxes import BoxCell, pairwise_iou

METHODS = ("linear", "gaussian")
TAKEN = -1.0  # score of boxes that are taken or not usable


class SoftNMS(BoxCell):
    """Boxes (B, N, 4), labels (B, N) int32, scores (B, N), usable (B, N) bool -> the best D and their lowered scores.

    Boxes of different labels do not meet.

    Args:
        method: by which factor a taken box lowers the score of one that it overlaps with an IoU of u: "linear" by 1 - u
            where u is above `iou`; "gaussian" by exp(-u * u / sigma).
        limit: D, at most N.
    """

    def __init__(self, method: str, *, limit: int, iou: float = 0.5, sigma: float = 0.5):
        super().__init__()
        if method not in METHODS:
            raise ValueError(f"method={method!r}: expected one of {', '.join(METHODS)}")
        self.method = method
        self.iou = iou
        self.sigma = sigma
        self.limit = limit
        self.turn = SoftTurn(limit)

    def construct(self, boxes, labels, scores, usable):
        """Return the index of each taken box (B, D) int32 and its score then (B, D), best first; `TAKEN` at the end."""
        b = boxes.shape[0]
        factors = self.factors(boxes, labels)
        left = ops.where(usable, scores, TAKEN)
        taken, final = full((b, self.limit), 0.0), full((b, self.limit), 0.0)
        turn = full((1,), 0.0)
        while turn < constant((self.limit,)):  # with a number it would be LessScalar
            left, taken, final = self.turn(left, taken, final, turn, factors)
            turn = turn + 1.0
        return taken.astype(ms.int32), final

    def factors(self, boxes, labels):
        """(B, N, N): what the score of the column's box is multiplied by when the row's is taken."""
        overlap = pairwise_iou(boxes, boxes)
        if self.method == "linear":
            factors = 1.0 - overlap * (overlap > self.iou).astype(ms.float32)
        else:
            factors = ops.exp(-overlap * overlap / self.sigma)
        return ops.where(labels[:, :, None] == labels[:, None, :], factors, ops.ones_like(factors))


class SoftTurn(nn.Cell):
    """One turn of `SoftNMS`: take the best box that is left, write it into slot `turn`, lower the others."""

    def __init__(self, limit: int):
        super().__init__()
        self.limit = limit

    def construct(self, left, taken, final, turn, factors):
        """left (B, N), taken and final (B, D), turn (1,) float32, factors (B, N, N) -> the first three anew."""
        n = left.shape[1]
        _, best = ops.topk(left, 1)
        score = batched_gather(left, best)  # TopK itself may have rounded it to float16
        slot = (linspace(0, self.limit - 1, self.limit) == turn).astype(ms.float32)
        taken, final = taken + slot * best.astype(ms.float32), final + slot * score
        # A score of TAKEN grows towards 0 if it is multiplied: such boxes stay what they are.
        lowered = ops.where(left > 0.0, left * batched_gather(factors, best)[:, 0], left)
        is_best = linspace(0, n - 1, n)[None] == best.astype(ms.float32)
        return ops.where(is_best, full(left.shape, TAKEN), lowered), taken, final
