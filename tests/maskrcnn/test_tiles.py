import numpy as np
import pytest

from src.maskrcnn.tiles import Tile, Tiling, owners


def test_tiles_cover_an_image_row_by_row():
    tiles = Tiling((40, 50), 16).tiles((70, 84))
    assert [(t.top, t.left, t.bottom, t.right) for t in tiles] == [
        (0, 0, 40, 50), (0, 34, 40, 84), (24, 0, 64, 50), (24, 34, 64, 84), (30, 0, 70, 50), (30, 34, 70, 84)]
    assert Tiling((40, 50), 16).tiles((40, 50)) == Tiling((400, 500), 16).tiles((40, 50)) == [Tile(0, 0, 40, 50)]
    assert [t.size for t in Tiling((40, 50), 16).tiles((9, 60))] == [(9, 50), (9, 50)]


@pytest.mark.parametrize("overlap", [0, 7, 16, 39])
def test_every_object_up_to_the_overlap_lies_in_its_owner(overlap):
    """The tile with the nearest centre is one that holds it, and has it farthest from its inner sides."""
    size, rng = (101, 130), np.random.default_rng(overlap)
    tiles = Tiling((40, 50), overlap).tiles(size)
    for _ in range(300):
        height, width = rng.integers(0, overlap + 1, 2)
        top, left = rng.integers(0, size[0] - height + 1), rng.integers(0, size[1] - width + 1)
        box = np.array([[left, top, left + width, top + height]], np.float32)
        tile = tiles[owners(tiles, box)[0]]
        assert tile.top <= top <= top + height <= tile.bottom
        assert tile.left <= left <= left + width <= tile.right


def test_a_box_that_leaves_the_nearest_tile_has_no_owner():
    tiles = Tiling((40, 50), 16).tiles((40, 118))
    assert owners(tiles, np.array([[0, 0, 40, 9], [5, 0, 51, 9], [33, 3, 85, 5], [60, 0, 118, 40]],
                                  np.float32)).tolist() == [0, -1, -1, -1]
    assert owners(tiles, np.zeros((0, 4), np.float32)).tolist() == []


def test_cuts_are_at_inner_sides_alone():
    tile, size = Tile(0, 34, 40, 84), (70, 84)
    boxes = np.array([[50, 0, 84, 20], [36, 5, 50, 20], [36.5, 5, 50, 37.5], [50, 5, 60, 38]], np.float32)
    assert tile.cuts(boxes, size).tolist() == [False, True, False, True]
    assert tile.cuts(boxes, (40, 84)).tolist() == [False, True, False, False]
