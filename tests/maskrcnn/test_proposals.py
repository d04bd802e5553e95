"""Proposals and detections from small literal predictions."""
import src  # noqa: F401  isort: skip
import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, ops

from src.maskrcnn.nms import nms
from src.maskrcnn.proposals import DetectionPostprocess, ProposalGenerator

ANCHORS = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30], [50, 50, 90, 90], [0, 0, 10, 10]], np.float32)
SIZE = np.array([[60, 80]], np.float32)


def propose(logits, deltas=None, **options):
    """The first four anchors are one level, the last is another."""
    deltas = np.zeros((1, 5, 4), np.float32) if deltas is None else deltas
    logits = np.array([logits], np.float32)
    options = {"before_nms": 4, "after_nms": 4} | options
    boxes, valid, _ = ProposalGenerator(**options)((Tensor(logits[:, :4]), Tensor(logits[:, 4:])),
                                        (Tensor(deltas[:, :4]), Tensor(deltas[:, 4:])), Tensor(ANCHORS), Tensor(SIZE))
    return boxes.asnumpy()[0][valid.asnumpy()[0]].tolist()


def test_best_first_clipped_and_suppressed_within_their_level_only():
    """Anchor 1 falls to anchor 0 of its level; the equal anchor 4 of the other level stays."""
    boxes = propose([3, 2, -1, 0.5, 4])
    assert boxes == [[0, 0, 10, 10], [0, 0, 10, 10], [50, 50, 80, 60], [20, 20, 30, 30]]


def test_limits_before_and_after_suppression():
    assert propose([3, 2, -1, 0.5, 4], before_nms=2) == [[0, 0, 10, 10], [0, 0, 10, 10]]
    assert propose([3, 2, -1, 0.5, -4], after_nms=2) == [[0, 0, 10, 10], [50, 50, 80, 60]]


def test_a_box_that_is_too_small_is_dropped_before_it_suppresses():
    deltas = np.zeros((1, 5, 4), np.float32)
    deltas[0, 0] = [-3, 0, 0, 0]  # moved out of the image: clipped to width 0
    assert propose([3, 2, -1, 0.5, -4], deltas, min_size=1e-3)[0] == [1, 0, 11, 10]


def test_no_more_boxes_than_the_primitive_takes():
    with pytest.raises(ValueError, match="2864"):
        ProposalGenerator(before_nms=3000, after_nms=10)


def detect(probabilities, deltas=None, valid=None, **options):
    probabilities = np.array([probabilities], np.float32)
    b, p, k = probabilities.shape
    deltas = np.zeros((b, p, k, 4), np.float32) if deltas is None else deltas
    valid = np.ones((b, p), bool) if valid is None else np.array([valid])
    options = {"max_detections": 5, "candidates": 6, "stds": (1, 1, 1, 1)} | options
    out = DetectionPostprocess(**options)(Tensor(np.log(probabilities)), Tensor(deltas), Tensor(ANCHORS[None, :p]),
                                Tensor(valid), Tensor(SIZE), 81)
    boxes, labels, scores, shown = (array.asnumpy()[0] for array in out[:4])
    assert not boxes[~shown].any()
    assert not labels[~shown].any()
    assert not scores[~shown].any()
    return boxes[shown].tolist(), labels[shown].tolist(), [round(float(score), 3) for score in scores[shown]]


def test_suppression_is_by_class_and_the_threshold_strict():
    """Boxes 0 and 1 overlap: of class 1 the better stays, class 2 of box 1 is untouched. Background never shows."""
    boxes, labels, scores = detect([[0.1, 0.9, 0.0001], [0.1, 0.5, 0.4], [0.93, 0.06, 0.01]])
    assert boxes == [[0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30]]
    assert labels == [1, 2, 1]
    assert scores == [0.9, 0.4, 0.06]
    assert detect([[0.5, 0.4, 0.1]], score_threshold=0.4)[1] == []


def test_every_class_has_its_own_deltas():
    deltas = np.zeros((1, 1, 3, 4), np.float32)
    deltas[0, 0, 2] = [1, 0, 0, 0]
    boxes, labels, _ = detect([[0.2, 0.5, 0.3]], deltas)
    assert boxes == [[0, 0, 10, 10], [10, 0, 20, 10]]
    assert labels == [1, 2]


def test_empty_slots_of_proposals_and_small_boxes_do_not_show():
    deltas = np.zeros((1, 2, 2, 4), np.float32)
    deltas[0, 1] = [-3, 0, 0, 0]
    assert detect([[0.1, 0.9], [0.1, 0.9]], deltas, [False, True], min_size=1e-2)[1] == []


def test_best_of_the_image_only():
    _, labels, scores = detect([[0.1, 0.2, 0.7], [0.1, 0.2, 0.7], [0.4, 0.5, 0.1]], max_detections=2)
    assert labels == [2, 1]
    assert scores == [0.7, 0.5]


def test_two_classes_in_all_and_a_single_proposal():
    assert detect([[0.25, 0.75]]) == ([[0, 0, 10, 10]], [1], [0.75])


