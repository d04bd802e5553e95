"""Annotation files as labelling tools and converters write them: what is sound is read, what is changed is said."""
import json
import logging
import shutil

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from src.contract import InputError, Instances
from src.data.instance.coco import CocoDataset
from src.data.instance.coco_check import to_instance
from src.data.instance.coco_layout import STANDARD, coco_layout
from src.data.instance.target import Category, decode_target, mask_window, to_rle
from src.data.instance.txt import TxtDataset
from src.maskrcnn.config import MaskRCNNConfig
from src.maskrcnn.splits import category_ids, open_split
from src.metrics.coco_map import CocoMAP
from tests.tiny_coco import POLYGON, RUNS, annotation, content, write_coco, write_txt

SIZE, DOG = (24, 32), Category(1, 3, "dog")
SLIVER = [30, 22, 31, 22]


def opened(root, data, **options) -> CocoDataset:
    return CocoDataset(write_coco(root, data), root / "val", **options)


def instances(dataset, number=0) -> list[dict]:
    return decode_target(next(iter(dataset.rows([number]))).target).instances


def one(**changes) -> dict:
    """A file of one image with one object, whose keys are changed; None takes a key away."""
    entry = {key: value for key, value in (annotation(1, 10) | changes).items() if value is not None}
    return content(2) | {"images": content(2)["images"][:1], "annotations": [entry]}


# --- categories -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("row", [
    {"id": 0, "name": "animals", "supercategory": "none"}, {"id": 0, "name": "background"},
    {"id": 0, "name": "Background"}, {"id": 0, "name": "_background_"}, {"id": 99, "name": "dog"}])
def test_rows_that_are_no_class_are_dropped_and_said(tmp_path, caplog, row):
    data = content()
    data["categories"] = [row, *(entry | {"supercategory": "animals"} for entry in data["categories"])]
    assert opened(tmp_path, data).class_names == ("background", "dog", "cat", "fish")
    assert f"rows of categories without an annotation are no classes: {row['name']!r} (id {row['id']})" in caplog.text


def test_rows_with_annotations_stay_classes(tmp_path):
    data = content()
    data["categories"] = [{"id": 0, "name": "animals"}, *(e | {"supercategory": "animals"} for e in data["categories"])]
    data["annotations"].append(annotation(1, 10, 0))
    assert opened(tmp_path, data).class_names == ("background", "animals", "dog", "cat", "fish")
    data["categories"][0]["name"] = "dog"
    with pytest.raises(InputError, match="name 'dog' is there twice"):
        opened(tmp_path / "b", data)


def test_a_row_that_is_its_own_supercategory_stays(tmp_path):
    data = content()
    data["categories"] = [*data["categories"], {"id": 20, "name": "person", "supercategory": "person"}]
    assert "person" in opened(tmp_path, data).class_names


# --- ids --------------------------------------------------------------------------------------------------------------

def with_ids(change) -> dict:
    data = content()
    for entry in data["images"]:
        entry["id"] = change(entry["id"])
    for entry in data["annotations"]:
        entry["image_id"] = change(entry["image_id"])
    return data


@pytest.mark.parametrize(("change", "expected"), [
    (str, [10, 20, 30]), (float, [10, 20, 30]), (lambda number: f"img_{number}", [1, 2, 3])])
def test_image_ids_as_texts_and_whole_floats(tmp_path, change, expected):
    dataset = opened(tmp_path, with_ids(change))
    assert dataset.image_ids == expected
    assert [len(instances(dataset, n)) for n in range(3)] == [2, 2, 0]


def test_texts_that_would_be_one_number_stay_apart(tmp_path):
    ids = {10: "1", 20: "01", 30: "2"}
    dataset = opened(tmp_path, with_ids(ids.get))
    assert dataset.image_ids == [1, 2, 3]
    assert [len(instances(dataset, n)) for n in range(3)] == [2, 2, 0]


def test_category_ids_as_texts(tmp_path):
    data = content()
    data["categories"] = [entry | {"id": str(entry["id"])} for entry in data["categories"]]
    for entry in data["annotations"]:
        entry["category_id"] = str(entry["category_id"])
    assert opened(tmp_path, data).categories == ((1, 3, "dog"), (2, 7, "cat"), (3, 12, "fish"))


def test_missing_annotation_ids_are_numbered(tmp_path):
    data = content()
    del data["annotations"][0]["id"]
    data["annotations"][1]["id"] = "a"
    assert [i["id"] for i in instances(opened(tmp_path, data))] == [2002, 2003]


