"""What people have to look at: samples as the network sees them, pairs of copies, and annotations that look wrong."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from src.contract import Dataset, InputError
from src.data import order
from src.data.checks import evenly
from src.data.decode import Decoding, decode_image
from src.data.instance.target import decode_target
from src.doctor.data.copies import Place
from src.doctor.data.look import Look
from src.doctor.data.source import entries, image_bytes
from src.report import draw
from src.report.rows import truth

SAMPLES, SIDE, IN_ROW = 16, 250, 4  # pictures drawn; pixels of a picture's long side
PAIRS, EXAMPLES = 4, 8


def samples(task: Any, dataset: Dataset, settings: Any, usable: Sequence[int]) -> tuple[np.ndarray | None, str]:
    """(16 augmented samples of the first epoch as one picture, why some of them are missing).

    Args:
        task: of the configuration; its augmentation draws with the same random numbers as training.
        usable: sample ids to choose from, evenly spread.
    """
    augment, pictures, faults = task.train_augmentation(), [], []
    for sample_id in (usable[k] for k in evenly(len(usable), SAMPLES)):
        try:
            record = next(iter(dataset.rows([sample_id])))
            values = augment(record.image, record.target, order.sample_rng(settings.seed, 0, sample_id))
        except InputError as error:
            faults.append(str(error))
            continue
        pictures.append((_drawn(dict(zip(task.columns, values)), settings, task.class_names), record.file_name))
    fault = f"{len(faults)} samples could not be drawn: {faults[0]}" if faults else ""
    if not pictures:
        return None, fault
    grid = _grid(pictures)
    if "label" in task.columns:  # instances have their names beside them
        grid = draw.below(grid, draw.legend(task.class_names, draw.palette(task.class_names), grid.shape[1]))
    return grid, fault


def _drawn(columns: Mapping[str, np.ndarray], settings: Any, class_names: Sequence[str]) -> np.ndarray:
    image = _pixels(columns["image"], settings)
    if "label" in columns:
        return draw.fit(draw.overlay(image, columns["label"].astype(np.uint8), draw.palette(class_names)), SIDE)
    valid = np.flatnonzero(columns["gt_valid"] & ~columns["gt_ignore"])
    factor = SIDE / max(image.shape[:2])
    boxes = columns["gt_boxes"][valid]

    def mask(k: int) -> draw.Part:
        return draw.fit(_pasted(columns["gt_masks"][valid[k]], boxes[k], image.shape[:2]), SIDE, labels=True), 0, 0

    return draw.instances(draw.fit(image, SIDE), boxes * factor, columns["gt_labels"][valid], class_names=class_names,
                          mask=mask)


def _pixels(image: np.ndarray, settings: Any) -> np.ndarray:
    """The network's input (3, H, W) as (H, W, 3) uint8 RGB; padding is the mean's gray."""
    mean, std = (np.array(values, np.float32) for values in (settings.image_mean, settings.image_std))
    pixels = np.clip(image.transpose(1, 2, 0) * std + mean, 0, 255).round().astype(np.uint8)
    return np.ascontiguousarray(pixels if settings.colour_order == "RGB" else pixels[..., ::-1])


def _pasted(crop: np.ndarray, box: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """A mask crop (M, M) of 0..255 in its place: (H, W) uint8, 0 or 1."""
    out = np.zeros(size, np.uint8)
    left, top = np.floor(box[:2]).astype(int)
    right, bottom = np.maximum(np.ceil(box[2:]).astype(int), (left + 1, top + 1))
    inside = cv2.resize(crop, (int(right - left), int(bottom - top)), interpolation=cv2.INTER_LINEAR) > 127
    part = out[top:bottom, left:right]
    part[:] = inside[:part.shape[0], :part.shape[1]]
    return out


def _grid(pictures: Sequence[tuple[np.ndarray, str]]) -> np.ndarray:
    """Pictures with their captions in rows of four."""
    captioned = []
    for picture, name in pictures:
        square = np.full((picture.shape[0] + 18, SIDE, 3), 255, np.uint8)
        square[:picture.shape[0], :picture.shape[1]] = picture
        name = name.encode("ascii", "replace").decode()  # the font has no other letters
        cv2.putText(square, name[-38:], (2, picture.shape[0] + 13), cv2.FONT_HERSHEY_SIMPLEX, 0.36,
                    draw.GRAY, 1, cv2.LINE_AA)
        captioned.append(square)
    rows = [captioned[k:k + IN_ROW] for k in range(0, len(captioned), IN_ROW)]
    return draw.grid(rows, [""] * min(IN_ROW, len(captioned)), [""] * len(rows), side=SIDE)


def pairs(found: Sequence[tuple[Place, Place]], datasets: Mapping[str, Dataset], looks: Mapping[str, Look],
          how: Decoding) -> np.ndarray | None:
    """Some pairs of copies side by side, None where none can be drawn."""
    pictures = []
    for pair in list(found)[:PAIRS]:
        both = [_original(datasets[split], sample_id, how) for split, sample_id in pair]
        if all(picture is not None for picture in both):
            pictures += [(draw.fit(picture, SIDE), f"{split}: {looks[split].images[sample_id].name}")
                         for picture, (split, sample_id) in zip(both, pair)]
    return _grid(pictures) if pictures else None


def _original(dataset: Dataset, sample_id: int, how: Decoding) -> np.ndarray | None:
    try:
        return decode_image(image_bytes(dataset, sample_id), how)
    except (InputError, OSError):
        return None


def marked(objects: np.ndarray, dataset: Dataset, look: Look, class_names: Sequence[str], how: Decoding,
           chosen: Callable[[np.ndarray], np.ndarray]) -> np.ndarray | None:
    """Some images with those of their objects that `chosen` picks, None where none can be drawn."""
    found, pictures = objects[chosen(objects)], []
    for position in list(dict.fromkeys(found["image"].tolist()))[:EXAMPLES]:
        image = _original(dataset, position, how)
        if image is not None:
            ids = set(found["id"][found["image"] == position].tolist())
            pictures.append((_with_objects(image, dataset, position, ids, class_names), look.images[position].name))
    return _grid(pictures) if pictures else None


def _with_objects(image: np.ndarray, dataset: Dataset, position: int, ids: set[int],
                  class_names: Sequence[str]) -> np.ndarray:
    target = decode_target(next(iter(entries(dataset, [position]))).record.target)
    chosen = [k for k, entry in enumerate(target.instances) if entry["id"] in ids]
    return truth(draw.fit(image, SIDE), target, class_names, SIDE / max(image.shape[:2]), chosen)
