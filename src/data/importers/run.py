"""From a labelling tool's export to a folder that training reads: `import_data`."""
from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

from src.contract import InputError
from src.data.checks import describe_bad, ordered_map
from src.data.importers.layouts import SPLITS, Counts, checked_label, unique_names, write_coco, write_voc
from src.data.importers.pictures import BACKGROUND, IGNORE, Collection, Options, Picture, Reading, Report, first_split
from src.data.importers.similar import Fingerprint, fingerprint
from src.data.importers.split import assign_splits
from src.data.importers.table import FORMATS, Format
from src.data.semantic.label_counts import IGNORED_SHARE

log = logging.getLogger(__name__)

REPORT = "import.json"
_WORKERS = 2


def import_data(name: str, source: str | Path, to: str | Path, options: Options) -> str:
    """Read a source and write it, all of it or nothing, into the new folder `to`.

    Args:
        name: one of `FORMATS`.
        source: the folder that the tool exported.
        to: the folder to make. `import.json` in it says where each image came from.

    Returns:
        The report as text.

    Raises:
        InputError: no such format or folder, `to` exists, or what is wrong with the source.
    """
    fmt = _format(name, options)
    source, to = Path(os.path.abspath(source)), Path(os.path.abspath(to))
    if not source.is_dir():
        raise InputError(f"{source}: no such folder; give the unpacked export of {name}: {fmt.holds}")
    if to.exists() or to.is_symlink():
        raise InputError(f"--to={to}: exists already, and nothing is overwritten; name another folder or move it away")
    if to.is_relative_to(source):
        raise InputError(f"--to={to}: lies inside the source, where the next import would read it; name another folder")
    layout = options.layout or fmt.layouts[0]
    options = replace(options, layout=layout)
    reading = Reading(source, options)
    collection = fmt.read(reading)
    _take_splits_of_folders(collection.pictures)
    pictures, prints = _readable(collection, reading.report, options)
    collection.pictures = pictures
    _stop_at_bad(reading.report, options, name, fmt, pictures)
    classes = choose_classes(collection, options, reading.report, layout)
    pictures = assign_splits(collection, prints, options, reading.report)
    counts = _write(to, layout, pictures, classes, options, reading.report, name)
    return describe(to, layout, pictures, classes, counts, reading.report)


def _take_splits_of_folders(pictures: Sequence[Picture]) -> None:
    """Give pictures without a split that of a folder called train, val or the like, unless all are in one of them."""
    found = [picture.split or first_split(PurePosixPath(picture.name).parts[:-1]) for picture in pictures]
    for picture, split in zip(pictures, found):
        picture.split = split if len(set(found)) > 1 else ""


def _format(name: str, options: Options) -> Format:
    fmt = FORMATS[name]
    if options.layout and options.layout not in fmt.layouts:
        raise InputError(f"--layout={options.layout}: {name} holds what only --layout={fmt.layouts[0]} can hold; leave "
                         "the flag away")
    return fmt


def _readable(collection: Collection, report: Report, options: Options) -> tuple[list[Picture], list[Fingerprint]]:
    """The pictures whose images and labels can be decoded, and their fingerprints."""
    kept, prints = [], []
    examine = partial(_fingerprint, classes=max(len(collection.class_names), len(options.class_names)))
    for picture, found in zip(collection.pictures, ordered_map(examine, collection.pictures, _WORKERS)):
        if isinstance(found, str):
            report.bad.append(found)
        else:
            kept.append(picture)
            prints.append(found)
    return kept, prints


def _fingerprint(picture: Picture, classes: int) -> Fingerprint | str:
    """The fingerprint of a picture, or what is wrong with its image or label."""
    try:
        if picture.label:
            checked_label(picture.label(), picture, classes)
    except InputError as error:
        return str(error)
    try:
        return fingerprint(picture.read())
    except InputError as error:
        return str(error) if isinstance(picture.image, Path) and str(picture.image) in str(error) else \
            f"{picture.image if isinstance(picture.image, Path) else picture.place}: {error}"


def _stop_at_bad(report: Report, options: Options, name: str, fmt: Format, pictures: Sequence[Picture]) -> None:
    if report.bad and options.on_bad == "error":
        raise InputError(f"{describe_bad(report.bad, 'entries')}\nRepair them, or leave them out with "
                         "--on_bad=skip: annotations alone, and images that are unusable themselves")
    if not pictures:
        notes = "".join(f"\n{line}" for line in [*report.lines(), *report.bad[:20]])
        raise InputError(f"no image to import: {name} reads {fmt.holds}; give the folder that holds them, or another "
                         f"format ({', '.join(FORMATS)}){notes}")


