"""Where the windows lie that a large image is looked at through, one axis at a time. Pure numbers."""
from __future__ import annotations


def window_starts(length: int, window: int, stride: int) -> list[int]:
    """First pixels of the windows along an axis: every `stride` pixels, the last one moved inwards to the border.

    A single window starts at 0 where the axis is not longer than it. Windows never start twice at one pixel, and
    every pixel is in at least one. As in mmsegmentation's `slide_inference`.

    Args:
        length, window: pixels, at least 1.
        stride: pixels, 1..window; the overlap of neighbours is `window - stride`, more at the moved one.

    Raises:
        ValueError: the windows would be endless in number or leave gaps.
    """
    if length < 1 or not 1 <= stride <= window:
        raise ValueError(f"length={length}, window={window}, stride={stride}: expected 1 <= stride <= window and a "
                         "length of at least 1")
    last = max(length - window, 0)
    return [*range(0, last, stride), last]
