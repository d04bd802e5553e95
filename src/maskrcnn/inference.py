"""Instances from records: the inference network runs on batches of one canvas size, results keep the records' order."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

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


@dataclass
class _Parts:
    """An image between its tiles and its instances: what is found in the first tiles, of `count`."""

    image_id: int
    size: tuple[int, int]
    count: int
    found: list[TileInstances] = field(default_factory=list)


class _TileOfImage(NamedTuple):
    """A tile on its way to the network: what it is a part of, and a copy of its pixels (h, w, 3)."""

    parts: _Parts
    tile: Tile
    pixels: np.ndarray


class TiledPredictor(Predictor):
    """Records -> instances, in order: each image tile by tile, then merged. A batch may hold tiles of several images.

    An image is decoded when its first tile is due, and given up with its last: only one is in memory. Masks exist as
    runs alone.

    Args:
        tiling: how images are cut.
        limit: instances of an image after merging, at most; 0: all.
        detect, preprocess, batch_size, workers, paste: see `Predictor`; the batch is one of tiles.
    """

    def __init__(self, detect: Callable, *, tiling: Tiling, limit: int = 0, **rest):
        super().__init__(detect, **rest)
        self.tiling = tiling
        self.limit = limit

    def __call__(self, records: Iterable[Record]) -> Iterator[Instances]:
        tiles = self._tiles(records)
        with ThreadPoolExecutor(self.workers) as pool:
            while batch := list(islice(tiles, self.batch_size)):
                inputs = list(pool.map(lambda one: self.preprocess.prepare(one.pixels), batch))
                for (parts, tile, _), (_, size), arrays in zip(batch, inputs, self._detections(inputs)):
                    parts.found.append(to_tile_instances(tile, arrays, image_size=size, original_size=parts.size,
                                                         **self.paste))
                    if len(parts.found) == parts.count:
                        yield merge(parts.found, parts.image_id, parts.size, limit=self.limit,
                                    with_masks=self.paste.get("with_masks", True))

    def _tiles(self, records: Iterable[Record]) -> Iterator[_TileOfImage]:
        for record in records:
            image = decode_record(record, self.preprocess.decoding)
            tiles = self.tiling.tiles(image.shape[:2])
            parts = _Parts(record.image_id, image.shape[:2], len(tiles))
            for tile in tiles:
                pixels = tile.pixels(image).copy()
                if tile is tiles[-1]:
                    del image, record  # a large one is not in memory while its instances are used
                yield _TileOfImage(parts, tile, pixels)
