"""What single formats have that others have not."""
import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from src.contract import InputError
from src.data.importers.geometry import clip
from src.data.importers.pictures import Options
from src.data.importers.run import import_data
from tests.data.importers.exports import (
    HEIGHT,
    WIDTH,
    cityscapes,
    cvat_masks,
    lvis,
    masks,
    put_json,
    save,
    scene,
    supervisely,
    via,
    voc,
    yolo,
)
from tests.data.importers.forms import ade20k_instances, cityscapes_polygons


def entries(root) -> list[dict]:
    """The annotations of an import for training."""
    return json.loads((root / "out/annotations/instances_train.json").read_text())["annotations"]


def run(name, root, **options) -> str:
    return import_data(name, root / "source", root / "out", Options(**{"val_share": 0, **options}))


def test_polygons_are_cut_and_not_squeezed_at_the_border():
    triangle = np.array([[-5.0, 0], [15, 0], [15, 20]])
    cut = clip(triangle, (40, 60))
    x, y = cut.T
    area = abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
    assert area == pytest.approx(187.5)  # of 200, without the corner of 5 x 5 / 2
    assert cut.min() >= 0
    assert len(clip(triangle + 100, (40, 60))) == 0


def test_supervisely_polygons_with_holes(tmp_path):
    supervisely(tmp_path / "source")
    path = tmp_path / "source/ds/ann/s0.png.json"
    content = json.loads(path.read_text())
    content["objects"] = [{"classTitle": "cat", "geometryType": "polygon", "points": {
        "exterior": [[5, 5], [14, 5], [14, 14], [5, 14]], "interior": [[[7, 7], [9, 7], [9, 9], [7, 9]]]}},
        {"classTitle": "cat", "geometryType": "point", "points": {"exterior": [[1, 1]], "interior": []}}]
    path.write_text(json.dumps(content))
    text = run("supervisely", tmp_path)
    assert entries(tmp_path)[0]["area"] == 10 * 10 - 3 * 3
    assert "objects of type point were not taken" in text


def test_vias_shapes_and_the_choice_of_the_attribute(tmp_path):
    via(tmp_path / "source")
    path = tmp_path / "source/via_project.json"
    content = json.loads(path.read_text())
    shapes = [{"name": "rect", "x": 1, "y": 2, "width": 10, "height": 5},
              {"name": "circle", "cx": 30, "cy": 20, "r": 8}, {"name": "point", "cx": 1, "cy": 1},
              {"name": "ellipse", "cx": 30, "cy": 20, "rx": 10, "ry": 5, "theta": 0.5}]
    content["_via_img_metadata"]["s0.png1234"]["regions"] = [
        {"shape_attributes": shape, "region_attributes": {"pet": {"cat": True, "dog": False}, "note": ""}}
        for shape in shapes]
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="--attribute=pet"):
        run("via", tmp_path)
    run("via", tmp_path, attribute="pet")
    areas = [entry["area"] for entry in entries(tmp_path)[:3]]
    assert areas == [50, pytest.approx(np.pi * 64, rel=0.04), pytest.approx(np.pi * 50, rel=0.04)]


def test_yolos_boxes_lists_and_wrong_lines(tmp_path):
    yolo(tmp_path / "source")
    (tmp_path / "source/data.yaml").write_text("names: [cat, dog]\ntrain: all.txt\n")
    (tmp_path / "source/all.txt").write_text("./images/train/s0.png\n/somewhere/else/images/train/s1.png\n")
    label = tmp_path / "source/labels/train/s0.txt"
    label.write_text("1 0.5 0.5 0.2 0.4\n")
    (tmp_path / "source/labels/train/s1.txt").unlink()
    text = run("yolo", tmp_path)
    assert entries(tmp_path)[0]["bbox"] == [24, 12, 12, 16]
    assert "1 objects have a box and no mask" in text
    assert "1 images have no label file" in text
    for line, words in (("2 0 0 1 0 1 1", "s0.txt:1: class 2, but there are 0..1"),
                        ("0 5 5 10 5 10 10", "s0.txt:1: 5 is no"),
                        ("0 .1 .1 .2 .2 .3", "s0.txt:1: 5 coordinates"), ("cat 0 0 1 1 1 0", "s0.txt:1: 'cat 0")):
        label.write_text(line)
        with pytest.raises(InputError, match=words):
            import_data("yolo", tmp_path / "source", tmp_path / "other", Options())