def test_ids_that_are_given_can_be_held(tmp_path):
    data = content()
    del data["annotations"][0]["id"]
    data["annotations"][1]["id"] = 2 ** 63 - 1
    assert [i["id"] for i in instances(opened(tmp_path, data))] == [2002, 2 ** 63 - 1]


def test_annotations_of_one_missing_image_are_one_message(tmp_path):
    data = content()
    data["annotations"] += [annotation(k, 77) for k in range(1, 6)]
    dataset = opened(tmp_path, data, on_bad="skip")
    assert dataset.left_out == (0, 5)
    assert len(dataset.bad) == 1
    assert "annotation 1 and 4 more: image_id 77 is no image of the file" in dataset.bad[0]


# --- boxes and polygons -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("segmentation", "box"), [
    (POLYGON, [4, 6, 8, 5]), ({"size": [24, 32], "counts": RUNS}, [4, 6, 8, 5]),
    ([POLYGON[0], [20, 1, 24, 1, 24, 3]], [4, 1, 20, 10])])
def test_a_missing_box_is_that_of_the_mask(tmp_path, segmentation, box):
    assert instances(opened(tmp_path, one(bbox=None, segmentation=segmentation)))[0]["bbox"] == box


@pytest.mark.parametrize("box", [[0, 0, 0, 0], [4, 6, 8, 0], [12, 11, -8, -5]])
def test_a_box_without_an_extent_is_that_of_a_mask_with_one(tmp_path, caplog, box):
    assert instances(opened(tmp_path, one(bbox=box)))[0]["bbox"] == [4, 6, 8, 5]
    assert "1 boxes without an extent are those of the masks" in caplog.text


@pytest.mark.parametrize("sliver", [SLIVER, [30, 22], []])
def test_a_degenerate_part_is_dropped_from_its_object(tmp_path, caplog, sliver):
    assert instances(opened(tmp_path, one(segmentation=[*POLYGON, sliver])))[0]["segmentation"] == POLYGON
    assert "1 parts of fewer than 3 points are dropped from their objects" in caplog.text


@pytest.mark.parametrize("box", [[30, 22, 1, 0], [30, 22, 0, -12]])
def test_an_object_without_any_extent_is_left_out_and_counted(tmp_path, caplog, box):
    data = content()
    data["annotations"].append(annotation(1, 10, bbox=box, segmentation=[SLIVER]))
    assert len(instances(opened(tmp_path, data))) == 2
    assert "1 objects without any extent are left out" in caplog.text


@pytest.mark.parametrize(("box", "expected"), [
    ([-3, 10, 23, 10], [0, 10, 20, 10]), ([-4, 10, 30, 12], [0, 10, 26, 12]), ([20, -2, 14, 30], [20, 0, 12, 24])])
def test_a_box_over_the_border_is_clipped_and_counted(tmp_path, caplog, box, expected):
    assert instances(opened(tmp_path, one(bbox=box, segmentation=None)))[0]["bbox"] == expected
    assert "1 boxes that leave their image are clipped" in caplog.text


@pytest.mark.parametrize(("box", "corners"), [([20, 15, 31, 23], True), ([-4, 10, 8, 20], False),
                                              ([-20, 10, 24, 10], False), ([10, 12, 70, 20], False)])
def test_only_what_can_be_corners_is_called_corners(box, corners):
    with pytest.raises(InputError, match="lies outside its image") as error:
        to_instance(annotation(1, 10, bbox=box, segmentation=None), (24, 32), DOG)
    assert ("two corners" in str(error.value)) == corners


def test_a_polygon_over_the_border_has_exactly_the_pixels_inside(caplog, tmp_path):
    rng = np.random.default_rng(3)
    for _ in range(50):
        points = rng.uniform([2, 2], [30, 22], (6, 2))
        points[0] = rng.choice([-5.5, 36.2]), rng.uniform(4, 20)
        polygon = points.ravel().tolist()
        got = to_instance(annotation(1, 10, segmentation=[polygon]), SIZE, DOG)["segmentation"]
        shifted = (points + 50).ravel().tolist()
        wide = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects([shifted], 124, 132)))
        assert mask_window(got, SIZE, (0, 0, 32, 24)).tolist() == wide[50:74, 50:82].tolist()
    opened(tmp_path, one(segmentation=[polygon]))
    assert "1 polygons that leave their image are clipped" in caplog.text


