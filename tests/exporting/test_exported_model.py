"""An exported file and its preprocess.json: complete, in agreement with itself and with the file."""
import json
from pathlib import Path

import pytest

from src import tasks
from src.contract import InputError
from src.exporting import exported_model, preprocess_spec
from src.inference import model as prediction
from tests.maskrcnn.test_task import TINY

MODELS = {"deeplab_v3_s8": {"backbone": "resnet18", "crop_size": 65, "num_classes": 3, "input_size": 97,
                            "output": "labels", "image_mean": (1, 2, 3)},
          "mask_rcnn_r50": TINY | {"num_classes": 3, "export_batch_size": 2, "precision": "float16",
                                   "mask_thr_binary": 0.4, "resize_rounding": "floor"}}


@pytest.fixture(params=MODELS)
def exported(request, tmp_path) -> Path:
    """A model file, empty, beside the preprocess.json that export would write."""
    task = tasks.create(tasks.config_class(request.param)(model=request.param, **MODELS[request.param]).completed())
    (tmp_path / "a.ckpt").touch()
    spec = preprocess_spec.complete(task.export.preprocess_spec(), model=request.param, family="mindseg",
                                    checkpoint=tmp_path / "a.ckpt", conventions=task.config.conventions())
    preprocess_spec.write(spec | {"files": {"ONNX": "m.onnx"}}, tmp_path / "preprocess.json")
    return tmp_path / "m.onnx"


def edit(model: Path, /, **changes) -> None:
    path = model.with_name("preprocess.json")
    spec = json.loads(path.read_text())
    for key, value in changes.items():
        if value is None:
            del spec[key]
        else:
            spec[key] = spec[key] | value if isinstance(value, dict) else value
    path.write_text(json.dumps(spec))


def create(model: Path, **settings):
    return prediction.exported_task(model, exported_model.read(model), settings)


def test_the_task_has_the_recipe_of_the_file(exported):
    spec = json.loads(exported.with_name("preprocess.json").read_text())
    task = create(exported, workers=1)
    assert task.config.workers == 1
    assert tuple(spec["class_names"]) == task.class_names
    preprocess = json.loads(json.dumps(task.export.preprocess_spec()))
    assert preprocess["class_names"]
    assert preprocess == {key: spec[key] for key in preprocess}


@pytest.mark.parametrize(("changes", "message"), [
    ({"conventions": None}, "preprocess.json: the key 'conventions' is missing, expected a JSON object"),
    ({"files": None}, "the key 'files' is missing"), ({"inputs": None}, "the key 'inputs' is missing"),
    ({"outputs": 1}, "the key 'outputs' is 1, expected a JSON list"),
    ({"inputs": []}, "the key 'inputs' is not a list of tensors"), ({"model": 3}, "the key 'model' is 3"),
    ({"outputs": [{"name": "labels", "dtype": "int32", "shape": [1, "x"]}]}, "the key 'outputs' is not a list of"),
    ({"files": []}, "the key 'files' is missing or no JSON object"),
    ({"files": {"ONNX": "n.onnx"}}, "preprocess.json beside it describes n.onnx; keep each model with its own"),
    ({"model": "deeplab"}, "unknown model"), ({"task": "other"}, "preprocess.json: "),
    ({"conventions": {"backbone": 5}}, "preprocess.json: backbone=5"),
    ({"conventions": {"image_mean": [9, 9, 9]}}, r"normalise is .*conventions and .* give .*\[9.0, 9.0, 9.0\]"),
    ({"normalise": {"mean": [0, 0, 0]}}, r"normalise is \{'mean': \[0, 0, 0\].*undo the edit, or export"),
    ({"normalise": {"in_model": True}}, "normalise is"),
    ({"decode": {"colour_order": "BGR"}}, "decode.colour_order is 'BGR', conventions have 'RGB'"),
    ({"conventions": {"colour_order": "BGR"}}, "decode.colour_order is 'RGB', conventions have 'BGR'"),
    ({"pad": {"value": "mean"}}, "pad is"), ({"resize": {"size": [5, 5]}}, "resize is"),
    ({"postprocess": {"done_in_model": []}}, "postprocess is"), ({"class_names": ["a", "b", "c"]}, "class_names is")])
def test_what_is_missing_or_contradicts_itself_is_named(exported, changes, message):
    edit(exported, **changes)
    with pytest.raises(InputError, match=message):
        create(exported)


@pytest.mark.parametrize(("name", "value"), [("test_score_thr", 0.9), ("crop_size", 50), ("no_such_key", 1)])
def test_settings_that_are_built_in_are_refused(exported, name, value):
    with pytest.raises(InputError, match=f"{name} has no effect on .*m.onnx: .*Give it to export.py"):
        create(exported, **{name: value})


def test_how_images_are_seen_is_built_in(exported):
    """The file may be asked for what it does anyway; windows and tiles need an export with them."""
    is_deeplab = "deeplab" in json.loads(exported.with_name("preprocess.json").read_text())["model"]
    assert create(exported, eval_mode="whole").config.eval_mode == "whole"
    with pytest.raises(InputError, match="eval_mode has no effect on .*m.onnx: .*, here eval_mode=whole. Give it"):
        prediction.load(exported, eval_mode="slide" if is_deeplab else "tiles")
    other = {"tile_overlap": 9} if is_deeplab else {"slide_stride": 9}
    with pytest.raises(InputError, match="--(tile_overlap|slide_stride)=9 is a setting of .*, not of "):
        prediction.load(exported, **other)


def test_a_file_with_other_tensors_is_refused(exported):
    spec = exported_model.read(exported)
    inputs, outputs = ([tuple(entry["shape"]) for entry in spec[key]] for key in ("inputs", "outputs"))
    exported_model.refuse_other_model(exported, spec, inputs, outputs)
    for changed in ((inputs[1:], outputs), ([(None, 3, 65, 65), *inputs[1:]], outputs), (inputs, [*outputs, (1,)])):
        with pytest.raises(InputError, match=r"m.onnx: does not fit the preprocess.json beside it: (in|out)puts of .*"
                                             r" expected, \[.*\] found"):
            exported_model.refuse_other_model(exported, spec, *changed)
