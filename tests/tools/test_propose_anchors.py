"""Anchors proposed from box sizes: measured after the resize, best of the candidates, reported for both choices."""
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from src.contract import InputError
from src.tools.propose_anchors import best_overlaps, box_sizes, parse_args, propose

ROOT = Path(__file__).parents[2]


def annotation_file(folder: Path, *boxes: list[float], crowd: int = 0) -> str:
    """One image of 100 x 200 (height x width)."""
    content = {"images": [{"id": 1, "height": 100, "width": 200, "file_name": "a.jpg"}],
               "categories": [{"id": 1, "name": "cell"}],
               "annotations": [{"id": k, "image_id": 1, "category_id": 1, "iscrowd": crowd, "bbox": box}
                               for k, box in enumerate(boxes)]}
    path = folder / "a.json"
    path.write_text(json.dumps(content))
    return str(path)


def test_boxes_are_measured_in_the_network_input(tmp_path):
    sizes = box_sizes(annotation_file(tmp_path, [0, 0, 10, 30], [5, 5, 0.1, 9]), (64, 64))
    np.testing.assert_allclose(sizes, [[3.2, 9.6]])  # 200 pixels become 64; the second box is less than one wide
    with pytest.raises(InputError, match="no boxes of at least one pixel in an input of 64 x 64"):
        box_sizes(annotation_file(tmp_path, [0, 0, 10, 30], crowd=1), (64, 64))


def test_boxes_that_are_missing_are_those_of_the_masks_and_objects_without_extent_do_not_count(tmp_path):
    path = Path(annotation_file(tmp_path, [0, 0, 10, 30], [0, 0, 10, 30]))
    content = json.loads(path.read_text())
    content["annotations"][0] = {"image_id": 1, "category_id": 1, "segmentation": [[5, 5, 25, 5, 25, 15]]}
    content["annotations"][1] |= {"bbox": [30, 22, 0, -12], "segmentation": [[30, 22, 29, 25]]}
    path.write_text(json.dumps(content))
    np.testing.assert_allclose(box_sizes(str(path), (64, 64)), [[6.4, 3.2]])


def image(**changes) -> Callable[[dict], object]:
    return lambda content: content["images"][0].update(changes)


def box(**changes) -> Callable[[dict], object]:
    return lambda content: content["annotations"][1].update(changes)


# name: (what is done to a good file of two boxes, words of the message)
BAD = {
    "image null": (lambda c: c["images"].append(None), ["images[1]: id is None", "whole number"]),
    "image id a list": (image(id=[1]), ["images[0]: id is [1]", "whole number"]),
    "image id twice": (lambda c: c["images"].append(c["images"][0]), ["image 1: the id is there twice"]),
    "image without height": (lambda c: c["images"][0].pop("height"), ["image 1: a.jpg: height is None", "whole"]),
    "image of height 0": (image(height=0), ["image 1: a.jpg: height is 0", "whole pixels"]),
    "image width a text": (image(width="200"), ["image 1: a.jpg: width is '200'", "whole pixels"]),
    "annotation null": (lambda c: c["annotations"].append(None), ["annotations[2] is None", "must be an object"]),
    "annotation without box": (lambda c: c["annotations"][1].pop("bbox"),
                               ["annotations[1] (image 1): bbox is None", "four numbers"]),
    "box of three numbers": (box(bbox=[0, 0, 5]), ["annotations[1] (image 1): bbox is [0, 0, 5]", "four numbers"]),
    "box with NaN": (box(bbox=[0, 0, 5, float("nan")]), ["annotations[1] (image 1): bbox is", "four numbers"]),
    "box outside": (box(bbox=[0, 0, 5, 300]), ["annotations[1] (image 1): bbox", "outside its image of 200x100"]),
    "crowd flag wrong": (box(iscrowd=[]), ["annotations[1] (image 1): iscrowd is []", "0 or 1"]),
    "unknown image": (box(image_id=9), ["annotations[1]: image_id 9 is no image", "remove"]),
    "image_id a list": (box(image_id=[1]), ["annotations[1]: image_id [1] is no image", "remove"]),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_annotations_are_refused_with_place_and_way_out(tmp_path, name):
    path = Path(annotation_file(tmp_path, [0, 0, 10, 30], [0, 0, 10, 30]))
    content = json.loads(path.read_text())
    change, words = BAD[name]
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(InputError) as caught:
        box_sizes(str(path), (64, 64))
    assert [w for w in [f"{path}: ", *words] if w not in str(caught.value)] == [], caught.value


@pytest.mark.parametrize("flag", ["--img_height=-64", "--img_height=0", "--img_width=-1"])
def test_sides_of_the_input_are_positive(flag):
    with pytest.raises(InputError, match=f"{flag}: the network's input has at least 1 pixel"):
        parse_args(["--ann_file=a.json", flag])


def test_overlap_with_the_best_anchor_literal():
    """Anchors of 32, 64, ... pixels: half of a 32 x 64 box's width is inside, 64 x 64 is met, 8 x 8 covers 1/16."""
    best = best_overlaps(np.array([[32.0, 64], [64, 64], [8, 8]]), (8,), (1.0,))
    np.testing.assert_allclose(best, [0.5, 1.0, 1 / 16])


@pytest.mark.parametrize(("side", "scale"), [(16, 2.0), (20, 2.5), (2, 1.5)])
def test_one_size_is_met_by_some_level(side, scale):
    sizes = np.full((10, 2), side, float)
    scales, ratios = propose(sizes, scales_per_level=1)
    assert scales == (scale,)
    assert ratios == (0.83, 1.0, 1.2)


def test_tall_boxes_get_tall_anchors_and_two_scales_do_better():
    rng = np.random.default_rng(0)
    width = rng.uniform(5, 40, 500)
    sizes = np.stack([width, width * rng.uniform(1.5, 3, 500)], 1)
    one, two = (propose(sizes, scales_per_level=n) for n in (1, 2))
    assert one[1][0] > 1.2
    assert one[1][2] < 3.2
    assert len(two[0]) == 2
    means = [best_overlaps(sizes, *p).mean() for p in (((8,), (0.5, 1.0, 2.0)), one, two)]
    assert means == sorted(means)
    assert means[2] > means[0] + 0.2


def test_command(tmp_path):
    tool = [sys.executable, ROOT / "src/tools/propose_anchors.py"]
    path = annotation_file(tmp_path, [0, 0, 50, 50], [0, 0, 50, 50])
    ran = subprocess.run([*tool, f"--ann_file={path}", "--img_height=32", "--img_width=64"], cwd=tmp_path,
                         capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert lines[0].startswith("2 boxes in an input of 32 x 64")
    assert "half 16" in lines[0]
    assert lines[1].startswith("by default --anchor_scales=8 --anchor_ratios=0.5,1,2: mean best IoU 0.253")
    assert lines[2].startswith("proposed   --anchor_scales=2 ")
    assert "100.0 % of the boxes at 0.7" in lines[2]
    ran = subprocess.run(tool, cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 2
    assert "--ann_file is missing" in ran.stderr
