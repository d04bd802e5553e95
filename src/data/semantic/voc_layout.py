"""From a PASCAL VOC folder (with or without SBD) to gray labels and list files.

VOC2012 and the Semantic Boundaries Dataset give the published lists "VOC train", "VOC val" and "VOC aug" (10,582
images); any other folder in VOC's layout gives a train and a val list. No image of val is ever in a train list.
No MindSpore here.
"""
from __future__ import annotations

import logging
import os
import re
import shlex
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from mimetypes import guess_type
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from src.contract import InputError
from src.data import decode
from src.data.checks import describe_bad, ordered_map
from src.data.columns import quoted
from src.data.semantic.class_list import names_beside
from src.data.semantic.colour_table import FILE_NAME, ColourTable, read_labelmap
from src.files import write_file

log = logging.getLogger(__name__)

TRAIN, VAL, AUG = "voc_train_lst.txt", "voc_val_lst.txt", "vocaug_train_lst.txt"
_SPLITS = Path("ImageSets/Segmentation")
_TRAIN_LISTS = ("train.txt", "training.txt", "default.txt")  # CVAT calls them like its subsets, a single one default
_VAL_LISTS = ("val.txt", "validation.txt", "valid.txt")
_VOC_PLACES = ("VOCdevkit/VOC2012", "VOC2012", ".")
_FLAG = re.compile(r"\s+-?[01]$")
_BY_HAND = "convert it to a gray PNG of class indices, with the program that made it"
_SBD_PLACE = "benchmark_RELEASE/dataset"

Pair = tuple[Path, Path]


@dataclass(frozen=True)
class Folders:
    """Where a dataset's images, its labels as published, and its gray labels are.

    `gray` came with the data and is used as it is; what is missing there is written to `made`. `colours` is the data's
    own table of colours, VOC's counts without it.
    """

    images: Path
    labels: Path
    gray: Path
    made: Path
    colours: ColourTable | None = None


def make_lists(data_root: str | Path, out_dir: str | Path = "", workers: int = 2) -> dict[Path, int]:
    """Write the gray labels that are missing, and the lists; return {list file: number of lines}.

    Args:
        data_root: folder with `VOCdevkit/VOC2012` (and `benchmark_RELEASE/dataset`), or itself in VOC's layout.
        out_dir: where gray labels and lists go; empty: data_root.
        workers: threads that convert labels.

    Raises:
        InputError: no such layout, missing images or labels, or labels that cannot be converted.
    """
    root = Path(os.path.abspath(data_root))
    out = Path(os.path.abspath(out_dir)) if out_dir else root
    voc = _find_voc(root)
    split, held_out = _split_file(voc, _TRAIN_LISTS), _split_file(voc, _VAL_LISTS)
    val = read_names(held_out) if held_out.is_file() else []
    train = without(read_names(split), val, split)
    table = voc / FILE_NAME
    colours = read_labelmap(table) if table.is_file() else None
    named = (table, colours.class_names) if colours else names_beside((voc, root))
    if named:
        log.info("%s: its %s are the classes, in this order: --class_names=%s", named[0],
                 "colours" if colours else "names", shlex.quote(",".join(named[1])))
    made = out / voc.relative_to(root)
    folders = Folders(voc / "JPEGImages", voc / "SegmentationClass", voc / "SegmentationClassGray",
                      made / "SegmentationClassGray", colours)
    lists = {TRAIN: pairs(train, folders, workers), VAL: pairs(val, folders, workers)}
    sbd = root / _SBD_PLACE
    if (sbd / "cls").is_dir():
        names = list(dict.fromkeys(read_names(sbd / "train.txt") + read_names(sbd / "val.txt")))
        # SBD has a split of its own: VOC's val has to leave it, VOC's train comes last with VOC's labels.
        extra = [name for name in without(names, val, sbd) if name not in set(train)]
        folders = Folders(sbd / "img", sbd / "cls", sbd / "cls_png_gray", out / _SBD_PLACE / "cls_png_gray")
        lists[AUG] = pairs(extra, folders, workers) + lists[TRAIN]
    if not any(lists.values()):
        raise InputError(f"{voc / _SPLITS}: train.txt and val.txt name no image; restore them")
    out.mkdir(parents=True, exist_ok=True)
    return {_write_list(out / name, rows, root): len(rows) for name, rows in lists.items() if rows}


