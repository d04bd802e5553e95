"""Exports of the same tools that differ from the usual ones: other folders, names and keys."""
import csv
import json
import logging
import shutil

import numpy as np
import pytest

from src.contract import InputError
from src.data.importers.pictures import Options
from src.data.importers.run import import_data
from tests.data.importers.exports import (
    HEIGHT,
    WIDTH,
    coco_content,
    labelme,
    put_json,
    save,
    scene,
    truth,
    via,
    voc,
    yolo,
)
from tests.data.importers.forms import cvat_images, label_studio_json


def run(name, root, **options) -> dict:
    """The content of import.json."""
    text = import_data(name, root / "source", root / "out", Options(**options))
    return json.loads((root / "out/import.json").read_text()) | {"text": text}


def splits(report) -> dict[str, str]:
    return {image["source"].rpartition("/")[2]: image["split"] for image in report["images"]}


@pytest.mark.parametrize(("name", "write"), [("labelme", labelme), ("via", via)])
def test_folders_called_train_and_val_are_the_split(tmp_path, name, write):
    write(tmp_path / "all")
    for split, numbers in (("Train", (0, 1)), ("val", (2, 3))):
        (tmp_path / "source" / split).mkdir(parents=True)
        for k in numbers:
            shutil.move(tmp_path / f"all/s{k}.png", tmp_path / f"source/{split}/s{k}.png")
            if name == "labelme":
                shutil.move(tmp_path / f"all/s{k}.json", tmp_path / f"source/{split}/s{k}.json")
    for path in (tmp_path / "all").glob("*.json"):
        shutil.move(path, tmp_path / "source")
    assert splits(run(name, tmp_path)) == {"s0.png": "train", "s1.png": "train", "s2.png": "val", "s3.png": "val"}


def test_one_folder_of_a_splits_name_is_no_split(tmp_path):
    labelme(tmp_path / "source/test")
    assert sorted(splits(run("labelme", tmp_path)).values()) == ["train", "train", "train", "val"]


def test_an_export_of_yolo_in_a_folder_of_its_own(tmp_path):
    yolo(tmp_path / "source/project-1")
    assert run("yolo", tmp_path)["class_names"] == ["cat", "dog"]


def test_yolos_names_by_numbers_as_texts_and_a_test_split_that_is_not_there(tmp_path):
    yolo(tmp_path / "source")
    (tmp_path / "source/data.yaml").write_text("train: ../train/images\nval: images/val\ntest: ../test/images\n"
                                               "names: {'0': cat, '1': dog}\n")
    shutil.move(tmp_path / "source/images/train", tmp_path / "source/train/images")
    shutil.move(tmp_path / "source/labels/train", tmp_path / "source/train/labels")
    report = run("yolo", tmp_path)
    assert (report["class_names"], report["counts"]["train"]) == (["cat", "dog"], {"cat": 3, "dog": 3})
    assert report["notes"]["splits of data.yaml are not there"] == ["test: ../test/images"]


def test_yolos_labels_beside_the_images(tmp_path):
    yolo(tmp_path / "source")
    for path in (tmp_path / "source/labels").rglob("*.txt"):
        shutil.move(path, tmp_path / "source/images" / path.parent.name)
    assert run("yolo", tmp_path)["counts"]["train"] == {"cat": 3, "dog": 3}


def test_a_coco_file_beside_vias_is_passed_over(tmp_path):
    via(tmp_path / "source")
    put_json(tmp_path / "source/via_coco.json", coco_content(range(4)))
    assert run("via", tmp_path)["notes"]["JSON files in COCO's layout were not read"] == ["via_coco.json"]


def test_vias_annotations_as_csv(tmp_path):
    via(tmp_path / "source")
    expected = run("via", tmp_path)["counts"]
    shutil.rmtree(tmp_path / "out")
    path = next((tmp_path / "source").glob("*.json"))
    content = json.loads(path.read_text())
    with (tmp_path / "source/via_csv.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["#filename", "file_size", "file_attributes", "region_count", "region_id",
                        "region_shape_attributes", "region_attributes"])
        for entry in content.get("_via_img_metadata", content).values():
            regions = entry["regions"] if isinstance(entry["regions"], list) else list(entry["regions"].values())
            for k, region in enumerate(regions or [{"shape_attributes": {}, "region_attributes": {}}]):
                lines.writerow([entry["filename"], 1, "{}", len(regions), k, json.dumps(region["shape_attributes"]),
                                json.dumps(region["region_attributes"])])
    assert run("via", tmp_path)["counts"] == expected  # the JSON counts where both are there
    path.unlink()
    shutil.rmtree(tmp_path / "out")
    assert run("via", tmp_path)["counts"] == expected
    shutil.rmtree(tmp_path / "out")
    path = tmp_path / "source/via_csv.csv"
    text = path.read_text()
    for wrong, words in (("a,b\n1,2\n", "not VIA's annotations as CSV, which have the columns filename"),
                         (text.replace('"{""name', '"{name', 1), "2: its shape or attributes are no JSON")):
        path.write_text(wrong)
        with pytest.raises(InputError, match=f"via_csv.csv:.?{words}"):
            run("via", tmp_path)


