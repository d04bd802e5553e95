"""Suppression by plain operators decides as the CPU's primitive does, or says of how many boxes it does not know."""
import src  # noqa: F401  isort: skip
import mindspore as ms
import mindspore.nn as nn
import numpy as np
import pytest
from mindspore import Tensor, ops

from src.maskrcnn import nms as suppression
from src.maskrcnn.nms import MAX_BOXES, class_offset, nms

FORMS = pytest.mark.parametrize("plain", [False, True])


def tensor(values):
    return Tensor(np.array(values, np.float32))


def run(boxes, threshold=0.5, **options):
    keep, undecided = nms(tensor(boxes), threshold, **options)
    assert not undecided.asnumpy().any()
    return keep.asnumpy()


@FORMS
def test_the_first_of_an_overlapping_group_stays_in_each_image(plain):
    a, near_a, far = [0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60]
    keep = run([[a, near_a, far, far], [far, a, far, near_a]], plain=plain)
    assert keep.tolist() == [[True, False, True, False], [True, True, False, False]]


@FORMS
def test_the_threshold_is_strict_and_a_dropped_box_drops_nobody(plain):
    boxes = [[[0, 0, 10, 10], [0, 0, 5, 10], [0, 0, 2, 10]]]
    assert run(boxes, 0.5, plain=plain).tolist() == [[True, True, True]]
    assert run(boxes, 0.45, plain=plain).tolist() == [[True, False, True]]


@FORMS
def test_boxes_of_different_labels_do_not_meet(plain):
    labels = Tensor(np.array([[1, 2, 1, 2]], np.int32))
    boxes = [[[0, 0, 10, 10], [0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60]]]
    assert run(boxes, plain=plain, labels=labels, span=60, num_labels=3).tolist() == [[True, True, False, True]]


@FORMS
def test_one_box(plain):
    assert run([[[0, 0, 10, 10]], [[0, 0, 0, 0]]], plain=plain).tolist() == [[True], [True]]


def test_classes_lie_in_separate_cells_of_a_square():
    shift = class_offset(Tensor(np.arange(91, dtype=np.int32)[None]), 91, 100.0).asnumpy()[0]
    assert shift[0].tolist() == [0, 0, 0, 0]
    assert shift[11].tolist() == [100, 100, 100, 100]
    assert len({tuple(row) for row in shift}) == 91
    assert shift.max() == 900


# --- many cases against the primitive ---------------------------------------------------------------------------------

COUNT, CASES = 32, 500  # boxes a case, cases a batch


def whole_pixels(rng, shape):
    """A small frame: equal boxes, and overlaps of exactly a half and other simple fractions."""
    corners = rng.integers(0, 12, (*shape, 2))
    return np.concatenate([corners, corners + rng.integers(0, 9, (*shape, 2))], -1)


def anywhere(rng, shape):
    corners = rng.uniform(0, 4000, (*shape, 2))
    return np.concatenate([corners, corners + np.exp(rng.uniform(0, 7, (*shape, 2)))], -1)


def crowded(rng, shape):
    corners = rng.normal(100, 4, (*shape, 2))
    return np.concatenate([corners, corners + rng.normal(40, 6, (*shape, 2))], -1)


def rows_of_anchors(rng, shape):
    """Every box overlaps its neighbours in a row; the order is that of the row, its reverse, or any."""
    step = rng.choice([2.0, 4.0, 5.0, 8.0], (shape[0], 1))
    place = np.arange(shape[1]) * step
    order = rng.integers(0, 3, (shape[0], 1))
    place = np.where(order == 0, place, np.where(order == 1, place[:, ::-1], rng.permuted(place, axis=1)))
    return np.stack([place, np.zeros(shape), place + 32, np.full(shape, 32.0)], -1)


def copies_and_empty_boxes(rng, shape):
    boxes = crowded(rng, shape)
    copied = np.take_along_axis(boxes, rng.integers(0, shape[1], shape)[..., None], 1)
    empty = copied.copy()
    empty[..., 2:] = empty[..., :2]
    which = rng.integers(0, 4, shape)[..., None]
    return np.select([which == 0, which == 1, which == 2], [boxes, copied, empty], 0.0)


def nested(rng, shape):
    side = np.sort(rng.uniform(1, 200, shape), 1)[:, ::rng.choice([-1, 1])]
    return np.stack([100 - side / 2, 100 - side / 2, 100 + side / 2, 100 + side / 2], -1)


class Plain(nn.Cell):
    def __init__(self, threshold):
        super().__init__()
        self.threshold = threshold

    def construct(self, boxes):
        return nms(boxes, self.threshold, plain=True)


