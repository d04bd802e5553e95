"""Reading annotation files in COCO's layout."""
import json
from pathlib import Path

import pytest

from src.contract import InputError
from src.data.checks import leave_out_bad
from src.data.instance.coco import CocoDataset
from src.data.instance.coco_check import RecordCheck
from src.data.instance.coco_layout import coco_layout, image_folder_of
from src.data.instance.target import categories_of, decode_target
from tests.tiny_coco import POLYGON, RUNS, annotation, content, write_coco


def source_of(root: Path, data=None, **options) -> CocoDataset:
    return CocoDataset(write_coco(root, data), root / "val", **options)


def test_records_hold_all_that_an_evaluation_needs(tmp_path):
    dataset = source_of(tmp_path)
    assert len(dataset) == 3
    assert dataset.image_ids == [10, 20, 30]
    record = next(dataset.rows([1]))
    assert (record.image_id, record.file_name) == (20, "2.jpg")
    assert record.image == (tmp_path / "val/2.jpg").read_bytes()
    target = decode_target(record.target)
    assert (target.image_id, target.size) == (20, (24, 32))
    assert target.categories == ((1, 3, "dog"), (2, 7, "cat"), (3, 12, "fish"))
    assert target.instances[0] == {"id": 2000, "label": 1, "category_id": 3, "bbox": [4, 6, 8, 5], "iscrowd": 0,
                                   "area": 40, "segmentation": POLYGON}
    assert target.labels.tolist() == [1, 2]
    assert target.boxes_image.tolist() == [[4, 6, 12, 11], [1.5, 2, 21.5, 12.5]]


def test_an_image_without_objects_is_a_record(tmp_path):
    dataset = source_of(tmp_path)
    assert decode_target(next(dataset.rows([2])).target).instances == []


def test_rows_repeat_and_keep_the_order_asked_for(tmp_path):
    assert [record.image_id for record in source_of(tmp_path).rows([2, 0, 0])] == [30, 10, 10]


def test_classes_come_from_the_file_in_the_order_of_their_ids(tmp_path):
    dataset = source_of(tmp_path)
    assert dataset.class_names == ("background", "dog", "cat", "fish")
    assert categories_of(dataset) == dataset.categories


def test_class_index_may_be_the_category_id(tmp_path):
    dataset = source_of(tmp_path, class_map="id")
    assert [category.label for category in dataset.categories] == [3, 7, 12]
    assert dataset.class_names[7] == "cat"
    assert len(dataset.class_names) == 13
    assert decode_target(next(dataset.rows([0])).target).labels.tolist() == [3, 7]


def test_chosen_classes_leave_the_others_out_and_say_so(tmp_path, caplog):
    dataset = source_of(tmp_path, class_names=("background", "cat"))
    assert decode_target(next(dataset.rows([0])).target).labels.tolist() == [1]
    assert "2 annotations of categories outside coco_classes are left out (ids [3])" in caplog.text


def test_chosen_classes_must_be_in_the_file(tmp_path):
    with pytest.raises(InputError, match="'dogs' is no category .* did you mean 'dog'. it has cat, dog, fish"):
        source_of(tmp_path, class_names=("background", "dogs"))
    with pytest.raises(InputError, match="expected background"):
        CocoDataset(tmp_path / "annotations/instances_val.json", tmp_path / "val", class_names=("dog", "cat"))


@pytest.mark.parametrize("kind", ["plain", "none", "empty"])
def test_kinds_of_masks(tmp_path, kind):
    segmentation = {"plain": {"size": [24, 32], "counts": RUNS}, "none": None, "empty": []}[kind]
    data = content()
    data["annotations"] = [annotation(1, 10, segmentation=segmentation, area=None)]
    instance = decode_target(next(source_of(tmp_path, data).rows([0])).target).instances[0]
    assert instance["area"] == 40  # of the mask, or of the box
    assert ("segmentation" in instance) == (kind == "plain")
    if kind == "plain":
        assert isinstance(instance["segmentation"]["counts"], str)


def test_a_crowd_and_a_degenerate_box_stay(tmp_path):
    data = content()
    data["annotations"] = [annotation(1, 10, iscrowd=1, segmentation={"size": [24, 32], "counts": RUNS}),
                           annotation(2, 10, bbox=[5, 5, 0, 3], segmentation=None)]
    target = decode_target(next(source_of(tmp_path, data).rows([0])).target)
    assert target.crowds.tolist() == [True, False]
    assert target.boxes_image[1].tolist() == [5, 5, 5, 8]


def test_boxes_may_overhang_by_rounding(tmp_path):
    data = content()
    data["annotations"] = [annotation(1, 10, bbox=[-0.4, 0, 32.9, 24.3], segmentation=None)]
    assert decode_target(next(source_of(tmp_path, data).rows([0])).target).boxes_image.tolist() == [[0, 0, 32, 24]]


def test_skip_leaves_out_bad_annotations_and_unusable_images_and_lists_why(tmp_path):
    data = content(5)
    data["annotations"] += [annotation(1, 10, 99), annotation(2, 20, bbox=[30, 0, 8, 8]), annotation(3, 77)]
    path = write_coco(tmp_path, data)
    (tmp_path / "val/4.jpg").unlink()
    with pytest.raises(InputError, match="4 bad entries"):
        CocoDataset(path, tmp_path / "val")
    dataset = CocoDataset(path, tmp_path / "val", on_bad="skip")
    assert dataset.image_ids == [10, 20, 30, 50]
    assert dataset.left_out == (1, 3)
    assert [len(decode_target(row.target).instances) for row in dataset.rows(range(4))] == [2, 2, 2, 0]
    assert [message.removeprefix(f"{path}: ").split(":")[0] for message in dataset.bad] == [
        "image 40", "annotation 3", "annotation 1 (image 10)", "annotation 2 (image 20)"]


