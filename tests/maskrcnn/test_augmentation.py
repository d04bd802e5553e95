"""From bytes to the input's columns: sizes, geometry, padding, what is dropped, masks through RoIs."""
import logging
from dataclasses import replace

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from src.contract import InputError
from src.data.instance.coco import CocoDataset
from src.data.instance.coco_layout import coco_layout
from src.data.instance.target import Category, decode_target, encode_categories, encode_instances, encode_target, to_rle
from src.maskrcnn import COLUMNS
from src.maskrcnn.augmentation import DEGENERATE, NO_MASK, TOO_MANY, TrainAugmentation, distorted
from src.maskrcnn.placed import Placed
from src.maskrcnn.placement import Placement
from src.maskrcnn.preprocess import Preprocess
from tests.tiny_seg import image, png

MEAN, STD = (100.0, 110.0, 120.0), (50.0, 60.0, 70.0)
PLAIN = {"flip_ratio": 0.0, "photo_ratio": 0.0, "expand_ratio": 0.0}
CLASSES = encode_categories((Category(1, 5, "a"), Category(2, 9, "b")))


def preprocess(*size: int, **options) -> Preprocess:
    return Preprocess(size or (64, 96), MEAN, STD, **options)


def instance(box: list[float], label: int = 1, **changes) -> dict:
    x, y, w, h = box
    return {"id": 1, "label": label, "category_id": 5, "bbox": box, "area": w * h, "iscrowd": 0,
            "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]]} | changes


def columns(augmentation: TrainAugmentation, size: tuple[int, int], *instances: dict,
            seed: int = 0) -> dict[str, np.ndarray]:
    target = encode_target(1, size, CLASSES, encode_instances(instances))
    values = augmentation(png(image(3, *size)), target, np.random.default_rng(seed))
    return dict(zip(COLUMNS[:-2], values, strict=True))


@pytest.mark.parametrize(("size", "expected"), [
    ((480, 640), (768, 1024)), ((427, 640), (768, 1151)), ((375, 500), (768, 1024)), ((200, 1000), (256, 1280)),
    ((1536, 2560), (768, 1280)), ((640, 480), (768, 576)), ((640, 427), (768, 512)), ((1000, 100), (768, 77)),
    ((500, 500), (768, 768)), ((1, 3000), (1, 1280))])
def test_sizes_on_the_published_canvas(size, expected):
    """Portrait images: 1280 / 640, then 768 / 1280, each rounded half up."""
    assert preprocess(768, 1280).fitted(size) == expected
    assert preprocess(768, 1280).canvas(size) == (768, 1280)


@pytest.mark.parametrize(("size", "expected", "canvas"), [
    ((480, 640), (800, 1066), (800, 1344)), ((427, 640), (800, 1199), (800, 1344)),
    ((640, 427), (1199, 800), (1344, 800)), ((200, 1000), (266, 1333), (800, 1344)),
    ((500, 500), (800, 800), (800, 1344))])
def test_sizes_by_the_short_side(size, expected, canvas):
    rule = preprocess(800, 1333, rule="short_side", rounding="floor")
    assert rule.fitted(size) == expected
    assert rule.canvas(size) == canvas


def test_without_keeping_the_ratio_the_canvas_is_filled():
    pixels, size = preprocess(keep_ratio=False).prepare(np.full((20, 20, 3), 7, np.uint8))
    assert size == (64, 96)
    assert pixels.shape == (3, 64, 96)
    assert (pixels != 0).all()


def test_prepared_input_literal():
    """A uniform image of 2 x 2 on a canvas of 64 x 96: 64 x 64 of image, the rest padding."""
    pixels, size = preprocess().prepare(np.full((2, 2, 3), (150, 50, 190), np.uint8))
    assert size == (64, 64)
    assert pixels.dtype == np.float32
    np.testing.assert_allclose(pixels[:, :, :64], np.broadcast_to([[[1.0]], [[-1.0]], [[1.0]]], (3, 64, 64)))
    assert (pixels[:, :, 64:] == 0).all()


def test_channel_order_and_black_padding():
    swapped, _ = preprocess(colour_order="BGR", pad_before_normalise=True).prepare(np.full((2, 2, 3), (150, 50, 190),
                                                                                      np.uint8))
    np.testing.assert_allclose(swapped[:, 5, 5], [90 / 50, -1.0, 30 / 70], rtol=1e-6)
    np.testing.assert_allclose(swapped[:, 5, 80], [-2, -110 / 60, -120 / 70], rtol=1e-6)


def test_columns_without_augmentation_are_the_prepared_input():
    got = columns(TrainAugmentation(preprocess(), 3, max_instances=3, mask_side=4, **PLAIN), (32, 40),
                  instance([4, 6, 8, 10], 2), instance([0, 0, 40, 32]))
    expected, size = preprocess().prepare(image(3, 32, 40))
    np.testing.assert_array_equal(got["image"], expected)
    assert got["image_size"].tolist() == list(size) == [64, 80]
    assert got["image_size"].dtype == np.float32
    assert got["gt_boxes"].tolist() == [[8, 12, 24, 32], [0, 0, 80, 64], [0, 0, 0, 0]]
    assert got["gt_labels"].tolist() == [2, 1, 0]
    assert got["gt_labels"].dtype == np.int32
    assert got["gt_valid"].tolist() == got["gt_has_mask"].tolist() == [True, True, False]
    assert got["gt_ignore"].tolist() == [False] * 3
    assert got["gt_ignore"].dtype == bool
    assert got["gt_masks"].shape == (3, 4, 4)
    assert got["gt_masks"].dtype == np.uint8
    assert (got["gt_masks"][:2] == 255).all()
    assert not got["gt_masks"][2].any()


def test_mirroring_keeps_the_image_at_the_left_border():
    triangle = instance([4, 6, 8, 8], segmentation=[[4, 6, 12, 6, 4, 14]])
    plain, mirrored = (columns(TrainAugmentation(preprocess(), 3, max_instances=2, mask_side=8,
                                                 **PLAIN | {"flip_ratio": f}),
                               (32, 40), triangle) for f in (0.0, 1.0))
    np.testing.assert_array_equal(mirrored["image"][:, :, :80], plain["image"][:, :, :80][:, :, ::-1])
    assert (mirrored["image"][:, :, 80:] == 0).all()
    assert plain["gt_boxes"][0].tolist() == [8, 12, 24, 28]
    assert mirrored["gt_boxes"][0].tolist() == [56, 12, 72, 28]
    np.testing.assert_array_equal(mirrored["gt_masks"][0], plain["gt_masks"][0][:, ::-1])
    assert plain["gt_masks"][0, 0, 0] == 255
    assert plain["gt_masks"][0, 0, 7] < 255
    assert plain["gt_masks"][0, 7, 7] == 0


def test_expanded_images_carry_their_boxes_along():
    """A bright box on black is where its box says, wherever expansion and mirroring put it."""
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[10:30, 20:50] = 255
    target = encode_target(1, (40, 60), CLASSES, encode_instances([instance([20, 10, 30, 20])]))
    augmentation = TrainAugmentation(preprocess(128, 192, pad_before_normalise=True), 3, max_instances=1, mask_side=4,
                               photo_ratio=0)
    areas = []
    for seed in range(20):
        got = dict(zip(COLUMNS, augmentation(png(pixels), target, np.random.default_rng(seed))))
        ys, xs = np.nonzero(got["image"][0] > 0.5)
        np.testing.assert_allclose(got["gt_boxes"][0], [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], atol=1.01)
        assert (got["image_size"] <= [128, 192]).all()
        areas.append(len(xs))
    assert max(areas) > 60 * 90
    assert min(areas) < max(areas) / 4


def test_expansion_happens_to_every_second_image_of_its_share():
    augmentation = TrainAugmentation(preprocess(), 3, expand_ratio=1.0, flip_ratio=0.25)
    placements = [augmentation.placement((64, 96), np.random.default_rng(k)) for k in range(2000)]
    expanded = [p for p in placements if p.size != (64, 96)]
    assert 900 < len(expanded) < 1100
    assert 400 < sum(p.flip for p in placements) < 600
    assert min(p.size[0] for p in expanded) in (16, 17)
    assert max(p.top for p in expanded) > 40
    assert all(p.top + p.size[0] <= p.region[0] and p.left + p.size[1] <= p.region[1] for p in placements)


def test_portrait_image_in_training_by_the_short_side():
    """It has to share the landscape canvas: 1199 x 800 becomes 800 x 534."""
    augmentation = TrainAugmentation(preprocess(800, 1333, rule="short_side", rounding="floor"), 3, **PLAIN)
    assert augmentation.placement((640, 427), np.random.default_rng(0)).region == (800, 534)


def test_no_objects():
    got = columns(TrainAugmentation(preprocess(), 3, max_instances=4, mask_side=4), (50, 30))
    assert not got["gt_valid"].any()
    assert not got["gt_boxes"].any()
    assert got["gt_masks"].shape == (4, 4, 4)


def test_crowds_are_ignored_regions_without_masks():
    got = columns(TrainAugmentation(preprocess(), 3, max_instances=3, mask_side=4, **PLAIN), (32, 40),
                  instance([4, 6, 8, 10], 2, iscrowd=1), instance([1, 1, 9, 9]))
    assert got["gt_valid"].tolist() == [True, True, False]
    assert got["gt_ignore"].tolist() == [True, False, False]
    assert got["gt_has_mask"].tolist() == [False, True, False]
    assert got["gt_labels"].tolist() == [2, 1, 0]


def test_too_many_objects_keep_the_largest_and_crowds_last(caplog):
    augmentation = TrainAugmentation(preprocess(), 3, max_instances=2, mask_side=4, **PLAIN)
    got = columns(augmentation, (32, 40), instance([0, 0, 40, 32], iscrowd=1), instance([0, 0, 3, 3]),
                  instance([0, 0, 9, 9]), instance([0, 0, 5, 5], 2))
    assert got["gt_labels"].tolist() == [1, 2]
    assert got["gt_boxes"][:, 2].tolist() == [18, 10]
    assert augmentation.dropped.counts == {TOO_MANY: 2}
    assert "2 instances so far dropped: their images have more than max_instance_count" in caplog.text


def test_degenerate_boxes_are_dropped_and_counted(caplog):
    caplog.set_level(logging.WARNING)
    augmentation = TrainAugmentation(preprocess(), 3, max_instances=4, mask_side=4, **PLAIN)
    got = columns(augmentation, (32, 40), instance([5, 5, 0, 9]), instance([5, 5, 9, 0.4]), instance([1, 1, 0.5, 0.5]))
    assert got["gt_valid"].tolist() == [True, False, False, False]
    assert got["gt_boxes"][0].tolist() == [2, 2, 3, 3]
    assert augmentation.dropped.counts == {DEGENERATE: 2}
    for _ in range(3):
        columns(augmentation, (32, 40), instance([5, 5, 0, 9]))
    assert augmentation.dropped.counts == {DEGENERATE: 5}
    assert caplog.text.count("input pixel") == 1
    columns(augmentation, (32, 40), *[instance([5, 5, 0, 9])] * 5)
    assert caplog.text.count("input pixel") == 2  # at the first and at the tenth


def test_instances_without_masks_train_the_boxes_and_it_is_said_once(caplog):
    bare = {key: value for key, value in instance([4, 6, 8, 10]).items() if key != "segmentation"}
    augmentation = TrainAugmentation(preprocess(), 3, max_instances=2, mask_side=4, **PLAIN)
    for _ in range(12):
        got = columns(augmentation, (32, 40), bare)
    assert got["gt_valid"].tolist() == [True, False]
    assert not got["gt_has_mask"].any()
    assert [record.getMessage() for record in caplog.records] == [
        "the data has objects without a mask: they train the boxes, not the masks"]


def test_a_mask_that_misses_its_box_is_no_mask():
    augmentation = TrainAugmentation(preprocess(), 3, max_instances=2, mask_side=4, **PLAIN)
    got = columns(augmentation, (32, 40), instance([4, 6, 8, 10], segmentation=[[30, 20, 39, 20, 39, 30, 30, 30]]))
    assert got["gt_valid"].tolist() == [True, False]
    assert not got["gt_has_mask"].any()
    assert augmentation.dropped.counts == {NO_MASK: 1}


def test_augmentation_follows_the_generator_alone():
    augmentation = TrainAugmentation(preprocess(), 3, max_instances=2, mask_side=4)
    first, again, other = (columns(augmentation, (32, 40), instance([4, 6, 8, 10]), seed=s) for s in (5, 5, 6))
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
    assert (first["image"] != other["image"]).any()


def test_data_that_does_not_fit_is_named():
    with pytest.raises(InputError, match="3 classes with background, num_classes=81; set --num_classes=3"):
        columns(TrainAugmentation(preprocess(), 81), (32, 40))
    target = encode_target(1, (32, 41), CLASSES, "[]")
    with pytest.raises(InputError, match=r"the image is \(32, 40\), its annotation says \(32, 41\)"):
        TrainAugmentation(preprocess(), 3)(png(image(3, 32, 40)), target, np.random.default_rng(0))


def test_photometric_distortion():
    gray = np.full((4, 4, 3), 100, np.uint8)
    results = [distorted(gray, np.random.default_rng(k)) for k in range(300)]
    means = [r.mean() for r in results]
    assert len(set(means)) > 60
    assert min(means) < 60
    assert max(means) > 150
    assert all((r == r[0, 0]).all() and r.dtype == np.uint8 for r in results)  # uniform stays uniform
    red = np.full((4, 4, 3), (200, 30, 30), np.uint8)
    colours = [distorted(red, np.random.default_rng(k))[0, 0] for k in range(300)]
    assert {int(np.argmax(c)) for c in colours} == {0, 1, 2}
    assert (gray == 100).all()
    pure = sum(int(c[0]) + int(c[1]) + int(c[2]) - int(c.max()) == 2 * int(c.min()) for c in colours)
    assert 100 < pure < 200  # the hue is turned in every second image, past the colour circle's ends too


def test_placement_literal():
    placement = Placement((20, 30), 5, 7, (40, 60), flip=False)
    assert placement.boxes(np.array([[0, 0, 60, 40], [6, 4, 12, 8]], np.float32), (40, 60)).tolist() == [
        [7, 5, 37, 25], [10, 7, 13, 9]]


def full_share(mask: np.ndarray, box: np.ndarray, cells: int) -> np.ndarray:
    """Share of each cell of `box` that the full-size mask covers, by summing over a fine grid of points."""
    fine = 9
    points = (np.arange(cells * fine) + 0.5) / (cells * fine)
    rows = np.floor(box[1] + points * (box[3] - box[1])).astype(int)
    columns = np.floor(box[0] + points * (box[2] - box[0])).astype(int)
    inside = (rows >= 0) & (rows < mask.shape[0]), (columns >= 0) & (columns < mask.shape[1])
    samples = mask[np.clip(rows, 0, mask.shape[0] - 1)][:, np.clip(columns, 0, mask.shape[1] - 1)]
    samples = samples * inside[0][:, None] * inside[1][None]
    return samples.reshape(cells, fine, cells, fine).mean((1, 3))


def kind_of(box: np.ndarray) -> str:
    width, height = box[2:] - box[:2]
    if max(width, height) > 4 * min(width, height):
        return "thin"
    return "small" if width * height < 32 ** 2 else "large"


def test_mask_targets_from_crops_equal_those_from_the_full_masks(shared):
    """Real objects, through expansion, resize and mirroring, seen by shifted RoIs: IoU 0.98 and more at every size."""
    from mindspore import Tensor

    from src.maskrcnn.mask_head import mask_targets

    dataset = CocoDataset(*coco_layout(shared / "data/coco_open", "val2017", "annotations/instances_{}.json"))
    augmentation, rng = TrainAugmentation(preprocess(384, 640), 81, max_instances=1), np.random.default_rng(4)
    crops, boxes, rois, expected, kinds = [], [], [], [], []
    for record in dataset.rows(range(0, 66, 6)):
        target = decode_target(record.target)
        placement = augmentation.placement(target.size, rng)
        for one, own in zip(target.instances, target.boxes_image):
            gt_boxes, _, _, _, gt_masks, has_mask = augmentation.truth(
                Placed(replace(target, instances=[one]), placement))
            if not has_mask[0]:
                continue
            roi = gt_boxes[0] + rng.uniform(-0.15, 0.15, 4) * np.tile(gt_boxes[0, 2:] - gt_boxes[0, :2], 2)
            back = roi.copy()  # where the RoI lies in the original image
            if placement.flip:
                back[[0, 2]] = placement.region[1] - roi[[2, 0]]
            back = (back - [placement.left, placement.top] * 2) * (target.size[::-1] * 2) / (placement.size[::-1] * 2)
            share = full_share(coco_mask.decode(to_rle(one["segmentation"], target.size)), back, 28)
            expected.append((share[:, ::-1] if placement.flip else share) >= 0.5)
            crops.append(gt_masks[0] / np.float32(255))
            boxes.append(gt_boxes[0])
            rois.append(roi.astype(np.float32))
            kinds.append(kind_of(own))
    got = mask_targets(*(Tensor(np.stack(v).astype(np.float32)) for v in (crops, boxes, rois)), 28).asnumpy() > 0
    for kind in ("small", "large", "thin"):
        ours, theirs = (np.stack(v)[np.array(kinds) == kind] for v in (got, expected))
        assert len(ours) > 5, kind
        assert (ours & theirs).sum() >= 0.98 * (ours | theirs).sum(), kind
