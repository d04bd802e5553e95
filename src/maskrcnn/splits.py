"""Open the "train" and "val" splits that a configuration names. No MindSpore, unless MindRecords are read."""
from __future__ import annotations

import logging
import shlex
from pathlib import Path
from typing import Any

from src.contract import Dataset, InputError, Record
from src.data.checks import leave_out_bad, warn_of_dark_images
from src.data.decode import Decoding
from src.data.instance.coco import CocoDataset
from src.data.instance.coco_check import RecordCheck, class_table
from src.data.instance.coco_classes import COCO_CATEGORIES, COCO_CLASSES
from src.data.instance.coco_index import open_table
from src.data.instance.coco_layout import coco_layout, image_folder_of
from src.data.instance.target import Category, categories_of, decode_target
from src.data.instance.txt import TxtDataset
from src.data.repeats import repeat_rare
from src.wording import some

log = logging.getLogger(__name__)
NOTHING = ("there is nothing to learn: {images} images have 0 objects of the classes and {crowds} crowd regions "
           "(iscrowd 1), which training leaves out. Where a tool marks every brush mask as a crowd (CVAT, datumaro), "
           "src/tools/import_data.py coco SOURCE --to=DIR --crowds=objects makes objects of them; else give the "
           "annotations that have the objects")


def training_split(c: Any) -> Dataset:
    """`open_split` of "train", with the images of rare classes repeated where repeat_factor_threshold is set."""
    dataset = open_split(c, "train")
    records = (dataset.listed(k)[0] for k in range(len(dataset))) if isinstance(dataset, CocoDataset) else ()
    return repeat_rare(dataset, c.repeat_factor_threshold, _classes_shown, c.names, records=records, workers=c.workers)


def _classes_shown(record: Record) -> list[int]:
    """Classes of a record's objects; crowd regions do not train their class."""
    target = decode_target(record.target)
    return target.labels[~target.crowds].tolist()


def open_split(c: Any, split: str) -> Dataset:
    """The records of "train" or "val" of a `MaskRCNNConfig` whose classes are known (see `categories`).

    The first of these that is set: MindRecords (data_file, val_data_file), a text file (dataset=other), an annotation
    file (ann_file, only for "val"), the splits of coco_root.

    Raises:
        InputError: nothing is given, or what is given is unusable.
    """
    dataset = list_split(c, split, on_bad=c.on_bad)
    if not isinstance(dataset, (TxtDataset, CocoDataset)):  # MindRecords
        manifest = dataset.manifest
        if split == "train" and manifest and manifest.request["check"] != "None" and not manifest.histogram:
            raise InputError(f"{dataset.name}: {NOTHING.format(images=len(dataset), crowds='some or no')}")
        _check_classes(c, dataset)
        return dataset
    if isinstance(dataset, CocoDataset):
        _say_unlisted(dataset)
    warn_of_dark_images(dataset, c.bit_depth)
    if split == "train" and not dataset.objects:
        raise InputError(f"{dataset.name}: {NOTHING.format(images=len(dataset), crowds=dataset.crowds)}")
    if c.on_bad == "error":
        return dataset
    return leave_out_bad(dataset, RecordCheck(how=_decoding(c)), workers=c.workers, known=dataset.bad)


def list_split(c: Any, split: str, *, on_bad: str) -> Any:
    """The records of a split as annotation or record files name them, no image read yet; see `open_split`."""
    records = _records(c, split)
    if records:
        from src.data.records.mindrecord import RecordDataset

        return RecordDataset(records)
    how = _decoding(c)
    if c.dataset == "other":
        return TxtDataset(_text_file(c, split), c.image_dir or ".", class_names=c.names, on_bad=on_bad, how=how)
    ann_file, image_dir = _annotations(c, split)
    return CocoDataset(ann_file, image_dir, class_names=c.coco_classes, class_map=c.class_map,
                       absent="error" if split == "train" else "allow",
                       others="leave_out" if split == "train" or c.chose_classes else "keep", on_bad=on_bad, how=how)