# --- other forms and other devices ------------------------------------------------------------------------------------

def scene(seed=0, anchors=3000):
    """Predictions on 3,000 anchors of three levels, and of 200 proposals in 9 classes."""
    rng = np.random.default_rng(seed)
    counts = (2000, 800, 200)
    corners = rng.uniform(-20, 1300, (anchors, 2))
    boxes = np.concatenate([corners, corners + np.exp(rng.uniform(2, 6, (anchors, 2)))], -1).astype(np.float32)
    logits = rng.normal(-2, 3, (2, anchors)).astype(np.float32)
    deltas = rng.normal(0, 0.3, (2, anchors, 4)).astype(np.float32)
    cuts = np.cumsum(counts)[:-1]
    levels = tuple(tuple(Tensor(part) for part in np.split(array, cuts, 1)) for array in (logits, deltas))
    return (*levels, Tensor(boxes), Tensor(np.array([[768, 1280], [700, 1100]], np.float32)))


def classified(seed=0, proposals=200, classes=9):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2.5, (2, proposals, classes)).astype(np.float32)
    deltas = rng.normal(0, 0.5, (2, proposals, classes, 4)).astype(np.float32)
    corners = rng.uniform(0, 1100, (2, proposals, 2))
    boxes = np.concatenate([corners, corners + np.exp(rng.uniform(2, 6, (2, proposals, 2)))], -1).astype(np.float32)
    return (*map(Tensor, (logits, deltas, boxes, np.ones((2, proposals), bool),
                          np.array([[768, 1280], [700, 1100]], np.float32))), 1281)


def arrays(cell, inputs):
    return [output.asnumpy() for output in cell(*inputs)]


PROPOSE = {"before_nms": 1000, "after_nms": 500, "min_size": 1e-3}
DETECT = {"max_detections": 100, "candidates": 500, "min_size": 1e-2}


def test_the_plain_form_proposes_and_detects_the_same():
    """The levels, of unlike length, are one batch there; classes are told apart by label, not by place."""
    for a, b in zip(*(arrays(ProposalGenerator(**PROPOSE, plain=plain), scene()) for plain in (False, True))):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(*(arrays(DetectionPostprocess(**DETECT, plain=plain), classified()) for plain in (False, True))):
        np.testing.assert_array_equal(a, b)


@pytest.fixture
def float16_topk(monkeypatch):
    """TopK as it is on Ascend 910: keys and values in float16, where -1e8 would come back as -65504."""
    topk = ops.topk

    def rounded(x, k):
        values, index = topk(ops.clamp(x, -65504.0, 65504.0).astype(ms.float16).astype(ms.float32), k)
        return values, index

    monkeypatch.setattr("src.maskrcnn.proposals.ops.topk", rounded)


def test_float16_ranks_keep_nearly_all_proposals_and_show_none_that_was_dropped(float16_topk, monkeypatch):
    few = PROPOSE | {"before_nms": 150, "after_nms": 450, "nms_iou": 0.3}
    boxes, valid, _ = arrays(ProposalGenerator(**few, plain=True), scene())
    monkeypatch.undo()
    exact_boxes, exact_valid, _ = arrays(ProposalGenerator(**few), scene())
    assert not valid.all()  # some slots hold what was suppressed
    for i in range(2):
        found, expected = ({tuple(box) for box in b[i][v[i]].tolist()} for b, v in ((boxes, valid),
                                                                                    (exact_boxes, exact_valid)))
        assert len(found & expected) > 0.97 * len(expected)
        assert abs(len(found) - len(expected)) <= 5


def test_float16_ranks_leave_scores_and_boxes_of_detections_exact(float16_topk, monkeypatch):
    found = arrays(DetectionPostprocess(**DETECT, plain=True), classified())[:4]
    monkeypatch.undo()
    expected = arrays(DetectionPostprocess(**DETECT), classified())[:4]
    for i in range(2):
        ours, theirs = ({(label, float(score), *box) for box, label, score, valid in zip(
            boxes[i].tolist(), labels[i].tolist(), scores[i].tolist(), valid[i]) if valid}
            for boxes, labels, scores, valid in (found, expected))
        assert len(ours) == len(theirs) == 100
        assert len(ours & theirs) >= 98
        assert (np.diff(found[2][i]) <= 2 ** -11).all()  # best first, to what float16 tells apart


def test_small_boxes_far_out_are_suppressed_as_near_the_corner():
    """On 910 and 310P the primitive computes in float16: 16 px boxes at 11,500 px would fall onto steps of 8 px."""
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 60, (1, 200, 2)).astype(np.float32)
    boxes = np.concatenate([corners, corners + 16], -1)
    keep = [nms(Tensor(boxes + shift), 0.5, plain=True)[0].asnumpy() for shift in (np.float32(0), np.float32(11_500))]
    np.testing.assert_array_equal(*keep)
    rounded = (boxes + 11_500).astype(np.float16).astype(np.float32)
    in_float16 = nms(Tensor(rounded), 0.5)[0].asnumpy()
    assert (in_float16 != keep[0]).mean() > 0.05
