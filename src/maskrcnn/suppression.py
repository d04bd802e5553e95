"""Suppression of boxes in plain numpy: for detections of several views of an image, after the network. No MindSpore.

Boxes are (N, 4) float32 xyxy, half-open, in any order; boxes of different labels do not meet.
"""
from __future__ import annotations

import numpy as np


def pairwise_iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(N, 4) and (M, 4) -> (N, M) float64; 0 where both are empty."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2]).astype(np.float64)
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(2)
    areas = [np.clip(b[:, 2:].astype(np.float64) - b[:, :2], 0, None).prod(1) for b in (boxes, others)]
    return shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-12)


def suppress(boxes: np.ndarray, labels: np.ndarray, scores: np.ndarray, *, iou: float, limit: int) -> np.ndarray:
    """Indices of the boxes that greedy suppression keeps, best score first, at most `limit`.

    A box is dropped where it overlaps a kept one of its label by more than `iou`; of equal scores the first counts.
    """
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    for k in order.tolist():
        if len(kept) == limit:
            break
        rivals = [j for j in kept if labels[j] == labels[k]]
        if not rivals or pairwise_iou(boxes[k:k + 1], boxes[rivals]).max() <= iou:
            kept.append(k)
    return np.array(kept, int)
