"""Mean intersection over union from a confusion matrix that is accumulated image by image."""
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from src.contract import InputError, LabelMap
from src.metrics.image_statistics import ConfusionStatistics, digest

PIXELS = 2 ** 22  # that are counted at once: an index has eight times the memory of a label


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray, num_classes: int, *,
                     ignore_label: int = 255) -> np.ndarray:
    """(K, K) int64: entry [i, j] counts the pixels of class i that were predicted as j.

    Pixels whose truth is `ignore_label` or not in 0..K-1 do not count. Predictions must be in 0..K-1.
    """
    counts = np.zeros(num_classes * num_classes, np.int64)
    for start in range(0, truth.size, PIXELS):
        some, other = (array.reshape(-1)[start:start + PIXELS] for array in (truth, predicted))
        counted = (some < num_classes) & (some != ignore_label)
        index = some[counted].astype(np.int64) * num_classes + other[counted]
        counts += np.bincount(index, minlength=num_classes * num_classes)
    return counts.reshape(num_classes, num_classes)


class MeanIoU:
    """Evaluator of label maps.

    `compute` returns `miou` and `mean_accuracy` (mean IoU and mean recall over the classes that occur in the truth),
    `pixel_accuracy`, `iou` {class: value, None where the truth has no pixel of the class}, `classes_without_truth`
    {class: pixels that were predicted as it}, `images` and `confusion` (K x K lists). All in [0, 1].
    """

    def __init__(self, class_names: Sequence[str], decode_truth: Callable[[bytes], np.ndarray],
                 ignore_label: int = 255):
        self.class_names = tuple(class_names)
        self.decode_truth = decode_truth
        self.ignore_label = ignore_label
        self.confusion = np.zeros((len(class_names), len(class_names)), np.int64)
        self.images: dict[int, tuple[int, np.ndarray, np.ndarray]] = {}  # by id: digest of the truth, cells, counts

    def update(self, prediction: LabelMap, target: bytes) -> None:
        """Count one image; `target` is the label file's bytes.

        Raises:
            InputError: the image was already counted, the sizes differ, or the label has a value that is neither a
                class nor `ignore_label`: without the error, such pixels would be dropped silently.
        """
        truth = self.decode_truth(target)
        if prediction.image_id in self.images:
            raise InputError(f"image {prediction.image_id} was evaluated twice")
        if truth.shape != prediction.labels.shape:
            raise InputError(f"image {prediction.image_id}: predicted size {prediction.labels.shape}, "
                             f"label size {truth.shape}")
        wrong = (truth >= len(self.class_names)) & (truth != self.ignore_label)
        if wrong.any():
            raise InputError(f"label value {truth[wrong][0]} is neither below num_classes={len(self.class_names)} nor "
                             f"ignore_label={self.ignore_label}; evaluate with the classes that the network has")
        if prediction.labels.max(initial=0) >= len(self.class_names):
            raise InputError(f"image {prediction.image_id}: predicted class {prediction.labels.max()} of "
                             f"{len(self.class_names)}; score with the classes of the network that predicted")
        counts = confusion_matrix(truth, prediction.labels, len(self.class_names), ignore_label=self.ignore_label)
        self.confusion += counts
        cells = np.flatnonzero(counts).astype(np.int32)
        self.images[prediction.image_id] = _digest(truth, self.ignore_label), cells, counts.reshape(-1)[cells]

    def merge(self, other: MeanIoU) -> None:
        """Add another process's part; the parts must not share an image."""
        twice = self.images.keys() & other.images.keys()
        if twice:
            raise InputError(f"images evaluated twice: {sorted(twice)[:10]}")
        self.images |= other.images
        self.confusion += other.confusion

    def compute(self) -> dict:
        hits = np.diag(self.confusion).astype(np.float64)
        truth, predicted = self.confusion.sum(1), self.confusion.sum(0)
        with np.errstate(invalid="ignore", divide="ignore"):
            iou, recall = hits / (truth + predicted - hits), hits / truth
        seen = truth > 0
        return {
            "miou": float(iou[seen].mean()) if seen.any() else 0.0,
            "pixel_accuracy": float(hits.sum() / max(truth.sum(), 1)),
            "mean_accuracy": float(recall[seen].mean()) if seen.any() else 0.0,
            "iou": {n: float(v) if s else None for n, v, s in zip(self.class_names, iou, seen)},
            "classes_without_truth": {n: int(p) for n, p, s in zip(self.class_names, predicted, seen) if not s},
            "images": len(self.images),
            "confusion": self.confusion.tolist(),
        }

    def statistics(self) -> ConfusionStatistics:
        """What each image contributes."""
        image_ids = sorted(self.images)
        truths, cells, counts = zip(*(self.images[k] for k in image_ids)) if image_ids else ((), (), ())
        return ConfusionStatistics(
            np.array(image_ids, np.int64), np.array(truths, np.int64), self.class_names,
            image=np.repeat(np.arange(len(image_ids), dtype=np.int32), list(map(len, cells))),
            cell=np.concatenate([np.zeros(0, np.int32), *cells]),
            count=np.concatenate([np.zeros(0, np.int64), *counts]))


def _digest(truth: np.ndarray, ignore_label: int) -> int:
    """Of what counts: other ignored pixels are another truth, whatever their label is."""
    counted = np.where(truth == ignore_label, np.uint8(255), truth)
    return digest(repr(counted.shape).encode() + np.ascontiguousarray(counted).tobytes())
