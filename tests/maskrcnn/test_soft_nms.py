"""Soft-NMS in the graph equals a plain loop in numpy; the published suppression keeps its bits and its graph."""
import src  # noqa: F401  isort: skip
import numpy as np
import pytest
from mindspore import Tensor

from src.config import build, parse
from src.contract import InputError
from src.maskrcnn.config import PRESETS, MaskRCNNConfig
from src.maskrcnn.proposals import DetectionPostprocess
from src.maskrcnn.soft_nms import TAKEN, SoftNMS
from src.maskrcnn.suppression import pairwise_iou


def reference(boxes, labels, scores, usable, *, method, limit, iou=0.5, sigma=0.5):
    """Bodla et al. 2017, figure 2, box by box."""
    left = [k for k in range(len(boxes)) if usable[k]]
    scores, taken, final = scores.astype(np.float64).copy(), [], []
    while left and len(taken) < limit:
        best = max(left, key=lambda k: scores[k])
        left.remove(best)
        taken.append(best)
        final.append(scores[best])
        for k in left:
            overlap = pairwise_iou(boxes[best:best + 1], boxes[k:k + 1])[0, 0]
            if labels[k] != labels[best]:
                continue
            if method == "gaussian":
                scores[k] *= np.exp(-overlap ** 2 / sigma)
            elif overlap > iou:
                scores[k] *= 1 - overlap
    return taken, final


def run(cell, *arrays):
    return [output.asnumpy() for output in cell(*(Tensor(array) for array in arrays))]


def case(seed: int, count: int = 40):
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 60, (2, count, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(5, 40, (2, count, 2))], -1).astype(np.float32)
    scores = rng.uniform(0.05, 1, (2, count)).astype(np.float32)
    return boxes, rng.integers(1, 4, (2, count)).astype(np.int32), scores, rng.random((2, count)) < 0.8


def test_factors_literal():
    """An IoU of 9/11 lowers 0.8 to 0.8 * 2/11, and by the Gaussian to 0.8 * exp(-(81/121)/0.5)."""
    boxes = np.array([[[0, 0, 10, 10], [1, 0, 11, 10], [1, 0, 11, 10], [30, 0, 40, 10]]], np.float32)
    labels, scores = np.array([[1, 1, 2, 1]], np.int32), np.array([[0.9, 0.8, 0.7, 0.1]], np.float32)
    usable = np.ones((1, 4), bool)
    index, final = run(SoftNMS("linear", limit=4), boxes, labels, scores, usable)
    assert index.tolist() == [[0, 2, 1, 3]]
    np.testing.assert_allclose(final, [[0.9, 0.7, 0.8 * 2 / 11, 0.1]], rtol=1e-6)
    index, final = run(SoftNMS("gaussian", limit=4, sigma=0.5), boxes, labels, scores, usable)
    assert index.tolist() == [[0, 2, 1, 3]]
    np.testing.assert_allclose(final, [[0.9, 0.7, 0.8 * np.exp(-81 / 121 / 0.5), 0.1]], rtol=1e-6)
    index, final = run(SoftNMS("linear", limit=4, iou=0.9), boxes, labels, scores, usable)
    assert (index.tolist(), final.tolist()) == ([[0, 1, 2, 3]], scores.tolist())


@pytest.mark.parametrize("method", ["linear", "gaussian"])
def test_it_takes_the_boxes_and_scores_of_the_plain_loop(graph_mode, method):
    cell = SoftNMS(method, limit=25, iou=0.3, sigma=0.4)
    for seed in range(8):
        arrays = case(seed)
        index, final = run(cell, *arrays)
        for b in range(2):
            taken, scores = reference(*(a[b] for a in arrays), method=method, limit=25, iou=0.3, sigma=0.4)
            assert index[b, :len(taken)].tolist() == taken
            np.testing.assert_allclose(final[b, :len(taken)], scores, rtol=2e-5)
            assert (final[b, len(taken):] == TAKEN).all()


def test_images_without_usable_boxes_and_more_slots_than_boxes():
    boxes, labels, scores, usable = case(1, 6)
    usable[0] = False
    index, final = run(SoftNMS("gaussian", limit=9), boxes, labels, scores, usable)
    assert (final[0] == TAKEN).all()
    assert (final[1] > 0).sum() == usable[1].sum()
    assert ((index >= 0) & (index < 6)).all()


def detections(seed: int, **options):
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 80, (2, 30, 2))
    proposals = np.concatenate([corners, corners + rng.uniform(8, 40, (2, 30, 2))], -1).astype(np.float32)
    logits = rng.normal(0, 2, (2, 30, 3)).astype(np.float32)
    arrays = (logits, rng.normal(0, 0.5, (2, 30, 3, 4)).astype(np.float32), proposals, rng.random((2, 30)) < 0.9,
              np.full((2, 2), 100, np.float32))
    cell = DetectionPostprocess(max_detections=12, candidates=40, **options)
    return [output.asnumpy() for output in cell(*map(Tensor, arrays), 101)]


def test_detections_are_lowered_instead_of_dropped():
    hard = detections(0)
    linear, gaussian = (detections(0, nms_method=method) for method in ("linear", "gaussian"))
    for boxes, labels, scores, valid, undecided in (linear, gaussian):
        assert [a.shape for a in (boxes, labels, scores, valid)] == [a.shape for a in hard[:4]]
        assert (np.diff(scores, axis=1) <= 0).all()
        assert (scores[valid] > 0.05).all()
        assert not boxes[~valid].any()
        assert not labels[~valid].any()
        assert not undecided.any()
        assert (scores[:, 0] == hard[2][:, 0]).all()  # the best one has met nobody
        assert valid.sum() >= hard[3].sum()
    assert not np.array_equal(linear[2], gaussian[2])


def test_hard_suppression_does_not_know_of_it():
    assert all(np.array_equal(a, b) for a, b in zip(detections(3), detections(3, nms_method="hard", nms_sigma=9.0)))
    assert DetectionPostprocess().soft is None


def test_keys_and_refusals():
    from src.maskrcnn.task import MaskRCNNTask

    c = parse(MaskRCNNConfig, ["--nms_method=linear", "--test_iou_thr=0.3"], program="eval.py",
              groups=("common", "eval"), presets=PRESETS)
    assert (c.nms_method, MaskRCNNConfig().nms_method, c.nms_sigma) == ("linear", "hard", 0.5)
    for flag, said in (("--nms_method=soft", "--nms_method='soft': input should be 'hard', 'linear' or 'gaussian'"),
                       ("--nms_sigma=0", "--nms_sigma=0: input should be greater than 0")):
        with pytest.raises(InputError, match=said):
            parse(MaskRCNNConfig, [flag], program="eval.py", groups=("common", "eval"), presets=PRESETS)
    task = MaskRCNNTask(build(MaskRCNNConfig, {"device_target": "CPU", "coco_classes": ("background", "a"),
                                               "norm": "group", "freeze_at": 0, "nms_method": "gaussian"}))
    with pytest.raises(InputError, match="nms_method=gaussian: .* export with --nms_method=hard"):
        task.export.cell(None)
