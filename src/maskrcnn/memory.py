"""How much memory a training step needs, estimated before anything is compiled."""
from __future__ import annotations

from src.layers.resnet import BLOCKS, WIDTHS, out_channels

FLOAT = 4
# Arrays of a layer's output size that live at the peak: output, normalised output, ReLU, gradients in flight.
COPIES = 5.0
IOU_COPIES = 6  # intersections, unions, shares in crowds, of every anchor with every ground truth
ROI_COPIES = 2.5  # gathered neighbours of RoIAlign, their gradient, and one in flight
COMPILER = 0.5 * 2**30
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
    values = COPIES * 64 * cells
    for width, out, blocks in zip(WIDTHS, out_channels(depth), BLOCKS[depth]):
        cells /= 4
        inner = 2 * width if depth >= 50 else width
        # Laterals, sums, outputs and the RPN's layer of the level that belongs to the stage.
        values += COPIES * blocks * (inner + out) * cells + COPIES * 4 * channels * cells
    for count, side in zip(rois, bins):
        values += ROI_COPIES * count * channels * (NEIGHBOURS * side) ** 2
    values += COPIES * rois[1] * mask_channels * (4 * bins[1] ** 2 + 2 * (2 * bins[1]) ** 2)
    values += IOU_COPIES * anchors * slots
    return int(batch_size * FLOAT * values + COMPILER)
