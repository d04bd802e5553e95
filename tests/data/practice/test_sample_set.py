"""The practice set: the same everywhere, true in both layouts, not solvable by colour, written whole or not at all."""
import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from src.contract import InputError
from src.data.practice.sample_set import CATEGORY_IDS, colour_map, draw_split, encode_mask, write_sample_set
from src.data.practice.shapes import CLASS_NAMES, Scene, Thing, draw_scene

TOOL = Path(__file__).resolve().parents[3] / "src/tools/make_sample_set.py"


@pytest.fixture(scope="module")
def default_set(tmp_path_factory):
    root = tmp_path_factory.mktemp("practice") / "set"
    write_sample_set(root)
    return root


def read_stems(root, split):
    return (root / f"ImageSets/Segmentation/{split}.txt").read_text().split()


def read_pair(root, stem):
    """(RGB image (H, W, 3), gray label (H, W))."""
    return (np.array(Image.open(root / f"JPEGImages/{stem}.jpg")),
            np.array(Image.open(root / f"SegmentationClassGray/{stem}.png")))


def read_coco(root, split):
    return json.loads((root / f"annotations/instances_{split}2017.json").read_text())


def decode(segmentation, height, width):
    """Mask (H, W) bool of a COCO segmentation in any of its three forms."""
    rle = segmentation
    if isinstance(segmentation, list):
        rle = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        rle = coco_mask.frPyObjects(segmentation, height, width)
    return coco_mask.decode(rle) > 0


def form(annotation):
    segmentation = annotation["segmentation"]
    return "polygon" if isinstance(segmentation, list) else type(segmentation["counts"]).__name__


def mean_iou(truth, predicted):
    confusion = np.bincount(truth.astype(int) * 6 + predicted, minlength=36).reshape(6, 6)
    hits = np.diag(confusion)
    return np.mean(hits / (confusion.sum(0) + confusion.sum(1) - hits))


# --- drawing ----------------------------------------------------------------------------------------------------------

def test_pixels_are_the_same_on_every_machine():
    scene = draw_scene(np.random.default_rng(5), (90, 120), objects=4, crowd=True)
    digest = hashlib.sha256(scene.image.tobytes() + scene.label().tobytes()).hexdigest()
    assert digest[:16] == "52947d7320c79e1f"


def test_the_set_is_the_same_byte_for_byte(default_set):
    """Published scores are of these files; a change of theirs makes the scores of all docs void."""
    digest = hashlib.sha256()
    for path in sorted(path for path in default_set.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(default_set)).encode() + b"\0" + path.read_bytes())
    assert digest.hexdigest() == "81c87d91712fdd6e9541f8449dfe41fa64181245b13f5e59e56202518c32082c"


def test_scene_has_what_was_asked_for():
    scene = draw_scene(np.random.default_rng(0), (120, 160), objects=3, crowd=True)
    assert scene.image.shape == (120, 160, 3)
    assert scene.image.dtype == np.uint8
    assert len(scene.instances) == 3
    assert len(scene.crowds) == 1
    assert draw_scene(np.random.default_rng(0), (120, 160), objects=0).instances == []


def test_every_split_has_occlusion_and_no_pixel_belongs_to_two_things():
    touching = 0
    for _, scene in draw_split("val", seed=1, count=30):
        things = scene.instances + scene.crowds
        assert all(thing.mask.any() for thing in things)
        shown = sum((thing.mask.astype(int) for thing in things), np.zeros(scene.ids.shape, int))
        assert shown.max(initial=0) <= 1
        left, right = scene.ids[:, :-1], scene.ids[:, 1:]
        touching += np.any((left > 0) & (right > 0) & (left != right))
    assert touching >= 15


def test_label_ignores_the_two_pixels_across_an_outline():
    ids = np.zeros((6, 8), np.int32)
    ids[:, 2:] = 1
    ids[:, 5:] = 2
    scene = Scene(np.zeros((6, 8, 3), np.uint8), [Thing(3, ids == 1), Thing(5, ids == 2)], [], ids)
    assert scene.label().tolist() == [[0, 255, 255, 3, 255, 255, 5, 5]] * 6


def test_a_picture_does_not_depend_on_how_many_follow():
    few, many = (list(draw_split("train", seed=3, count=n)) for n in (2, 5))
    for (few_id, few_scene), (many_id, many_scene) in zip(few, many):
        assert few_id == many_id
        np.testing.assert_array_equal(few_scene.image, many_scene.image)


