"""The collected cases of ../shared/cases, each against what its README says is right; skipped where they are absent.

Quick tests of the same kinds make their own files: tests/data/instance/test_own_annotations.py,
tests/data/semantic/test_own_labels.py, tests/data/test_own_images.py and tests/inference/test_collecting.py.
"""
from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from src.contract import InputError, Instances
from src.data.decode import Decoding, decode_image
from src.data.instance.target import decode_target
from src.data.semantic import voc_layout
from src.deeplabv3.config import DeepLabV3Config
from src.deeplabv3.splits import open_split as open_labels
from src.inference.collecting import collect
from src.maskrcnn.config import MaskRCNNConfig
from src.maskrcnn.splits import open_split
from src.metrics.coco_map import CocoMAP
from tests.results.test_files import predicted

BOX = [12.0, 10, 40, 30]  # x1, y1, x2, y2 of the object in nearly every picture of the cases


@pytest.fixture
def case(shared):
    """Number -> folder of a case."""
    return lambda number: next((shared / "cases").glob(f"{number}-*"))


def instances(folder: Path, split: str = "train", **settings):
    return open_split(MaskRCNNConfig(coco_root=str(folder), **({"train_data_type": "train", "val_data_type": "val"}
                                                               | settings)), split)


def boxes(dataset) -> list[list[list[float]]]:
    return [decode_target(record.target).boxes_image.tolist() for record in dataset.rows(range(len(dataset)))]


def labels(folder: Path, **settings) -> list[np.ndarray]:
    """Every label map of a case's list, as training reads it."""
    config = DeepLabV3Config(**{"data_root": str(folder), "data_lst": str(folder / "list.txt"), "num_classes": 2}
                             | settings)
    dataset = open_labels(config, "train")
    return [cv2.imdecode(np.frombuffer(r.target, np.uint8), cv2.IMREAD_GRAYSCALE) if settings.get("label_map") else
            voc_layout.decode.decode_label(r.target) for r in dataset.rows(range(len(dataset)))]


# --- annotation files -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("number", ["01", "03", "04", "15", "16", "17", "27", "80", "81", "82", "83"])
def test_sound_annotations_are_read_whole(case, number):
    dataset = instances(case(number))
    assert boxes(dataset) == [[BOX], [BOX]]
    assert dataset.class_names in (("background", "cat"), ("background", "cat", "dog"))


def test_parts_of_two_points_are_dropped_alone(case, caplog):
    assert boxes(instances(case("07"))) == [[BOX], [BOX]]
    assert "parts of fewer than 3 points are dropped" in caplog.text


def test_crowds_alone_teach_nothing(case):
    with pytest.raises(InputError, match="nothing to learn: 2 images have 0 objects of the classes and 2 crowd"):
        instances(case("22"))


def test_lvis_names_come_from_the_address(case):
    assert boxes(instances(case("24"))) == [[BOX]]


@pytest.mark.parametrize(("split", "ap", "classes"), [
    ("swapped", 1.0, {"cat": 1.0, "dog": 1.0}), ("rows", 1.0, {"cat": 1.0, "dog": 1.0}),
    ("otherids", 1.0, {"cat": 1.0, "dog": 1.0}), ("subset", 1.0, {"cat": None, "dog": 1.0}),
    ("more", 0.5, {"cat": 1.0, "dog": None, "fish": 0.0})])
def test_val_files_are_matched_by_name(case, caplog, split, ap, classes):
    """A perfect prediction of the classes that the model knows, cat 1 and dog 2."""
    train = instances(case("38"))
    dataset = instances(case("38"), "val", val_data_type=split, coco_classes=train.class_names,
                        category_ids=(0, *(category.category_id for category in train.categories)))
    evaluator = CocoMAP()
    names = {name: label for label, name in enumerate(train.class_names)}
    for record in dataset.rows(range(len(dataset))):
        truth = decode_target(record.target)
        known = [(box, names[category.name]) for box, label in zip(truth.boxes_image, truth.labels)
                 for category in truth.categories if category.label == label and category.name in names]
        evaluator.update(Instances(truth.image_id, np.array([box for box, _ in known]).reshape(-1, 4),
                                   np.array([label for _, label in known], np.int32), np.ones(len(known)), []),
                         record.target)
    numbers = evaluator.compute()
    assert numbers["ap"] == pytest.approx(ap)
    assert {name: found["bbox"] for name, found in numbers["classes"].items()} == pytest.approx(classes)
    assert ("fish" in caplog.text) == (split == "more")
    assert ("has no categories cat" in caplog.text) == (split == "subset")


def test_near_names_are_named(case):
    with pytest.raises(InputError, match=r"1\.png does not exist or is no file; 1\.PNG does \(capitals matter here\)"):
        instances(case("77"))


def test_objects_without_extent_are_left_out(case, caplog):
    assert boxes(instances(case("78"))) == [[], [BOX]]
    assert "1 objects without any extent are left out" in caplog.text


@pytest.mark.parametrize("on_bad", ["error", "skip"])
def test_skipping_keeps_every_usable_object(case, caplog, on_bad):
    assert boxes(instances(case("85"), on_bad=on_bad)) == [[BOX], [[0, 10, 40, 30]]]
    assert "boxes that leave their image are clipped" in caplog.text


@pytest.mark.parametrize("number", ["65", "66"])
def test_annotations_of_photos_are_in_the_frame_that_is_trained_on(case, number):
    folder = case(number)
    dataset = instances(folder)
    record = next(iter(dataset.rows([0])))
    target = decode_target(record.target)
    pixels = decode_image(record.image, Decoding("turn"))
    assert pixels.shape[:2] == target.size
    x1, y1, x2, y2 = target.boxes_image[0].astype(int)
    inside, outside = pixels[y1:y2, x1:x2].reshape(-1, 3).mean(0), pixels[:y1].reshape(-1, 3).mean(0)
    assert inside[0] > 180 > 120 > outside[0]  # the object is red, the ground gray


