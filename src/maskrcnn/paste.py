"""From the network's detections to instances in the original image: boxes scaled back, masks pasted into RLE.

Only one full-size mask exists at a time, and only inside its box. No MindSpore here.
"""
from __future__ import annotations

import cv2
import numpy as np

from src.contract import Instances
from src.maskrcnn.mask_runs import edges_of, rectangle, to_rle
from src.maskrcnn.merge import TileInstances
from src.maskrcnn.tiles import Tile


def to_instances(image_id: int, detections: tuple[np.ndarray, ...], *, image_size: tuple[float, float],
                 original_size: tuple[int, int], paste_pad: int | None = None, threshold: float = 0.5,
                 with_masks: bool = True) -> Instances:
    """Turn the detections of one image into instances in its own frame.

    Args:
        image_id: goes into the result.
        detections: boxes_input (D, 4), labels (D,), scores (D,), valid (D,), masks (D, S, S), best score first.
        image_size: (height, width) of the resized image in the network's input, without padding.
        original_size: (height, width) of the original image.
        paste_pad, threshold: see `paste`.
        with_masks: False leaves `rles` empty.
    """
    boxes, labels, scores, valid, masks = (np.asarray(array) for array in detections)
    valid = valid.astype(bool)
    boxes = scale_boxes(boxes[valid], image_size, original_size)
    rles = []
    if with_masks:
        rles = [mask_to_rle(mask, box, original_size, paste_pad=paste_pad, threshold=threshold)
                for mask, box in zip(masks[valid], boxes)]
    return Instances(image_id, boxes, labels[valid].astype(np.int32), scores[valid].astype(np.float32), rles)


def to_tile_instances(tile: Tile, detections: tuple[np.ndarray, ...], *, image_size: tuple[float, float],
                      original_size: tuple[int, int], paste_pad: int | None = None, threshold: float = 0.5,
                      with_masks: bool = True) -> TileInstances:
    """Turn the detections of one tile into instances in the frame of its image.

    Args:
        tile: where it lies in the image.
        detections, image_size, paste_pad, threshold: see `to_instances`; of the tile.
        original_size: (height, width) of the whole image.
        with_masks: False takes the pixels of the boxes for masks.
    """
    boxes, labels, scores, valid, masks = (np.asarray(array) for array in detections)
    valid = valid.astype(bool)
    boxes = scale_boxes(boxes[valid], image_size, tile.size)
    moved = boxes + np.array([tile.left, tile.top] * 2, np.float32)
    if with_masks:
        regions = (paste(mask, box, tile.size, paste_pad=paste_pad, threshold=threshold)
                   for mask, box in zip(masks[valid], boxes))
        edges = [edges_of(region, top + tile.top, left + tile.left, original_size[0]) for region, top, left in regions]
    else:
        edges = [rectangle(y1, x1, y2, x2, original_size[0]) for x1, y1, x2, y2 in moved.round().astype(int)]
    return TileInstances(tile, moved, labels[valid].astype(np.int32), scores[valid].astype(np.float32), edges)


def scale_boxes(boxes: np.ndarray, image_size: tuple[float, float], original_size: tuple[int, int]) -> np.ndarray:
    """(N, 4) boxes in the frame of the resized image -> in the original's, clipped to it."""
    height, width = original_size
    factor = np.array([width / image_size[1], height / image_size[0]] * 2, np.float32)
    return np.clip(boxes * factor, 0, np.array([width, height] * 2)).astype(np.float32)


def mask_to_rle(mask: np.ndarray, box: np.ndarray, size: tuple[int, int], *, paste_pad: int | None = None,
                threshold: float = 0.5) -> dict:
    """RLE of one instance's mask in an image of `size` (H, W): {"size": [H, W], "counts": str}. See `paste`."""
    region, top, left = paste(mask, box, size, paste_pad=paste_pad, threshold=threshold)
    return encode_region(region, top, left, size)


def paste(mask: np.ndarray, box: np.ndarray, size: tuple[int, int], *, paste_pad: int | None = None,
          threshold: float = 0.5) -> tuple[np.ndarray, int, int]:
    """Resize a mask to its box and threshold it.

    Args:
        mask: (S, S) float32 in 0..1.
        box: (4,) xyxy in the image's frame.
        size: (H, W) of the image.
        paste_pad: None samples the mask at the centres of the pixels that lie in the box. The others round the box to
            pixels as published weights' own evaluations do: 1 widens the mask by a cell of zeros and the box with it
            (torchvision, detectron2's first version), 0 does not and squeezes a box that ends at the border by the
            pixel that it counts too many (the model zoo).
        threshold: pixels above it belong to the mask.

    Returns:
        region (h, w) bool inside the image, and its top row and left column. Both sides may be 0.
    """
    if paste_pad is None:
        return _paste_exactly(mask, box, size, threshold)
    height, width = size
    side = mask.shape[0] + 2 * paste_pad
    mask = np.pad(np.asarray(mask, np.float32), paste_pad)
    half = (box[2:] - box[:2]) / 2 * (side / (side - 2 * paste_pad))
    centre = (box[:2] + box[2:]) / 2
    (x1, y1), (x2, y2) = (centre - half).astype(int), (centre + half).astype(int)
    if paste_pad == 0:
        x1, y1, x2, y2 = min(x1, width - 1), min(y1, height - 1), min(x2, width - 1), min(y2, height - 1)
    resized = cv2.resize(mask, (max(x2 - x1 + 1, 1), max(y2 - y1 + 1, 1)), interpolation=cv2.INTER_LINEAR) > threshold
    top, left = max(y1, 0), max(x1, 0)
    return resized[top - y1:max(height - y1, 0), left - x1:max(width - x1, 0)], top, left


def _paste_exactly(mask: np.ndarray, box: np.ndarray, size: tuple[int, int],
                   threshold: float) -> tuple[np.ndarray, int, int]:
    rows, top = _interpolation(box[1], box[3], size[0], mask.shape[0])
    columns, left = _interpolation(box[0], box[2], size[1], mask.shape[1])
    return rows @ np.asarray(mask, np.float32) @ columns.T > threshold, top, left


def _interpolation(low: float, high: float, limit: int, cells: int) -> tuple[np.ndarray, int]:
    """Weights (pixels, cells) of a mask's cells at the pixel centres inside low..high, and the first pixel.

    Centres between the box's edge and the outermost cell's centre take that cell's value.
    """
    first, last = max(int(np.ceil(low - 0.5)), 0), min(int(np.ceil(high - 0.5)), limit)
    centres = np.arange(first, max(last, first), dtype=np.float32) + 0.5
    position = np.clip((centres - low) * (cells / max(high - low, 1e-6)) - 0.5, 0, cells - 1)
    distance = np.abs(position[:, None] - np.arange(cells, dtype=np.float32))
    return np.maximum(1 - distance, 0).astype(np.float32), first


def encode_region(region: np.ndarray, top: int, left: int, size: tuple[int, int]) -> dict:
    """Compressed RLE of an image of `size` (H, W) that is empty outside `region` (h, w) bool at (top, left)."""
    return to_rle(edges_of(region, top, left, size[0]), size)
