"""Instances from records: the inference network runs on batches of one canvas size, results keep the records' order."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from src.contract import Instances, Record
from src.data.read_ahead import decode_record, read_ahead
from src.maskrcnn.merge import TileInstances, merge
from src.maskrcnn.paste import to_instances, to_tile_instances
from src.maskrcnn.preprocess import Preprocess
from src.maskrcnn.tiles import Tile, Tiling


class Predictor:
    """Records -> instances, in order, `batch_size` images at a time.

    Args:
        detect: image (B, 3, H, W) float32 and image_size (B, 2) float32 -> the five arrays of `maskrcnn.DETECTIONS`;
            always called with B = batch_size, so that each canvas size is compiled once.
        preprocess: of the input.
        batch_size: B; a short batch is filled up with zeros.
        workers: threads that decode and resize.
        paste: options of `paste.to_instances`: paste_pad, threshold, with_masks.
    """

    def __init__(self, detect: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, ...]], *, preprocess: Preprocess,
                 batch_size: int, workers: int = 2, **paste):
        self.detect = detect
        self.preprocess = preprocess
        self.batch_size = batch_size
        self.workers = workers
        self.paste = paste

    def __call__(self, records: Iterable[Record]) -> Iterator[Instances]:
        with ThreadPoolExecutor(self.workers) as pool:
            for image_ids, inputs in read_ahead(records, self._input, batch_size=self.batch_size, pool=pool):
                found = self._detections([(pixels, size) for pixels, size, _ in inputs])
                for image_id, (_, size, original), arrays in zip(image_ids, inputs, found):
                    yield to_instances(image_id, arrays, image_size=size, original_size=original, **self.paste)

    def _input(self, record: Record) -> tuple:
        """The input (3, H, W), the (height, width) of the image in it, and that of the original image."""
        image = decode_record(record, self.preprocess.decoding)
        return *self.preprocess.prepare(image), image.shape[:2]

    def _detections(self, inputs: list[tuple[np.ndarray, tuple[int, int]]]) -> list[tuple[np.ndarray, ...]]:
        """The five arrays of each input; their canvases may differ."""
        results: list = [None] * len(inputs)
        for canvas in dict.fromkeys(pixels.shape for pixels, _ in inputs):
            chosen = [k for k, (pixels, _) in enumerate(inputs) if pixels.shape == canvas]
            batch = np.zeros((self.batch_size, *canvas), np.float32)
            sizes = np.tile(np.array(canvas[1:], np.float32), (self.batch_size, 1))
            for slot, k in enumerate(chosen):
                batch[slot], sizes[slot] = inputs[k]
            arrays = self.detect(batch, sizes)
            for slot, k in enumerate(chosen):
                results[k] = tuple(array[slot] for array in arrays)
        return results


@dataclass(frozen=True)
class _TileOfImage:
    """A tile on its way to the network; `image_id` is the image's position among those that are decoded."""

    image_id: int
    tile: Tile
    pixels: np.ndarray


class TiledPredictor(Predictor):
    """Records -> instances, in order: each image tile by tile, `batch_size` tiles at a time, then merged.

    Images are decoded one after another until their tiles fill a batch. So at most one large image is in memory, and
    small ones share batches. Masks exist as runs alone.

    Args:
        tiling: how images are cut.
        limit: instances of an image after merging, at most; 0: all.
        detect, preprocess, batch_size, workers, paste: see `Predictor`.
    """

    def __init__(self, detect: Callable, *, tiling: Tiling, limit: int = 0, **rest):
        super().__init__(detect, **rest)
        self.tiling = tiling
        self.limit = limit

    def __call__(self, records: Iterable[Record]) -> Iterator[Instances]:
        records = iter(records)
        with ThreadPoolExecutor(self.workers) as pool:
            while images := self._next_images(records):
                yield from self._instances(images, pool)

    def _next_images(self, records: Iterator[Record]) -> list[tuple[int, np.ndarray]]:
        """(image id, decoded image) of the next records, as many as fill a batch with tiles."""
        images, tiles = [], 0
        while tiles < self.batch_size and (record := next(records, None)):
            images.append((record.image_id, decode_record(record, self.preprocess.decoding)))
            tiles += len(self.tiling.tiles(images[-1][1].shape[:2]))
        return images

    def _instances(self, images: list[tuple[int, np.ndarray]], pool: Executor) -> list[Instances]:
        """The instances of decoded images. Empties the list, so that the images need not outlast their tiles."""
        about = [(image_id, image.shape[:2]) for image_id, image in images]
        found: list[list[TileInstances]] = [[] for _ in images]
        for numbers, inputs in read_ahead(self._tiles(images), self._tile_input, batch_size=self.batch_size, pool=pool):
            arrays = self._detections([(pixels, size) for pixels, size, _ in inputs])
            for number, (_, size, tile), detections in zip(numbers, inputs, arrays):
                found[number].append(to_tile_instances(tile, detections, image_size=size,
                                                       original_size=about[number][1], **self.paste))
        return [merge(parts, *one, limit=self.limit, with_masks=self.paste.get("with_masks", True))
                for parts, one in zip(found, about)]

    def _tiles(self, images: list[tuple[int, np.ndarray]]) -> Iterator[_TileOfImage]:
        number = 0
        while images:
            _, image = images.pop(0)
            for tile in self.tiling.tiles(image.shape[:2]):
                yield _TileOfImage(number, tile, tile.pixels(image))
            number += 1

    def _tile_input(self, one: _TileOfImage) -> tuple:
        """The input (3, H, W), the (height, width) of the tile in it, and the tile."""
        return *self.preprocess.prepare(one.pixels), one.tile