# --- masks in COCO's words --------------------------------------------------------------------------------------------

def test_one_outline_becomes_a_polygon_along_pixel_edges():
    mask = np.zeros((4, 5), bool)
    mask[1:3, 1:4] = True
    assert encode_mask(mask) == [[1, 1, 1, 3, 4, 3, 4, 1]]


def test_crowd_becomes_run_lengths_down_the_columns():
    assert encode_mask(np.array([[0, 1, 0], [0, 1, 1]], bool), crowd=True) == {"size": [2, 3], "counts": [2, 2, 1, 1]}
    assert encode_mask(np.array([[1, 0], [1, 0]], bool), crowd=True) == {"size": [2, 2], "counts": [0, 2, 2]}


@pytest.mark.parametrize(("rows", "expected"), [
    (["111", "101", "111"], "str"),  # a hole
    (["10001", "11011"], "str"),  # two pieces
    (["100", "010", "011"], "polygon"),  # pieces that touch at a corner share one outline
    (["0110", "1111", "0110"], "polygon"),  # inner corners
    (["1"], "polygon"),
])
def test_segmentation_decodes_to_the_mask(rows, expected):
    mask = np.array([[c == "1" for c in row] for row in rows])
    segmentation = encode_mask(mask)
    assert form({"segmentation": segmentation}) == expected
    np.testing.assert_array_equal(decode(segmentation, *mask.shape), mask)


# --- the folder -------------------------------------------------------------------------------------------------------

def test_voc_layout(default_set):
    train, val = (read_stems(default_set, split) for split in ("train", "val"))
    assert (len(train), len(val), len({*train, *val})) == (240, 60, 300)
    shapes, values = [], set()
    for stem in val:
        image, gray = read_pair(default_set, stem)
        assert image.shape == (*gray.shape, 3)
        palette = Image.open(default_set / f"SegmentationClass/{stem}.png")
        assert palette.mode == "P"
        np.testing.assert_array_equal(np.array(palette), gray)
        shapes.append(gray.shape)
        values |= set(np.unique(gray))
    assert values == {0, 1, 2, 3, 4, 5, 255}
    assert any(h > w for h, w in shapes)
    assert any(h < w for h, w in shapes)
    assert min(map(max, shapes)) <= 72
    lines = (default_set / "labels.txt").read_text().splitlines()
    assert lines == ["0 background", "1 disc", "2 triangle", "3 square", "4 ring", "5 star", "255 void (ignore)"]


def test_palette_is_that_of_voc():
    colours = np.array(colour_map()).reshape(256, 3)
    assert colours[[0, 1, 2, 3, 4, 5, 8, 255]].tolist() == [
        [0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128], [128, 0, 128], [64, 0, 0], [224, 224, 192]]


@pytest.mark.parametrize(("split", "count"), [("train", 240), ("val", 60)])
def test_coco_layout_tells_the_visible_masks(default_set, split, count):
    coco = read_coco(default_set, split)
    assert [c["id"] for c in coco["categories"]] == [3, 7, 8, 20, 41]
    assert [c["name"] for c in coco["categories"]] == list(CLASS_NAMES[1:])
    by_image = {entry["id"]: [] for entry in coco["images"]}
    for annotation in coco["annotations"]:
        by_image[annotation["image_id"]].append(annotation)
    assert len(by_image) == count
    assert len({a["id"] for a in coco["annotations"]}) == len(coco["annotations"])
    for entry, (image_id, scene) in zip(coco["images"], draw_split(split, seed=1, count=count)):
        assert (entry["id"], (entry["height"], entry["width"])) == (image_id, scene.ids.shape)
        things = scene.instances + scene.crowds
        for thing, annotation in zip(things, by_image[image_id], strict=True):
            check_annotation(annotation, thing, crowd=any(thing is c for c in scene.crowds))
    assert {(form(a), a["iscrowd"]) for a in coco["annotations"]} == {("polygon", 0), ("str", 0), ("list", 1)}
    assert sum(not annotations for annotations in by_image.values()) >= count // 16


def check_annotation(annotation, thing, *, crowd):
    """The annotation is exactly `thing`: category, pixels, area and half-open box."""
    assert annotation["category_id"] == CATEGORY_IDS[thing.category]
    assert annotation["iscrowd"] == int(crowd)
    np.testing.assert_array_equal(decode(annotation["segmentation"], *thing.mask.shape), thing.mask)
    assert annotation["area"] == thing.mask.sum()
    rows, columns = (np.flatnonzero(thing.mask.any(axis)) for axis in (1, 0))
    assert annotation["bbox"] == [columns[0], rows[0], np.ptp(columns) + 1, np.ptp(rows) + 1]


