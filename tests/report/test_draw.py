"""Overlays: which pixels get which colour, and where boxes and labels lie."""
import cv2
import numpy as np
import pytest

from src.report import draw

NAMES = ["background", "disc", "ring"]
COLOURS = np.array([[0, 0, 0], [200, 0, 100], [0, 250, 0]], np.uint8)


def gray(height: int, width: int, value: int = 100) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_palette_is_black_for_background_and_distinct_for_the_rest():
    table = draw.palette([*NAMES, *(f"class_{k}" for k in range(18))])
    assert table.shape == (21, 3)
    assert table.dtype == np.uint8
    assert table[0].tolist() == [0, 0, 0]
    apart = np.abs(table[:, None].astype(int) - table[None]).sum(-1)
    assert apart[np.triu_indices(21, 1)].min() > 20


def test_a_class_has_the_same_colour_however_many_there_are():
    assert draw.palette(["sky", "road"]).tolist() == draw.palette(["sky", "road", "car"])[:2].tolist()


def test_a_first_class_that_is_not_background_is_coloured():
    assert draw.palette(["sky", "road"])[0].any()


def test_overlay_tints_classes_darkens_ignored_pixels_and_outlines_regions():
    labels = np.zeros((9, 12), np.uint8)
    labels[:, 4:8], labels[:, 8:] = 1, 255
    out = draw.overlay(gray(9, 12), labels, COLOURS, alpha=0.5)
    assert out[4, 1].tolist() == [100, 100, 100]     # background: as it was
    assert out[4, 5].tolist() == [150, 50, 100]      # half image, half colour
    assert out[4, 10].tolist() == [45, 45, 45]       # ignored
    assert out[4, 3].tolist() == out[4, 4].tolist() == [255, 255, 255]


def test_overlay_leaves_its_arguments_alone():
    image, labels = gray(4, 4), np.ones((4, 4), np.uint8)
    draw.overlay(image, labels, COLOURS)
    assert (image == 100).all()
    assert (labels == 1).all()


def test_overlay_of_strips_is_that_of_the_whole_and_may_be_drawn_in_place(monkeypatch):
    rng = np.random.default_rng(0)
    image, labels = rng.integers(0, 256, (23, 11, 3), np.uint8), rng.choice([0, 1, 2, 255], (23, 11)).astype(np.uint8)
    labels[5:18, 2:9] = 1  # a region over several strips
    whole = draw.overlay(image, labels, COLOURS)
    for rows in (1, 3, 22, 23):
        monkeypatch.setattr(draw, "_STRIP", rows * 11)
        np.testing.assert_array_equal(draw.overlay(image, labels, COLOURS), whole)
    assert draw.overlay(image, labels, COLOURS, in_place=True) is image
    np.testing.assert_array_equal(image, whole)


def test_errors_are_red_where_the_truth_counts():
    truth, predicted = np.array([[0, 1, 255, 2]], np.uint8), np.array([[0, 2, 1, 2]], np.uint8)
    out = draw.errors(gray(1, 4, 0), truth, predicted, 3)
    assert out[0].tolist() == [[120] * 3, list(draw.WRONG), [120] * 3, [120] * 3]


@pytest.mark.parametrize(("size", "expected"), [
    ((10, 20), (40, 80)), ((20, 10), (80, 40)), ((160, 40), (80, 20)), ((1, 300), (1, 80))])
def test_fit_scales_the_long_side(size, expected):
    assert draw.fit(gray(*size), 80).shape[:2] == expected


def test_fit_does_not_mix_labels():
    labels = np.array([[0, 255], [2, 0]], np.uint8)
    assert set(np.unique(draw.fit(labels, 37, labels=True))) == {0, 2, 255}


def test_instances_draw_half_open_boxes_and_fill_masks():
    mask = np.zeros((40, 60), bool)
    mask[20:30, 10:20] = True
    out = draw.instances(gray(40, 60), np.array([[10, 20, 20, 30]], np.float32), [1], class_names=NAMES,
                         mask=lambda k: (mask[15:], 15, 0), scores=[0.5])
    colour = draw.palette(["one"])[0].astype(int)
    assert out[25, 15].tolist() == ((100 + colour) // 2).tolist()
    assert out[29, 15].tolist() == out[25, 19].tolist() == colour.tolist()    # the last row and column inside
    assert out[30, 15].tolist() == out[25, 20].tolist() == [100, 100, 100]    # the first outside


def test_an_instance_in_the_corner_keeps_its_tag_inside():
    out = draw.instances(gray(40, 60), np.array([[55.0, 0, 60, 5]]), [2], class_names=NAMES)
    colour = draw.palette(["one"])[0]
    tag = (out == colour).all(-1)
    assert tag[:, :40].any()
    assert tag.sum() > 60


def test_many_instances_have_no_tags():
    box = np.array([[30.0, 20, 34, 24]])
    few, many = (draw.instances(gray(200, 300), np.repeat(box, n, 0), [1] * n, class_names=NAMES) for n in (20, 21))
    assert (few != 100).any(-1).sum() > 200
    assert (many != 100).any(-1).sum() == 12    # the outline of 4 x 4 pixels


def test_tags_that_would_hide_a_small_image_are_left_out():
    box = np.array([[30.0, 20, 34, 24]])
    one, two = (draw.instances(gray(40, 60), np.repeat(box, n, 0), [1] * n, class_names=NAMES) for n in (1, 2))
    assert (one != 100).any(-1).sum() > 200
    assert (two != 100).any(-1).sum() == 12


def test_no_instances_is_the_image():
    assert (draw.instances(gray(5, 5), np.zeros((0, 4)), [], class_names=NAMES) == 100).all()


def test_legend_breaks_into_lines_of_the_width():
    names = [f"a rather long name {k}" for k in range(6)]
    strip = draw.legend(names, draw.palette(names), 400)
    assert strip.shape[1] == 400
    assert strip.shape[0] > 2 * 26
    for colour in draw.palette(names):
        assert (strip == colour).all(-1).sum() >= 22 * 14


def test_grid_places_images_of_different_sizes_under_each_other():
    small, large = gray(10, 20, 1), gray(30, 15, 2)
    out = draw.grid([[small, large], [large, small]], ["a", "b"], ["first", "second"], side=40)
    assert out.shape[1] == 2 * 48 + 8
    assert (out == 1).all(-1).sum() == 2 * 200
    assert (out == 2).all(-1).sum() == 2 * 450


def test_a_semantic_row_has_its_four_pictures():
    truth = np.array([[0, 1], [1, 255]], np.uint8)
    row = draw.semantic_row(gray(2, 2), truth, np.zeros((2, 2), np.uint8), COLOURS, 20)
    assert len(row) == len(draw.SEMANTIC_TITLES) == 4
    assert all(image.shape == (20, 20, 3) for image in row)
    assert (row[3] == draw.WRONG).all(-1).sum() == 200


def test_a_jpeg_keeps_red_red():
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 255
    back = cv2.imdecode(np.frombuffer(draw.jpeg(red), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert back[8, 8, 0] > 240
    assert back[8, 8, 2] < 20
