"""The instances of one image as bytes, and their masks: what the target of a detection record holds.

A target is JSON text with the keys

    image_id    the image's id
    size        [height, width] of the image, pixels
    categories  [[label, category id, name], ...]: all classes of the split; label 0, background, has no row
    instances   [{"id", "label", "category_id", "bbox", "area", "iscrowd", "segmentation"}, ...]

as in COCO's files: `bbox` is [x, y, width, height], `segmentation` a list of polygons [x1, y1, x2, y2, ...] or
{"size", "counts"} with a compressed run-length encoding; it is absent where an instance has a box and no mask. `label`
is the class index. An evaluation needs nothing else, whatever dataset the record came from. No MindSpore here.
"""
from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import numpy as np
from pycocotools import mask as coco_mask

from src.contract import Dataset, InputError

MAX_CLASSES = 10_000  # with the background; tables and layers grow with it
_ENCODING = re.compile("(?:[P-o]{0,6}[0-O])+")  # numbers of at most 7 characters; all but their last ones are P..o
_JSON: dict[str, Any] = {"separators": (",", ":"), "ensure_ascii": False, "allow_nan": False}


class Category(NamedTuple):
    """A class: its index 1..K-1, its category id in annotation files and its name."""

    label: int
    category_id: int
    name: str


@dataclass(frozen=True)
class Target:
    """A decoded target. `instances` are dictionaries with the keys that the module's text lists."""

    image_id: int
    size: tuple[int, int]
    categories: tuple[Category, ...]
    instances: list[dict[str, Any]]

    @property
    def boxes_image(self) -> np.ndarray:
        """(N, 4) float32 xyxy, half-open, clipped to the image."""
        xywh = np.array([i["bbox"] for i in self.instances], np.float64).reshape(-1, 4)
        boxes = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1)
        return np.clip(boxes, 0, [self.size[1], self.size[0]] * 2).astype(np.float32)

    @property
    def labels(self) -> np.ndarray:
        """(N,) int32 class indices."""
        return np.array([i["label"] for i in self.instances], np.int32)

    @property
    def crowds(self) -> np.ndarray:
        """(N,) bool: regions with many objects, in which nothing is counted."""
        return np.array([i["iscrowd"] for i in self.instances], bool)


def encode_categories(categories: Sequence[Category]) -> str:
    """The text that `encode_target` takes: the same for all images of a split."""
    return json.dumps(categories, **_JSON)


def encode_instances(instances: Sequence[dict[str, Any]]) -> str:
    """The text of an image's instances that `encode_target` takes."""
    return json.dumps(instances, **_JSON)


def encode_target(image_id: int, size: tuple[int, int], categories: str, instances: str) -> bytes:
    """The bytes of a target, from the texts of its parts."""
    return (f'{{"image_id":{image_id},"size":[{size[0]},{size[1]}],"categories":{categories},'
            f'"instances":{instances}}}').encode()