def _find_voc(root: Path) -> Path:
    for place in _VOC_PLACES:
        if _split_file(root / place, _TRAIN_LISTS).is_file() and (root / place / "JPEGImages").is_dir():
            return root / place
    raise InputError(f"data_root {root}: none of {', '.join(_VOC_PLACES)} in it has JPEGImages/ and "
                     f"{_SPLITS}/train.txt; give the folder that holds VOCdevkit, or one in VOC's layout")


def _split_file(voc: Path, names: Sequence[str]) -> Path:
    """The first list in ImageSets/Segmentation that has one of `names`, whatever its capitals."""
    present = {path.name.lower(): path for path in sorted((voc / _SPLITS).glob("*.txt"), reverse=True)}
    return next((present[name] for name in names if name in present), voc / _SPLITS / names[0])


def read_names(path: Path) -> list[str]:
    """Image names of a split file, one a line, without repetition; any line ends, blank lines are fine."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not readable as a list of image names ({error}); restore the file") from error
    names = [_FLAG.sub("", line.strip()) for line in lines if line.strip()]  # VOC has lists with 1 or -1 after names
    unique = list(dict.fromkeys(names))
    if len(unique) < len(names):
        log.warning("%s: %d repeated names are used once", path, len(names) - len(unique))
    return unique


def without(names: Sequence[str], val: Collection[str], place: Path) -> list[str]:
    """`names` that are not in `val`, in their order; says how many were."""
    held_out = set(map(_bare, val))
    kept = [name for name in names if _bare(name) not in held_out]
    if len(kept) < len(names):
        log.info("%s: %d images belong to val and are left out of training", place, len(names) - len(kept))
    return kept


def pairs(names: Sequence[str], folders: Folders, workers: int) -> list[Pair]:
    """(image, gray label) of every name; labels that are not there yet are converted, in parallel.

    Raises:
        InputError: naming the images and labels that are missing or cannot be converted.
    """
    images = _images(folders.images, set(names))
    names = [_known(name, images) for name in names]
    rows, bad = [], []

    def label(name: str) -> Path | str:
        try:
            if name not in images:
                raise InputError(f"{folders.images / name}.*: no such image; restore it, or remove it from the split")
            return _gray_label(name, folders)
        except InputError as error:
            return str(error)

    for name, found in zip(names, ordered_map(label, names, workers)):
        if isinstance(found, str):
            bad.append(found)
        else:
            rows.append((images[name], found))
    if bad:
        raise InputError(describe_bad(bad))
    return rows


def _images(folder: Path, wanted: Collection[str]) -> dict[str, Path]:
    """The images below a folder by their paths in it, without suffixes, as splits name them."""
    images: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if not _is_image(path.name):
            continue
        if images.setdefault(name, path) != path and name in wanted:
            raise InputError(f"{path}: {images[name].name} has the same name; a split cannot tell them apart, remove "
                             "one of them")
    return images


def _known(name: str, images: Collection[str]) -> str:
    """A name of a split as images have it: some tools write suffixes too."""
    return _bare(name) if name not in images and _bare(name) in images else name


def _bare(name: str) -> str:
    """A name of a split without the suffix of an image."""
    return PurePosixPath(name).with_suffix("").as_posix() if _is_image(name) else name


def _is_image(name: str) -> bool:
    return (guess_type(name, strict=False)[0] or "").startswith("image/")


def _gray_label(name: str, folders: Folders) -> Path:
    present = next((path for folder in (folders.gray, folders.made)
                    if (path := folder / f"{name}.png").is_file()), None)
    if present and not folders.colours:
        return present
    published = next((p for end in (".png", ".bmp", ".mat") if (p := folders.labels / f"{name}{end}").is_file()), None)
    if published is None and present:
        return present
    if published is None:
        raise InputError(f"{folders.labels / name}.*: no such label; restore it, or remove it from the split")
    if folders.colours:
        label = folders.colours.indices(published)
    else:
        label = read_sbd_label(published) if published.suffix == ".mat" else read_voc_label(published)
    if present and folders.colours:
        if not np.array_equal(decode.decode_label(present.read_bytes()), label):
            raise InputError(f"{present}: has other class indices than {folders.colours.place} gives to the colours of "
                             f"{published}; remove {present.parent} to have it made again, or {FILE_NAME} if "
                             "that is wrong")
        return present
    target = folders.made / f"{name}.png"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_file(target, cv2.imencode(".png", label)[1].tobytes())
    return target


def read_voc_label(path: Path) -> np.ndarray:
    """(H, W) uint8 class indices of a label as published: palette, gray, or RGB in VOC's colours.

    Raises:
        InputError: undecodable, or colours that are not VOC's.
    """
    try:
        data = path.read_bytes()
        if not data.startswith(b"\x89PNG") or data[25:26] != b"\x02":  # the colour type RGB
            return decode.decode_label(data, advice=_BY_HAND)
        if _is_gray(decode.decode_image(data)):
            return decode.decode_label(data, advice=_BY_HAND)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    colours = {tuple(colour): index for index, colour in enumerate(voc_colours().tolist())}
    try:
        return ColourTable("VOC's colours", colours).indices(path)
    except InputError as error:
        raise InputError(f"{error}. Other colours are taken from a {FILE_NAME} beside SegmentationClass/ (lines "
                         "name:r,g,b), or convert such labels to gray PNGs of class indices yourself and put them into "
                         "SegmentationClassGray/") from error


def _is_gray(pixels: np.ndarray) -> bool:
    """Whether the channels are equal and hold indices: VOC has such colours as well, (128, 128, 128) and above."""
    return bool((pixels[..., :1] == pixels).all() and set(np.unique(pixels)) - {0, 64, 128, 192})


def read_sbd_label(path: Path) -> np.ndarray:
    """(H, W) uint8 class indices of SBD's `cls/*.mat`: the field GTcls.Segmentation."""
    from scipy import io
    from scipy.io.matlab import MatReadError

    try:
        label = io.loadmat(path)["GTcls"][0]["Segmentation"][0]
    except (OSError, LookupError, ValueError, TypeError, NotImplementedError, UnboundLocalError, zlib.error,
            MatReadError) as error:  # scipy's reader raises all of these for damaged files
        raise InputError(f"{path}: not an SBD class label ({type(error).__name__}: {error}); restore it") from error
    label = np.asarray(label)
    if label.dtype.kind not in "uif" or label.ndim != 2 or not label.size:
        raise InputError(f"{path}: GTcls.Segmentation is {label.dtype} of shape {label.shape}, expected (H, W) class "
                         "indices; restore it")
    whole = label.astype(np.uint8)
    if (whole != label).any():
        raise InputError(f"{path}: GTcls.Segmentation holds {label[whole != label][0]}, expected class indices 0..255; "
                         "restore it")
    return np.ascontiguousarray(whole)


def voc_colours() -> np.ndarray:
    """(256, 3) uint8 RGB: VOC's colour of every class index (its development kit's VOClabelcolormap)."""
    index = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= ((index >> (3 * bit + channel) & 1) << (7 - bit)).astype(np.uint8)
    return colours


def _write_list(path: Path, rows: Sequence[Pair], root: Path) -> Path:
    """Write a list in one step; another one of that name is kept beside it."""
    shown = [[str(p.relative_to(root) if p.is_relative_to(root) else p) for p in row] for row in rows]
    text = "".join(" ".join(map(quoted, row)) + "\n" for row in shown)
    if path.is_file() and path.read_text(encoding="utf-8", errors="replace") != text:
        number = next(n for n in range(1, 1000000) if not path.with_name(f"{path.name}.{n}").exists())
        log.warning("%s: another list of that name is kept as %s.%d", path, path.name, number)
        os.replace(path, path.with_name(f"{path.name}.{number}"))
    write_file(path, text)
    return path
