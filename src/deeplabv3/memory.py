"""How much memory a training step needs, estimated before anything is compiled."""
from __future__ import annotations

from src.layers.resnet import BLOCKS, WIDTHS, dilation_plan

FLOAT = 4
# Arrays of a layer's output size that live between forward and backward: convolution output, normalised output and
# its ReLU, and gradients in flight. Fitted to measured peaks, see benchmarks/memory_estimate.py.
COPIES = 3.0


def activation_bytes(*, depth: int, output_stride: int, batch_size: int, crop_size: int, num_classes: int) -> int:
    """Bytes that one training step keeps for its backward pass, from the sizes of all convolution outputs."""
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
    logits = 3 * num_classes * crop_size * crop_size
    return int(batch_size * FLOAT * (COPIES * values + logits))