def test_paths_of_another_machine_mean_the_image_beside_the_file(tmp_path):
    for split, first in (("train", 0), ("valid", 10)):
        content = coco_content(range(2))
        for k, entry in enumerate(content["images"]):
            save(tmp_path / f"source/{split}/s{k}.png", scene(first + k))
            entry["file_name"] = f"/home/somebody/export/s{k}.png"
        put_json(tmp_path / f"source/{split}/_annotations.coco.json", content)
    assert run("roboflow", tmp_path)["counts"] == {split: {"cat": 2, "dog": 2} for split in ("train", "val")}
    put_json(tmp_path / "source/train/_annotations.coco.json", [])
    shutil.rmtree(tmp_path / "out")
    with pytest.raises(InputError, match="_annotations.coco.json: has no images, annotations and categories"):
        run("roboflow", tmp_path)


def test_crowds_alone_are_said_and_can_become_objects(tmp_path, caplog):
    content = coco_content(range(2))
    for entry in content["annotations"]:
        entry["iscrowd"] = 1
    for k in range(2):
        save(tmp_path / f"source/s{k}.png", scene(k))
    put_json(tmp_path / "source/annotations.json", content)
    with caplog.at_level(logging.WARNING):
        run("coco", tmp_path, val_share=0)
    assert "all 4 objects are crowd regions (iscrowd 1)" in caplog.text
    assert "--crowds=objects" in caplog.text
    shutil.move(tmp_path / "out", tmp_path / "kept")
    run("coco", tmp_path, val_share=0, crowds="objects")
    kept, made = (json.loads((tmp_path / f"{folder}/annotations/instances_train.json").read_text())["annotations"]
                  for folder in ("kept", "out"))
    assert ({e["iscrowd"] for e in kept}, {e["iscrowd"] for e in made}) == ({1}, {0})
    assert [e["segmentation"] for e in kept] == [e["segmentation"] for e in made]


def test_label_studio_keypoints_and_names_that_it_changes(tmp_path):
    label_studio_json(tmp_path / "source")
    path = next((tmp_path / "source").glob("*.json"))
    tasks = json.loads(path.read_text())
    image = next((tmp_path / "source").rglob("s 0.png"))
    image.rename(image.with_name("my photo (1).png"))
    task = next(task for task in tasks if "s%200.png" in json.dumps(task["data"]))
    task["data"] = {"image": "/data/upload/1/0123abcd-my_photo_1.png"}
    task["annotations"][1]["result"].append({
        "id": "k", "type": "keypointlabels", "original_width": WIDTH, "original_height": HEIGHT,
        "value": {"x": 10, "y": 10, "width": 0.5, "keypointlabels": ["cat"]}})
    path.write_text(json.dumps(tasks))
    report = run("label_studio", tmp_path)
    assert sum(count["cat"] for count in report["counts"].values()) == 4
    assert "regions of type keypointlabels were not taken: they have no area" in report["notes"]


def test_vocs_folders_with_masks_of_0_and_255_are_warned_of(tmp_path):
    voc(tmp_path / "source")
    for k in range(4):
        save(tmp_path / f"source/SegmentationClass/s{k}.png", np.uint8(255) * (truth(k) > 0))
    assert "train has pixels of one class alone, and " in run("voc", tmp_path)["text"]
    shutil.rmtree(tmp_path / "out")
    voc(tmp_path / "other/source")
    assert "of one class alone" not in run("voc", tmp_path / "other")["text"]


def test_a_source_without_objects_is_refused_in_words(tmp_path):
    labelme(tmp_path / "source")
    for path in (tmp_path / "source").glob("*.json"):
        put_json(path, json.loads(path.read_text()) | {"shapes": []})
    with pytest.raises(InputError, match="no object to import: none of the 4 images has one"):
        run("labelme", tmp_path)


SPOILT = {  # file, what is replaced once in it and by what
    "labelme": ("s0.json", '"polygon"', '"cuboid"'), "yolo": ("labels/train/s0.txt", "0 ", "7 "),
    "coco": ("annotations.json", "[[", '[["x", '), "cvat": ("annotations.xml", 'xtl="', 'xtl="x')}


def one_folder_of_coco(root) -> None:
    for k in range(4):
        save(root / f"s{k}.png", scene(k))
    put_json(root / "annotations.json", coco_content(range(4)))


@pytest.mark.parametrize(("name", "write"), [("labelme", labelme), ("yolo", yolo), ("coco", one_folder_of_coco),
                                             ("cvat", cvat_images)])
def test_a_bad_annotation_is_left_out_and_its_image_stays(tmp_path, name, write):
    write(tmp_path / "source")
    file, old, new = SPOILT[name]
    path = next((tmp_path / "source").rglob(file))
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match="leave them out with --on_bad=skip: annotations alone"):
        run(name, tmp_path)
    report = run(name, tmp_path, on_bad="skip")
    assert (len(report["images"]), len(report["left_out"])) == (4, 1)
    total = 12 if name == "cvat" else 8  # CVAT's images have a third object each
    assert sum(sum(count.values()) for count in report["counts"].values()) == total - 1
