"""Turned, scaled, cut and mirrored images: boxes and masks against literal values and against whole canvases."""
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from src.data.instance.target import Category, Target
from src.maskrcnn.augmentation import TrainAugmentation
from src.maskrcnn.placed import Placed
from src.maskrcnn.placement import Placement, turned_boxes
from src.maskrcnn.preprocess import Preprocess

CATEGORIES = (Category(1, 1, "thing"),)


def instance(mask: np.ndarray, **changes) -> dict:
    rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {"id": 1, "label": 1, "category_id": 1, "bbox": coco_mask.toBbox(rle).tolist(), "area": int(mask.sum()),
            "iscrowd": 0, "segmentation": {"size": list(mask.shape), "counts": rle["counts"].decode()}} | changes


def target(*masks: np.ndarray) -> Target:
    return Target(1, masks[0].shape, CATEGORIES, [instance(mask) for mask in masks])


def corner() -> np.ndarray:
    """32 x 48 pixels: the left column and the bottom row of the box 10..30, 5..25."""
    mask = np.zeros((32, 48), bool)
    mask[5:25, 10:12] = mask[23:25, 10:30] = True
    return mask


def test_a_window_cuts_boxes_and_masks():
    """At scale 4 the object covers 40..120, 20..100; the window begins at column 100 and row 10."""
    placed = Placed(target(corner()), Placement((128, 192), -10, -100, (64, 92), flip=False))
    assert not placed.seen[0]  # the window ends at row 74, above the bottom row; the left column is outside
    placed = Placed(target(corner()), Placement((128, 192), -60, -100, (64, 92), flip=False))
    assert placed.boxes.tolist() == [[0, 32, 20, 40]]  # the box of what is seen, not that of the object
    assert placed.crop(0, 2).tolist() == [[255, 255], [255, 255]]
    mirrored = Placed(target(corner()), Placement((128, 192), -60, -100, (64, 92), flip=True))
    assert mirrored.final_boxes().tolist() == [[72, 32, 92, 40]]


def test_quarter_turns_literal():
    image = np.arange(6).reshape(2, 3)
    assert np.rot90(image).tolist() == [[2, 5], [1, 4], [0, 3]]
    boxes = np.array([[2, 0, 3, 1]])  # the pixel 2, top right: it moves to the top left, then bottom left, bottom right
    assert [turned_boxes(boxes, (2, 3), turns)[0].tolist() for turns in range(4)] == [
        [2, 0, 3, 1], [0, 0, 1, 1], [0, 1, 1, 2], [1, 2, 2, 3]]
    assert turned_boxes(turned_boxes(boxes, (2, 3), 1), (3, 2), -1).tolist() == boxes.tolist()


def on_canvas(mask: np.ndarray, placement: Placement, canvas: tuple[int, int]) -> np.ndarray:
    """The mask on a whole canvas, pixel by pixel: what lies under each pixel's centre."""
    mask, out = np.rot90(mask, placement.turns), np.zeros(canvas, bool)
    for y in range(placement.region[0]):
        for x in range(placement.region[1]):
            row = int(np.floor((y + 0.5 - placement.top) * mask.shape[0] / placement.size[0]))
            column = int(np.floor((x + 0.5 - placement.left) * mask.shape[1] / placement.size[1]))
            if 0 <= row < mask.shape[0] and 0 <= column < mask.shape[1]:
                out[y, x] = mask[row, column]
    if placement.flip:
        out[:, :placement.region[1]] = out[:, :placement.region[1]][:, ::-1]
    return out