def _check_classes(c: Any, dataset: Dataset) -> None:
    """InputError for records whose class indices mean other classes than the model's, which would be scored silently.

    Names that the model does not have at all are taken where somebody chose its names: they may be translations.
    """
    if not c.coco_classes or c.class_map != "order":
        return
    for category in categories_of(dataset):
        ours = c.names[category.label] if category.label < len(c.names) else None
        elsewhere = category.name in c.names and category.name != ours
        if elsewhere or (ours is not None and category.name not in c.names and not c.chose_classes):
            raise InputError(f"{dataset.name}: class {category.label} of the records is {category.name!r}, that of the "
                             f"model {ours or 'none'!r}; build the records with the model's classes, "
                             f"--coco_classes={shlex.quote(','.join(c.names))}, or give the annotation file itself, "
                             "whose classes are matched by name")


def _decoding(c: Any) -> Decoding:
    return Decoding(c.exif, c.bit_depth, c.max_pixels)


def check_split(c: Any, split: str) -> None:
    """Raise the InputError of `open_split` for missing files, without reading annotations."""
    records = _records(c, split)
    if records:
        from src.data.records.mindrecord import RecordDataset

        RecordDataset(records)
    elif c.dataset == "other":
        path, folder = _text_file(c, split), Path(c.image_dir or ".")
        if not (Path(path).is_file() and folder.is_dir()):
            TxtDataset(path, folder, class_names=("background",))
    else:
        ann_file, _ = _annotations(c, split)
        if not ann_file.is_file():
            open_table(ann_file)


def _say_unlisted(dataset: CocoDataset) -> None:
    names = dataset.unlisted()
    if names:
        log.warning("%s: %d files of %s are in no record: the annotation file does not name them, or left out above "
                    "(%s)", dataset.name, len(names), dataset.image_dir, some(names, 5))


def categories(c: Any, split: str) -> tuple[Category, ...]:
    """The classes of a split's files, without the background.

    Raises:
        InputError: text files, which hold none, or unreadable ones.
    """
    records = _records(c, split)
    if records:
        from src.data.records.mindrecord import RecordDataset

        return categories_of(RecordDataset(records))
    if c.dataset == "other":
        raise InputError("--num_classes is missing: the text files of dataset=other do not say how many classes there "
                         "are; give it (background included), or --coco_classes=background,NAME,...")
    ann_file, _ = _annotations(c, split)
    return class_table(open_table(ann_file).categories, ann_file, class_map=c.class_map)


def category_ids(c: Any) -> list[int]:
    """The category id of each class of a `completed` configuration, 0 for the background.

    The first that is known of: those that the weights were trained with, those in coco_root's annotations, COCO's if
    the classes are COCO's, and the class indices.
    """
    if len(c.category_ids) == c.num_classes:
        return list(c.category_ids)
    if c.class_map == "order" and c.coco_root and c.dataset == "coco":
        path = coco_layout(c.coco_root, c.val_data_type, c.instance_set)[0]
        table = class_table(open_table(path).categories, path, class_names=c.coco_classes, absent="allow")
        return [0, *(category.category_id for category in table)]
    if c.class_map == "order" and c.names == COCO_CLASSES:
        return [0, *COCO_CATEGORIES]
    return list(range(c.num_classes))


def names_data(c: Any) -> bool:
    """Whether a configuration names its data."""
    return any((c.coco_root, c.ann_file, c.data_file, c.val_data_file, c.anno_path, c.val_anno_path))


def _records(c: Any, split: str) -> str:
    if split == "train":
        return c.data_file
    return "" if c.ann_file else c.val_data_file


def _text_file(c: Any, split: str) -> str:
    path = (c.val_anno_path if split == "val" else "") or c.anno_path
    if not path:
        raise InputError(f"{split} data: dataset=other needs --anno_path=FILE, one image a line, and --image_dir")
    return path


def _annotations(c: Any, split: str) -> tuple[Path, Path]:
    """Annotation file and image folder."""
    if split == "val" and c.ann_file:
        return Path(c.ann_file), Path(c.image_dir) if c.image_dir else image_folder_of(c.ann_file)
    if not c.coco_root:
        other = "--ann_file=JSON" if split == "val" else "--mindrecord_dir=RECORDS"
        raise InputError(f"{split} data is missing; give --coco_root=DIR (a folder in COCO's layout), {other}, or "
                         "--dataset=other with --anno_path and --image_dir")
    return coco_layout(c.coco_root, c.train_data_type if split == "train" else c.val_data_type, c.instance_set)
