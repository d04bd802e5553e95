"""Learning curves from a run's log."""
import cv2
import numpy as np
import pytest

from src.report.curves import learning_curve, smooth


def run(steps: int, evaluations: int = 0) -> list[dict]:
    lines = [{"kind": "train", "step": k + 1, "loss": 1 / (k + 1), "learning_rate": 0.1} for k in range(steps)]
    return lines + [{"kind": "eval", "step": steps * (k + 1) // evaluations, "miou": 0.2 * (k + 1)}
                    for k in range(evaluations)]


def size(png: bytes) -> tuple[int, int]:
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR).shape[:2]


def test_smooth_is_the_mean_of_the_last_values():
    assert smooth([4, 0, 2, 6], 2).tolist() == [4, 2, 1, 4]
    assert smooth([4, 0, 2, 6], 1).tolist() == [4, 0, 2, 6]
    assert smooth([3, 5], 10).tolist() == [3, 4]


def test_smooth_leaves_out_what_is_not_finite():
    assert smooth([2, float("nan"), 4], 3).tolist() == [2, 2, 3]
    assert np.isnan(smooth([float("inf"), 1], 1)[0])


def test_evaluations_add_a_panel():
    without = size(learning_curve(run(30), loss_names=["loss"], metric="miou"))
    with_them = size(learning_curve(run(30, 3), loss_names=["loss"], metric="miou"))
    assert with_them[0] == without[0]
    assert with_them[1] == pytest.approx(1.5 * without[1], abs=2)


def test_one_step_is_enough_and_none_is_not():
    assert learning_curve(run(1), loss_names=["loss"], metric="miou").startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="at least one training step"):
        learning_curve([{"kind": "eval", "step": 1, "miou": 0.1}], loss_names=["loss"], metric="miou")


def test_several_losses_are_told_apart():
    lines = [line | {"box": 0.5, "mask": 0.1} for line in run(30)]
    one = learning_curve(lines, loss_names=["box"], metric="miou")
    assert one != learning_curve(lines, loss_names=["box", "mask"], metric="miou")
