"""Results on disk: read back as they were written, both versions of the format, damaged files named."""
import json
import weakref
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from src.contract import InputError, Instances
from src.data.instance.target import compress
from src.inference.collecting import Input
from src.results.files import ResultFiles, gather_coco_results, read_index, write_coco_results
from src.results.folder import PredictionFolder

RLE = compress([2, 3, 7], (3, 4))
GOOD = {"label": 1, "category_id": 7, "score": 0.5, "bbox": [1, 0, 2, 3], "segmentation": RLE}


def read(folder: Path, text: str):
    path = folder / "a.json"
    path.write_text(text)
    return ResultFiles(folder, "instance", ("background", "cat"), {"a.jpg": path}).instances("a.jpg", 10, {1: 4})


def detections(*rows: dict, **changes) -> str:
    return json.dumps({"file_name": "a.jpg", "height": 3, "width": 4, "detections": rows} | changes)


def test_detections_are_read(tmp_path):
    found = read(tmp_path, detections(GOOD, GOOD | {"bbox": [0, 0, 1, 1], "score": 0.25}))
    assert found.image_id == 10
    assert found.boxes_image.tolist() == [[1, 0, 3, 3], [0, 0, 1, 1]]
    assert found.labels.tolist() == [4, 4]
    assert found.scores.tolist() == [0.5, 0.25]
    assert found.rles == [RLE, RLE]


@pytest.mark.parametrize(("text", "words"), [
    (detections(GOOD, GOOD | {"score": "high"}), "detections[1]: score is 'high'; it must be a finite number"),
    (detections(GOOD | {"score": float("inf")}), "detections[0]: score is inf"),
    (detections(GOOD | {"bbox": [1, 2]}), "detections[0]: bbox is [1, 2]"),
    (detections(GOOD | {"segmentation": None}), "detections[0]: segmentation is None"),
    (detections(GOOD | {"segmentation": RLE | {"counts": "~"}}), "detections[0]: its counts are no run-length"),
    (detections(GOOD, height=4), "detections[0]: the mask's size is [3, 4], its image has [4, 4]"),
    (detections(GOOD | {"label": "cat"}), "holds no detections"),
    (detections({"score": 1}), "holds no detections"), ("[]", "holds no detections"),
    ("[" * 100_000, "cannot be read")])
def test_what_is_no_detection_is_named(tmp_path, text, words):
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    assert f"{tmp_path / 'a.json'}: {words}" in str(caught.value)


NAMES = ("background", "cat", "dog")
FOUND = Instances(0, np.array([[249.7, 0.3, 508.9, 2.9], [0.1, 0.2, 3.3, 2.4]], np.float32), np.array([2, 1], np.int32),
                  np.array([0.9, 0.30000001], np.float32), [RLE, RLE])


class Finder:
    """What `PredictionFolder` needs of a model: it finds FOUND in every image."""

    task, name, class_names = "instance", "mask_rcnn_r50", NAMES

    def __init__(self):
        self.category_ids = [0, 7, 3]
        self.score_thresholds = {"cat": 0.25}
        self.preprocess = {"checkpoint": {"sha256": "ab" * 32}}
        self.inference_engine = "MindSpore 2.10.0"

    def predict(self, images):
        for _ in images:
            yield SimpleNamespace(image=np.zeros((3, 4, 3), np.uint8), found=FOUND)

    def draw(self, prediction, *, score_threshold, in_place):
        return prediction.image


class OneAtATime(Finder):
    """Expects that nobody keeps an image when the next one is asked for."""

    def predict(self, images):
        before = None
        for prediction in super().predict(images):
            assert before is None or before() is None
            before = weakref.ref(prediction.image)
            yield prediction
            del prediction


def predicted(folder: Path, image_ids: dict[str, int], bad=(), *, model=Finder, **options) -> dict:
    out = PredictionFolder(folder, model(), image_ids=image_ids, **options)
    out.add_images([Input(f"sub/{n}.jpg", folder.parent / f"set/sub/{n}.jpg", f"sub__{n}") for n in "abc"])
    return out.finish(bad)


def test_what_predict_writes_is_read_back_to_the_last_bit(tmp_path):
    predicted(tmp_path / "out", {}, [(Input("x.jpg", tmp_path / "set/x.jpg"), "is empty")])
    for root, name in (("", "sub/b.jpg"), (tmp_path / "set/sub", "b.jpg"), (tmp_path, "set/sub/b.jpg")):
        results = read_index(tmp_path / "out", root)
        assert (results.task, results.class_names) == ("instance", NAMES)
        found = results.instances(name, 10, {0: 0, 1: 5, 2: 6})
        np.testing.assert_array_equal(found.boxes_image, FOUND.boxes_image)
        np.testing.assert_array_equal(found.scores, FOUND.scores)
        assert found.labels.tolist() == [6, 5]
        assert found.rles == [RLE, RLE]
    assert results.instances("set/x.jpg", 11, {}) is None
    assert results.instances("set/unknown.jpg", 11, {}) is None


def test_only_one_image_is_in_memory_at_a_time(tmp_path):
    assert len(predicted(tmp_path / "out", {}, model=OneAtATime)["images"]) == 3


