"""Predictions from Python and from the command line: arrays, files, folders, videos; checkpoint and exported file."""
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from src import tasks
from src.contract import InputError, Instances, LabelMap
from src.data.decode import decode_image
from src.engine import checkpoint, loop
from src.engine.runtime import Runtime
from src.inference import arguments
from src.inference import model as prediction
from src.results.folder import claim
from src.weights import load as weights
from tests.deeplabv3.conftest import tiny_task
from tests.maskrcnn.test_task import TINY as TINY_MASKRCNN
from tests.tiny_seg import image, jpeg

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def deeplab(tmp_path_factory) -> Path:
    """A checkpoint of a tiny DeepLabV3."""
    task = tiny_task(crop_size=65)
    step = loop.build_step(task, task.config, Runtime("CPU"), task.network(), 1)
    path = tmp_path_factory.mktemp("model") / "deeplab_v3_s16-1_1.ckpt"
    checkpoint.save(path, step, {"step": 1, "config": task.config.model_dump(mode="json"),
                                 **weights.to_metadata("mindseg", task.config.conventions())})
    return path


def test_three_lines_predict_and_draw_files_and_arrays_alike(deeplab, tmp_path):
    pixels = image(3, 40, 60)
    file = tmp_path / "a.png"
    file.write_bytes(cv2.imencode(".png", pixels[..., ::-1])[1].tobytes())
    model = prediction.load(deeplab, batch_size=2)
    predictions = list(model.predict([pixels, file, pixels]))
    assert [p.found.image_id for p in predictions] == [0, 1, 2]
    for p in predictions:
        assert isinstance(p.found, LabelMap)
        assert p.found.labels.shape == (40, 60)
        np.testing.assert_array_equal(p.image, pixels)
        np.testing.assert_array_equal(p.found.labels, predictions[0].found.labels)
    drawn = model.draw(predictions[0])
    assert drawn.shape == pixels.shape
    assert drawn.dtype == np.uint8


def test_windows_of_a_checkpoint_and_how_the_command_line_asks_for_them(deeplab):
    pixels = image(3, 100, 140)
    words = [f"--model_path={deeplab}", "a.png", "--eval_mode=slide", "--slide_stride=40"]
    settings = arguments.settings_of(arguments.parse(words, description=""))
    assert settings == {"eval_mode": "slide", "slide_stride": 40}
    assert arguments.settings_of(arguments.parse(words[:2], description="")) == {}
    slide, whole = prediction.load(deeplab, **settings), prediction.load(deeplab)
    assert slide.preprocess["resize"] == {"rule": "slide", "size": [65, 65], "slide_stride": 40}
    found = [p.found.labels for p in slide.predict([pixels, pixels[:65, :65]])]
    assert [labels.shape for labels in found] == [(100, 140), (65, 65)]
    assert (found[1] == next(whole.predict(pixels[:65, :65])).found.labels).mean() >= 0.9999
    with pytest.raises(InputError, match="slide_stride=66 is above the side of a window, 65 pixels"):
        prediction.load(deeplab, eval_mode="slide", slide_stride=66)


def test_a_single_image_needs_no_list_and_wrong_arrays_are_refused(deeplab, tmp_path):
    pixels = image(3, 40, 60)
    (tmp_path / "a.png").write_bytes(cv2.imencode(".png", pixels[..., ::-1])[1].tobytes())
    model = prediction.load(deeplab)
    for single in (pixels, tmp_path / "a.png", str(tmp_path / "a.png")):
        found, = model.predict(single)
        np.testing.assert_array_equal(found.image, pixels)
    for wrong, message in ((pixels.astype(np.float32), "type float32, expected .H, W, 3. uint8 RGB"),
                           (pixels[..., 0], r"image 0: an array of shape \(40, 60\)"), (pixels[:0], r"\(0, 60, 3\)"),
                           (np.dstack([pixels, pixels[..., :1]]), r"\(40, 60, 4\)"), (b"bytes", "image 0: a int")):
        with pytest.raises(InputError, match=message):
            list(model.predict(wrong))


def test_float16_of_a_checkpoint_is_for_devices(deeplab):
    with pytest.raises(InputError, match="amp_level=O2: float16 is not faster on a CPU"):
        prediction.load(deeplab, amp_level="O2")


