"""Label maps of large images: windows of full resolution that overlap, whose probabilities are averaged.

As mmsegmentation's `slide_inference`. The network sees every image in its own scale, where `inference.Predictor`
shrinks or enlarges it to one canvas.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

import numpy as np

from src.contract import LabelMap, Record
from src.data import image_ops
from src.data.read_ahead import decode_record
from src.deeplabv3.inference import add_mirrored
from src.deeplabv3.preprocess import Preprocess
from src.deeplabv3.window_sums import WindowSums

CHUNK = 2 ** 22  # probabilities that are resized and compared at once


class _Window(NamedTuple):
    """A window on its way to the network: where it belongs, and a copy of its pixels (h, w, 3)."""

    mosaic: Mosaic
    place: tuple[int, int, int]
    pixels: np.ndarray


class SlidePredictor:
    """Records -> label maps, in order, `batch_size` windows at a time. A batch may hold windows of several images.

    An image is decoded when its first window is due, and given up with its last: only one is in memory.

    Args:
        probabilities: (B, 3, S, S) float32 array -> (B, K, S, S) class probabilities; called with one B and S = window
            alone, so that one graph is compiled (a short last batch is filled with zeros).
        preprocess, scales, flip: see the configuration. Each scale is that of the whole image; windows have one size.
        window: side of the windows, pixels. A smaller image is padded at the bottom and right.
        stride: pixels from one window to the next; the last one of a row or column is moved inwards to the border.
        batch_size: B. Where the first call has fewer windows in all, B is their number from then on: filling up the
            only batch would take longer than its windows one by one.
        fixed_batch: `probabilities` takes `batch_size` windows and no other number.
        workers: threads that normalise.
        confidence: see `inference.Predictor`.
    """

    def __init__(self, probabilities: Callable[[np.ndarray], np.ndarray], *, preprocess: Preprocess, window: int,
                 stride: int, scales: Sequence[float] = (1.0,), flip: bool = False, batch_size: int = 1,
                 fixed_batch: bool = False, workers: int = 2, confidence: bool = False):
        self.probabilities = add_mirrored(probabilities) if flip else probabilities
        self.preprocess = preprocess
        self.window = window
        self.stride = stride
        self.scales = scales
        self.batch_size = batch_size
        self.is_decided = fixed_batch
        self.workers = workers
        self.confidence = confidence

    def __call__(self, records: Iterable[Record]) -> Iterator[LabelMap]:
        windows = self._windows(records)
        with ThreadPoolExecutor(self.workers) as pool:
            while batch := list(islice(windows, self.batch_size)):
                self._decide(len(batch))
                for (mosaic, place, _), found in zip(batch, self._probabilities(pool, batch)):
                    mosaic.add(*place, found)
                    if mosaic.done == len(mosaic.labels):
                        yield LabelMap(mosaic.image_id, mosaic.labels, mosaic.confidence)

    def _decide(self, first: int) -> None:
        """Take the size of the first batch for that of all."""
        if not self.is_decided:
            self.batch_size, self.is_decided = first, True

    def _windows(self, records: Iterable[Record]) -> Iterator[_Window]:
        for record in records:
            images = self._images(record)
            mosaic = Mosaic(record.image_id, images[0].shape[:2], scales=self.scales, window=self.window,
                            stride=self.stride, confidence=self.confidence)
            places = mosaic.places()
            for number, (scale, top, left) in enumerate(places, 1):
                pixels = images[1 + scale][top:top + self.window, left:left + self.window].copy()
                if number == len(places):
                    del images, record  # large ones are not in memory while the label map is used
                yield _Window(mosaic, (scale, top, left), pixels)

    def _images(self, record: Record) -> list[np.ndarray]:
        """The image of a record, and the same in each of the scales."""
        image = decode_record(record, self.preprocess.decoding)
        return [image, *(image if scale == 1 else image_ops.resize(image, scaled(image.shape[:2], scale), "bilinear")
                         for scale in self.scales)]

    def _probabilities(self, pool: ThreadPoolExecutor, batch: list[_Window]) -> np.ndarray:
        side = self.window
        inputs = np.zeros((self.batch_size, 3, side, side), np.float32)
        for k, part in enumerate(pool.map(lambda one: self.preprocess.normalise(one.pixels, (side, side)), batch)):
            inputs[k] = part
        return self.probabilities(inputs)


class Mosaic:
    """An image between its windows and its label map.

    Attributes:
        labels: (H, W) uint8, complete down to row `done`.
        confidence: (H, W) float32 likewise, where it is asked for.
    """

    def __init__(self, image_id: int, size: tuple[int, int], *, scales: Sequence[float], window: int, stride: int,
                 confidence: bool = False):
        self.image_id = image_id
        self.sums = [WindowSums(scaled(size, scale), size, window=window, stride=stride) for scale in scales]
        self.labels = np.zeros(size, np.uint8)
        self.confidence = np.zeros(size, np.float32) if confidence else None
        self.done = 0

    def places(self) -> list[tuple[int, int, int]]:
        """(index of the scale, top, left) of the windows. Scales go down the image together, so few rows are open."""
        return sorted(((k, top, left) for k, sums in enumerate(self.sums) for top in sums.tops for left in sums.lefts),
                      key=lambda place: place[1] / self.sums[place[0]].size[0])

    def add(self, scale: int, top: int, left: int, probabilities: np.ndarray) -> None:
        """Add the (K, window, window) probabilities of a window; complete the label map as far as possible."""
        self.sums[scale].add(top, left, probabilities)
        ready = min(sums.ready() for sums in self.sums)
        rows = max(CHUNK // (len(probabilities) * self.labels.shape[1]), 1)
        while self.done < ready:
            stop = min(self.done + rows, ready)
            first, *others = (sums.take(self.done, stop) for sums in self.sums)
            for scores in others:
                first += scores
            self.labels[self.done:stop] = best_class(first)
            if self.confidence is not None:
                self.confidence[self.done:stop] = first.max(0) / first.sum(0)
            self.done = stop
        if self.done == len(self.labels):
            self.sums = []  # their memory is free while the label map is used


def scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """(H, W) times `scale`, rounded half up, at least 1."""
    height, width = (max(int(side * scale + 0.5), 1) for side in size)
    return height, width


def best_class(scores: np.ndarray) -> np.ndarray:
    """(K, H, W) -> (H, W) uint8 index of the best class, the first among equals. Faster than argmax over axis 0."""
    best, labels = scores[0].copy(), np.zeros(scores.shape[1:], np.uint8)
    for k in range(1, len(scores)):
        np.putmask(labels, scores[k] > best, k)
        np.maximum(best, scores[k], out=best)
    return labels