def test_skip_keeps_an_image_with_a_bad_annotation(tmp_path):
    data = content()
    data["annotations"].append(annotation(1, 10, segmentation=[SLIVER]))  # its box is sound: what is meant is unclear
    with pytest.raises(InputError, match="annotation 1 .image 10.: a polygon of 4 numbers"):
        opened(tmp_path, data)
    dataset = CocoDataset(tmp_path / "annotations/instances_val.json", tmp_path / "val", on_bad="skip")
    assert (dataset.image_ids, dataset.left_out) == ([10, 20, 30], (0, 1))
    assert len(instances(dataset)) == 2


# --- images -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("sides", [{}, {"height": -1, "width": -1}, {"height": None, "width": 0},
                                   {"height": 24.0, "width": 32.0}, {"height": 24}, {"height": -1, "width": 32}])
def test_sizes_that_are_missing_are_those_of_the_files(tmp_path, sides):
    path = write_coco(tmp_path)
    data = content()
    data["images"] = [{"id": e["id"], "file_name": e["file_name"]} | sides for e in data["images"]]
    path.write_text(json.dumps(data))
    dataset = CocoDataset(path, tmp_path / "val")
    assert [decode_target(row.target).size for row in dataset.rows(range(3))] == [(24, 32)] * 3


def test_a_size_of_which_one_side_contradicts_the_file_is_refused(tmp_path):
    path = write_coco(tmp_path)
    data = content()
    data["images"][0] |= {"height": None, "width": 24}
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match="1.jpg: height is None"):
        CocoDataset(path, tmp_path / "val")


def test_a_url_names_the_file(tmp_path):
    path = write_coco(tmp_path)
    data = content()
    for entry in data["images"]:
        entry["coco_url"] = f"http://images.example.org/val2017/{entry.pop('file_name')}?raw=1"
    path.write_text(json.dumps(data))
    assert [row.file_name for row in CocoDataset(path, tmp_path / "val").rows([0, 2])] == ["1.jpg", "3.jpg"]


@pytest.mark.parametrize(("written", "words"), [
    ("1.JPG", r"1.jpg does \(capitals matter here\)"), ("1.png", "1.jpg does; correct the name"),
    ("SUB/A b.jpg", r"sub/a b.jpg does \(capitals matter here\)"),
    ("sub/u\u0308.jpg", r"sub/\u00fc.jpg does \(accents are encoded otherwise here\)"),
    ("sub\\a b.jpg", r"sub/a b.jpg does \(with / in place"), ("sub/a%20b.jpg", r"sub/a b.jpg does \(with %20"),
    ("other/1.jpg", "val/1.jpg does; correct the name, or give another folder"),
    ("8.jpg", "restore it, or check the image folder")])
def test_the_near_match_of_a_missing_image_is_named(tmp_path, written, words):
    path = write_coco(tmp_path)
    (tmp_path / "val/sub").mkdir()
    for name in ("a b.jpg", "\u00fc.jpg"):
        shutil.copy(tmp_path / "val/1.jpg", tmp_path / "val/sub" / name)
    data = content()
    data["images"][0]["file_name"] = written
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match=f"image 10: .* does not exist or is no file; .*{words}"):
        CocoDataset(path, tmp_path / "val")


@pytest.mark.parametrize("written", ["/data/mine/val/1.jpg", "../val/1.jpg"])
def test_the_near_match_of_a_name_outside_the_folder_is_named(tmp_path, written):
    path = write_coco(tmp_path)
    data = content()
    data["images"][0]["file_name"] = written
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match="leaves the image folder; write it relative to that: .*1.jpg exists"):
        CocoDataset(path, tmp_path / "val")


def test_scoring_needs_no_images(tmp_path):
    path = write_coco(tmp_path)
    shutil.rmtree(tmp_path / "val")
    dataset = CocoDataset(path, tmp_path / "val", needs_images=False)
    assert (dataset.image_ids, len(instances(dataset)), next(iter(dataset.rows([0]))).image) == ([10, 20, 30], 2, b"")


# --- layouts ----------------------------------------------------------------------------------------------------------

def layout(root, ann_file: str, folder: str, prefix: str = "") -> None:
    """Write a data set with another tool's places: annotation file, folder of images, and what names start with."""
    path = write_coco(root / "made")
    data = content()
    for entry in data["images"]:
        old, entry["file_name"] = entry["file_name"], prefix + entry["file_name"]
        target = root / folder / entry["file_name"]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path.parent.parent / "val" / old, target)
    shutil.rmtree(root / "made")
    (root / ann_file).parent.mkdir(parents=True, exist_ok=True)
    (root / ann_file).write_text(json.dumps(data))


