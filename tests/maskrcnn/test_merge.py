"""Instances of tiles become those of the image: each tile sees the truth, clipped to it."""
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from src.maskrcnn.mask_runs import edges_of
from src.maskrcnn.merge import TileInstances, merge
from src.maskrcnn.tiles import Tile, Tiling

TILING = Tiling((40, 50), 16)
SIZE = (100, 130)


def seen(tile: Tile, masks: list[np.ndarray], labels: list[int], scores=None) -> TileInstances:
    """What a network without errors finds in a tile: the part of each mask (H, W) bool in it."""
    rows = []
    for k, mask in enumerate(masks):
        part = np.zeros_like(mask)
        tile.pixels(part)[:] = tile.pixels(mask)
        if part.any():
            y, x = np.nonzero(part)
            rows.append(((x.min(), y.min(), x.max() + 1, y.max() + 1), labels[k], scores[k] if scores else 0.9,
                         edges_of(part, 0, 0, len(mask))))
    return TileInstances(tile, np.array([r[0] for r in rows], np.float32).reshape(-1, 4),
                         np.array([r[1] for r in rows], np.int32), np.array([r[2] for r in rows], np.float32),
                         [r[3] for r in rows])


def merged(masks, labels, *, tiling=TILING, **options):
    size = masks[0].shape
    return merge([seen(tile, masks, labels) for tile in tiling.tiles(size)], 7, size, **options)


def assert_same(found, masks, labels):
    """Every mask comes out once, whole and with its box; nothing else does."""
    decoded = [coco_mask.decode(rle).astype(bool) for rle in found.rles]
    expected = sorted((label, mask.tobytes()) for mask, label in zip(masks, labels))
    assert sorted((label, mask.tobytes()) for mask, label in zip(decoded, found.labels.tolist())) == expected
    for mask, box in zip(decoded, found.boxes_image):
        y, x = np.nonzero(mask)
        assert box.tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]


def block(top, left, height, width, size=SIZE):
    mask = np.zeros(size, bool)
    mask[top:top + height, left:left + width] = True
    return mask


def blob(rng, side):
    """An irregular shape, often of several parts, that reaches all four sides of its square."""
    mask = rng.random((side, side)) < 0.5
    mask[[0, -1], rng.integers(0, side, 2)] = mask[rng.integers(0, side, 2), [0, -1]] = True
    return mask