def choose_classes(collection: Collection, options: Options, report: Report, layout: str) -> list[str]:
    """The classes by index (VOC) or by category (COCO), and only objects of these left in the pictures.

    Raises:
        InputError: names that the source does not have, or no class at all.
    """
    if any(picture.label for picture in collection.pictures):
        return _renamed(collection.class_names, options)
    chosen = [name for name in options.class_names if name != BACKGROUND] or \
        [name for name in collection.class_names if name not in (BACKGROUND, IGNORE)]
    missing = [name for name in chosen if name not in collection.class_names]
    if missing:
        raise InputError(f"--class_names: {missing[0]!r} is no class of the source; it has "
                         f"{', '.join(collection.class_names) or 'none'}")
    kept = {*chosen, *((BACKGROUND, IGNORE) if layout == "voc" else ())}
    for picture in collection.pictures:
        for annotation in picture.annotations:
            if annotation.name not in kept:
                report.note(f"objects of {annotation.name!r} were not taken", picture.name)
        picture.annotations = [annotation for annotation in picture.annotations if annotation.name in kept]
    if not any(picture.annotations for picture in collection.pictures):
        raise InputError("\n".join([f"no object to import: none of the {len(collection.pictures)} images has one",
                                    *report.lines()]))
    _treat_crowds(collection.pictures, options.crowds, report)
    return [BACKGROUND, *chosen] if layout == "voc" else chosen


def _treat_crowds(pictures: Sequence[Picture], crowds: str, report: Report) -> None:
    """Make objects of crowds where that was asked for, else warn where there is nothing but crowds."""
    every = [annotation for picture in pictures for annotation in picture.annotations]
    if crowds == "objects":
        for picture in pictures:
            picture.annotations = [replace(annotation, crowd=False) for annotation in picture.annotations]
    elif all(annotation.crowd for annotation in every):
        log.warning("all %d objects are crowd regions (iscrowd 1), of which nothing can be learnt. CVAT and datumaro "
                    "write masks drawn with the brush so: --crowds=objects takes them as objects", len(every))


def _renamed(names: list[str], options: Options) -> list[str]:
    if options.class_names and len(options.class_names) < len(names):
        raise InputError(f"--class_names has {len(options.class_names)} names, the labels have {len(names)} classes "
                         f"({', '.join(names)}); name them in the order of their indices")
    return list(options.class_names) or names


def _write(to: Path, layout: str, pictures: Sequence[Picture], classes: Sequence[str], options: Options,
           report: Report, name: str) -> Counts:
    partial = to.parent / f".{to.name}.partial-{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)  # of a killed process that had the same number
    try:
        partial.mkdir(parents=True)
        counts = (write_coco if layout == "coco" else write_voc)(partial, pictures, classes, options)
        written = [{"name": new, "split": picture.split, "source": picture.name}
                   for picture, new in zip(pictures, unique_names(pictures))]
        content = {"format": name, "layout": layout, "class_names": list(classes), "counts": counts,
                   "images": written, **report.as_json()}
        (partial / REPORT).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        if to.exists():
            raise InputError(f"--to={to}: was made by another process meanwhile; name another folder")
        os.rename(partial, to)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return counts


def describe(to: Path, layout: str, pictures: Sequence[Picture], classes: Sequence[str], counts: Counts,
             report: Report) -> str:
    """What was taken by split and class, what was changed or not taken, and how to train on it."""
    images = Counter(picture.split for picture in pictures)
    splits = [split for split in SPLITS if images[split]]
    unit = "objects" if layout == "coco" else "pixels"
    names = [*classes, *([IGNORE] if any(counts[split][IGNORE] for split in splits) else [])]
    wide = max(map(len, [*names, unit]))
    lines = [f"{to}: {', '.join(f'{images[split]} {split}' for split in splits)} images",
             f"{unit:{wide}} " + " ".join(f"{split:>10}" for split in splits)]
    lines += [f"{name:{wide}} " + " ".join(f"{counts[split][name]:10}" for split in splits) for name in names]
    lines += [f"warning: {split} has no {name}" for split in splits for name in classes
              if not counts[split][name] and split != "test"]
    lines += [line for split in splits if layout == "voc" for line in _one_class(split, counts[split])]
    lines += [f"note: {line}" for line in report.lines()]
    if report.bad:
        lines.append(f"left out: {describe_bad(report.bad, 'entries')}")
    return "\n".join([*lines, "train with:", f"  {_command(to, layout, classes, splits)}"])


def _one_class(split: str, pixels: Counter[str]) -> list[str]:
    """A warning of label maps that training refuses: one class, and many ignored pixels."""
    share = pixels[IGNORE] / max(pixels.total(), 1)
    if share <= IGNORED_SHARE or len(pixels) > 2:
        return []
    return [f"warning: {split} has pixels of one class alone, and {100 * share:.1f} % are 255, which is ignored. If "
            "255 is the object of masks, add --label_map=255:1 to the command below, with --num_classes=2"]


def _command(folder: Path, layout: str, classes: Sequence[str], splits: Sequence[str]) -> str:
    val, to = "val" in splits, shlex.quote(str(folder))
    if layout == "coco":
        return (f"python train.py --model=mask_rcnn_r50 --coco_root={to} --train_data_type=train"
                + (" --val_data_type=val --eval_interval=1" if val else ""))
    return (f"python train.py --data_root={to} --data_lst={to}/voc_train_lst.txt --num_classes={len(classes)}"
            + (f" --val_data_lst={to}/voc_val_lst.txt --eval_interval=1" if val else ""))
