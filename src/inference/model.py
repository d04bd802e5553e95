"""A trained model in three lines, whether it is a checkpoint or an exported file:

    model = load("deeplab_v3_s16_best.ckpt")
    prediction = next(model.predict("street.jpg"))
    picture = model.draw(prediction)

No arguments are parsed and nothing is printed here; `predict.py` is the command line.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from src import tasks
from src.config import build
from src.contract import InputError, Instances, LabelMap, Record, Task
from src.data.decode import Decoding
from src.data.instance.target import mask_window
from src.data.read_ahead import DecodedRecord, decode_record
from src.exporting.preprocess_spec import decoding_of
from src.inference.reading import read_image
from src.metrics import score_thresholds
from src.metrics.coco_results import result_rows
from src.report import draw
from src.report.rows import SURE

EXPORTED = (".mindir", ".onnx")
DEVICE = "CPU"
Image = str | Path | np.ndarray


@dataclass(frozen=True)
class Prediction:
    """The prediction for one image.

    Attributes:
        image: (H, W, 3) uint8 RGB, as given or read.
        found: a label map or instances, in this image's frame.
    """

    image: np.ndarray
    found: LabelMap | Instances


class Model:
    """A model that predicts. Made by `load`.

    Attributes:
        class_names: index 0 first; for instances 0 is the background.
        preprocess: how the input is made, and the origin of the weights; see `src/exporting/preprocess_spec.py`.
    """

    def __init__(self, class_names: tuple[str, ...], predictor: Any, preprocess: Mapping[str, Any],
                 engine: Callable[[], str]):
        self.class_names = class_names
        self._predictor = predictor
        self.preprocess = preprocess
        self._engine = engine
        self._thresholds = score_thresholds.by_label(self.score_thresholds, class_names)

    @property
    def name(self) -> str:
        return self.preprocess["model"]

    @property
    def task(self) -> str:
        """"semantic" or "instance"."""
        return self.preprocess["task"]

    @property
    def score_thresholds(self) -> dict[str, float]:
        """Least score of the instances that are predicted, by class name; classes without one give all."""
        return dict(self.preprocess["postprocess"].get(score_thresholds.KEY, {}))

    @property
    def inference_engine(self) -> str:
        """What runs the network, with its version; for a checkpoint it is certain only after the first prediction."""
        return self._engine()

    @property
    def category_ids(self) -> list[int]:
        """The COCO category id of each class, 0 for the background; of a semantic model the class indices."""
        return list(self.preprocess.get("category_ids") or range(len(self.class_names)))

    def predict(self, images: Image | Iterable[Image]) -> Iterator[Prediction]:
        """Predict one image or several, in order: file names or (H, W, 3) uint8 RGB arrays.

        Raises:
            InputError: a file is not an image, or an array has another type or shape. No image is left out.
        """
        if isinstance(images, (str, Path)) or (isinstance(images, np.ndarray) and images.ndim < 4):
            images = [images]
        waiting: list[tuple[Image, Record]] = []
        how = decoding_of(self.preprocess)

        def records() -> Iterator[Record]:
            for number, image in enumerate(images):
                record = _record(image, number)
                if self._looks_at_parts and not isinstance(record, DecodedRecord):
                    record = DecodedRecord(number, record.file_name, b"", b"", pixels=decode_record(record, how))
                waiting.append((image, record))
                yield record
                del record  # the caller's alone: it may be large

        for found in self._predictor(records()):
            if isinstance(found, Instances):
                found = score_thresholds.keep(found, self._thresholds)
            # Without a name: nothing here may keep a large image until the next one is decoded.
            yield Prediction(_pixels(*waiting.pop(0), how), found)

    @property
    def _looks_at_parts(self) -> bool:
        """Whether images may be large: then they are decoded once, as decoding takes the memory of two of them.

        Others are decoded again when the predictor no longer needs them, so that no batch of photos is kept.
        """
        return self.preprocess["resize"]["rule"] in ("slide", "tiles")

    def draw(self, prediction: Prediction, *, score_threshold: float | None = None,
             in_place: bool = False) -> np.ndarray:
        """(H, W, 3) uint8 RGB: the image under its label map, or with boxes, masks, names and scores.

        Args:
            score_threshold: least score of the instances that are drawn; None: that of their class in
                `score_thresholds`, 0.5 for classes without.
            in_place: draw into `prediction.image` itself, which may be large.
        """
        image, found = prediction.image, prediction.found
        if isinstance(found, LabelMap):
            return draw.overlay(image, found.labels, draw.palette(self.class_names), in_place=in_place)
        given = score_threshold is not None
        shown = score_thresholds.keep(found, {} if given else self._thresholds,
                                      otherwise=score_threshold if given else SURE)
        return draw.instances(image, shown.boxes_image, shown.labels, class_names=self.class_names,
                              scores=shown.scores, in_place=in_place,
                              mask=lambda k: _part(shown.rles[k]) if shown.rles else None)

    def detections(self, found: Instances) -> list[dict[str, Any]]:
        """Instances as entries of COCO's results format, with the class index `label` and its `name`.

        `image_id` is the image's position among those that were given to `predict`.
        """
        return [row | {"label": int(label), "name": self.class_names[label]} for row, label in
                zip(result_rows(found, dict(enumerate(self.category_ids))), found.labels)]


def _part(rle: Mapping[str, Any]) -> draw.Part:
    """The part of a mask that is not empty."""
    left, top, width, height = coco_mask.toBbox(rle).astype(int).tolist()
    return mask_window(rle, tuple(rle["size"]), (left, top, left + width, top + height)), top, left


def load(path: str | Path, *, device_target: str = DEVICE, batch_size: int = 1, inference_engine: str = "auto",
         **settings: Any) -> Model:
    """Load a model.

    Args:
        path: a checkpoint (of train.py, or of a family that convert_checkpoint.py knows), or a .mindir or .onnx file
            with the preprocess.json that export.py wrote beside it.
        device_target: of a checkpoint; exported files run on a CPU.
        batch_size: images per batch of a checkpoint. An exported file has its own; leave it at 1 there.
        inference_engine: "openvino"; "mindspore"; or "auto", the fastest that is installed and takes the network.
        settings: further keys of a checkpoint's configuration, for example `eval_crop_size` or `test_score_thr`. An
            exported file has them built in and takes only those of `src.exporting.exported_model.CHANGEABLE`.

    Raises:
        InputError: missing, damaged or foreign files, settings that do not fit the weights or that an exported file
            has built in, and a preprocess.json that contradicts itself or does not fit the file.
    """
    path = Path(path)
    if path.suffix in EXPORTED:
        return _exported(path, device_target, batch_size, inference_engine, settings)
    return _checkpoint(path, device_target, batch_size, settings | {"inference_engine": inference_engine})


def _checkpoint(path: Path, device_target: str, batch_size: int, settings: dict[str, Any]) -> Model:
    from src.engine import runtime
    from src.engine.precision import apply_inference_amp
    from src.exporting import preprocess_spec
    from src.weights.load import load_weights

    model = settings.pop("model", "") or tasks.model_of_weights(path) or tasks.DEFAULT
    _refuse_other_models(model, path, settings)
    cls = tasks.config_class(model)
    batch_key = "test_batch_size" if "test_batch_size" in cls.model_fields else "batch_size"
    config = tasks.with_conventions(build(cls, {"model": model, "checkpoint": str(path), batch_key: batch_size,
                                                "export_batch_size": 1, "device_target": device_target} | settings))
    runtime.start(device_target, deterministic=config.deterministic, jit_level=config.jit_level,
                  compile_cache=config.compile_cache, configuration=config.shaping())
    task = tasks.create(config)
    network = task.network()
    report = load_weights(network, path, expect_unexpected=task.may_be_missing)
    apply_inference_amp(network, config.amp_level, device_target, report.conventions)
    spec = preprocess_spec.complete(task.export.preprocess_spec(), model=config.model, family=report.family,
                                    checkpoint=path, conventions=config.conventions())
    return Model(task.class_names, task.predictor(network), spec | {"amp_level": config.amp_level},
                 lambda: task.engine.name)


def _refuse_other_models(model: str, path: Path, settings: Mapping[str, Any]) -> None:
    """Raise InputError for a setting that only another model has."""
    remarks = tasks.keys_of_other_models(model)
    for key in sorted(settings.keys() & remarks.keys()):
        raise InputError(f"--{key}={settings[key]} {remarks[key]}, and {path} is a {model}; leave it out")


def _exported(path: Path, device_target: str, batch_size: int, engine: str, settings: dict[str, Any]) -> Model:
    from src.exporting import exported_model, runners

    settings.pop("compile_cache", None)  # an exported file has no graph to build
    spec = exported_model.read(path)
    _refuse_other_models(spec["model"], path, settings)
    shape = tuple(spec["inputs"][0]["shape"])
    if batch_size not in (1, shape[0]):
        raise InputError(f"batch_size={batch_size}: {path} takes batches of {shape[0]}; export it again with "
                         f"--export_batch_size={batch_size}, or leave batch_size out")
    if device_target != DEVICE:
        raise InputError(f"device_target={device_target}: {path} runs on a CPU here; load the checkpoint, or run the "
                         "file on the device with ascend310_infer")
    task = exported_task(path, spec, settings)
    runtime = runners.runtime_of(path, engine)
    run, *shapes = runners.load_with_shapes(path, runtime)
    exported_model.refuse_other_model(path, spec, *shapes)
    if score_thresholds.KEY in settings:
        after = {**spec["postprocess"], score_thresholds.KEY: task.config.thresholds}
        spec = {**spec, "postprocess": after}
    return Model(task.class_names, task.export.predictor(run, shape), spec, lambda: runners.with_version(runtime))


def exported_task(path: Path, spec: dict[str, Any], settings: dict[str, Any]) -> Task:
    """The task that reads an exported file.

    Args:
        path: the file.
        spec: its preprocess.json, `src.exporting.exported_model.read`.
        settings: keys of `src.exporting.exported_model.CHANGEABLE`.

    Raises:
        InputError: a setting that is built in, or keys of preprocess.json that contradict each other.
    """
    from src.exporting import exported_model, preprocess_spec

    cls, values = tasks.config_class(spec["model"]), exported_model.settings_of(spec)
    places = {key: f"{path.with_name(preprocess_spec.FILE_NAME)}: {key}" for key in values}
    task = tasks.create(build(cls, values, places))
    exported_model.refuse_contradictions(path, spec, task)
    exported_model.refuse_fixed(path, settings, task.config)
    return tasks.create(build(cls, values | settings, places)) if settings else task


def _record(image: Image, number: int) -> Record:
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise InputError(f"image {number}: an array of shape {image.shape} and type {image.dtype}, expected "
                             "(H, W, 3) uint8 RGB: round floats on the scale 0..255, stack gray three times "
                             "(np.stack([gray] * 3, -1)), drop alpha (image[..., :3])")
        return DecodedRecord(number, str(number), b"", b"", pixels=np.ascontiguousarray(image))
    if not isinstance(image, (str, Path)):
        raise InputError(f"image {number}: a {type(image).__name__}, expected a file name or an array")
    try:
        return Record(number, str(image), read_image(image), b"")
    except InputError as error:
        raise InputError(f"{image} {error}") from error
    except OSError as error:
        raise InputError(f"{image}: {error.strerror}") from error


def _pixels(image: Image, record: Record, how: Decoding) -> np.ndarray:
    """What the prediction of an image shows."""
    return image if isinstance(image, np.ndarray) else decode_record(record, how)