@pytest.mark.parametrize(("ann_file", "folder", "prefix"), [
    ("annotations/instances_train2017.json", "train2017", ""), ("annotations/instances_train.json", "train", ""),
    ("annotations/instances_train.json", ".", "train/"), ("annotations/instances_train.json", "images/train", ""),
    ("annotations/instances_train.json", "images", ""), ("train/_annotations.coco.json", "train", ""),
    ("annotations/instances_default.json", "images/default", "batch1/"), ("annotations.json", ".", "JPEGImages/"),
    ("result.json", ".", "images/"), ("annotations/train.json", "train", "")])
def test_layouts_of_labelling_tools_train_without_further_flags(tmp_path, caplog, ann_file, folder, prefix):
    layout(tmp_path, ann_file, folder, prefix)
    with caplog.at_level(logging.WARNING):
        dataset = open_split(MaskRCNNConfig(coco_root=str(tmp_path)), "train")
    assert len(dataset) == 3
    assert all(row.image for row in dataset.rows(range(3)))
    assert caplog.messages == []


def test_roboflows_valid_is_val(tmp_path):
    for name in ("train", "valid"):
        layout(tmp_path, f"{name}/_annotations.coco.json", name)
    assert coco_layout(tmp_path, "val2017", STANDARD) == (tmp_path / "valid/_annotations.coco.json", tmp_path / "valid")


def test_what_is_trained_on_is_not_taken_for_val_in_silence(tmp_path, caplog):
    layout(tmp_path, "result.json", ".", "images/")
    assert coco_layout(tmp_path, "val2017", STANDARD)[0] == tmp_path / "result.json"
    assert "is the only annotation file" in caplog.text
    layout(tmp_path / "b", "annotations/instances_train.json", "train")
    (tmp_path / "b/result.json").write_text("{}")
    assert coco_layout(tmp_path / "b", "val2017", STANDARD)[0] == tmp_path / "b/annotations/instances_val2017.json"
    assert coco_layout(tmp_path, "tran", STANDARD)[0] == tmp_path / "annotations/instances_tran.json"


# --- training and evaluation ------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("change", "words"), [
    (lambda data: [entry.update(iscrowd=1) for entry in data["annotations"]], "3 images have 0 objects .* 4 crowd"),
    (lambda data: data.update(annotations=[]), "3 images have 0 objects of the classes and 0 crowd")])
def test_nothing_to_learn_is_refused_at_the_start(tmp_path, change, words):
    data = content()
    change(data)
    write_coco(tmp_path, data, split="train")
    with pytest.raises(InputError, match=f"nothing to learn: {words}"):
        open_split(MaskRCNNConfig(coco_root=str(tmp_path), train_data_type="train"), "train")


def test_classes_that_the_val_file_lacks_have_no_truth(tmp_path, caplog):
    data = content()
    data["categories"] = [{"id": 3, "name": "dog"}]
    data["annotations"] = [entry for entry in data["annotations"] if entry["category_id"] == 3]
    write_coco(tmp_path, data)
    config = MaskRCNNConfig(coco_root=str(tmp_path), val_data_type="val", train_data_type="val", num_classes=3,
                            coco_classes=("background", "cat", "dog"))
    dataset = open_split(config, "val")
    assert dataset.categories == ((1, 4, "cat"), (2, 3, "dog"))
    assert decode_target(next(iter(dataset.rows([0]))).target).labels.tolist() == [2]
    assert "has no categories cat; there is no truth for these classes" in caplog.text
    assert category_ids(config) == [0, 4, 3]
    with pytest.raises(InputError, match="'cat' is no category"):
        open_split(config, "train")