def blob(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """An ellipse with a hole."""
    y, x = np.mgrid[:size[0], :size[1]] + 0.5
    centre, radius = rng.uniform(0.2, 0.8, 2) * size, rng.uniform(4, 14, 2)
    distance = np.hypot((y - centre[0]) / radius[0], (x - centre[1]) / radius[1])
    return (distance < 1) & (distance > 0.4)


@pytest.mark.parametrize("seed", range(12))
def test_boxes_and_masks_equal_those_of_a_whole_canvas(seed):
    rng = np.random.default_rng(seed)
    augmentation = TrainAugmentation(Preprocess((64, 96), (0.0,) * 3, (1.0,) * 3), 2, scale_limits=(0.3, 2.5),
                                     rotate_ratio=0.7, expand_ratio=0.5, crop_size=(64, 64) if seed % 3 else None)
    size = (40, 56) if seed % 2 else (50, 30)
    masks = [blob(rng, size) for _ in range(3)]
    placement = augmentation.placement(size, rng)
    placed = Placed(target(*masks), placement)
    for k, (mask, box) in enumerate(zip(masks, placed.final_boxes())):
        whole = on_canvas(mask, placement, augmentation.canvas)
        if not placed.seen[k]:
            assert whole.sum() < 40
            continue
        found = np.zeros_like(whole)
        pixels = placed.pixels(k)
        pixels.on(found)[:] = pixels.mask
        np.testing.assert_array_equal(found, whole)
        rows, columns = np.flatnonzero(whole.any(1)), np.flatnonzero(whole.any(0))
        step = max(placement.size[0] / size[0], placement.size[1] / size[1], 1)  # a pixel of the image
        seen = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        assert ((box - seen) * (1, 1, -1, -1) <= step / 2).all()  # it holds every pixel that is seen
        if not placement.cuts:  # half a row of pixels more, and an ellipse is seen much wider
            np.testing.assert_allclose(box, seen, atol=step)
        crop = placed.crop(k, 28) / 255
        area = crop.mean() * np.prod(box[2:] - box[:2])
        assert area == pytest.approx(whole.sum(), rel=0.12, abs=6)
        x, y = ((np.arange(28) + 0.5) / 28 * (box[i + 2] - box[i]) + box[i] for i in (0, 1))
        there = whole[np.minimum(y.astype(int), 63)[:, None], np.minimum(x.astype(int), whole.shape[1] - 1)]
        sure = abs(crop - 0.5) > 0.49
        if step > 1:  # else the canvas is coarser than the image that the crop is of
            assert (there == (crop > 0.5))[sure].mean() > 0.95


def test_scales_windows_and_turns_are_drawn_as_they_are_asked_for():
    augmentation = TrainAugmentation(Preprocess((64, 96), (0.0,) * 3, (1.0,) * 3), 2, scales=(0.5, 2.0),
                                     rotate_ratio=0.75, expand_ratio=0.0)
    placements = [augmentation.placement((64, 96), np.random.default_rng(k)) for k in range(400)]
    assert {p.size for p in placements if p.turns % 2 == 0} == {(32, 48), (128, 192)}
    assert 260 < sum(p.turns > 0 for p in placements) < 340
    assert {p.turns for p in placements} == {0, 1, 2, 3}
    cut = [p for p in placements if p.cuts and p.turns == 0]
    assert {p.region for p in cut} == {(64, 96)}
    assert min(p.top for p in cut) < -60
    assert max(p.top for p in cut) > -4
    whole = [p for p in placements if not p.cuts]
    assert {(p.top, p.left, p.region == p.size) for p in whole} == {(0, 0, True)}


def test_large_scale_jitter_draws_between_its_limits():
    augmentation = TrainAugmentation(Preprocess((100, 100), (0.0,) * 3, (1.0,) * 3), 2, scale_limits=(0.1, 2.0),
                                     expand_ratio=0.0)
    sides = [augmentation.placement((100, 100), np.random.default_rng(k)).size[0] for k in range(1000)]
    assert min(sides) in (10, 11)
    assert max(sides) in (199, 200)
    assert np.histogram(sides, 4, (10, 200))[0].min() > 200


def test_the_window_of_an_expanded_image_shows_as_much_of_it_as_fits():
    augmentation = TrainAugmentation(Preprocess((64, 96), (0.0,) * 3, (1.0,) * 3), 2, scale_limits=(2.0, 2.0),
                                     expand_ratio=1.0)
    for k in range(200):
        p = augmentation.placement((64, 96), np.random.default_rng(k))
        for offset, side, region in zip((p.top, p.left), p.size, p.region):
            seen = min(offset + side, region) - max(offset, 0)
            assert seen == min(side, region)