def test_detections_are_json_in_the_frame_of_the_image(deeplab):
    model = prediction.load(deeplab)
    found = Instances(1, np.array([[1.0, 2.0, 5.0, 10.0]], np.float32), np.array([2], np.int32),
                      np.array([0.875], np.float32), [{"size": [20, 20], "counts": "abc"}])
    assert json.loads(json.dumps(model.detections(found))) == [{
        "image_id": 1, "category_id": 2, "bbox": [1.0, 2.0, 4.0, 8.0], "score": 0.875, "label": 2,
        "name": model.class_names[2], "segmentation": {"size": [20, 20], "counts": "abc"}}]


def test_a_file_that_is_no_image_is_named(deeplab, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"junk")
    with pytest.raises(InputError, match="a.jpg is not an image"):
        list(prediction.load(deeplab).predict([tmp_path / "a.jpg"]))
    with pytest.raises(InputError, match="b.jpg: No such file"):
        list(prediction.load(deeplab).predict([tmp_path / "b.jpg"]))


def run(*words, **options) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, ROOT / "predict.py", *map(str, words)], capture_output=True, text=True,
                          **options)


def clip(path: Path, frames: int) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 5, (48, 32))
    for n in range(frames):
        writer.write(image(n, 32, 48))
    writer.release()


