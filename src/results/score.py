"""Scores of a folder of offline results, ours or the model zoo's raw tensors, against a list or COCO annotations.

Results are matched with the truth by the image's name. No MindSpore here.
"""
from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

from src.contract import Dataset, InputError
from src.data.checks import describe_bad
from src.data.decode import decode_label, header_size
from src.data.instance.coco import CocoDataset
from src.data.instance.coco_layout import image_folder_of
from src.data.instance.target import categories_of, decode_target
from src.data.semantic.label_counts import count_labels, report
from src.data.semantic.label_map import IGNORED, MappedLabels, read_label_map
from src.data.semantic.voc import ListDataset
from src.data.semantic.voc_classes import VOC_CLASSES
from src.metrics.coco_map import CocoMAP
from src.metrics.image_statistics import ImageStatistics
from src.metrics.miou import MeanIoU
from src.results import zoo_raw
from src.results.files import ResultFiles, is_result_folder, read_index
from src.wording import some

log = logging.getLogger(__name__)
OnBad = Literal["error", "skip"]


class Score(NamedTuple):
    """The numbers of a folder of results, and what each image contributes to them."""

    numbers: dict[str, Any]
    statistics: ImageStatistics


def score_list(result_path: str, data_root: str, data_lst: str, *, num_classes: int, crop_size: int,
               label_map: str = "", allow_single_class: bool = False, on_bad: OnBad = "error") -> Score:
    """`MeanIoU.compute()` of a list's images, with `images_without_result`, which did not count.

    Args:
        result_path: folder of results; of raw tensors, num_classes and crop_size say the shape.
        data_root, data_lst, on_bad: see `ListDataset`.
        label_map: see `read_label_map`; empty: the labels hold class indices.
        allow_single_class: see `label_counts.report`.
    """
    dataset: Dataset = _usable(ListDataset(data_root, data_lst, on_bad=on_bad))
    if label_map:
        dataset = MappedLabels(dataset, read_label_map(label_map))
    names, predict = _semantic(result_path, data_root, num_classes, crop_size)
    counts = count_labels(dataset, num_classes=len(names), ignore_label=IGNORED, workers=2)
    report(counts, data_lst, names, IGNORED, allow_single_class=allow_single_class)
    evaluator, missing = MeanIoU(names, decode_label, IGNORED), []
    for record in dataset.rows(range(len(dataset))):
        prediction = predict(record)
        if prediction is None:
            missing.append(record.file_name)
            continue
        try:
            evaluator.update(prediction, record.target)
        except InputError as error:
            raise InputError(f"{record.place}: {record.file_name}: {error}") from error
    _expect_some(result_path, len(missing) < len(dataset), f"{data_lst}, such as {record.file_name}")
    return Score(evaluator.compute() | {"images_without_result": missing}, evaluator.statistics())


def score_coco(result_path: str, ann_file: str, img_path: str, *, max_detections: int = 100,
               on_bad: OnBad = "error") -> Score:
    """`CocoMAP.compute()` of an annotation file's images; in one without a result nothing was found.

    Args:
        result_path: folder of results.
        ann_file, on_bad: see `CocoDataset`.
        img_path: folder of the images; empty: they are not looked at.
        max_detections: see `CocoMAP`.
    """
    dataset, predict, left_out = _instance(result_path, ann_file, img_path, on_bad)
    evaluator, found = CocoMAP(max_detections), 0
    for record in dataset.rows(range(len(dataset))):
        prediction = predict(record)
        if prediction is None:
            evaluator.update_missing(record.target)
        else:
            evaluator.update(prediction, record.target)
            found += 1
    _expect_some(result_path, found > 0, f"{ann_file}, such as {record.file_name}")
    numbers = evaluator.compute()
    others = numbers["detections_of_other_classes"] + left_out.total()
    return Score(numbers | {"detections_of_other_classes": others}, evaluator.statistics())


def _semantic(result_path: str, data_root: str, num_classes: int, crop_size: int) -> tuple[tuple[str, ...], Callable]:
    """The class names, and a function from a record to its label map or None."""
    if is_result_folder(result_path):
        results = _index(result_path, data_root, "semantic")
        return results.class_names, lambda r: results.label_map(r.file_name, r.image_id)
    _expect_raw(result_path)
    names = VOC_CLASSES if num_classes == len(VOC_CLASSES) else tuple(f"class_{k}" for k in range(num_classes))
    return names, lambda r: zoo_raw.label_map(
        result_path, r.file_name, r.image_id, num_classes=num_classes, crop_size=crop_size,
        image_size=header_size(r.image))


