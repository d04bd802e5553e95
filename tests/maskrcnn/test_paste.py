"""From detections to instances: frames, pasting rules, run lengths."""
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from src.maskrcnn.paste import encode_region, mask_to_rle, paste, scale_boxes, to_instances

FULL, HALF = np.ones((28, 28), np.float32), np.ones((28, 28), np.float32)
HALF[:, 14:] = 0


def pasted(mask, box, size=(20, 30), **rule):
    rle = mask_to_rle(mask, np.array(box, np.float32), size, **rule)
    assert rle["size"] == list(size)
    assert isinstance(rle["counts"], str)
    return coco_mask.decode(rle)


def extent(mask):
    """(left, top, right, bottom) of a mask, half-open, or None where it is empty."""
    ys, xs = np.nonzero(mask)
    return (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) if len(xs) else None


@pytest.mark.parametrize(("rule", "expected"), [
    ({}, (4, 3, 12, 9)),
    ({"paste_pad": 0}, (4, 3, 13, 10)),
    ({"paste_pad": 1}, (3, 2, 13, 10)),
])
def test_rules_differ_at_the_box_edges(rule, expected):
    """The exact rule is half-open; the published ones round to whole pixels and count the one at the far corner."""
    assert extent(pasted(FULL, [4, 3, 12, 9], **rule)) == expected


def test_exact_paste_takes_the_pixels_whose_centres_lie_in_the_box():
    assert extent(pasted(FULL, [4.4, 3.6, 12.6, 9.4])) == (4, 4, 13, 9)
    assert extent(pasted(FULL, [4.4, 3.6, 4.45, 9.4])) is None
    assert extent(pasted(HALF, [0, 0, 20, 20])) == (0, 0, 10, 20)


@pytest.mark.parametrize("rule", [{}, {"paste_pad": 0}])
def test_boxes_at_the_border(rule):
    assert extent(pasted(FULL, [0, 0, 30, 20], **rule)) == (0, 0, 30, 20)
    assert extent(pasted(FULL, [25, 15, 30, 20], **rule)) == (25, 15, 30, 20)


@pytest.mark.parametrize(("rule", "rows"), [({}, 0), ({"paste_pad": 0}, 1), ({"paste_pad": 1}, 0)])
def test_box_without_area_in_the_far_corner(rule, rows):
    assert pasted(FULL, [30, 20, 30, 20], **rule).sum() == rows


def test_threshold_is_strict():
    assert extent(pasted(FULL * 0.5, [4, 3, 12, 9])) is None
    assert extent(pasted(FULL * 0.5, [4, 3, 12, 9], threshold=0.4)) == (4, 3, 12, 9)


def test_run_lengths_equal_those_of_the_full_mask():
    rng = np.random.default_rng(3)
    for _ in range(30):
        top, left, h, w = rng.integers(0, 5, 4)
        region = rng.random((h, w)) < 0.6
        full = np.zeros((8, 9), np.uint8)
        full[top:top + h, left:left + w] = region[:8 - top, :9 - left]
        rle = encode_region(region[:8 - top, :9 - left], top, left, (8, 9))
        expected = coco_mask.encode(np.asfortranarray(full))
        assert rle["counts"].encode() == expected["counts"]


def test_paste_stays_inside_the_box():
    region, top, left = paste(FULL, np.array([100, 200, 140, 260], np.float32), (1000, 1000))
    assert region.shape == (60, 40)
    assert (top, left) == (200, 100)


def test_boxes_return_to_the_original_frame():
    """Input 100 x 50 of an image of 200 x 150: y doubles, x triples; what hangs over is clipped."""
    boxes = scale_boxes(np.array([[1, 2, 10, 20], [40, 90, 60, 120]], np.float32), (100, 50), (200, 150))
    assert boxes.tolist() == [[3, 4, 30, 40], [120, 180, 150, 200]]
    assert boxes.dtype == np.float32


def detections(valid):
    n = len(valid)
    return (np.tile(np.array([0, 0, 10, 10], np.float32), (n, 1)), np.arange(1, n + 1), np.linspace(1, 0.5, n),
            np.array(valid), np.stack([FULL] * n))


def test_instances_hold_the_valid_slots_in_order():
    result = to_instances(17, detections([True, False, True]), image_size=(20, 30), original_size=(40, 60))
    assert result.image_id == 17
    assert result.labels.tolist() == [1, 3]
    assert result.scores.tolist() == [1, 0.5]
    assert result.boxes_image.tolist() == [[0, 0, 20, 20]] * 2
    assert [int(coco_mask.area(rle)) for rle in result.rles] == [400, 400]
    without = to_instances(17, detections([True]), image_size=(20, 30), original_size=(40, 60), with_masks=False)
    assert without.rles == []


def test_nothing_detected():
    result = to_instances(3, detections([False, False]), image_size=(20, 30), original_size=(40, 60))
    assert result.boxes_image.shape == (0, 4)
    assert result.labels.shape == (0,)
    assert result.rles == []
