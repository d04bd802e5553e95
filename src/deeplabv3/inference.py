"""Label maps from images; probabilities of scales and mirror images are averaged in the original image's frame."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

import numpy as np

from src.contract import LabelMap, Record
from src.data import image_ops
from src.data.read_ahead import decode_record, read_ahead
from src.deeplabv3.preprocess import Preprocess


def scaled_side(crop_size: int, scale: float) -> int:
    """Side of the square canvas at a scale: int((crop_size - 1) * scale) + 1, so 257, 385, 513, 641, 897 for 513."""
    return int((crop_size - 1) * scale) + 1


class Predictor:
    """Records -> label maps, in order, `batch_size` images at a time.

    Args:
        probabilities: (B, 3, S, S) float32 array -> (B, K, S, S) class probabilities; called with one S per scale and
            always with B = batch_size, so that each scale is compiled once (a short last batch is filled with zeros).
        preprocess, crop_size, scales, flip, batch_size: see the configuration.
        workers: threads that decode and resize.
        confidence: whether label maps come with the probability of each pixel's class.
    """

    def __init__(self, probabilities: Callable[[np.ndarray], np.ndarray], *, preprocess: Preprocess, crop_size: int,
                 scales: Sequence[float], flip: bool, batch_size: int, workers: int = 2,
                 confidence: bool = False):
        self.probabilities = add_mirrored(probabilities) if flip else probabilities
        self.preprocess = preprocess
        self.sides = [scaled_side(crop_size, scale) for scale in scales]
        self.batch_size = batch_size
        self.workers = workers
        self.confidence = confidence

    def __call__(self, records: Iterable[Record]) -> Iterator[LabelMap]:
        with ThreadPoolExecutor(self.workers) as pool:
            for image_ids, images in read_ahead(records, self._image, batch_size=self.batch_size, pool=pool):
                for image_id, found in zip(image_ids, self._label_maps(pool, images)):
                    yield LabelMap(image_id, *found)

    def _image(self, record: Record) -> np.ndarray:
        return decode_record(record, self.preprocess.decoding)

    def _label_maps(self, pool: ThreadPoolExecutor, images: list[np.ndarray]) -> Iterator[tuple[np.ndarray, ...]]:
        totals: list = [0.0] * len(images)
        for side in self.sides:
            inputs = list(pool.map(self.preprocess.fit, images, repeat(side)))
            batch = np.zeros((self.batch_size, 3, side, side), np.float32)
            for i, (pixels, _) in enumerate(inputs):
                batch[i] = pixels
            scores = self.probabilities(batch)
            sizes = [size for _, size in inputs]
            maps = list(pool.map(to_image_frame, scores, sizes, [image.shape[:2] for image in images]))
            totals = [total + resized for total, resized in zip(totals, maps)]
        return pool.map(lambda total: best_of(total, -1, self.confidence), totals)


def add_mirrored(probabilities: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """`probabilities` of a batch plus those of its mirror image, which are mirrored back."""
    def both(batch: np.ndarray) -> np.ndarray:
        return probabilities(batch) + probabilities(np.ascontiguousarray(batch[..., ::-1]))[..., ::-1]

    return both


def best_of(scores: np.ndarray, axis: int, confidence: bool) -> tuple[np.ndarray, ...]:
    """Best class of every pixel as uint8, and with `confidence` its share of the pixel's scores as float32.

    Args:
        scores: sums of probabilities, with the classes along `axis`.
    """
    labels = scores.argmax(axis).astype(np.uint8)
    return (labels, (scores.max(axis) / scores.sum(axis)).astype(np.float32)) if confidence else (labels,)


def to_image_frame(scores: np.ndarray, size: tuple[int, int], image_size: tuple[int, int]) -> np.ndarray:
    """(K, S, S) scores of a canvas whose top left `size` is the image -> (*image_size, K), bilinear."""
    cropped = np.ascontiguousarray(scores[:, : size[0], : size[1]].transpose(1, 2, 0))
    return image_ops.resize(cropped, image_size, "bilinear")