def test_colours_that_labelmap_txt_does_not_name(tmp_path):
    cvat_masks(tmp_path / "source")
    label = np.asarray(Image.open(tmp_path / "source/SegmentationClass/s0.png")).copy()
    label[0, :5] = (224, 224, 192)  # VOC's border
    save(tmp_path / "source/SegmentationClass/s0.png", label)
    run("cvat_masks", tmp_path)
    assert (np.asarray(Image.open(tmp_path / "out/SegmentationClassGray/s0.png"))[0, :5] == 255).all()
    label[0, :5] = (1, 2, 3)
    save(tmp_path / "source/SegmentationClass/s0.png", label)
    with pytest.raises(InputError, match=r"s0.png: colour \(1, 2, 3\) is not in .*labelmap.txt; add it there"):
        import_data("cvat_masks", tmp_path / "source", tmp_path / "other", Options())


def test_voc_labels_of_other_classes_need_names(tmp_path):
    voc(tmp_path / "source")
    save(tmp_path / "source/SegmentationClass/s0.png", np.full((HEIGHT, WIDTH), 30, np.uint8))
    with pytest.raises(InputError, match=r"s0.png: the label has values \[30\], but there are 21 classes"):
        run("voc", tmp_path)


def test_groups_of_cityscapes_are_crowds_and_the_test_set_is_not_taken(tmp_path):
    cityscapes(tmp_path / "source")
    ids = np.full((HEIGHT, WIDTH), 26, np.uint16)
    save(tmp_path / "source/gtFine/train/aachen/aachen_000000_000019_gtFine_instanceIds.png", ids)
    text = import_data("cityscapes", tmp_path / "source", tmp_path / "out", Options(layout="coco"))
    assert "test set" in text
    crowd = entries(tmp_path)[0]
    assert (crowd["iscrowd"], crowd["area"]) == (1, HEIGHT * WIDTH)


def test_masks_of_objects_and_in_other_values(tmp_path):
    for k in range(2):
        save(tmp_path / f"source/id{k}/images/id{k}.png", scene(k))
        for j in range(3):
            mask = np.zeros((HEIGHT, WIDTH), np.uint8)
            mask[10 * j:10 * j + 5, 3:9] = 1 if k else 255
            save(tmp_path / f"source/id{k}/masks/{j}.png", mask)
    run("masks", tmp_path, layout="coco", class_names=("nucleus",))
    assert [entry["area"] for entry in entries(tmp_path)] == [30] * 6


def test_masks_saved_as_jpeg_and_what_is_no_binary_mask(tmp_path):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[8:24, 8:40] = 255
    save(tmp_path / "source/images/a.jpg", scene(0))
    save(tmp_path / "source/masks/a_mask.jpg", mask, quality=80)
    run("masks", tmp_path)
    label = np.asarray(Image.open(tmp_path / "out/SegmentationClassGray/a.png"))
    assert np.mean(label != mask // 255) < 0.005
    indices = mask // 255 + (mask > 0) * np.eye(HEIGHT, WIDTH, dtype=np.uint8)
    for pixels, words in ((indices, "indices of several classes"), (scene(1)[..., 0], "no mask")):
        (tmp_path / "source/masks/a_mask.jpg").unlink(missing_ok=True)
        save(tmp_path / "source/masks/a.png", pixels)
        with pytest.raises(InputError, match=words):
            import_data("masks", tmp_path / "source", tmp_path / "other", Options())


def test_a_mask_of_another_size_is_named(tmp_path):
    masks(tmp_path / "source")
    save(tmp_path / "source/masks/dog/s1.png", np.zeros((HEIGHT, WIDTH + 1), np.uint8))
    with pytest.raises(InputError, match="masks/dog/s1.png: has another size than its image images/s1.png"):
        run("masks", tmp_path)
    assert "2 bad entries" not in run("masks", tmp_path, on_bad="skip")


def test_lvis_says_that_its_lists_of_searched_categories_are_not_used(tmp_path):
    lvis(tmp_path / "source")
    text = run("lvis", tmp_path)
    assert "4 images say which categories were looked for in them: LVIS's neg_category_ids" in text


def test_groups_of_cityscapes_polygons_are_crowds_and_unknown_labels_are_named(tmp_path):
    cityscapes_polygons(tmp_path / "source")
    path = tmp_path / "source/gtFine/train/aachen/aachen_000000_000019_gtFine_polygons.json"
    content = json.loads(path.read_text())
    content["objects"][-1]["label"] = "cargroup"
    path.write_text(json.dumps(content))
    run("cityscapes", tmp_path, layout="coco")
    found = {(entry["category_id"], entry["iscrowd"]) for entry in entries(tmp_path) if entry["image_id"] == 1}
    assert found == {(1, 0), (3, 1)}
    content["objects"][-1]["label"] = "tiger"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"polygons.json: objects.5: label 'tiger' is none of Cityscapes"):
        import_data("cityscapes", tmp_path / "source", tmp_path / "other", Options())


