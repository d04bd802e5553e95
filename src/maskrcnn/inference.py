"""Instances from records: the inference network runs on batches of one canvas size, results keep the records' order."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from src.contract import Instances, Record
from src.data.read_ahead import decode_record, read_ahead
from src.maskrcnn.paste import to_instances
from src.maskrcnn.preprocess import Preprocess


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
                yield from self._batch([(image_id, *one) for image_id, one in zip(image_ids, inputs)])

    def _input(self, record: Record) -> tuple:
        """The input (3, H, W), the (height, width) of the image in it, and that of the original image."""
        image = decode_record(record, self.preprocess.decoding)
        return *self.preprocess.prepare(image), image.shape[:2]

    def _batch(self, images: list[tuple]) -> list[Instances]:
        """Instances of images whose canvases may differ."""
        results: list = [None] * len(images)
        for canvas in dict.fromkeys(pixels.shape for _, pixels, _, _ in images):
            chosen = [k for k, image in enumerate(images) if image[1].shape == canvas]
            batch = np.zeros((self.batch_size, *canvas), np.float32)
            sizes = np.tile(np.array(canvas[1:], np.float32), (self.batch_size, 1))
            for slot, k in enumerate(chosen):
                batch[slot], sizes[slot] = images[k][1], images[k][2]
            arrays = self.detect(batch, sizes)
            for slot, k in enumerate(chosen):
                image_id, _, size, original = images[k]
                results[k] = to_instances(image_id, tuple(array[slot] for array in arrays), image_size=size,
                                          original_size=original, **self.paste)
        return results
