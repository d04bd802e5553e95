"""Mask targets against the full mask, and the head against the convolutions it stands for."""
import src  # noqa: F401  isort: skip
import cv2
import mindspore.nn as nn
import numpy as np
import pytest
from mindspore import Tensor, ops
from pycocotools import mask as coco_mask

from src.data.instance.target import mask_crop
from src.maskrcnn.mask_head import Deconv2x2, MaskHead, mask_targets, ungroup


def overlap(edges, count):
    """Share of pixel j (0..count) that lies in each interval between `edges`: (len(edges) - 1, count)."""
    before = np.clip(edges[:, None] - np.arange(count)[None], 0, 1)
    return before[1:] - before[:-1]


def share(mask, box, side):
    """(side, side): share of each cell of a grid over `box` that a full-size mask covers, by integration."""
    rows, columns = np.linspace(box[1], box[3], side + 1), np.linspace(box[0], box[2], side + 1)
    area = overlap(rows, mask.shape[0]) @ mask.astype(float) @ overlap(columns, mask.shape[1]).T
    return area / ((rows[1] - rows[0]) * (columns[1] - columns[0]))


def targets(crop, gt_box, box, size=28):
    arrays = (crop[None], np.array([gt_box]), np.array([box]))
    return mask_targets(*(Tensor(a.astype(np.float32)) for a in arrays), size).asnumpy()[0]


def test_target_of_the_own_box_is_the_crop():
    crop = np.array([[1, 0], [0.4, 0.6]])
    assert targets(crop, [10, 20, 30, 60], [10, 20, 30, 60], 2).tolist() == [[1, 0], [0, 1]]


def test_target_outside_the_object_is_empty_and_half_cells_count():
    """The RoI starts a whole cell left of the box and ends inside it; 2 x 2 cells of 10 pixels."""
    full = np.ones((4, 4))
    assert targets(full, [10, 0, 50, 40], [0, 0, 20, 20], 2).tolist() == [[0, 1], [0, 1]]
    assert targets(full, [14, 0, 54, 40], [0, 0, 20, 20], 2).tolist() == [[0, 1], [0, 1]]
    assert not targets(full, [16, 0, 56, 40], [0, 0, 20, 20], 2).any()
    assert not targets(full, [100, 0, 140, 40], [0, 0, 20, 20], 2).any()


def test_empty_ground_truth_slot_is_no_error():
    assert not targets(np.zeros((4, 4)), [0, 0, 0, 0], [0, 0, 20, 20]).any()


def ellipse(size, axes, angle):
    mask = np.zeros(size, np.uint8)
    cv2.ellipse(mask, (size[1] // 2, size[0] // 2), axes, angle, 0, 360, 1, -1)
    return mask


def star(size, radius):
    turn = np.linspace(0, 2 * np.pi, 17)[:-1]
    reach = np.where(np.arange(16) % 2, radius, radius * 0.5)
    points = np.stack([np.cos(turn) * reach + size[1] / 2, np.sin(turn) * reach + size[0] / 2], -1)
    return cv2.fillPoly(np.zeros(size, np.uint8), [points.round().astype(np.int32)], 1)


SHAPES = {
    "tiny": ellipse((60, 60), (3, 4), 0), "small": ellipse((60, 60), (10, 7), 30), "star": star((300, 300), 120),
    "large": ellipse((500, 700), (300, 200), 20), "wide": ellipse((200, 500), (200, 6), 0),
    "thin and slanting": ellipse((400, 400), (180, 9), 30), "largest": star((760, 1200), 370),
}


@pytest.mark.parametrize("name", [
    name if name in ("small", "large", "thin and slanting") else pytest.param(name, marks=pytest.mark.slow)
    for name in SHAPES])
def test_targets_from_crops_equal_targets_from_the_full_mask(name):
    mask = SHAPES[name]
    ys, xs = np.nonzero(mask)
    gt_box = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], float)
    rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))["counts"].decode()
    crop = mask_crop({"counts": rle}, mask.shape, gt_box, 112) / 255
    width, height = gt_box[2:] - gt_box[:2]
    rng = np.random.default_rng(2)
    inter = union = 0
    for shift in rng.uniform(-0.15, 0.15, (12, 4)):
        box = np.clip(gt_box + shift * [width, height, width, height], 0, None)
        expected = share(mask, box, 28) >= 0.5
        got = targets(crop, gt_box, box) > 0
        inter, union = inter + (expected & got).sum(), union + (expected | got).sum()
        assert (expected & got).sum() >= 0.95 * (expected | got).sum()
    assert union > 0
    assert inter >= 0.98 * union


def test_deconvolution_by_product_is_the_transposed_convolution():
    rng = np.random.default_rng(0)
    x = Tensor(rng.normal(size=(2, 3, 4, 5)).astype(np.float32))
    ours, theirs = Deconv2x2(3, 6), nn.Conv2dTranspose(3, 6, 2, stride=2, pad_mode="valid", has_bias=True)
    bias = Tensor(rng.normal(size=6).astype(np.float32))
    for cell in (ours, theirs):
        cell.bias.set_data(bias)
    theirs.weight.set_data(ours.weight)
    grouped = ours(x).asnumpy()
    got = np.stack([ungroup(Tensor(grouped[:, :, c]), 4, 5).asnumpy() for c in range(6)], 1)
    np.testing.assert_allclose(got, theirs(x).asnumpy(), atol=1e-5)


def test_mask_of_the_own_class_is_that_row_of_the_predictor():
    rng = np.random.default_rng(1)
    head = MaskHead(3, 4, channels=5, depth=1)
    head.predict.bias.set_data(Tensor(rng.normal(size=4).astype(np.float32)))
    x, labels = Tensor(rng.normal(size=(3, 3, 2, 2)).astype(np.float32)), np.array([2, 0, 2], np.int32)
    hidden = ops.relu(head.deconv(ops.relu(head.convs[0](x)))).asnumpy()
    weight, bias = head.predict.weight.asnumpy()[:, :, 0, 0], head.predict.bias.asnumpy()
    every = np.einsum("kc,npc->nkp", weight, hidden) + bias[:, None]
    expected = ungroup(Tensor(every[np.arange(3), labels]), 2, 2).asnumpy()
    np.testing.assert_allclose(head(x, Tensor(labels)).asnumpy(), expected, atol=1e-5)
