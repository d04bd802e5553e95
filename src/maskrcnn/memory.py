"""How much memory a training step needs, estimated before anything is compiled."""
from __future__ import annotations

from src.layers.resnet import BLOCKS, WIDTHS, out_channels

FLOAT = 4
# Arrays of a layer's size that are there at the peak, fitted to `benchmarks/maskrcnn_memory.py` on a CPU.
KEPT = 2  # of the backbone: a convolution's result, and what ReLU made of it
# Of the pyramid: laterals, sums, levels, RPN and their gradients; unfolded inputs of FPN's and RPN's 3x3 convolutions,
# which take most; RoIAlign's table.
PYRAMID = 34
IOU_COPIES = 2  # overlaps of every anchor with every ground truth
COMPILER = 1.5 * 2**30
NEIGHBOURS = 4  # cells that a bin reads along each axis


def activation_bytes(*, depth: int, batch_size: int, input_size: tuple[int, int], channels: int, mask_channels: int,
                     rois: tuple[int, int], bins: tuple[int, int], anchors: int, slots: int) -> int:
    """Bytes that one training step needs beside the weights.

    Args:
        depth: of the ResNet. channels: of the pyramid. mask_channels: of the mask head.
        input_size: (H, W). rois: RoIs an image of the box head and of the mask head; bins: of their RoIAligns, a side.
        anchors: of an image. slots: ground truths of an image.
    """
    cells = input_size[0] * input_size[1] / 4
    values = KEPT * 64 * cells
    for width, out, blocks in zip(WIDTHS, out_channels(depth), BLOCKS[depth]):
        cells /= 4
        inner = 2 * width if depth >= 50 else width
        values += KEPT * blocks * (inner + out) * cells + PYRAMID * channels * cells
    for count, side in zip(rois, bins):
        values += count * channels * (NEIGHBOURS * side) ** 2
    values += rois[1] * mask_channels * (4 * bins[1] ** 2 + 2 * (2 * bins[1]) ** 2)
    values += IOU_COPIES * anchors * slots
    return int(batch_size * FLOAT * values + COMPILER)