def test_ap_is_that_of_the_classes_with_truth(tmp_path):
    data = content()
    data["categories"] = [{"id": 3, "name": "dog"}]
    data["annotations"] = [entry for entry in data["annotations"] if entry["category_id"] == 3]
    dataset = opened(tmp_path, data, class_names=("background", "cat", "dog"), absent="allow")
    evaluator = CocoMAP()
    for row in dataset.rows(range(len(dataset))):
        truth = decode_target(row.target)
        boxes = np.concatenate([truth.boxes_image, [[0, 0, 9, 9]]]).astype(np.float32)
        labels = np.append(truth.labels, 1).astype(np.int32)  # a cat is found everywhere
        rles = [to_rle(POLYGON, (24, 32))] * len(labels)
        evaluator.update(Instances(row.image_id, boxes, labels, np.ones(len(labels), np.float32), rles), row.target)
    numbers = evaluator.compute()
    assert (numbers["bbox"]["AP"], numbers["segm"]["AP"]) == (pytest.approx(1), pytest.approx(1))
    assert numbers["classes"]["cat"] == {"instances": 0, "bbox": None, "segm": None}
    assert numbers["classes"]["dog"]["bbox"] == pytest.approx(1)


def test_skip_keeps_the_line_of_a_text_file_with_a_bad_box(tmp_path):
    path = write_txt(tmp_path, ["1.jpg 4,6,12,11,1 1,2,3", "9.jpg 1,2,3,4,1", "3.jpg 1,2,3,4,9"])
    names = ("background", "cat", "dog")
    with pytest.raises(InputError, match="(?s)3 bad records.*bad boxes alone"):
        TxtDataset(path, tmp_path / "images", class_names=names)
    dataset = TxtDataset(path, tmp_path / "images", class_names=names, on_bad="skip")
    assert [len(instances(dataset, n)) for n in range(len(dataset))] == [1, 0]
    assert dataset.left_out == (1, 2)
    assert len(dataset.bad) == 3


def test_objects_of_classes_that_the_model_does_not_know_count_as_not_found(tmp_path, caplog):
    """Where training data named the classes, as category_ids tell; classes that somebody chose are evaluated alone."""
    write_coco(tmp_path)  # cats and dogs; no fish has an object
    config = MaskRCNNConfig(coco_root=str(tmp_path), val_data_type="val", coco_classes=("background", "dog"),
                            category_ids=(0, 3))
    dataset = open_split(config, "val")
    assert dataset.categories == ((1, 3, "dog"), (2, 7, "cat"))
    assert "does not know 1 categories, and their 2 objects count as not found: cat" in caplog.text
    assert "--coco_classes=background,dog evaluates" in caplog.text
    evaluator = CocoMAP()
    for row in dataset.rows(range(len(dataset))):
        truth = decode_target(row.target)
        dogs = truth.labels == 1
        evaluator.update(Instances(row.image_id, truth.boxes_image[dogs], truth.labels[dogs], np.ones(dogs.sum()),
                                   [to_rle(POLYGON, (24, 32))] * dogs.sum()), row.target)
    assert evaluator.compute()["bbox"]["AP"] == pytest.approx(0.5)
    chosen = config.model_copy(update={"category_ids": ()})
    assert [len(instances(open_split(chosen, "val"), n)) for n in range(3)] == [1, 1, 0]


def test_chosen_classes_do_not_get_the_category_ids_of_the_weights():
    theirs = {"coco_classes": ["background", "cat", "dog"], "category_ids": [0, 1, 2]}
    keys = MaskRCNNConfig.network_keys()
    assert not MaskRCNNConfig().adopting(theirs, keys).chose_classes
    assert MaskRCNNConfig(coco_classes=("background", "dog")).adopting(theirs, keys).chose_classes


def test_ids_that_are_texts_in_annotations_alone(tmp_path):
    data = content()
    for entry in data["annotations"]:
        entry |= {key: str(entry[key]) for key in ("image_id", "category_id")}
    dataset = opened(tmp_path, data)
    assert [len(instances(dataset, n)) for n in range(3)] == [2, 2, 0]


def test_a_name_that_is_there_twice_without_annotations_stays_once(tmp_path, caplog):
    data = content()
    data["categories"] = [*data["categories"], {"id": 20, "name": "bird"}, {"id": 21, "name": "bird"}]
    assert opened(tmp_path, data).class_names == ("background", "dog", "cat", "fish", "bird")
    assert "'bird' (id 21)" in caplog.text


def test_nothing_is_written_in_several_ways_and_a_polygon_without_its_list_is_one(tmp_path):
    for nothing in ({"iscrowd": None}, {"segmentation": {}}, {"segmentation": ""}):
        data = one() | {"annotations": [annotation(1, 10) | nothing]}
        assert len(instances(opened(tmp_path / str(nothing), data))) == 1
    found = instances(opened(tmp_path / "flat", one(segmentation=POLYGON[0])))
    assert found[0]["segmentation"] == POLYGON