def decode_target(data: bytes) -> Target:
    """The inverse of `encode_target`.

    Raises:
        InputError: other bytes, of another model's records for example.
    """
    try:
        content = msgspec.json.decode(data)
        return Target(content["image_id"], tuple(content["size"]), tuple(Category(*c) for c in content["categories"]),
                      content["instances"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError("the target does not hold instances; build the records with src/tools/build_coco_data.py"
                         ) from error


def categories_of(dataset: Dataset) -> tuple[Category, ...]:
    """The classes of a split, from its first record: of annotation files and of MindRecords alike."""
    return decode_target(next(iter(dataset.rows([0]))).target).categories


def class_names(categories: Sequence[Category]) -> tuple[str, ...]:
    """Names by class index, "background" first; an index without a category is called after its number."""
    names = {c.label: c.name for c in categories} | {0: "background"}
    return tuple(names.get(label, f"class_{label}") for label in range(max(names) + 1))


# --- masks ------------------------------------------------------------------------------------------------------------

def run_lengths(counts: str) -> np.ndarray:
    """(n,) int64 lengths of the runs of a compressed encoding, zeros and ones in turn, down the columns.

    Raises:
        InputError: the text is no such encoding.
    """
    if not _ENCODING.fullmatch(counts):
        raise InputError("its counts are no run-length encoding")
    runs, _ = _stored_numbers(counts)
    # From the fourth on, a run is stored as its difference to the one before the last.
    runs[1::2], runs[2::2] = runs[1::2].cumsum(), runs[2::2].cumsum()
    return runs


def are_encodings(texts: Sequence[str], pixels: np.ndarray) -> np.ndarray:
    """(n,) bool: which texts are compressed encodings of masks with so many `pixels` (n,)."""
    found = np.array([_ENCODING.fullmatch(text) is not None for text in texts], bool)
    if found.any():
        runs, first = _run_lengths_of_many([text for text, ok in zip(texts, found) if ok])
        bad = (runs < 0) | (runs > np.repeat(pixels[found], np.diff(first, append=len(runs))))
        found[found] = ~np.logical_or.reduceat(bad, first) & (np.add.reduceat(runs, first) == pixels[found])
    return found


def _run_lengths_of_many(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The lengths of the runs of encodings one after another, and the (n,) positions of the first run of each."""
    runs, starts = _stored_numbers("".join(texts))
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    first = np.searchsorted(starts, lengths.cumsum() - lengths)
    counts = np.diff(first, append=len(runs))
    position = np.arange(len(runs)) - np.repeat(first, counts)
    for chain in (position % 2 == 1, (position % 2 == 0) & (position > 0)):  # as in `run_lengths`
        sums = np.where(chain, runs, 0).cumsum()
        runs[chain] = (sums - np.repeat(sums[first], counts))[chain]
    return runs, first


def _stored_numbers(text: str) -> tuple[np.ndarray, np.ndarray]:
    """(n,) int64 numbers that an encoding's text stores, and the positions of their first characters."""
    codes = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - 48
    # Five bits a character, the lowest first; bit 5 says that more follow, bit 4 of the last one is the sign.
    ends = np.flatnonzero(codes & 32 == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    shifts = 5 * (np.arange(codes.size) - np.repeat(starts, ends - starts + 1))
    numbers = np.add.reduceat((codes & 31) << shifts, starts)
    numbers -= np.where(codes[ends] & 16, np.int64(1) << (shifts[ends] + 5), 0)
    return numbers, starts


def compress(runs: Sequence[int], size: tuple[int, int]) -> dict[str, Any]:
    """Compressed encoding {"size", "counts"} of an (H, W) mask from the lengths of its runs."""
    rle = coco_mask.frPyObjects({"size": list(size), "counts": list(runs)}, *size)
    return {"size": list(size), "counts": rle["counts"].decode("ascii")}


def to_rle(segmentation: list | dict, size: tuple[int, int]) -> dict[str, Any]:
    """The compressed encoding of a mask in an image of `size` (H, W); polygons are filled as COCO's own tools do."""
    if isinstance(segmentation, dict):
        return segmentation
    rle = coco_mask.merge(coco_mask.frPyObjects(segmentation, *size))
    return {"size": list(size), "counts": rle["counts"].decode("ascii")}


def mask_window(segmentation: list | dict, size: tuple[int, int], window: tuple[int, int, int, int]) -> np.ndarray:
    """The part of a mask in `window` (left, top, right, bottom), whole pixels inside the image: (h, w) uint8, 0 or 1.

    Only the window's columns are filled in: memory and time follow the object's size, not the image's.
    """
    left, top, right, bottom = window
    ends = run_lengths(to_rle(segmentation, size)["counts"]).cumsum()
    inside = np.diff(np.clip(ends, left * size[0], right * size[0]), prepend=left * size[0])
    flat = np.repeat(np.arange(len(inside), dtype=np.uint8) & 1, inside)
    return flat.reshape(right - left, size[0]).T[top:bottom]


def mask_crop(segmentation: list | dict, size: tuple[int, int], box: np.ndarray, side: int) -> np.ndarray:
    """A mask in its own box's frame: (side, side) uint8, 0..255 = fraction of the cell that the mask covers.

    Args:
        segmentation: polygons or run-length encoding, in an image of `size` (H, W).
        box: (4,) xyxy inside the image, at least a little wide and high; its edges may lie inside pixels.
        side: number of cells along each side of the box.
    """
    left, top = np.floor(box[:2]).astype(int).tolist()
    right, bottom = np.ceil(box[2:]).astype(int).tolist()
    mask = mask_window(segmentation, size, (left, top, right, bottom))
    return crop_of(mask, (box[0] - left, box[1] - top, box[2] - left, box[3] - top), side)


def crop_of(mask: np.ndarray, box: Sequence[float], side: int) -> np.ndarray:
    """The part of a mask (h, w) of 0 and 1 that lies in `box`, xyxy in its frame; see `mask_crop`."""
    mask = mask.astype(np.float32)
    rows = _cell_weights(box[1], box[3], mask.shape[0], side)
    columns = _cell_weights(box[0], box[2], mask.shape[1], side)
    return np.clip(np.rint(rows @ mask @ columns.T * 255), 0, 255).astype(np.uint8)


def _cell_weights(low: float, high: float, pixels: int, cells: int) -> np.ndarray:
    """(cells, pixels) float32: fraction of each of the cells between `low` and `high` that each pixel fills."""
    edges = low + (high - low) / cells * np.arange(cells + 1)
    before = np.clip(edges[:, None] - np.arange(pixels), 0, 1)
    return (np.diff(before, axis=0) * (cells / (high - low))).astype(np.float32)
