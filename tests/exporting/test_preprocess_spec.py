"""preprocess.json: what it says of both models, and which folder takes it."""
import json

import numpy as np
import pytest

from src.contract import InputError
from src.deeplabv3 import preprocess as deeplabv3_preprocess
from src.exporting import preprocess_spec as spec_file

RECIPE = {"task": "semantic", "class_names": ["background", "disc"], "inputs": [], "outputs": []}


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "a.ckpt"
    path.write_bytes(b"weights")
    return path


def complete(checkpoint, **changes):
    return spec_file.complete(RECIPE | changes, model="deeplab_v3_s16", family="mindseg", checkpoint=checkpoint,
                              conventions={"num_classes": 2})


def test_it_says_where_the_model_comes_from(checkpoint):
    spec = complete(checkpoint)
    assert spec["checkpoint"] == {
        "file": "a.ckpt", "sha256": "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"}
    assert (spec["format"], spec["version"], spec["model"], spec["files"]) == (
        "mindseg.preprocess", 1, "deeplab_v3_s16", {})


def test_formats_exported_one_after_the_other_are_listed_together(checkpoint, tmp_path):
    spec = spec_file.merge(complete(checkpoint), tmp_path, {"MINDIR": "x.mindir"})
    spec_file.write(spec, tmp_path / "preprocess.json")
    (tmp_path / "x.mindir").touch()
    both = spec_file.merge(complete(checkpoint), tmp_path, {"ONNX": "x.onnx"})
    assert both["files"] == {"MINDIR": "x.mindir", "ONNX": "x.onnx"}
    assert (tmp_path / "preprocess.json").stat().st_mode & 0o777 == 0o644
    assert spec_file.read(tmp_path / "preprocess.json") == spec


def test_a_folder_is_one_checkpoints(checkpoint, tmp_path):
    spec = spec_file.merge(complete(checkpoint), tmp_path, {"MINDIR": "x.mindir"})
    spec_file.write(spec, tmp_path / "preprocess.json")
    (tmp_path / "x.mindir").touch()
    with pytest.raises(InputError, match="x.mindir was exported with other settings; export all formats at once"):
        spec_file.merge(complete(checkpoint, outputs=["labels"]), tmp_path, {"ONNX": "x.onnx"})
    replaced = spec_file.merge(complete(checkpoint, outputs=["labels"]), tmp_path, {"MINDIR": "x.mindir"})
    assert replaced["outputs"] == ["labels"]
    checkpoint.write_bytes(b"other weights")
    with pytest.raises(InputError, match="belongs to models of a.ckpt; give --file_name another folder"):
        spec_file.merge(complete(checkpoint), tmp_path, {"MINDIR": "x.mindir"})


@pytest.mark.parametrize(("text", "message"), [("{", "not readable as JSON"), ("[]", "not a mindseg.preprocess file"),
                                           ('{"format": "mindseg.preprocess", "version": 2}', "of version 1"),
                                           ('{"format": "mindseg.preprocess", "version": 1, "checkpoint": {}}',
                                            "the key 'files' is missing")])
def test_other_files_of_that_name_are_refused(tmp_path, text, message):
    (tmp_path / "preprocess.json").write_text(text)
    with pytest.raises(InputError, match=message):
        spec_file.read(tmp_path / "preprocess.json")


def fit(spec, size):
    """The rules of `resize` as the module's text says them, for an image of (h, w)."""
    resize, (h, w) = spec["resize"], size
    height, width = resize["size"]
    half = 0.5 if resize["rounding"] == "round" else 0.0
    if resize["rule"] == "long_side":
        return (height, max(int(height * w / h), 1)) if h >= w else (max(int(height * h / w), 1), height)
    if resize["rule"] == "stretch":
        return height, width

    def scaled(sides, factor):
        return tuple(max(int(side * factor + half), 1) for side in sides)

    size = scaled(size, min(min(height, width) / min(size), max(height, width) / max(size)))
    if size[0] > height or size[1] > width:
        size = scaled(size, min(height / size[0], width / size[1]))
    return size


SIZES = [(480, 640), (640, 480), (333, 1000), (1000, 333), (5, 900), (64, 64), (1, 1), (1333, 800)]


def test_the_recipes_follow_the_rules_as_written():
    from src.maskrcnn.preprocess import Preprocess

    preprocess = deeplabv3_preprocess.Preprocess("RGB", (1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    spec = {"resize": {"rule": "long_side", "size": [65, 65], "rounding": "floor"}}
    for size in SIZES:
        assert preprocess.fit(np.zeros((*size, 3), np.uint8), 65)[1] == fit(spec, size)
    for rounding in ("round", "floor"):
        for keep_ratio, rule in ((True, "canvas"), (False, "stretch")):
            preprocess = Preprocess((800, 1333), (0,) * 3, (1,) * 3, rounding=rounding, keep_ratio=keep_ratio)
            spec = {"resize": {"rule": rule, "size": [800, 1333], "rounding": rounding}}
            assert [preprocess.fitted(size) for size in SIZES] == [fit(spec, size) for size in SIZES]


def test_both_models_describe_themselves():
    from src.deeplabv3.config import DeepLabV3Config
    from src.deeplabv3.task import DeepLabV3Task

    def preprocess_spec(**values):
        return DeepLabV3Task(DeepLabV3Config(**values)).export.preprocess_spec()

    spec = preprocess_spec(num_classes=3, input_size=65, export_batch_size=2, precision="float16")
    assert [(t["name"], t["shape"], t["dtype"]) for t in spec["inputs"]] == [("image", [2, 3, 65, 65], "float32")]
    assert [(t["name"], t["shape"], t["dtype"]) for t in spec["outputs"]] == [("scores", [2, 3, 65, 65], "float16")]
    assert spec["postprocess"] == {"done_in_model": ["softmax"], "resize_back": "bilinear"}
    assert spec["resize"]["rule"] == "long_side"
    assert spec["decode"]["colour_order"] == "RGB"
    labels = preprocess_spec(num_classes=3, crop_size=65, output="labels")
    assert labels["outputs"][0]["shape"] == [1, 65, 65]
    assert labels["postprocess"]["resize_back"] == "nearest"
    json.dumps(spec)


@pytest.mark.parametrize(("values", "ids"), [
    ({"num_classes": 81, "checkpoint": "zoo.ckpt", "dataset": "coco"}, [0, 1, 90]),  # COCO's, by its classes
    ({"num_classes": 91, "class_map": "id"}, [0, 1, 90]), ({"num_classes": 4, "dataset": "other"}, [0, 1, 3])])
def test_category_ids_of_results(values, ids):
    from src.maskrcnn.config import MaskRCNNConfig
    from src.maskrcnn.splits import category_ids

    config = MaskRCNNConfig(**values).completed()
    found = category_ids(config)
    assert len(found) == config.num_classes
    assert [found[0], found[1], found[-1]] == ids