def test_what_is_left_out_is_counted_in_images_and_annotations_of_none(tmp_path, caplog):
    data = content()
    data["annotations"].append(annotation(1, 77))
    dataset = source_of(tmp_path, data, on_bad="skip")
    assert leave_out_bad(dataset, RecordCheck(), workers=1, known=dataset.bad) is dataset
    assert "0 of 3 records and 1 annotations of others are left out\n" in caplog.text
    data["annotations"] += [annotation(2, 10, 99), annotation(3, 10, 99)]
    dataset = source_of(tmp_path / "b", data, on_bad="skip")
    (tmp_path / "b/val/2.jpg").write_bytes(b"x")
    rest = leave_out_bad(dataset, RecordCheck(), workers=1, known=dataset.bad)
    assert [record.image_id for record in rest.rows(range(len(rest)))] == [10, 30]
    assert "1 of 3 records and 3 annotations of others are left out\n3 bad entries:" in caplog.text
    assert "annotation 2 (image 10): unknown category_id 99" in caplog.text
    assert "(1 more bad annotations in this image)" in caplog.text


def test_files_that_no_record_uses(tmp_path):
    dataset = source_of(tmp_path)
    assert dataset.unlisted() == []
    (tmp_path / "val/extra.jpg").write_bytes(b"x")
    assert dataset.unlisted() == ["extra.jpg"]


def test_layout(tmp_path):
    path = write_coco(tmp_path)
    assert coco_layout(tmp_path, "val", "annotations/instances_{}.json") == (path, tmp_path / "val")
    assert image_folder_of(path) == tmp_path / "val"
    with pytest.raises(InputError, match="coco_root"):
        coco_layout(tmp_path / "nowhere", "val", "{}.json")


def test_check_of_a_record_compares_the_sizes_and_counts_the_classes(tmp_path):
    records = list(source_of(tmp_path).rows(range(3)))
    for level in ("full", "size"):
        assert [RecordCheck(level)(record) for record in records] == [{1: 1, 2: 1}, {1: 1, 2: 1}, {}]
    data = json.loads((tmp_path / "annotations/instances_val.json").read_text())
    data["images"][0]["height"] = 30
    (tmp_path / "annotations/instances_val.json").write_text(json.dumps(data))
    record = next(CocoDataset(tmp_path / "annotations/instances_val.json", tmp_path / "val").rows([0]))
    for level in ("full", "size"):
        with pytest.raises(InputError, match="image 10: 1.jpg: the image is 24x32 .H x W., its annotation says 30x32"):
            RecordCheck(level)(record)


@pytest.mark.parametrize(("name", "split", "images", "instances"), [
    ("coco_open", "val2017", 66, 560), ("coco_open", "train2017", 92, 829), ("nuclei", "val2018", 109, 4363)])
def test_real_files(shared, name, split, images, instances):
    dataset = CocoDataset(*coco_layout(shared / "data" / name, split, "annotations/instances_{}.json"))
    assert (len(dataset), len(dataset.unlisted())) == (images, 0)
    assert sum(len(decode_target(record.target).instances) for record in dataset.rows(range(images))) == instances


@pytest.mark.parametrize(("part", "entry", "words"), [
    ("annotations", 5, "annotations.4.: image_id None is no image"),
    ("annotations", annotation(1000, 20), "annotation 1000 .image 20.: the id is there twice"),
    ("annotations", annotation([1], 10), r"annotation \[1\] .image 10.: its id must be a whole number"),
    ("annotations", annotation(9, 10, None), "annotation 9 .image 10.: unknown category_id None; categories has 3, 7"),
    ("annotations", annotation(9, [10]), r"annotation 9: image_id \[10\] is no image"),
    ("annotations", annotation(9, {}), r"annotation 9: image_id \{\} is no image"),
    ("annotations", annotation(9, 10.5), "annotation 9: image_id 10.5 is no image"),
    ("images", {"id": [1]}, r"images.3.: id is \[1\]; it must be a whole number"),
    ("images", {"id": 40, "file_name": {}}, "image 40: has no file_name"),
    ("images", {"id": 40, "file_name": "a\0b/4.jpg"}, "image 40: .*x00b/4.jpg' has a character"),
    ("images", {"id": 40, "file_name": "./1.jpg", "height": 24, "width": 32}, "image 40: ./1.jpg is image 10 too"),
    ("images", {"id": 40, "file_name": "loop.jpg", "height": 24, "width": 32}, "image 40: .*loop.jpg .* is no file"),
    ("images", 5, "images.3.: id is None"),
    ("images", {"id": 40, "height": 1, "width": 1}, "image 40: has no file_name"),
    ("images", {"id": 40, "file_name": "x/4.jpg", "height": 1, "width": 1}, "image 40: .*x/4.jpg does not exist")])
def test_entries_without_a_place_of_their_own(tmp_path, part, entry, words):
    path = write_coco(tmp_path)
    data = json.loads(path.read_text())
    data[part].append(entry)
    path.write_text(json.dumps(data))
    (tmp_path / "val/loop.jpg").symlink_to("loop.jpg")
    with pytest.raises(InputError, match=words):
        CocoDataset(path, tmp_path / "val")
    assert len(CocoDataset(path, tmp_path / "val", on_bad="skip").bad) == 1
