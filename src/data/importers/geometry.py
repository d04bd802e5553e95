"""Shapes of labelling tools as COCO's annotations: polygons, boxes, ellipses and masks, cut at the image's border.

Coordinates are continuous: (0, 0) is the upper left corner of the image, (0.5, 0.5) the centre of its first pixel.
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pycocotools import mask as coco_mask

from src.contract import InputError
from src.data.importers.pictures import Annotation, Picture, Report

CLIPPED = "shapes reach beyond their image and were cut off at its border"
OUTSIDE = "shapes without any pixel of their image were not taken"
FLAT = "shapes without an area were not taken"
Outline = Sequence[Sequence[float]] | np.ndarray
_VERTICES = 72  # of a polygon that stands for an ellipse: within 0.1 % of its radius


def from_polygons(name: str, polygons: Sequence[Outline], picture: Picture, report: Report,
                  place: str) -> Annotation | None:
    """One object of several outlines [[x, y], ...]; None, and noted, where nothing of it is left."""
    kept, clipped, flat = [], False, False
    for polygon in polygons:
        points = np.asarray(polygon, np.float64).reshape(-1, 2)
        if len(points) < 3 or _area(points) <= 0:
            flat = True
            continue
        inside = clip(points, picture.size)
        clipped |= inside.shape != points.shape or bool((inside != points).any())
        if len(inside) >= 3 and _area(inside) > 0:
            kept.append(inside)
    if not kept:
        report.note(FLAT if flat else OUTSIDE, place)
        return None
    if clipped:
        report.note(CLIPPED, place)
    low, high = np.min([k.min(0) for k in kept], 0), np.max([k.max(0) for k in kept], 0)
    return Annotation(name, [np.round(k, 4).ravel().tolist() for k in kept],
                      np.round([*low, *(high - low)], 4).tolist())


def from_corners(name: str, corners: Sequence[Sequence[float]], picture: Picture, report: Report, place: str, *,
                 mask: bool = True) -> Annotation | None:
    """A rectangle between two opposite corners; `mask`: its area is the object's, else it is a box alone."""
    (x1, y1), (x2, y2) = corners
    outline = [[min(x1, x2), min(y1, y2)], [max(x1, x2), min(y1, y2)], [max(x1, x2), max(y1, y2)],
               [min(x1, x2), max(y1, y2)]]
    found = from_polygons(name, [outline], picture, report, place)
    return found if mask or found is None else Annotation(found.name, None, found.box)


def from_mask(name: str, mask: np.ndarray, picture: Picture, report: Report, place: str, *,
              origin: tuple[int, int] = (0, 0), crowd: bool = False) -> Annotation | None:
    """An object of pixels: `mask` (h, w) bool whose first pixel lies at `origin` (x, y) of the image."""
    height, width = picture.size
    x, y = origin
    whole = np.zeros(picture.size, np.uint8, order="F")
    part = mask[max(-y, 0):max(height - y, 0), max(-x, 0):max(width - x, 0)]
    if part.any():
        whole[max(y, 0):max(y, 0) + part.shape[0], max(x, 0):max(x, 0) + part.shape[1]] = part
    if not part.any():
        report.note(OUTSIDE if mask.any() else FLAT, place)
        return None
    if np.count_nonzero(part) < np.count_nonzero(mask):
        report.note(CLIPPED, place)
    rle = coco_mask.encode(whole)
    encoded = {"size": list(picture.size), "counts": rle["counts"].decode("ascii")}
    return Annotation(name, encoded, coco_mask.toBbox(rle).tolist(), crowd)


def ellipse(centre: Sequence[float], radii: Sequence[float], angle: float = 0.0) -> np.ndarray:
    """(72, 2) points of an ellipse whose first axis is turned by `angle` radians, clockwise on the screen."""
    t = np.linspace(0, 2 * np.pi, _VERTICES, endpoint=False)
    x, y = radii[0] * np.cos(t), radii[1] * np.sin(t)
    return turned(np.stack([x, y], 1), angle) + centre


def turned(points: np.ndarray, angle: float) -> np.ndarray:
    """Points (N, 2) turned around (0, 0) by `angle` radians, clockwise on the screen."""
    return points @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def clip(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The part of a polygon (N, 2) inside an image of `size` (H, W) (Sutherland and Hodgman 1974), (M, 2)."""
    for axis, limit in ((0, size[1]), (1, size[0])):
        for sign, bound in ((1, 0.0), (-1, -float(limit))):
            distance = sign * points[:, axis] - bound  # not negative inside
            if (distance >= 0).all():
                continue
            kept = []
            for k in range(len(points)):
                here, before = distance[k], distance[k - 1]
                if (here >= 0) != (before >= 0):
                    crossing = points[k - 1] + (points[k] - points[k - 1]) * (before / (before - here))
                    crossing[axis] = sign * bound
                    kept.append(crossing)
                if here >= 0:
                    kept.append(points[k])
            points = np.array(kept, np.float64).reshape(-1, 2)
    return points


def _area(points: np.ndarray) -> float:
    x, y = (points - points.mean(0)).T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def to_mask(annotation: Annotation, size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool of an object; a box without a mask is filled.

    Raises:
        InputError: the encoding cannot be decoded.
    """
    rle = to_encoding(annotation, size)
    try:
        return coco_mask.decode(rle).astype(bool)
    except ValueError as error:
        raise InputError(f"a mask cannot be decoded ({error}); export it again") from error


def to_encoding(annotation: Annotation, size: tuple[int, int]) -> dict:
    """COCO's run-length encoding of an object."""
    shape = annotation.segmentation
    if isinstance(shape, dict):
        return shape
    if shape is None:
        x, y, width, height = annotation.box
        shape = [[x, y, x + width, y, x + width, y + height, x, y + height]]
    return coco_mask.merge(coco_mask.frPyObjects(shape, *size))
