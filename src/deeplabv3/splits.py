"""Open the "train" and "val" splits that a configuration names. No MindSpore, unless MindRecords are read."""
from __future__ import annotations

import logging
import os
from typing import Any

from src.contract import Dataset, InputError, Record
from src.data.checks import leave_out_bad, warn_of_dark_images
from src.data.decode import Decoding
from src.data.records.mindrecord import RecordDataset
from src.data.repeats import repeat_rare
from src.data.semantic.label_counts import LabelCounts, count_labels, median_frequency_weights, report
from src.data.semantic.label_map import MappedLabels, read_label_map
from src.data.semantic.voc import ListDataset, RecordCheck, label_histogram, placed, read_label

log = logging.getLogger(__name__)


def open_split(c: Any, split: str) -> Dataset:
    """The records of "train" (data_file, or data_root with data_lst) or "val" (val_data_file or val_data_lst).

    Logs in one line how many pixels each class has.

    If no val split is configured, "val" is data_file or data_lst, as given to `eval.py`. Training does not evaluate on
    its own training data.

    Raises:
        InputError: nothing is given, or what is given is unusable or has nothing to learn.
    """
    dataset = _without_bad(c, split)
    warn_of_dark_images(dataset, c.bit_depth)
    counts = count_labels(dataset, num_classes=c.num_classes, ignore_label=c.ignore_label, workers=c.workers)
    report(counts, dataset.name, c.names, c.ignore_label, allow_single_class=c.allow_single_class)
    return dataset


def training_split(c: Any) -> Dataset:
    """`open_split` of "train", with the images of rare classes repeated where repeat_factor_threshold is set.

    An image shows a class where at least one pixel is of it; class 0, the background, is never rare.
    """
    def classes_shown(record: Record) -> list[int]:
        label = read_label(record)
        with placed(record):
            found = label_histogram(label, c.num_classes, c.ignore_label)
        return [k for k in found if 0 < k < c.num_classes and k != c.ignore_label]

    dataset = open_split(c, "train")
    return repeat_rare(dataset, c.repeat_factor_threshold, classes_shown, c.names, workers=c.workers)


def _without_bad(c: Any, split: str) -> Dataset:
    dataset = list_split(c, split, on_bad=c.on_bad)
    if c.on_bad == "error" or isinstance(dataset, RecordDataset):
        return dataset
    check = RecordCheck(c.num_classes, c.ignore_label, how=Decoding(c.exif, c.bit_depth, c.max_pixels))
    return leave_out_bad(dataset, check, workers=c.workers, known=dataset.bad)


def class_pixels(c: Any) -> LabelCounts:
    """Pixels by class in all training labels: from the records' manifest, else read from every label."""
    dataset = _without_bad(c, "train")
    return count_labels(dataset, num_classes=c.num_classes, ignore_label=c.ignore_label, workers=c.workers,
                        sample=len(dataset))


def balanced_weights(c: Any) -> tuple[float, ...]:
    """The weights of class_weights=median_frequency; a class's frequency is its share of the pixels that count.

    Raises:
        InputError: no training data, or fewer than two classes in it.
    """
    pixels = class_pixels(c).classes(c.ignore_label)
    if len(pixels) < 2:
        raise InputError(f"class_weights=median_frequency: the training labels have {len(pixels)} classes, and it "
                         "needs two or more; leave it out, or give numbers")
    weights = median_frequency_weights([pixels.get(k, 0) for k in range(c.num_classes)])
    log.info("class_weights by median frequency: %s", ", ".join(f"{n} {w:g}" for n, w in zip(c.names, weights)))
    return weights


def list_split(c: Any, split: str, *, on_bad: str) -> Dataset:
    """The records of a split as files or a list name them, not one of them read yet; see `open_split`."""
    file, lst = _paths(c, split)
    if file:
        if c.label_map:
            raise InputError(f"--label_map={c.label_map}: {file} holds labels that are already built; give the map to "
                             "src/tools/build_seg_data.py, or use a list instead of records")
        return RecordDataset(file)
    listed = ListDataset(c.data_root, lst, on_bad=on_bad)
    return MappedLabels(listed, read_label_map(c.label_map)) if c.label_map else listed


def check_split(c: Any, split: str) -> None:
    """Raise the InputError of `open_split` for missing files, without reading a list of images."""
    file, lst = _paths(c, split)
    if file:
        RecordDataset(file)
    elif not (os.path.isdir(c.data_root) and os.path.isfile(lst)):
        ListDataset(c.data_root, lst)


def _paths(c: Any, split: str) -> tuple[str, str]:
    """Records or list of a split; one of them is empty."""
    asking = next((key for key in ("eval_interval", "preview_interval") if getattr(c, key)), "")
    if split == "val" and asking and not (c.val_data_file or c.val_data_lst or c.checkpoint):
        raise InputError(f"--{asking}={getattr(c, asking)}: evaluation during training needs its own data; give "
                         "--val_data_lst or --val_data_file")
    file, lst = c.data_file, c.data_lst
    if split == "val" and (c.val_data_file or c.val_data_lst):
        file, lst = c.val_data_file, c.val_data_lst
    if bool(file) == bool(lst):
        what = "is given as records and as a list" if file else "is missing"
        raise InputError(f"{split} data {what}; give either --data_file (records), or --data_root and --data_lst")
    return file, lst
