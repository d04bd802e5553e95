"""Greedy non-maximum suppression in a graph of static shapes: by a primitive, or by plain operators."""
from __future__ import annotations

import math

import mindspore as ms
import numpy as np
from mindspore import Tensor, ops

from src.layers.constants import arange, constant, full, linspace
from src.maskrcnn.boxes import pairwise_iou

ROUNDS = 3  # of `settle` and `follow_chains`
PASSES = 11  # of each `settle`
DIGIT = 64  # base of the two digits that carry a position exactly through a float16 product
DOUBLINGS = 12  # of pointers: enough for chains of 4096 boxes, more than `MAX_BOXES`


# The primitive takes at most this many boxes on Ascend; the plain form builds a table of N x N.
MAX_BOXES = 2864


def nms(boxes, threshold: float, *, plain: bool = False, labels=None, span: float = 0.0, num_labels: int = 1):
    """Greedy suppression within each image.

    Args:
        boxes: (B, N, 4) float32, best first; N at most `MAX_BOXES`.
        threshold: boxes that overlap a kept one by more than this IoU are dropped.
        plain: use plain operators, for Ascend; otherwise the primitive, which takes a fifth of the time on a CPU.
        labels: (B, N) int32 below `num_labels`; boxes of different labels do not suppress each other. None = one label.
        span: side in pixels of a square that contains every box; the primitive needs it if there are labels.

    Returns:
        keep (B, N) bool, and (B,) int32, how many boxes `plain_nms` left undecided; those are not kept.
    """
    if plain:
        return plain_nms(boxes, threshold, labels)
    if labels is not None:
        boxes = boxes + class_offset(labels, num_labels, span)
    return primitive_nms(boxes, threshold), full((boxes.shape[0],), 0, ms.int32)


def class_offset(labels, num_classes: int, span: float):
    """(B, N) int32 labels -> (B, N, 4) float32 shift that puts each class in its own cell of a square grid.

    A grid keeps coordinates small: in one row, the 91st class would lose the last bits of a pixel to float32.
    """
    side = math.ceil(math.sqrt(num_classes))
    row = ops.floor(labels.astype(ms.float32) / side)
    column = labels.astype(ms.float32) - row * side
    return ops.stack((column, row, column, row), -1) * float(span)


def primitive_nms(boxes, threshold: float):
    """`NMSWithMask` image by image: boxes (B, N, 4), best first -> (B, N) bool, true where kept.

    Ranks replace scores, because the CPU's kernel sorts by score. The primitive takes one set of boxes; the cost of one
    call for several images would grow with the square of their number.
    """
    b, n = boxes.shape[:2]
    ranks = linspace(n, 1, n).reshape((n, 1))
    nms_with_mask = ops.NMSWithMask(threshold)
    keep = ()
    for image in range(b):
        keep += (nms_with_mask(ops.cat((boxes[image], ranks), 1))[2],)
    return ops.stack(keep)


def plain_nms(boxes, threshold: float, labels=None):
    """NMS by plain operators: (B, N) bool, true for boxes surely kept, and (B,) int32, how many are left undecided.

    A box is kept if no kept box before it overlaps it: keep = unbeaten(keep), which has one solution. Two bounds
    converge to it: a box that nothing in the upper bound overlaps is kept, one that something in the lower bound
    overlaps is not. Each pass decides one link of every chain of overlaps. In random order chains have O(log^2 N) links
    (Blelloch et al. 2012, "Greedy sequential maximal independent set and matching are parallel on average"); but equal
    scores, as in an empty part of an image, come in rows, each box overlapping the next. Such a chain, where a single
    undecided box before it decides a box, is followed to its end at once by doubling, whatever its length.

    What would need more than `ROUNDS` x `PASSES` passes and `ROUNDS` turns of chains stays undecided, and is not kept.
    The number of operators does not depend on N.

    Args:
        boxes: (B, N, 4) float32, best first.
        threshold: of the IoU that suppresses.
        labels: (B, N) int32; boxes of different labels do not suppress each other. None = one label.
    """
    beaten = beaten_by(boxes, threshold, labels)
    n = boxes.shape[1]
    lower = unbeaten(ops.ones_like(beaten[:, :1]), beaten)
    for _ in range(ROUNDS):
        lower, upper = settle(lower, beaten)
        lower, upper = follow_chains(lower, upper, beaten)
        lower = unbeaten(upper, beaten)
    lower, upper = settle(lower, beaten)
    return lower[:, 0, :n] > 0.5, (upper - lower).sum(axis=(1, 2)).astype(ms.int32)