def cvat_entries(root, shapes: str) -> tuple[list[dict], str]:
    """The annotations of an image with these shapes, and the report."""
    save(root / "source/images/a.png", scene(0))
    (root / "source/annotations.xml").write_text(
        f'<annotations><version>1.1</version><image id="0" name="a.png" width="{WIDTH}" height="{HEIGHT}">{shapes}'
        "</image></annotations>")
    text = run("cvat", root)
    return entries(root), text


def test_cvats_masks_have_holes_and_boxes_turn_around_their_middle(tmp_path):
    found, _ = cvat_entries(tmp_path, (
        '<mask label="ring" rle="0, 8, 2, 8" left="3" top="2" width="6" height="3"/>'
        '<box label="box" xtl="20" ytl="10" xbr="40" ybr="20" rotation="90"/>'
        '<ellipse label="egg" cx="30" cy="20" rx="10" ry="5" rotation="90"/>'))
    ring, box, egg = found
    mask = coco_mask.decode(ring["segmentation"])
    assert mask[2:5, 3:9].tolist() == [[1] * 6, [1, 1, 0, 0, 1, 1], [1] * 6]
    assert (mask.sum(), ring["bbox"]) == (16, [3, 2, 6, 3])
    assert box["bbox"] == pytest.approx([25, 5, 10, 20])
    assert egg["bbox"] == pytest.approx([25, 10, 10, 20], abs=0.05)


@pytest.mark.parametrize(("shape", "words"), [
    ('<mask label="a" rle="3, 4" left="0" top="0" width="3" height="3"/>', "mask 0: its rle does not cover 3 x 3"),
    ('<polygon label="a" points="1,2;3"/>', "polygon 0: '3' is no point"),
    ('<polygon label="a" points="1,2;3,x;4,5"/>', "'x' is no coordinate"),
    ('<box label="a" xtl="nan" ytl="1" xbr="2" ybr="3"/>', "xtl: 'nan' is no coordinate"),
    ('<box xtl="1" ytl="1" xbr="2" ybr="3"/>', "box 0: '' cannot name a class"),
    ('<star label="a"/>', "a shape 'star' is not known"), ("<polygon", "annotations.xml: not XML")])
def test_what_is_wrong_in_cvats_xml_is_named(tmp_path, shape, words):
    with pytest.raises(InputError, match=words):
        cvat_entries(tmp_path, shape)


def studio(root, results) -> str:
    """The report on a task with these regions."""
    save(root / "source/a.png", scene(0))
    put_json(root / "source/x.json", [{"id": 7, "data": {"image": "a.png"}, "annotations": [{"result": results}]}])
    return run("label_studio", root)


def test_label_studios_ellipses_and_what_has_no_area(tmp_path):
    region = {"original_width": WIDTH, "original_height": HEIGHT, "type": "ellipselabels", "id": "e",
              "value": {"x": 50, "y": 50, "radiusX": 10, "radiusY": 20, "ellipselabels": ["egg"]}}
    point = region | {"id": "p", "type": "keypointlabels", "value": {"x": 1, "y": 1, "keypointlabels": ["egg"]}}
    text = studio(tmp_path, [region, point])
    assert entries(tmp_path)[0]["bbox"] == pytest.approx([24, 12, 12, 16], abs=0.05)
    assert "1 regions of type keypointlabels were not taken: they have no area" in text


@pytest.mark.parametrize(("changes", "value", "words"), [
    ({"image_rotation": 90}, {}, "task 7: the image was turned by 90 degrees"),
    ({"original_width": 61}, {}, "says 61x40 .width x height., but"),
    ({}, {"polygonlabels": ["a", "b"]}, "region r has the labels a, b; an object has one class"),
    ({}, {"polygonlabels": []}, "region r has the labels none"),
    ({}, {"points": None, "rle": [1, 2, 3]}, "a brush mask is damaged"),
    ({}, {"points": None, "rle": [0, 0, 0, 4, 56, 0, 0, 0]}, "a brush mask has 4 values, its image of 60x40"),
    ({}, {"points": [[1, "x"]]}, "result.0: value.points.0.1")])
def test_what_is_wrong_in_label_studios_tasks_is_named(tmp_path, changes, value, words):
    region = {"original_width": WIDTH, "original_height": HEIGHT, "id": "r", "type": "polygonlabels",
              "value": {"points": [[1, 1], [20, 1], [20, 20]], "polygonlabels": ["a"]} | value} | changes
    with pytest.raises(InputError, match=words):
        studio(tmp_path, [region])


def test_ade20ks_instances_of_unknown_categories_are_named(tmp_path):
    ade20k_instances(tmp_path / "source")
    path = tmp_path / "source/ADEChallengeData2016/annotations_instance/training/s0.png"
    save(path, np.full((HEIGHT, WIDTH, 3), 9, np.uint8))
    with pytest.raises(InputError, match=r"s0.png: has category 9, but there are 1..2"):
        run("ade20k", tmp_path, layout="coco")
