"""Brush masks of Label Studio: packed runs of the bytes of an RGBA picture (the npm package @thi.ng/rle-pack).

    32 bits   number of bytes         5 bits   width of a byte, less 1        4 x 4 bits   widths of lengths, less 1
    then, until all bytes are there:  1 bit    whether one byte repeats       2 bits       which of the widths follows
                                      length, less 1                          the byte, or as many bytes as the length
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from src.contract import InputError


class _Bits:
    """A stream of bits, the highest of each byte first."""

    def __init__(self, data: Sequence[int]):
        self.bits = np.unpackbits(np.array(data, np.uint8))
        self.digits = (self.bits + ord("0")).tobytes()  # Python reads single numbers faster than NumPy
        self.at = 0

    def take(self, count: int, width: int) -> np.ndarray:
        """(count,) int64, each of `width` bits; EOFError at the end."""
        end = self.at + count * width
        if end > len(self.bits):
            raise EOFError
        rows = self.bits[self.at:end].reshape(count, width).astype(np.int64)
        self.at = end
        return rows @ (1 << np.arange(width - 1, -1, -1, dtype=np.int64))

    def number(self, width: int) -> int:
        first, self.at = self.at, self.at + width
        if self.at > len(self.digits):
            raise EOFError
        return int(self.digits[first:self.at], 2)


def decode_brush(data: Sequence[int], size: tuple[int, int], place: str) -> np.ndarray:
    """(H, W) bool of a mask on an image of `size` (H, W): where the picture is not transparent.

    Raises:
        InputError: something else, or the mask of an image of another size.
    """
    wanted = 4 * size[0] * size[1]
    try:
        if min(data, default=-1) < 0 or max(data) > 255:
            raise EOFError
        bits = _Bits(data)
        count = bits.number(32)
        if count != wanted:
            raise InputError(f"{place}: a brush mask has {count} values, its image of {size[1]}x{size[0]} (width x "
                             f"height) has {wanted}; draw it again")
        return _values(bits, count).reshape(*size, 4)[..., 3] > 0
    except EOFError:
        raise InputError(f"{place}: a brush mask is damaged or truncated; export it again") from None


def _values(bits: _Bits, count: int) -> np.ndarray:
    """(count,) uint8."""
    out, done = np.zeros(count, np.uint8), 0
    width, widths = bits.number(5) + 1, [bits.number(4) + 1 for _ in range(4)]
    while done < count:
        repeats = bits.number(1)
        length = bits.number(widths[bits.number(2)]) + 1
        if done + length > count:
            raise EOFError
        out[done:done + length] = bits.number(width) & 255 if repeats else bits.take(length, width) & 255
        done += length
    return out