def test_every_detection_is_an_entry_of_cocos_results(tmp_path):
    index = predicted(tmp_path / "out", {"sub/a.jpg": 2 ** 53 + 1, "sub/c.jpg": 3}, category_ids=[0, 20, 10])
    assert index["coco_results"] == {"file": "detections.json", "images": 2, "images_without_id": 1, "reason": None}
    assert index["category_ids"] == [0, 20, 10]
    single = json.loads((tmp_path / "out/detections/sub__a.json").read_text())
    assert {k: single[k] for k in ("file_name", "image_id", "height", "width")} == {
        "file_name": "sub/a.jpg", "image_id": 2 ** 53 + 1, "height": 3, "width": 4}
    first = single["detections"][0]
    assert (first["image_id"], first["category_id"], first["label"], first["name"]) == (2 ** 53 + 1, 10, 2, "dog")
    unknown = json.loads((tmp_path / "out/detections/sub__b.json").read_text())
    assert unknown["image_id"] is None
    assert [row["image_id"] for row in unknown["detections"]] == ["sub/b.jpg"] * 2
    gt = COCO()
    gt.dataset = {"images": [{"id": 2 ** 53 + 1, "height": 3, "width": 4}, {"id": 3, "height": 3, "width": 4}],
                  "annotations": [], "categories": [{"id": 10, "name": "dog"}, {"id": 20, "name": "cat"}]}
    gt.createIndex()
    found = gt.loadRes(str(tmp_path / "out/detections.json")).dataset["annotations"]
    assert [(row["image_id"], row["category_id"]) for row in found] == [
        (2 ** 53 + 1, 10), (2 ** 53 + 1, 20), (3, 10), (3, 20)]
    rows = json.loads((tmp_path / "out/detections.json").read_text())
    assert set(rows[0]) == {"image_id", "category_id", "bbox", "score", "segmentation"}


def test_without_ids_there_is_no_coco_results_file_and_the_index_says_why(tmp_path):
    index = predicted(tmp_path / "out", {})
    assert index["coco_results"]["file"] is None
    assert "--ann_file" in index["coco_results"]["reason"]
    assert json.loads((tmp_path / "out/index.json").read_text()) == index
    assert not (tmp_path / "out/detections.json").exists()


def test_a_results_file_of_nothing_is_an_empty_list(tmp_path):
    write_coco_results(tmp_path / "r.json", [])
    assert json.loads((tmp_path / "r.json").read_text()) == []
    (tmp_path / "a.json").write_text(json.dumps({"detections": []}))
    assert gather_coco_results(tmp_path, [{"result": "a.json", "image_id": 1}])["images"] == 1
    assert json.loads((tmp_path / "detections.json").read_text()) == []


def test_entries_without_a_class_index_count_by_category_id(tmp_path):
    predicted(tmp_path / "out", {})
    path = tmp_path / "out/detections/sub__a.json"
    content = json.loads(path.read_text())
    for row in content["detections"]:
        del row["label"]
    path.write_text(json.dumps(content))
    assert read_index(tmp_path / "out").instances("sub/a.jpg", 1, {1: 5, 2: 6}).labels.tolist() == [6, 5]
    for row in content["detections"]:
        del row["segmentation"]
    path.write_text(json.dumps(content))
    assert read_index(tmp_path / "out").instances("sub/a.jpg", 1, {1: 5, 2: 6}).rles == []


def test_the_first_version_of_predict_is_read(tmp_path):
    """index.json with `inputs`, detections as lists alone, videos beside images."""
    (tmp_path / "detections").mkdir()
    for name in ("sub__1", "2"):
        (tmp_path / f"detections/{name}.json").write_text(json.dumps(
            [{"label": 1, "name": "cat", "score": 0.5, "bbox": [1, 0, 2, 3], "segmentation": RLE}]))
    (tmp_path / "detections/none.json").write_text("[]")
    (tmp_path / "index.json").write_text(json.dumps({"class_names": ["background", "cat"], "inputs": [
        {"input": "set/val/sub/1.jpg", "result": "detections/sub__1.json"},
        {"input": "set/val/2.jpg", "result": "detections/2.json"},
        {"input": "set/val/none.jpg", "result": "detections/none.json"},
        {"input": "set/clip.mp4", "result": "overlays/clip.mp4", "frames": 3},
        {"input": "set/val/bad.jpg", "result": None, "error": "is empty"}]}))
    results = read_index(tmp_path)
    assert (results.task, results.class_names) == ("instance", ("background", "cat"))
    for name in ("sub/1.jpg", "val/2.jpg", "2.jpg", "set/val/2.jpg"):
        found = results.instances(name, 10, {1: 4})
        assert found.boxes_image.tolist() == [[1, 0, 3, 3]]
        assert found.rles == [RLE]
    assert len(results.instances("none.jpg", 3, {}).scores) == 0
    assert results.instances("bad.jpg", 3, {}) is None
    labels = tmp_path / "semantic"
    (labels / "labels").mkdir(parents=True)
    (labels / "labels/a.png").write_bytes(cv2.imencode(".png", np.ones((2, 3), np.uint8))[1].tobytes())
    (labels / "index.json").write_text(json.dumps({"class_names": ["background", "cat"], "inputs": [
        {"input": "x/a.jpg", "result": "labels/a.png"}]}))
    assert read_index(labels).label_map("x/a.jpg", 1).labels.tolist() == [[1, 1, 1]] * 2


@pytest.mark.parametrize("index", [{"format": "mindseg.results", "version": 3}, {"format": "other", "version": 2},
                                   {"format": "mindseg.results", "version": 2}, {"inputs": [3]}, []])
def test_what_is_no_index_is_refused(tmp_path, index):
    (tmp_path / "index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match=r"index.json: (format .* is not known here|is no index of results)"):
        read_index(tmp_path)