def test_a_folder_with_a_video_and_a_bad_file_from_another_directory(deeplab, tmp_path):
    folder = tmp_path / "in/sub"
    folder.mkdir(parents=True)
    for n in range(2):
        (folder / f"{n}.jpg").write_bytes(jpeg(image(n, 30 + n, 44)))
    (tmp_path / "in/bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "in/notes.txt").write_text("no image")
    clip(tmp_path / "in/clip.avi", 3)
    (tmp_path / os.fsdecode(b"in/\xff.jpg")).write_bytes(jpeg(image(5)))
    clip(tmp_path / "x.avi", 1)
    (tmp_path / "x.avi").rename(tmp_path / os.fsdecode(b"in/\xfe.avi"))
    for pipe in ("in/pipe.png", "pipe.jpg", "pipe.mp4"):
        os.mkfifo(tmp_path / pipe)
    ran = run(f"--model_path={deeplab}", "--output_dir=out", "in", "pipe.jpg", "pipe.mp4", "--batch_size=2",
              cwd=tmp_path, timeout=100)
    assert ran.returncode == 3, ran.stderr
    assert "in/bad.png: is a damaged or truncated PNG" in ran.stdout
    assert "\npipe.jpg: is no regular file" in ran.stdout
    assert "Traceback" not in ran.stderr
    out = tmp_path / "out"
    index = json.loads((out / "index.json").read_text())
    assert [(entry["file_name"], entry["result"]) for entry in index["images"]] == [
        ("sub/0.jpg", "labels/sub__0.png"), ("sub/1.jpg", "labels/sub__1.png"),
        ("\udcff.jpg", "labels/\udcff.png"), ("bad.png", None),
        ("\udcfe.avi", None), ("pipe.jpg", None), ("pipe.mp4", None)]
    assert [(entry["file_name"], entry["overlay"], entry["frames"]) for entry in index["videos"]] == [
        ("clip.avi", "overlays/clip.mp4", 3)]
    assert index["images"][0]["path"] == str(tmp_path / "in/sub/0.jpg")
    assert index["images"][3]["error"].startswith("is a damaged or truncated PNG")
    assert (index["format"], index["version"], index["task"]) == ("mindseg.results", 2, "semantic")
    assert (out / index["images"][2]["result"]).exists()
    for n in range(2):
        assert cv2.imread(str(out / f"labels/sub__{n}.png"), cv2.IMREAD_UNCHANGED).shape == (30 + n, 44)
        assert decode_image((out / f"overlays/sub__{n}.jpg").read_bytes()).shape == (30 + n, 44, 3)
    assert sorted(p.name for p in (out / "labels").glob("clip_*")) == [f"clip_{n:06d}.png" for n in (1, 2, 3)]
    assert int(cv2.VideoCapture(str(out / "overlays/clip.mp4")).get(cv2.CAP_PROP_FRAME_COUNT)) == 3
    assert not list(out.rglob(".unfinished*"))
    _a_used_folder_is_its_models(deeplab, tmp_path)


def _a_used_folder_is_its_models(model: Path, folder: Path) -> None:
    """`folder`/out holds results of `model`: it may overwrite them, another model and an unknown one may not."""
    out = folder / "out"
    recipe = json.loads((out / "run.json").read_text())["preprocess"]
    claim(out, model, recipe)
    (folder / "copy.ckpt").write_bytes(model.read_bytes())
    claim(out, folder / "copy.ckpt", recipe | {"files": {"ONNX": "a.onnx"}})
    (folder / "other.ckpt").write_bytes(b"other weights")
    for other, changed in ((folder / "other.ckpt", recipe), (model, recipe | {"class_names": []})):
        with pytest.raises(InputError, match="--output_dir=.*out: holds results of another model .*give another fol"):
            claim(out, other, changed)
    (out / "run.json").unlink()
    with pytest.raises(InputError, match="out: holds index.json, and no run.json says of which model; give another"):
        claim(out, model, recipe)
    claim(folder / "in", model, recipe)  # other files are no results


@pytest.mark.parametrize(("words", "message"), [
    (["--model_path=no.ckpt", "x.jpg"], "--model_path=no.ckpt: no such file"),
    (["--model_path=other", "x.jpg"], "--model_path=other: is a folder"),
    (["--model_path={}", "nowhere"], "nowhere: no such file or folder"),
    (["--model_path={}", "empty"], "empty: no image or video that can be read"),
    (["--model_path={}", "--output_dir=a.jpg", "a.jpg"], "--output_dir=a.jpg: a file; name a folder"),
    (["--model_path={}"], "nothing to predict"),
    (["--model_path={}", "--image_list=list.txt"], "list.txt:2: '\"open.jpg' is no image"),
    (["--model_path={}", "--score_threshold=2", "a.jpg"], "--score_threshold/--least_score: '2' is not a number"),
    (["--model_path=a.jpg", "a.jpg"], "a.jpg")])
def test_wrong_use_ends_in_a_message(deeplab, tmp_path, words, message):
    for folder in ("empty", "other"):
        (tmp_path / folder).mkdir()
    for name in ("a.jpg", "other/a.jpg"):
        (tmp_path / name).write_bytes(jpeg(image(0)))
    (tmp_path / "list.txt").write_text('a.jpg\n"open.jpg\n')
    ran = run(*(word.format(deeplab) for word in words), cwd=tmp_path)
    assert ran.returncode == 2, ran.stderr
    assert message in ran.stderr, ran.stderr
    assert "Traceback" not in ran.stderr, ran.stderr


def test_an_exported_file_without_its_recipe_is_refused(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"x")
    with pytest.raises(InputError, match="preprocess.json: no such file; export.py writes it"):
        prediction.load(tmp_path / "model.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("model", ["deeplab", "maskrcnn"])
def test_exported_files_predict_what_their_checkpoint_predicts(model, request, tmp_path):
    path = request.getfixturevalue("deeplab") if model == "deeplab" else _maskrcnn(tmp_path)
    exported = subprocess.run([sys.executable, ROOT / "export.py", f"--ckpt_file={path}", "--device_target=CPU",
                               f"--file_name={tmp_path / 'out/model'}", "--file_format=MINDIR", "--file_format=ONNX"],
                              capture_output=True, text=True)
    assert exported.returncode == 0, exported.stdout + exported.stderr
    pixels = [image(n, 40 + n, 60) for n in range(2)]
    wanted = list(prediction.load(path).predict(pixels))
    for name in ("model.mindir", "model.onnx"):
        for ours, expected in zip(prediction.load(tmp_path / "out" / name).predict(pixels), wanted, strict=True):
            if model == "deeplab":
                assert (ours.found.labels == expected.found.labels).mean() > 0.999
            else:
                np.testing.assert_allclose(ours.found.scores, expected.found.scores, atol=1e-3)
                np.testing.assert_allclose(ours.found.boxes_image, expected.found.boxes_image, atol=0.1)
    if model == "maskrcnn":
        _thresholds_act_alike(path, tmp_path / "out", pixels, wanted)
    _refused_where_another_model_is_in_its_place(tmp_path / "out")


def _thresholds_act_alike(checkpoint_file: Path, folder: Path, pixels: list, wanted: list) -> None:
    """Of both classes, the detections above their median: from the flag, the export and an engine each."""
    scores = np.concatenate([one.found.scores for one in wanted])
    labels = np.concatenate([one.found.labels for one in wanted])
    medians = {f"class_{k}": float(np.quantile(scores[labels == k], 0.5, method="nearest")) - 1e-5
               for k in np.unique(labels)}
    given = tuple(f"{name}={value}" for name, value in medians.items())
    exported = subprocess.run([sys.executable, ROOT / "export.py", f"--ckpt_file={checkpoint_file}",
                               "--device_target=CPU", f"--file_name={folder / 'with/model'}", "--file_format=ONNX",
                               f"--score_thresholds={','.join(given)}"], capture_output=True, text=True)
    assert exported.returncode == 0, exported.stdout + exported.stderr
    kept = [[s for s, k in zip(one.found.scores, one.found.labels) if s >= medians[f"class_{k}"]] for one in wanted]
    assert 0 < sum(map(len, kept)) < len(scores)
    for path, settings in ((checkpoint_file, {"score_thresholds": given, "inference_engine": "mindspore"}),
                           (checkpoint_file, {"score_thresholds": given, "inference_engine": "openvino"}),
                           (folder / "model.onnx", {"score_thresholds": given}), (folder / "with/model.onnx", {})):
        loaded = prediction.load(path, **settings)
        assert loaded.score_thresholds == pytest.approx(medians)
        for ours, expected in zip(loaded.predict(pixels), kept, strict=True):
            np.testing.assert_allclose(ours.found.scores, expected, atol=1e-3)
            assert len(ours.found.rles) == len(expected)
            drawn = loaded.draw(ours)
            assert (drawn != ours.image).any() or not expected
    for one, expected in zip(prediction.load(folder / "with/model.onnx", score_thresholds=()).predict(pixels), wanted):
        assert len(one.found.scores) == len(expected.found.scores)
    with pytest.raises(InputError, match="'class_9' is no class of the model; did you mean class_"):
        prediction.load(folder / "model.onnx", score_thresholds=("class_9=0.5",))


def _refused_where_another_model_is_in_its_place(folder: Path) -> None:
    """Of both runtimes; the settings that are built in are refused too."""
    for name, wanted in (("model.mindir", {"test_score_thr": 0.9}), ("model.onnx", {"batch_size": 2}),
                         ("model.onnx", {"device_target": "Ascend"})):
        with pytest.raises(InputError, match=f"{next(iter(wanted))}.*model"):
            prediction.load(folder / name, **wanted)
    spec = json.loads((folder / "preprocess.json").read_text())
    for tensor in spec["inputs"] + spec["outputs"]:
        tensor["shape"][0] = 2
    (folder / "preprocess.json").write_text(json.dumps(spec))
    for name in ("model.mindir", "model.onnx"):
        with pytest.raises(InputError, match=f"{name}: does not fit .*inputs of the shapes .*2, 3.* found"):
            prediction.load(folder / name)


def _maskrcnn(folder: Path) -> Path:
    task = tasks.create(tasks.config_class("mask_rcnn_r50")(**TINY_MASKRCNN, num_classes=3).completed())
    step = loop.build_step(task, task.config, Runtime("CPU"), task.network(), 1)
    path = folder / "mask_rcnn_r50-1_1.ckpt"
    checkpoint.save(path, step, {"step": 1, "config": task.config.model_dump(mode="json"),
                                 **weights.to_metadata("mindseg", task.config.conventions())})
    return path


@pytest.mark.parametrize(("settings", "size"), [({}, (60, 40)), ({"exif": "raw"}, (40, 60))])
def test_photos_are_shown_to_the_network_as_it_was_trained(deeplab, tmp_path, settings, size):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(image(1, 40, 60)).save(tmp_path / "photo.jpg", exif=exif)
    model = prediction.load(deeplab, **settings)
    found = next(model.predict(tmp_path / "photo.jpg"))
    assert found.image.shape[:2] == found.found.labels.shape == size
    assert model.preprocess["decode"]["exif_orientation"] == ("ignored" if settings else "turned")
