"""Detections as entries of COCO's results format (https://cocodataset.org/#format-results)."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from src.contract import InputError, Instances


def result_rows(found: Instances, category_ids: Mapping[int, int]) -> list[dict[str, Any]]:
    """The detections of one image, in their order: image_id, category_id, bbox, score, and segmentation with masks.

    Args:
        found: the detections.
        category_ids: category id by class index.

    Returns:
        Entries with `bbox` [x, y, width, height] in pixels, as float64, so that the float32 corners can be recovered
        exactly, and `segmentation` as compressed run-length encoding.

    Raises:
        InputError: values that are not finite, classes without a category id, or unequal numbers of masks and boxes.
    """
    boxes = np.asarray(found.boxes_image, np.float64).reshape(-1, 4)
    if not np.isfinite(boxes).all() or not np.isfinite(np.asarray(found.scores, np.float64)).all():
        raise InputError(f"image {found.image_id}: a predicted box or score is NaN or infinite; the network "
                         "diverged: take another checkpoint")
    if found.rles and len(found.rles) != len(boxes):
        raise InputError(f"image {found.image_id}: {len(boxes)} boxes and {len(found.rles)} masks")
    xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1).tolist()
    rows = []
    for k, (box, label, score) in enumerate(zip(xywh, found.labels, found.scores, strict=True)):
        if int(label) not in category_ids:
            raise InputError(f"image {found.image_id}: class index {int(label)} was predicted, the data has "
                             f"{sorted(category_ids)}; the network has other classes than the data")
        rows.append({"image_id": found.image_id, "category_id": category_ids[int(label)], "bbox": box,
                     "score": float(score)})
        if found.rles:
            rows[-1]["segmentation"] = found.rles[k]
    return rows
