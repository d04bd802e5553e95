"""Estimate the memory of a training step before anything is compiled."""
from __future__ import annotations

from collections.abc import Iterable

from src.layers.resnet import BLOCKS, WIDTHS, dilation_plan

FLOAT = 4
# Arrays of a layer's output size that live at the peak: convolution output, normalised output, its ReLU, gradients
# in flight and the convolutions' workspaces; and what compiling the graph takes. Fitted to the peaks that
# benchmarks/memory_estimate.py measures, within 0.25 GiB of each.
COPIES = 5.0
COMPILER = 0.65 * 2**30
# Arrays of the logits' size at the input's size, by term of the loss: fitted likewise for "ce", and for the others to
# the peak of the loss alone over that of "ce" (4 x 21 x 321 x 321 logits on a CPU).
LOSS_COPIES = {"ce": 6, "ohem": 6, "dice": 28, "lovasz": 60}


def activation_bytes(*, depth: int, output_stride: int, batch_size: int, crop_size: int, num_classes: int,
                     losses: Iterable[str] = ("ce",)) -> int:
    """Bytes that one training step needs in addition to the weights, from the sizes of all convolution outputs.

    Args:
        losses: the terms of the loss, "ce" once more for the auxiliary head.
    """
    side = (crop_size + 1) // 2
    values = 64 * side * side
    side = (side + 1) // 2
    expansion = 4 if depth >= 50 else 1
    for width, blocks, (stride, _) in zip(WIDTHS, BLOCKS[depth],
                                          dilation_plan(BLOCKS[depth], output_stride, "multi_grid")):
        side = (side + stride - 1) // stride
        per_block = (2 * width + 4 * width) if expansion == 4 else 2 * width
        values += blocks * per_block * side * side + width * expansion * side * side
    values += 256 * 6 * side * side
    logits = sum(LOSS_COPIES[name] for name in losses) * num_classes * crop_size * crop_size
    return int(batch_size * FLOAT * (COPIES * values + logits) + COMPILER)
