import numpy as np
import pytest

from src.data.windows import window_starts


@pytest.mark.parametrize(("length", "window", "stride", "expected"), [
    (10, 4, 2, [0, 2, 4, 6]),  # the last one ends at the border by itself
    (11, 4, 2, [0, 2, 4, 6, 7]),  # it is moved inwards by one
    (12, 4, 4, [0, 4, 8]),
    (13, 4, 4, [0, 4, 8, 9]),
    (4, 4, 1, [0]),
    (5, 4, 4, [0, 1]),
    (3, 4, 2, [0]),
    (1, 1, 1, [0])])
def test_windows_start_every_stride_and_the_last_one_ends_at_the_border(length, window, stride, expected):
    assert window_starts(length, window, stride) == expected


def test_every_pixel_is_seen_and_no_window_leaves_a_long_axis_nor_comes_twice():
    for length in range(1, 40):
        for window in range(1, 12):
            for stride in range(1, window + 1):
                starts, seen = window_starts(length, window, stride), np.zeros(length, bool)
                for start in starts:
                    seen[start:start + window] = True
                assert seen.all()
                assert len(set(starts)) == len(starts)
                assert max(starts) + window == max(length, window)
                grids = max(length - window + stride - 1, 0) // stride + 1  # the number by mmsegmentation's formula
                assert len(starts) == grids


@pytest.mark.parametrize(("length", "window", "stride"), [(10, 4, 0), (10, 4, 5), (0, 4, 2), (10, 4, -1)])
def test_what_would_be_endless_or_leave_gaps_is_refused(length, window, stride):
    with pytest.raises(ValueError, match=f"window={window}, stride={stride}"):
        window_starts(length, window, stride)