def beaten_by(boxes, threshold: float, labels):
    """(B, N + 1, N + 1) float32, -1 where the box of the row suppresses that of the column if it is kept.

    The last row is 1, so that a product with (boxes kept, 1) is 1 - how many of them suppress a box: a pass is a
    product and a ReLU. The last column keeps that 1.
    """
    b, n = boxes.shape[:2]
    place = linspace(0, n - 1, n)
    beats = ops.logical_and(pairwise_iou(boxes, boxes) > threshold, place[None, :] - place[:, None] > 0.0)
    if labels is not None:
        beats = ops.logical_and(beats, labels[:, :, None] == labels[:, None, :])
    square = ops.cat((-beats.astype(ms.float32), full((b, n, 1), 0.0)), 2)
    return ops.cat((square, full((b, 1, n + 1), 1.0)), 1)


def unbeaten(kept, beaten):
    """(B, 1, N + 1) of 0 and 1, 1 at last, to the same: 1 where no box of `kept` suppresses.

    An upper bound of what is kept makes a lower one, and the other way round.
    """
    return ops.relu(ops.bmm(kept, beaten))


def settle(lower, beaten):
    """`PASSES` passes: (lower, upper)."""
    upper = unbeaten(lower, beaten)
    for _ in range(PASSES // 2):
        lower = unbeaten(upper, beaten)
        upper = unbeaten(lower, beaten)
    return lower, upper


def follow_chains(lower, upper, beaten):
    """Decide every box that a chain of single undecided boxes leads to from a decided one: (lower, upper).

    Along such a chain boxes are kept and dropped in turn. Each box has two states, "what becomes of it" (its position)
    and "the opposite" (n more); each state points to a state of the box before, and pointers are doubled.
    """
    b, _, n = lower.shape
    undecided = upper - lower
    high, low = _digits(n)
    sums = ops.bmm(undecided * ops.stack((ops.ones_like(high), high, low)), beaten)
    count = sums[:, :1]
    before = (-DIGIT * sums[:, 1:2] - sums[:, 2:]).astype(ms.int32)  # the one undecided box before, if there is one
    linked = ops.logical_and(undecided > 0.5, count == constant(-1.0))  # with a number it would be EqScalar
    here = arange(0, 2 * n * b, 2 * n).reshape(b, 1, 1) + arange(0, n)
    first = here - arange(0, n)
    state = ops.cat((ops.where(linked, first + n + before, here), ops.where(linked, first + before, here + n)), 1)
    state = state.reshape(-1)
    for _ in range(DOUBLINGS):
        state = ops.gather(state, state, 0)
    stands = upper + undecided * ops.maximum(count, -1.0)  # boxes without an undecided one before them stay
    falls = 1.0 - upper
    becomes = ops.stack((ops.cat((stands, falls), 1), ops.cat((falls, stands), 1)), -1).reshape(-1, 2)
    found = ops.gather(becomes, state.reshape(b, 2, n)[:, :1], 0)
    return found[..., 0], 1.0 - found[..., 1]


@ops.constexpr
def _digits(count):
    """Positions 0, 1, ... as two float32 tensors of digits to the base `DIGIT`, high and low."""
    high, low = np.divmod(np.arange(count, dtype=np.float32), DIGIT)
    return Tensor(high), Tensor(low)