def _instance(result_path: str, ann_file: str, img_path: str,
              on_bad: OnBad) -> tuple[CocoDataset, Callable, Counter[str]]:
    """The truth, a function from a record to instances or None, and the number of detections left out, by class."""
    if is_result_folder(result_path):
        results = _index(result_path, img_path or image_folder_of(ann_file), "instance")
        dataset = _coco(ann_file, img_path, on_bad)
        labels = _labels_of_truth(results, dataset, ann_file)
        if results.score_thresholds:
            log.warning("%s: holds no detections below score_thresholds (%s), so AP is lower than eval.py's; for AP, "
                        "predict with --score_thresholds= (empty), or export the model so for the C++ program",
                        result_path, some((f"{n}={t:g}" for n, t in results.score_thresholds.items()), 5))
        return dataset, lambda r: results.instances(r.file_name, r.image_id, labels), results.left_out
    _expect_raw(result_path)
    return _coco(ann_file, img_path, on_bad), lambda r: zoo_raw.instances(
        result_path, r.file_name, r.image_id,
        image_size=header_size(r.image) if r.image else decode_target(r.target).size), Counter()


def _labels_of_truth(results: ResultFiles, dataset: CocoDataset, ann_file: str) -> dict[int, int]:
    """Class index of the truth by class index of the model, matched by name; logs names that only one side has."""
    truth = {category.name: category.label for category in categories_of(dataset)}
    labels = {k: truth[name] for k, name in enumerate(results.class_names) if k and name in truth}
    if not labels:
        raise InputError(f"{ann_file}: has none of the classes {', '.join(results.class_names[1:6])}, ...; give "
                         "annotations with the names that the model was trained with")
    unlearnt = [name for name in truth if name not in results.class_names]
    if unlearnt:
        log.warning("%s: the model does not know %d classes; their objects count as not found: %s", ann_file,
                    len(unlearnt), ", ".join(unlearnt[:20]))
    absent = [name for name in results.class_names[1:] if name not in truth]
    if absent:
        log.warning("%s: has no classes %s; detections of them do not count", ann_file, ", ".join(absent[:20]))
    return labels


def _coco(ann_file: str, img_path: str, on_bad: OnBad) -> CocoDataset:
    try:
        return _usable(CocoDataset(ann_file, img_path or image_folder_of(ann_file), on_bad=on_bad,
                                   needs_images=bool(img_path)))
    except InputError as error:
        images = f"with --img_path={img_path}" if img_path else "without --img_path=FOLDER, which tells missing sizes"
        raise InputError(f"--ann_file={ann_file} {images}: {error}") from error


def _usable(dataset: ListDataset | CocoDataset) -> ListDataset | CocoDataset:
    """The dataset; logs what `on_bad="skip"` left out of it."""
    if dataset.bad:
        log.warning("left out, %s", describe_bad(dataset.bad, "entries"))
    return dataset


def _index(result_path: str, image_root: str, task: str) -> ResultFiles:
    results = read_index(result_path, image_root)
    if results.task != task:
        truth = "--data_root and --data_lst" if results.task == "semantic" else "--ann_file"
        raise InputError(f"--result_path={result_path}: holds results of the task {results.task}; score them "
                         f"with {truth}")
    return results


def _expect_raw(result_path: str) -> None:
    if not Path(result_path).is_dir():
        raise InputError(f"--result_path={result_path}: no such folder; give the one that the inference wrote")
    if not zoo_raw.is_raw_folder(result_path):
        raise InputError(f"--result_path={result_path}: holds neither index.json nor NAME_0.bin; run the inference "
                         "to its end first (it goes on where it stopped)")


def _expect_some(result_path: str, any_found: bool, truth: str) -> None:
    if not any_found:
        raise InputError(f"--result_path={result_path}: none of its results belongs to an image of {truth}; "
                         "give the truth of the images that were predicted, or predict with --dataset_path=FOLDER, "
                         "the folder that the truth's image names start from")