def test_both_layouts_say_the_same(default_set):
    index = {category_id: k for k, category_id in CATEGORY_IDS.items()}
    coco = read_coco(default_set, "val")
    for entry in coco["images"]:
        stem = entry["file_name"].removesuffix(".jpg")
        shared = default_set / "JPEGImages" / entry["file_name"]
        assert (default_set / "val2017" / entry["file_name"]).read_bytes() == shared.read_bytes()
        label = read_pair(default_set, stem)[1]
        told = np.zeros_like(label)
        for a in coco["annotations"]:
            if a["image_id"] == entry["id"]:
                told[decode(a["segmentation"], *label.shape)] = index[a["category_id"]]
        np.testing.assert_array_equal(told[label != 255], label[label != 255])


def test_colour_alone_does_not_solve_it(default_set):
    pixels = {}
    for split in ("train", "val"):
        pairs = [read_pair(default_set, stem) for stem in read_stems(default_set, split)]
        labels = np.concatenate([label.ravel() for _, label in pairs])
        colours = np.concatenate([image.reshape(-1, 3) for image, _ in pairs]).astype(int)
        pixels[split] = colours[labels != 255], labels[labels != 255]
    (seen, seen_truth), (colours, truth) = pixels["train"], pixels["val"]
    assert mean_iou(truth, np.zeros(len(truth), int)) < 0.30
    for bits in (3, 4, 5):
        seen_codes, codes = (sum((c[:, k] >> 8 - bits) << bits * k for k in range(3)) for c in (seen, colours))
        counts = np.bincount(seen_codes * 6 + seen_truth, minlength=6 << 3 * bits).reshape(-1, 6)
        for scores in (counts, counts / counts.sum(0)):  # most probable class, and with all classes equally likely
            assert mean_iou(truth, scores.argmax(1)[codes]) < 0.30


# --- writing ----------------------------------------------------------------------------------------------------------

def read_all(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_same_seed_same_bytes_other_seed_other_pictures(tmp_path):
    for name, seed in (("a", 4), ("b", 4), ("c", 5)):
        np.random.seed(ord(name))  # global randomness has no part in it
        write_sample_set(tmp_path / name, seed=seed, train=6, val=2)
    first, second, other = (read_all(tmp_path / name) for name in "abc")
    assert first == second
    assert len(first) == 4 * 8 + 6
    assert not {first[n] for n in first if n.endswith(".jpg")} & {other[n] for n in other if n.endswith(".jpg")}


def test_existing_set_stays_and_anything_else_is_refused(tmp_path):
    root = tmp_path / "set"
    write_sample_set(root, train=2, val=1)
    mark = root / "mark"
    mark.touch()
    write_sample_set(root, train=2, val=1)
    assert mark.exists()
    with pytest.raises(InputError, match=r"set: holds a practice set of other parameters .*'train': 2.* move it away"):
        write_sample_set(root, train=3, val=1)
    with pytest.raises(InputError, match="exists and is not a practice set; name another folder"):
        write_sample_set(root / "JPEGImages", train=2, val=1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set"]


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"train": 0}, {"val": 0}])
def test_parameters_out_of_range(tmp_path, wrong):
    (name, value), = wrong.items()
    with pytest.raises(InputError, match=f"{name}={value}: .* {name} >= "):
        write_sample_set(tmp_path / "set", **wrong)


def test_killed_process_leaves_no_half_set(tmp_path):
    root = tmp_path / "set"
    process = subprocess.Popen([sys.executable, TOOL, f"--out={root}", "--train=5000"])
    until = time.monotonic() + 60
    while not any(tmp_path.rglob("*.jpg")) and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert any(tmp_path.rglob("*.jpg"))
    assert not root.exists()
    write_sample_set(root, train=2, val=1)
    assert len(read_stems(root, "train")) == 2


def test_tool_explains_itself_and_needs_no_mindspore(tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/file").touch()
    command = [sys.executable, TOOL, "--out=taken"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr == f"error: {tmp_path}/taken: exists and is not a practice set; " \
                         "name another folder or move it away\n"
    code = "import sys, src.tools.make_sample_set; sys.exit('mindspore' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=TOOL.parents[2], check=True)