@pytest.mark.parametrize("side", [16, 11, 3, 1])
def test_objects_not_larger_than_the_overlap_come_out_once_and_whole(side):
    """At every place of a fine grid, so on every seam and corner, ending at, before and behind each of them."""
    rng = np.random.default_rng(side)
    for shift_y in range(0, side + 1, max(side // 3, 1)):
        for shift_x in range(0, side + 1, max(side // 2, 1)):
            masks = []
            for top in range(shift_y, SIZE[0] - side + 1, side + 1):
                for left in range(shift_x, SIZE[1] - side + 1, side + 1):
                    masks.append(np.zeros(SIZE, bool))
                    masks[-1][top:top + side, left:left + side] = blob(rng, side)
            masks = masks if side > 5 else masks[::11]
            labels = rng.integers(1, 4, len(masks)).tolist()
            assert_same(merged(masks, labels), masks, labels)


def test_objects_that_touch_or_enclose_each_other_stay_apart():
    masks = [block(28, 30, 6, 8), block(28, 38, 6, 8), block(34, 30, 6, 16)]
    ring = block(50, 60, 16, 16)
    ring[54:62, 64:72] = False
    masks += [ring, block(55, 65, 6, 6)]
    assert_same(merged(masks, [1] * 5), masks, [1] * 5)
    assert_same(merged(masks, [1, 2, 1, 1, 2]), masks, [1, 2, 1, 1, 2])


def test_larger_objects_are_put_together_from_their_parts():
    """Across two tiles, four tiles, and the whole image; neither straight nor convex."""
    cross = block(30, 5, 12, 120) | block(2, 60, 96, 9)
    masks = [block(5, 8, 9, 60), cross & ~block(5, 8, 9, 60), block(70, 20, 25, 30)]
    assert_same(merged(masks, [1, 1, 2]), masks, [1, 1, 2])
    everything = [np.ones(SIZE, bool)]
    assert_same(merged(everything, [3]), everything, [3])


def test_an_image_of_one_tile_keeps_what_the_network_found_in_its_order():
    masks = [block(0, 0, 20, 20, (30, 40)), block(0, 0, 20, 21, (30, 40)), block(3, 3, 9, 9, (30, 40))]
    tile, = TILING.tiles((30, 40))
    part = seen(tile, masks, [1, 1, 1], [0.9, 0.8, 0.8])
    found = merge([part], 7, (30, 40))
    assert found.image_id == 7
    assert np.array_equal(found.boxes_image, part.boxes)
    assert found.scores.tolist() == part.scores.tolist()
    assert [coco_mask.decode(rle).astype(bool).tolist() for rle in found.rles] == [mask.tolist() for mask in masks]


def test_the_tile_in_whose_middle_an_object_lies_decides_alone():
    """The other tile's mask is wrong and has the better score."""
    left, right = Tile(0, 0, 40, 50), Tile(0, 34, 40, 84)
    truth, wrong = block(10, 30, 10, 15, (40, 84)), block(9, 34, 12, 11, (40, 84))
    found = merge([seen(left, [truth], [1], [0.6]), seen(right, [wrong], [1], [0.8])], 1, (40, 84))
    assert_same(found, [truth], [1])
    assert found.scores.tolist() == [np.float32(0.6)]


def test_of_an_object_that_leaves_its_middle_tile_each_pixel_is_one_tiles():
    """The left tile sees it end, the second one sees more. What no border cuts comes first, in spite of its score."""
    tiles = [Tile(0, left, 40, left + 50) for left in (0, 34, 68)]
    whole = block(10, 20, 10, 27, (40, 118))
    parts = [seen(tiles[0], [whole], [1], [0.3]), seen(tiles[1], [block(9, 34, 12, 20, (40, 118))], [1], [0.8]),
             seen(tiles[2], [], [])]
    found = merge(parts, 1, (40, 118))
    assert_same(found, [whole | block(9, 50, 12, 4, (40, 118))], [1])
    assert found.scores.tolist() == [np.float32(0.8)]


def test_where_all_tiles_cut_an_object_the_better_score_decides_in_the_overlap():
    left, right = Tile(0, 0, 40, 50), Tile(0, 34, 40, 84)
    parts = [seen(left, [block(10, 20, 10, 30, (40, 84))], [1], [0.6]),
             seen(right, [block(12, 34, 9, 30, (40, 84))], [1], [0.8])]
    assert_same(merge(parts, 1, (40, 84)), [block(10, 20, 10, 14, (40, 84)) | block(12, 34, 9, 30, (40, 84))], [1])


def test_what_the_tile_does_not_find_in_whose_middle_it_lies_is_left_out():
    """A remainder at a border, of whatever class; but not where it is nearest to the middle of its own tile."""
    left, right = Tile(0, 0, 40, 50), Tile(0, 34, 40, 84)
    whole, sliver = block(10, 30, 10, 15, (40, 84)), block(12, 34, 5, 5, (40, 84))
    parts = [seen(left, [whole], [1], [0.6]), seen(right, [sliver], [2], [0.8])]
    assert_same(merge(parts, 1, (40, 84)), [whole], [1])
    behind = block(12, 43, 5, 5, (40, 84))
    assert_same(merge([parts[0], seen(right, [behind], [1])], 1, (40, 84)), [whole, behind], [1, 1])


def test_a_cut_remainder_of_an_object_larger_than_the_overlap_is_dropped():
    """The left tile sees all of it, the right one a part that agrees too little and reaches beyond its own middle."""
    left, right = Tile(0, 0, 40, 60), Tile(0, 20, 40, 80)
    whole, part = block(4, 5, 20, 52, (40, 80)), block(17, 20, 7, 44, (40, 80))
    parts = [seen(left, [whole], [1], [0.6]), seen(right, [part], [1], [0.8])]
    assert_same(merge(parts, 1, (40, 80)), [whole], [1])
    assert len(merge([parts[0], seen(right, [part], [2])], 1, (40, 80)).scores) == 2  # of another class
    apart = block(4, 5, 12, 52, (40, 80))
    other = [seen(left, [apart], [1], [0.6]), parts[1]]
    assert len(merge(other, 1, (40, 80)).scores) == 2


def test_two_instances_of_one_tile_stay_two():
    """Both agree with what the neighbour found; the better one is the same object, the other one is not."""
    left, right = Tile(0, 0, 40, 60), Tile(0, 20, 40, 80)
    one, other = block(10, 38, 10, 20, (40, 80)), block(10, 42, 10, 14, (40, 80))
    found = merge([seen(left, [one], [1], [0.7]), seen(right, [one, other], [1, 1], [0.9, 0.8])], 1, (40, 80))
    assert_same(found, [one, other], [1, 1])


def test_the_limit_counts_merged_objects_and_keeps_the_best():
    masks = [block(3, 3 + 20 * k, 10, 15) for k in range(6)]
    scores = [0.3, 0.9, 0.5, 0.8, 0.2, 0.6]
    parts = [seen(tile, masks, [1] * 6, scores) for tile in TILING.tiles(SIZE)]
    assert merge(parts, 1, SIZE).scores.tolist() == np.sort(np.array(scores, np.float32))[::-1].tolist()
    assert_same(merge(parts, 1, SIZE, limit=2), [masks[1], masks[3]], [1, 1])


def test_without_detections_or_without_masks():
    empty = merge([seen(tile, [], []) for tile in TILING.tiles(SIZE)], 3, SIZE)
    assert (empty.boxes_image.shape, empty.rles) == ((0, 4), [])
    masks = [block(28, 30, 6, 8), block(60, 5, 10, 100)]
    boxes = merged(masks, [1, 1], with_masks=False)
    assert boxes.rles == []
    assert sorted(boxes.boxes_image.tolist()) == [[5, 60, 105, 70], [30, 28, 38, 34]]