@pytest.mark.slow
def test_ten_thousand_cases_are_decided_as_by_the_primitive(graph_mode):
    rng, differing, undecided = np.random.default_rng(0), [], 0
    makers = (whole_pixels, anywhere, crowded, rows_of_anchors, copies_and_empty_boxes, nested)
    ranks = np.linspace(COUNT, 1, COUNT, dtype=np.float32)[:, None]
    for threshold in (0.3, 0.5, 0.7):
        plain, primitive = Plain(threshold), ops.NMSWithMask(threshold)
        for maker in makers if threshold == 0.5 else makers * 2 if threshold == 0.7 else makers[:3]:
            boxes = maker(rng, (CASES, COUNT)).astype(np.float32)
            keep, open_ = (array.asnumpy() for array in plain(Tensor(boxes)))
            undecided += np.count_nonzero(open_)
            for case, kept in zip(boxes, keep):
                expected = primitive(Tensor(np.concatenate([case, ranks], 1)))[2].asnumpy()
                if not np.array_equal(kept, expected):
                    differing.append((maker.__name__, threshold, case[kept != expected]))
    assert differing == []
    assert undecided == 0


# --- chains -----------------------------------------------------------------------------------------------------------

def chain(count, step):
    """Boxes in a row, best first: each overlaps the next ones by more than 0.7, as many as fit."""
    left = np.arange(count) * step
    return np.stack([left, np.zeros(count), left + 32, np.full(count, 32)], -1).astype(np.float32)[None]


def test_a_chain_of_all_boxes_is_followed_to_its_end():
    keep = run(chain(MAX_BOXES, 4), 0.7, plain=True)
    assert keep[0].tolist() == [i % 2 == 0 for i in range(MAX_BOXES)]


def test_rows_of_equal_scores_are_decided():
    """What an empty part of an image gives: 1,200 anchors in the order of rows, columns and shapes."""
    y, x, ratio = (part.reshape(-1)[:1200] for part in np.mgrid[:4, :160, :3])
    half_width, half_height = 16 * np.sqrt([2, 1, 0.5])[ratio], 16 * np.sqrt([0.5, 1, 2])[ratio]
    boxes = np.stack([4 * x - half_width, 4 * y - half_height, 4 * x + half_width, 4 * y + half_height], -1)
    boxes = boxes.astype(np.float32)[None]
    np.testing.assert_array_equal(run(boxes, 0.7, plain=True), run(boxes, 0.7))


def test_what_is_not_decided_is_counted_and_not_kept():
    """Each box overlaps the next two, so that no chain of single boxes leads on."""
    boxes = chain(500, 2)
    keep, undecided = (array.asnumpy() for array in nms(Tensor(boxes), 0.7, plain=True))
    expected = run(boxes, 0.7)
    assert 300 < undecided[0] < 500
    assert not (keep & ~expected).any()
    assert keep.sum() == expected[0, :500 - undecided[0]].sum()


def test_images_do_not_mix():
    rng = np.random.default_rng(3)
    boxes = np.concatenate([chain(64, 4), crowded(rng, (1, 64)), np.zeros((1, 64, 4)), chain(64, 2)]).astype(np.float32)
    together = run(boxes, 0.7, plain=True)
    for image, keep in zip(boxes, together):
        np.testing.assert_array_equal(run(image[None], 0.7)[0], keep)


# --- on other devices -------------------------------------------------------------------------------------------------

def test_products_in_float16_change_nothing(monkeypatch):
    """Ascend 910 multiplies matrices in float16: zeros, ones, counts and digits of positions survive it.

    There are enough boxes for positions that float16 has not, and for a box that more than 2048 others suppress.
    """
    count, bmm = 2200, ops.bmm

    def in_float16(kept, beaten):
        return bmm(kept.astype(ms.float16).astype(ms.float32), beaten).astype(ms.float16).astype(ms.float32)

    same = np.tile(chain(1, 4), (1, count, 1))
    monkeypatch.setattr(suppression.ops, "bmm", in_float16)
    assert run(chain(count, 4), 0.7, plain=True)[0].tolist() == [i % 2 == 0 for i in range(count)]
    assert run(same, 0.7, plain=True)[0].tolist() == [True] + [False] * (count - 1)


@pytest.mark.parametrize("labelled", [False, True])
def test_the_graph_does_not_grow_with_the_boxes_and_stays_small(graph_mode, tmp_path, labelled):
    from src.exporting import graph, mindir

    class Labelled(nn.Cell):
        def construct(self, boxes, labels):
            return nms(boxes, 0.5, plain=True, labels=labels)

    names = []
    for count in (40, 300):
        inputs = np.zeros((2, count, 4), np.float32), np.zeros((2, count), np.int32)
        cell, inputs = (Labelled(), inputs) if labelled else (Plain(0.5), inputs[:1])
        mindir.write(cell, inputs, tmp_path / "nms.mindir", "MINDIR")
        names.append([operation.primitive for operation in graph.read(tmp_path / "nms.mindir").operations])
    assert names[0] == names[1]
    assert len(names[0]) <= 300
    assert not {"NMSWithMask", "IOU", "LessScalar"} & set(names[0])