# --- label maps -------------------------------------------------------------------------------------------------------

def test_masks_of_0_and_255(case):
    with pytest.raises(InputError, match=r"255 .*is ignored: nothing else can be learnt.*--label_map=255:1"):
        labels(case("40"))
    assert all(set(np.unique(label)) == {0, 1} for label in labels(case("40"), label_map="255:1"))


@pytest.mark.parametrize(("number", "settings", "values"), [
    ("41", {"ignore_label": 0, "num_classes": 4}, {0, 1, 2, 3}),
    ("41", {"label_map": "reduce_zero_label", "num_classes": 3}, {255, 0, 1, 2}),
    ("42", {"label_map": "cityscapes", "num_classes": 19}, None), ("43", {}, {0, 1}), ("44", {}, {0, 1}),
    ("54", {}, {0, 1}), ("62", {}, {0, 1})])
def test_labels_of_other_forms(case, number, settings, values):
    found = labels(case(number), **settings)
    assert len(found) == 4
    together = set(np.unique(np.stack(found)).tolist())
    assert together == values if values else together <= {*range(19), 255}


@pytest.mark.parametrize("number", ["41", "42"])
def test_labels_with_other_numbers_are_refused_with_the_way_out(case, number):
    num_classes, way_out = {"41": (3, "reduce_zero_label"), "42": (19, "--label_map=cityscapes")}[number]
    with pytest.raises(InputError, match=way_out):
        labels(case(number), num_classes=num_classes, ignore_label=0 if number == "41" else 255)


@pytest.mark.parametrize("number", ["47", "48", "67"])
def test_labelmap_decides_which_colour_is_which_class(case, tmp_path, number):
    lists = voc_layout.make_lists(case(number), tmp_path)
    assert sum(lists.values()) >= 4
    colours = {}
    for line in (case(number) / "labelmap.txt").read_text().splitlines():
        name, colour = line.split(":")[:2]
        if not name.startswith("#"):
            colours[name] = tuple(map(int, colour.split(",")))
    names = sorted(colours, key=lambda name: name != "background")
    for path in tmp_path.rglob("*.png"):
        pixels = np.asarray(Image.open(case(number) / "SegmentationClass" / path.name).convert("RGB"))
        expected = np.full(pixels.shape[:2], 99)
        for index, name in enumerate(names):
            expected[(pixels == colours[name]).all(-1)] = index
        np.testing.assert_array_equal(np.asarray(Image.open(path)), expected)


# --- pictures ---------------------------------------------------------------------------------------------------------

def test_kinds_of_images_are_decoded_as_pillow_does(case):
    for path in sorted((case("64") / "imgs").iterdir()):
        if path.name.startswith(("._", ".DS", "Thumbs", "bits12")) or path.suffix in (".gif", ".avif", ".tif"):
            continue
        with Image.open(path) as image:
            expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB")).astype(int)
        found = decode_image(path.read_bytes(), Decoding("turn")).astype(int)
        assert np.abs(found - expected).max() <= 3, path.name
    with pytest.raises(InputError, match="samples of floats of 32 bits"):
        decode_image((case("64") / "imgs/float01.tif").read_bytes())


@pytest.mark.parametrize("name", ["bits12in16.png", "bits12tif.tif"])
def test_12_bits_in_16_are_warned_of(case, tmp_path, caplog, name):
    shutil.copytree(case("17"), tmp_path / "data", copy_function=shutil.copyfile)
    content = json.loads((tmp_path / "data/annotations/instances_train.json").read_text())
    for entry in content["images"]:
        entry["file_name"] = f"{entry['id']}{Path(name).suffix}"
        shutil.copyfile(case("64") / "imgs" / name, tmp_path / "data/train" / entry["file_name"])
    (tmp_path / "data/annotations/instances_train.json").chmod(0o644)
    (tmp_path / "data/annotations/instances_train.json").write_text(json.dumps(content))
    instances(tmp_path / "data")
    assert "come out nearly black: give --bit_depth=12" in caplog.text


def test_detections_of_any_image_are_entries_of_cocos_results(case, tmp_path):
    """Case 87: whether an image's COCO id is known or not."""
    assert "image_id, category_id, bbox, score, segmentation" in (case("87") / "README").read_text()
    predicted(tmp_path / "out", {"sub/a.jpg": 17})
    for name, image_id in (("a", 17), ("b", "sub/b.jpg")):
        found = json.loads((tmp_path / f"out/detections/sub__{name}.json").read_text())["detections"]
        assert [(row["image_id"], row["category_id"]) for row in found] == [(image_id, 3), (image_id, 7)]
        assert all({"bbox", "score", "segmentation"} <= set(row) for row in found)


def test_a_phones_folder_is_named_whole(case):
    found = collect([str(case("71"))])
    named = {one.path.name for one in found.images} | {one.path.name for one, _ in found.bad}
    assert named == {"b.jpg", "IMG_0001.HEIC", "a.gif"}


def test_live_photos_have_results_of_their_own(case):
    found = collect([str(case("72"))])
    every = [*found.images, *found.videos, *(one for one, _ in found.bad)]
    assert {one.path.name for one in every} == {"IMG_0001.JPG", "IMG_0001.MOV", "IMG_0002.JPG"}
    assert len({one.name for one in every}) == 3
