"""Label maps and detections against the Python predictors', the result folder, and what a second run does."""
import json
import re
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from src.contract import InputError
from src.data import image_ops
from src.deeplabv3.inference import to_image_frame
from src.maskrcnn.paste import to_instances
from src.maskrcnn.preprocess import Preprocess
from src.metrics.score_thresholds import by_label, keep
from src.results.files import result_names
from src.results.folder import claim
from tests.ascend310_infer.tiny_models import (
    SPEC,
    changed,
    constant_scores,
    instance_model,
    instance_spec,
    run,
    save,
    semantic_model,
)

pytestmark = pytest.mark.slow
SIZES = {"landscape": (40, 90), "portrait": (131, 77), "square": (65, 65), "pixel": (1, 1), "line": (1, 30),
         "large": (375, 500), "double": (130, 130)}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for n, (name, (height, width)) in enumerate(SIZES.items()):
        small = np.random.default_rng(n).integers(0, 256, (height // 6 + 2, width // 6 + 2, 3), np.uint8)
        image = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
        (folder / f"{name}.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    return folder


@pytest.mark.parametrize("build", ["program", "sanitized"])
def test_label_maps_are_those_of_python(build, request, images, tmp_path):
    rng = np.random.default_rng(0)
    scores = cv2.resize(rng.random((9, 9, 21), np.float32), (65, 65), interpolation=cv2.INTER_CUBIC).transpose(2, 0, 1)
    model = constant_scores(tmp_path / "m", np.ascontiguousarray(scores))
    ran = run(request.getfixturevalue(build), model, images, tmp_path / "r")
    assert ran.returncode == 0, ran.stderr
    equal = total = 0
    for name, size in SIZES.items():
        found = cv2.imread(str(tmp_path / f"r/labels/{name}.png"), cv2.IMREAD_UNCHANGED)
        expected = to_image_frame(scores, image_ops.fit_long_side(size, 65), size).reshape(*size, 21).argmax(-1)
        assert found.shape == size
        assert found.dtype == np.uint8
        equal, total = equal + (found == expected).sum(), total + found.size
    assert total > 200_000
    assert equal >= 0.9999 * total
    assert len(np.unique(found)) > 5


def detections(rng, slots=12):
    corners = np.sort(rng.uniform(-5, 100, (1, slots, 2, 2)), 2).reshape(1, slots, 4).astype(np.float32)
    corners[0, 0] = [0, 0, 96, 64]  # the whole canvas
    corners[0, 1] = [10, 10, 10, 10]  # nothing
    corners[0, 2] = [90.2, 60.7, 96, 64]  # the corner
    masks = np.stack([cv2.resize(rng.random((5, 5), np.float32), (28, 28)) for _ in range(slots)])[None]
    masks[0, 3] = 0  # an empty mask
    masks[0, 0] = 1  # a full one
    return {"boxes": corners, "labels": rng.integers(1, 3, (1, slots)).astype(np.int32),
            "scores": np.sort(rng.random((1, slots), np.float32))[:, ::-1].copy(),
            "valid": (np.arange(slots) < slots - 2)[None], "masks": masks}


@pytest.mark.parametrize("paste_pad", [None, 0, 1])
@pytest.mark.parametrize("build", ["program", "sanitized"])
def test_detections_are_those_of_python(build, paste_pad, request, images, tmp_path):
    arrays = detections(np.random.default_rng(3))
    spec = instance_spec(arrays, height=64, width=96, paste_pad=paste_pad)
    ran = run(request.getfixturevalue(build), instance_model(tmp_path / "m", spec, arrays), images, tmp_path / "r")
    assert ran.returncode == 0, ran.stderr
    preprocess = Preprocess((64, 96), (0,) * 3, (1,) * 3)
    inside = 0
    for name, size in SIZES.items():
        content = json.loads((tmp_path / f"r/detections/{name}.json").read_text())
        found = content["detections"]
        assert (content["file_name"], content["height"], content["width"]) == (f"{name}.png", *size)
        assert content["image_id"] is None
        assert set(found[0]) == {"image_id", "label", "name", "category_id", "bbox", "score", "segmentation"}
        assert found[0]["image_id"] == f"{name}.png"
        expected = to_instances(1, tuple(a[0] for a in arrays.values()), image_size=preprocess.fitted(size),
                                original_size=size, paste_pad=paste_pad)
        assert len(found) == 10 == len(expected.scores)
        assert [d["label"] for d in found] == expected.labels.tolist()
        assert [d["name"] for d in found] == [["background", "cat", "dog"][k] for k in expected.labels]
        assert [d["category_id"] for d in found] == [[0, 17, 18][k] for k in expected.labels]
        assert [np.float32(d["score"]) for d in found] == expected.scores.tolist()
        boxes = np.array([d["bbox"] for d in found])
        boxes[:, 2:] += boxes[:, :2]
        np.testing.assert_allclose(boxes, expected.boxes_image, atol=1e-4)
        for detection, rle in zip(found, expected.rles):
            ours, theirs = coco_mask.decode(detection["segmentation"]), coco_mask.decode(rle)
            assert (ours != theirs).sum() <= max(1, 1e-4 * ours.size), name
            inside += int(ours.sum())
            # the text itself is what pycocotools writes for these pixels
            assert detection["segmentation"]["counts"] == coco_mask.encode(np.asfortranarray(ours))["counts"].decode()
    assert inside > 10_000


@pytest.mark.parametrize("build", ["program", "sanitized"])
def test_detections_below_the_threshold_of_their_class_are_no_results(build, request, images, tmp_path):
    """One threshold is a score as it is, to the last bit: it counts."""
    arrays = detections(np.random.default_rng(3), slots=40)
    cats = np.flatnonzero((arrays["labels"][0] == 1) & arrays["valid"][0])
    thresholds = {"cat": float(arrays["scores"][0, cats[5]]), "dog": 0.71}
    spec = instance_spec(arrays, height=64, width=96, score_thresholds=thresholds)
    ran = run(request.getfixturevalue(build), instance_model(tmp_path / "m", spec, arrays), images, tmp_path / "r")
    assert ran.returncode == 0, ran.stderr
    expected = keep(to_instances(1, tuple(array[0] for array in arrays.values()), image_size=(64, 96),
                                 original_size=(65, 65)), by_label(thresholds, spec["class_names"]))
    found = json.loads((tmp_path / "r/detections/square.json").read_text())["detections"]
    assert [np.float32(d["score"]) for d in found] == expected.scores.tolist()
    assert [d["label"] for d in found] == expected.labels.tolist()
    assert expected.labels.tolist().count(1) == 6
    assert 0 < expected.labels.tolist().count(2) < (arrays["labels"][0] == 2).sum() - 5
    assert json.loads((tmp_path / "r/index.json").read_text())["score_thresholds"] == thresholds


def test_labels_of_a_network_that_returns_labels(program, images, tmp_path):
    import onnx
    from onnx import helper

    spec = changed(SPEC, outputs=[{"name": "labels", "shape": [1, 65, 65], "dtype": "int32"}])
    nodes = [helper.make_node("ArgMax", ["image"], ["best"], axis=1, keepdims=0),
             helper.make_node("Cast", ["best"], ["labels"], to=onnx.TensorProto.INT32)]
    outputs = {"labels": np.zeros((1, 65, 65), np.int32)}
    model = save(tmp_path / "m", spec, nodes, {"image": [1, 3, 65, 65]}, outputs, [])
    ran = run(program, model, images, tmp_path / "r", f"--dump_inputs={tmp_path / 'in'}")
    assert ran.returncode == 0, ran.stderr
    for name in ("landscape", "double", "large"):
        height, width = image_ops.fit_long_side(SIZES[name], 65)
        labels = np.fromfile(tmp_path / f"in/{name}.bin", np.float32).reshape(3, 65, 65).argmax(0).astype(np.uint8)
        expected = image_ops.resize(labels[:height, :width].copy(), SIZES[name], "nearest")
        assert (cv2.imread(str(tmp_path / f"r/labels/{name}.png"), cv2.IMREAD_UNCHANGED) == expected).all()


def test_batches_do_not_change_results(program, images, tmp_path):
    single = semantic_model(tmp_path / "m1")
    batched = semantic_model(tmp_path / "m4", changed(SPEC, inputs__0__shape=[4, 3, 65, 65],
                                                      outputs__0__shape=[4, 3, 65, 65]))
    for model, out in ((single, "r1"), (batched, "r4")):
        assert run(program, model, images, tmp_path / out).returncode == 0
    for name in SIZES:
        first, second = ((tmp_path / f"{out}/labels/{name}.png").read_bytes() for out in ("r1", "r4"))
        assert first == second


def test_a_restart_goes_on_and_unreadable_images_are_counted(program, images, tmp_path):
    folder, results, model = tmp_path / "images", tmp_path / "r", semantic_model(tmp_path / "m")
    (folder / "sub").mkdir(parents=True)
    for name in ("landscape", "square"):
        (folder / f"sub/{name}.png").write_bytes((images / f"{name}.png").read_bytes())
    (folder / "cut.jpg").write_bytes(cv2.imencode(".jpg", np.zeros((50, 50, 3), np.uint8))[1].tobytes()[:-9])
    (folder / "a folder.png").mkdir()
    lines = ["sub/landscape.png labels/x.png", "", "cut.jpg x", "gone.jpg x", '"a folder.png" x',
             f"{folder}/sub/square.png x", "sub/../sub/landscape.png x"]
    (tmp_path / "list.txt").write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    ran = run(program, model, folder, results, f"--image_list={tmp_path / 'list.txt'}")
    assert ran.returncode == 3
    assert "3 of 5 images have no result" in ran.stderr
    assert "a folder, not an image" in ran.stderr
    index = json.loads((results / "index.json").read_text())
    assert [i["file_name"] for i in index["images"]] == ["sub/landscape.png", "cut.jpg", "gone.jpg", "a folder.png",
                                                         "sub/square.png"]
    assert [i["result"] for i in index["images"]] == ["labels/sub__landscape.png", None, None, None,
                                                      "labels/sub__square.png"]
    assert "truncated" in index["images"][1]["error"]
    assert index["images_per_second"] > 0
    assert set(index["latency_ms"]) == {"decode", "preprocess", "inference", "write", "total"}
    assert not list(results.rglob(".unfinished*"))

    kept = results / "labels/sub__landscape.png"
    kept.write_bytes(b"kept as it is")
    (results / "labels/sub__square.png").write_bytes(b"")
    with (results / "fingerprints.txt").open("a") as journal:
        journal.write('0123456789abcdef-12 "cu')  # as a power cut leaves it
    (folder / "cut.jpg").write_bytes((images / "pixel.png").read_bytes())
    (tmp_path / "list.txt").write_text("sub/landscape.png\ncut.jpg\nsub/square.png\n")
    again = (program, model, Path("images"), Path("r"), "--image_list=list.txt")
    ran = run(*again, cwd=tmp_path)
    assert ran.returncode == 0
    assert "3 images, 1 of them have a result already" in ran.stdout
    assert kept.read_bytes() == b"kept as it is"
    index = json.loads((results / "index.json").read_text())
    assert all(i["result"] for i in index["images"])
    ran = run(*again, cwd=tmp_path)
    assert ran.returncode == 0
    assert "3 images, 3 of them have a result already" in ran.stdout
    assert json.loads((results / "index.json").read_text()) == index  # speed included


def checksum(data: bytes) -> str:
    return f"{zlib.crc32(data):08x}-{len(data)}"


def test_results_of_another_model_or_of_other_images_are_refused(program, images, tmp_path):
    first, results = semantic_model(tmp_path / "a"), tmp_path / "r"
    assert run(program, first, images, results).returncode == 0
    assert json.loads((results / "run.json").read_text())["model_file"] == checksum(first.read_bytes())
    written = (results / "fingerprints.txt").read_text().splitlines()
    assert sorted(written) == sorted(f'{checksum((images / f"{n}.png").read_bytes())} "{n}"' for n in SIZES)
    before = {path: path.read_bytes() for path in results.rglob("*") if path.name != "fingerprints.txt"
              and path.is_file()}
    other_model = "results of another model"
    for n, (spec, seed, folder, message) in enumerate([
            (changed(SPEC, checkpoint__sha256="cd" * 32), 0, images, other_model), (SPEC, 1, images, other_model),
            (changed(SPEC, normalise__mean=[1, 2, 3]), 0, images, other_model),
            (SPEC, 0, tmp_path / "other", r"square.png: is the result of another image than .*other/square.png"),
            (changed(SPEC, files={"ONNX": "model.onnx", "MINDIR": "m.mindir"}), 0, images, None)]):
        (tmp_path / "other").mkdir(exist_ok=True)
        (tmp_path / "other/square.png").write_bytes((images / "pixel.png").read_bytes())
        ran = run(program, semantic_model(tmp_path / f"m{n}", spec, seed=seed), folder, results)
        assert ran.returncode == (2 if message else 0), ran.stderr
        assert re.search(message or "", ran.stderr), ran.stderr
        assert before == {path: path.read_bytes() for path in before}


def test_one_coco_results_file_of_the_images_whose_id_the_list_says(program, images, tmp_path):
    from pycocotools.coco import COCO

    arrays = detections(np.random.default_rng(3))
    model = instance_model(tmp_path / "m", instance_spec(arrays, height=64, width=96), arrays)
    (tmp_path / "list.txt").write_text("landscape.png 9007199254740993\nsquare.png\nportrait.png -4\n")
    ran = run(program, model, images, tmp_path / "r", f"--image_list={tmp_path / 'list.txt'}")
    assert ran.returncode == 0, ran.stderr
    index = json.loads((tmp_path / "r/index.json").read_text())
    assert index["version"] == 2
    assert [image["image_id"] for image in index["images"]] == [9007199254740993, None, -4]
    assert index["coco_results"] == {"file": "detections.json", "images": 2, "images_without_id": 1, "reason": None}
    ids = (9007199254740993, -4)
    gt = COCO()
    gt.dataset = {"images": [{"id": k, "height": 9, "width": 9} for k in ids], "annotations": [],
                  "categories": [{"id": k, "name": str(k)} for k in (17, 18)]}
    gt.createIndex()
    found = gt.loadRes(str(tmp_path / "r/detections.json")).dataset["annotations"]
    assert [row["image_id"] for row in found] == [k for k in ids for _ in range(10)]
    single = json.loads((tmp_path / "r/detections/landscape.json").read_text())
    rows = json.loads((tmp_path / "r/detections.json").read_text())
    assert rows[:10] == [{k: v for k, v in d.items() if k not in ("label", "name")} for d in single["detections"]]
    assert set(rows[0]) == {"image_id", "category_id", "bbox", "score", "segmentation"}
    assert run(program, model, images, tmp_path / "r").returncode == 0  # the folder, without ids
    index = json.loads((tmp_path / "r/index.json").read_text())
    assert index["coco_results"]["file"] is None
    assert "--image_list" in index["coco_results"]["reason"]


NAMES = ["a.jpg", "sub/a.png", "a.png", "b.png", "sub__a.png", "c.x.jpg", "c.x.jpeg", "c.x", "c.x.jpeg.png"]


def test_files_of_one_name_get_results_of_their_own_the_same_in_both_languages(program, images, tmp_path):
    folder = tmp_path / "images"
    for name in NAMES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((images / "pixel.png").read_bytes())
    (tmp_path / "list.txt").write_text("\n".join(NAMES))
    ran = run(program, semantic_model(tmp_path / "m"), folder, tmp_path / "r", f"--image_list={tmp_path / 'list.txt'}")
    assert ran.returncode == 0, ran.stderr
    index = json.loads((tmp_path / "r/index.json").read_text())
    results = [image["result"] for image in index["images"]]
    assert results == [f"labels/{name}.png" for name in result_names(NAMES)]
    assert len(set(results)) == len(NAMES)
    assert results[:3] == ["labels/a.jpg.png", "labels/sub__a.png.png", "labels/a.png.png"]


def test_pictures_that_are_not_read_are_named(program, images, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "a.png").write_bytes((images / "pixel.png").read_bytes())
    (folder / "a.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(80))
    (folder / "b.gif").write_bytes(b"GIF89a" + bytes(20))
    (folder / "notes.txt").write_text("no picture")
    ran = run(program, semantic_model(tmp_path / "m"), folder, tmp_path / "r")
    assert ran.returncode == 3
    assert re.search(r"a.HEIC: of the kind 'heic'.*convert it to PNG or JPEG", ran.stderr)
    assert re.search(r"b.gif: a GIF, which is not read here; convert it", ran.stderr)
    index = json.loads((tmp_path / "r/index.json").read_text())
    assert [(i["file_name"], i["result"]) for i in index["images"]] == [
        ("a.HEIC", None), ("a.png", "labels/a.png.png"), ("b.gif", None)]


def test_one_rule_says_who_may_write(program, images, tmp_path):
    """A folder that the program wrote to is open to predict.py with the same file, and the other way round."""
    model = semantic_model(tmp_path / "m")
    recipe = json.loads((tmp_path / "m/preprocess.json").read_text())
    other = semantic_model(tmp_path / "m2", seed=1)
    assert run(program, model, images, tmp_path / "r").returncode == 0
    claim(tmp_path / "r", model, recipe)
    with pytest.raises(InputError, match=r"holds results of another model"):
        claim(tmp_path / "r", other, recipe)
    claim(tmp_path / "python", model, recipe)
    assert (tmp_path / "python/run.json").is_file()
    assert run(program, model, images, tmp_path / "python").returncode == 0
    claim(tmp_path / "python2", model, recipe)
    ran = run(program, other, images, tmp_path / "python2")
    assert ran.returncode == 2
    assert "holds results of another model" in ran.stderr
