"""Box arithmetic with literal values, half-open and pixel-counting."""
import src  # noqa: F401  isort: skip
import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, ops

from src.maskrcnn import boxes as box_ops
from src.maskrcnn.matching import usable_boxes


def tensor(values):
    return Tensor(np.array(values, np.float32))


BOXES = tensor([[0, 0, 10, 10], [5, 5, 15, 15], [20, 20, 30, 40], [7, 7, 7, 7]])


FORMS = pytest.mark.parametrize("plain", [False, True])


@FORMS
def test_iou_of_half_open_boxes(plain):
    gt = tensor([[[0, 0, 10, 10]], [[20, 30, 30, 50]]])
    expected = [[[1, 25 / 175, 0, 0]], [[0, 0, 100 / 300, 0]]]
    np.testing.assert_allclose(box_ops.iou(BOXES, gt, plain=plain).asnumpy(), expected, atol=1e-6)


@FORMS
def test_iou_that_counts_pixels(plain):
    gt = tensor([[[0, 0, 10, 10]]])
    expected = [[[1, 36 / (2 * 121 - 36), 0, 1 / 121]]]
    np.testing.assert_allclose(box_ops.iou(BOXES, gt, box_offset=1, plain=plain).asnumpy(), expected, atol=1e-6)


@FORMS
def test_iou_by_image_never_compares_across_images(plain):
    boxes = tensor([[[0, 0, 10, 10], [0, 0, 5, 10]], [[0, 0, 10, 20], [90, 90, 91, 91]]])
    gt = tensor([[[0, 0, 10, 10], [0, 0, 2, 2], [50, 50, 60, 60]], [[0, 0, 10, 10], [90, 90, 92, 92], [0, 0, 1, 1]]])
    expected = [[[1, 0.5], [0.04, 0.08], [0, 0]], [[0.5, 0], [0, 0.25], [1 / 200, 0]]]
    np.testing.assert_allclose(box_ops.iou_by_image(boxes, gt, plain=plain).asnumpy(), expected, atol=1e-6)


@FORMS
def test_covered_is_a_share_of_the_box_not_of_the_region(plain):
    regions = tensor([[[0, 0, 100, 8], [0, 0, 1, 1]], [[25, 0, 100, 100], [25, 30, 30, 40]]])
    expected = [[0.8, 0.3, 0, 0], [0, 0, 0.5, 0]]
    shares = box_ops.intersection_over_area(BOXES, regions, plain=plain)
    np.testing.assert_allclose(shares.asnumpy(), expected, atol=1e-6)
    by_image = box_ops.share_by_image(ops.stack((BOXES, BOXES[::-1])), regions, plain=plain)
    np.testing.assert_allclose(by_image.asnumpy(), [expected[0], expected[1][::-1]], atol=1e-6)


@pytest.mark.parametrize("offset", [0, 1])
def test_both_forms_of_overlaps_agree(offset):
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 1200, (3, 400, 2))
    boxes = np.concatenate([corners, corners + np.exp(rng.uniform(0, 6, (3, 400, 2)))], -1).astype(np.float32)
    gt = usable_boxes(Tensor(boxes[:, :40].copy()), Tensor(rng.random((3, 40)) < 0.8))
    for function, first in ((box_ops.iou, boxes[0]), (box_ops.intersection_over_area, boxes[0]),
                            (box_ops.iou_by_image, boxes), (box_ops.share_by_image, boxes)):
        primitive, plain = (function(Tensor(first), gt, box_offset=offset, plain=plain).asnumpy()
                            for plain in (False, True))
        assert primitive.max() > 0.9
        np.testing.assert_allclose(plain, primitive, atol=2e-5, err_msg=function.__name__)


def test_encode():
    deltas = box_ops.encode(tensor([[0, 0, 10, 20]]), tensor([[5, 10, 25, 30]]), stds=(0.1, 0.1, 0.2, 0.2))
    np.testing.assert_allclose(deltas.asnumpy(), [[10, 5, 5 * np.log(2), 0]], rtol=1e-6)


def test_encode_that_counts_pixels():
    """Widths 10 and 20 pixels, centres (x1 + x2) / 2, as MindSpore's BoundingBoxEncode has it."""
    deltas = box_ops.encode(tensor([[0, 0, 9, 9]]), tensor([[0, 0, 19, 9]]), stds=(1, 1, 1, 1), box_offset=1)
    np.testing.assert_allclose(deltas.asnumpy(), [[0.5, 0, np.log(2), 0]], rtol=1e-6)


@pytest.mark.parametrize("offset", [0, 1])
def test_decode_is_the_inverse_of_encode(offset):
    boxes, targets = tensor([[3, 4, 33, 24], [0, 0, 100, 200]]), tensor([[10, 0, 20, 40], [50, 60, 55, 300]])
    stds = (0.1, 0.1, 0.2, 0.2)
    deltas = box_ops.encode(boxes, targets, stds=stds, box_offset=offset)
    decoded = box_ops.decode(deltas, boxes, stds=stds, box_offset=offset)
    np.testing.assert_allclose(decoded.asnumpy(), targets.asnumpy(), atol=1e-3)


@pytest.mark.parametrize(("rule", "width"), [("above", 10 * np.exp(-6)), ("both", 10 * 16 / 1000)])
def test_size_limits_of_decode(rule, width):
    deltas = tensor([[0, 0, -6, 6]])
    x1, y1, x2, y2 = box_ops.decode(deltas, tensor([[0, 0, 10, 10]]), stds=(1, 1, 1, 1), delta_clip=rule).asnumpy()[0]
    assert x2 - x1 == pytest.approx(width, rel=1e-3)
    assert y2 - y1 == pytest.approx(10 * 1000 / 16, rel=1e-5)


def test_clip_to_image_is_by_image_and_inclusive():
    boxes = tensor([[[-5, -5, 50, 60]], [[-5, 3, 50, 60]]])
    clipped = box_ops.clip_to_image(boxes, tensor([[40, 30], [100, 20]]))
    assert clipped.asnumpy().tolist() == [[[0, 0, 30, 40]], [[0, 3, 20, 60]]]


def test_large_enough_needs_both_sides():
    assert box_ops.large_enough(tensor([[0, 0, 2, 1], [0, 0, 2, 2]]), 2).asnumpy().tolist() == [False, True]


def test_area():
    assert box_ops.area(tensor([[1, 2, 4, 6]])).asnumpy().tolist() == [12]
    assert box_ops.area(tensor([[1, 2, 4, 6]]), 1).asnumpy().tolist() == [20]
    assert box_ops.area(tensor([[1, 2, 4, 6]])).dtype == ms.float32
