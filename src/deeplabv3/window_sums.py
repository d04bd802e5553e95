"""Class probabilities of overlapping windows, averaged row by row in constant memory."""
from __future__ import annotations

import numpy as np

from src.data import image_ops
from src.data.windows import window_starts


class WindowSums:
    """Averages the probabilities of an image's windows, and gives them out in another size of the same image.

    Rows can be taken as soon as no window is missing in them, and the memory of rows that were taken is used again:
    about `window` rows are held, however high the image is.

    Args:
        size: (h, w) of the image that the windows lie in.
        out_size: (H, W) that the averages are resized to (bilinear, pixel centres).
        window, stride: side of the square windows and distance of their starts, pixels.
    """

    def __init__(self, size: tuple[int, int], out_size: tuple[int, int], *, window: int, stride: int):
        self.size, self.out_size, self.window = size, out_size, window
        self.tops, self.lefts = (window_starts(length, window, stride) for length in size)
        self._row_shares, self._column_shares = (_shares(length, starts, window) for length, starts in
                                                 zip(size, (self.tops, self.lefts)))
        self._above, self._below, self._weights = _taps(size[0], out_size[0])
        self._sums = np.zeros((0, 0, 0), np.float32)  # (K, rows, w), whose first row is `_first`
        self._first = self._needed = 0
        self._next = 0  # index into `tops` of the row of windows that is under way

    def add(self, top: int, left: int, probabilities: np.ndarray) -> None:
        """Add the (K, window, window) probabilities of a window; windows come in rows from the top, left to right.

        What is beyond the image's border is left out.
        """
        height, width = min(self.window, self.size[0]), min(self.window, self.size[1])
        if left == 0:
            self._make_room(top + height, len(probabilities))
        rows = slice(top - self._first, top - self._first + height)
        self._sums[:, rows, left:left + width] += probabilities[:, :height, :width]
        self._next += left == self.lefts[-1]

    def ready(self) -> int:
        """How many rows of the output, from the first on, no later window changes."""
        if self._next == len(self.tops):
            return self.out_size[0]
        return int(np.searchsorted(self._below, self.tops[self._next]))

    def take(self, start: int, stop: int) -> np.ndarray:
        """(K, stop - start, W) average probabilities of rows that are ready. Each row is taken once, in order."""
        low, high = self._above[start], self._below[stop - 1] + 1
        rows = self._sums[:, low - self._first:high - self._first] * self._row_shares[low:high, None]
        rows *= self._column_shares
        if self._next < len(self.tops):
            self._needed = min(self._above[stop], self.tops[self._next])
        if self.size[1] != self.out_size[1]:
            size = (rows.shape[1], self.out_size[1])
            rows = np.stack([image_ops.resize(plane, size, "bilinear") for plane in rows])
        if self.size[0] == self.out_size[0]:
            return rows
        weights = self._weights[start:stop, None]
        above, below = self._above[start:stop] - low, self._below[start:stop] - low
        return rows[:, above] * (1 - weights) + rows[:, below] * weights

    def _make_room(self, stop: int, num_classes: int) -> None:
        """Let the sums reach from the first row that is still needed to `stop`."""
        if not self._sums.size:
            self._sums = np.zeros((num_classes, stop, self.size[1]), np.float32)
        drop, self._first = self._needed - self._first, self._needed
        if drop:
            for plane in self._sums:  # one by one: NumPy copies what overlaps
                plane[:-drop] = plane[drop:]
                plane[-drop:] = 0
        missing = stop - self._first - self._sums.shape[1]
        if missing > 0:
            self._sums = np.pad(self._sums, ((0, 0), (0, missing), (0, 0)))


def _shares(length: int, starts: list[int], window: int) -> np.ndarray:
    """(length,) float32: 1 / number of windows over each pixel of an axis."""
    counts = np.zeros(length, np.float32)
    for start in starts:
        counts[start:start + window] += 1
    return 1 / counts


def _taps(length: int, out_length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each output pixel of an axis the two pixels that it lies between and the weight of the second, as cv2's."""
    position = ((np.arange(out_length) + 0.5) * (length / out_length) - 0.5).astype(np.float32)
    position = position.clip(0, length - 1)
    first = np.floor(position).astype(np.int64)
    second = np.minimum(first + 1, length - 1)
    return first, np.where(position > first, second, first), position - first
