"""YOLO segmentation: a text file for each image, one object on each line, `class x1 y1 x2 y2 ...` in shares of it.

The format is that of docs.ultralytics.com/datasets/segment: `data.yaml` names the classes and the folders or lists of
the splits, labels lie in `labels/` where the images lie in `images/`, an image without a text file shows no object. A
line of five numbers is a box, `class x y width height` around its centre. Without data.yaml the classes are named by
classes.txt (Label Studio, LabelImg) or obj.names (CVAT's YOLO 1.1).
"""
from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import yaml

from src.contract import InputError
from src.data.importers.geometry import from_corners, from_polygons
from src.data.importers.pictures import Annotation, Collection, Picture, Reading, class_name, first_split, split_of
from src.data.importers.reading import IMAGE_SUFFIXES, files_below, open_picture, read_text
from src.data.semantic.class_list import read_class_names

_NAME_FILES = ("classes.txt", "obj.names", "labels/classes.txt")  # Label Studio, CVAT's YOLO 1.1, LabelImg
_BEYOND = 1.5  # a share above this is a number of pixels, not rounding at the border


def read(reading: Reading) -> Collection:
    """The images of the splits of `data.yaml`; without that file, all below the source, classes 0, 1, ..."""
    config = _config(reading)
    names = _class_names(config, reading)
    pictures, used = [], set()
    for split, image in _images(reading, config):
        if image in used:
            reading.report.note("images stand in two splits and were taken for the first", reading.relative(image))
            continue
        used.add(image)
        with reading.report.collecting():
            label = _label_path(image)
            picture = open_picture(reading, image, reading.relative(image), str(label))
            picture.split = split
            picture.annotations = _annotations(reading, label, picture, names)
            pictures.append(picture)
    if not names:
        found = sorted({annotation.name for picture in pictures for annotation in picture.annotations}, key=int)
        return Collection(pictures, found)
    return Collection(pictures, names)


def _config(reading: Reading) -> dict[str, Any]:
    every = files_below(reading.source, (".yaml", ".yml"))
    paths = [path for path in every if path.parent == reading.source]
    usual = [path for path in paths or every if path.stem in ("data", "dataset")]
    found = usual or paths
    if not found:
        return {}
    if len(found) > 1:
        raise InputError(f"{reading.source}: {len(found)} YAML files ({', '.join(p.name for p in found)}); leave "
                         "data.yaml alone there")
    try:
        content = yaml.safe_load(read_text(found[0]))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise InputError(f"{found[0]}{where}: not YAML ({getattr(error, 'problem', None) or error})"
                         "; correct it") from None
    if not isinstance(content, dict):
        raise InputError(f"{found[0]}: has no keys; it has `names` for the classes and `train`, `val`")
    return {**content, "file": found[0]}


def _class_names(config: dict[str, Any], reading: Reading) -> list[str]:
    names = config.get("names")
    place = f"{config.get('file')}: names"
    if names is None:
        if config:
            raise InputError(f"{place} is missing; name the classes: `names: [cat, dog]`")
        beside = next((path for name in _NAME_FILES if (path := reading.source / name).is_file()), None)
        if beside is None:
            reading.report.note("source without data.yaml: classes are called by their numbers", reading.source.name)
            return []
        place, names = str(beside), read_class_names(beside)
    if isinstance(names, dict):
        names = {int(key) if isinstance(key, str) and key.isdecimal() else key: name for key, name in names.items()}
        if not names or sorted(names, key=str) != sorted(range(len(names)), key=str):
            raise InputError(f"{place}: the numbers are not 0, 1, ...; name every class from 0 on")
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names or not all(isinstance(name, (str, int, float)) for name in names):
        raise InputError(f"{place}: {str(names)[:60]!r} is no list of names; write `names: [cat, dog]`")
    found = [class_name(str(name), place) for name in names]
    twice = next((name for name in found if found.count(name) > 1), None)
    if twice:
        raise InputError(f"{place}: {twice!r} is there twice; rename one")
    return found


def _images(reading: Reading, config: dict[str, Any]) -> list[tuple[str, Path]]:
    """(split, image) of all splits that the file names; of the whole folder where it names none."""
    found = []
    for key in ("train", "val", "valid", "test"):
        entries = config.get(key)
        for entry in entries if isinstance(entries, list) else [entries]:
            if entry is not None:
                with reading.report.collecting():
                    found += [(split_of(key), path) for path in _of_entry(reading, config, key, entry)]
    if not any(config.get(key) for key in ("train", "val", "valid", "test")):
        return [(first_split(path.relative_to(reading.source).parts[:-1]), path)
                for path in files_below(reading.source, IMAGE_SUFFIXES)]
    return found


def _of_entry(reading: Reading, config: dict[str, Any], key: str, entry: Any) -> list[Path]:
    place = f"{config['file']}: {key}"
    if not isinstance(entry, str) or not entry.isprintable():
        raise InputError(f"{place}: {str(entry)[:60]!r} is no path; name a folder or a list of images")
    path = _existing(reading, config, entry)
    if path is None and key == "test":  # Roboflow names it, whether it exports one or not
        reading.report.note("splits of data.yaml are not there", f"{key}: {entry}")
        return []
    if path is None:
        raise InputError(f"{place}: {entry}: no such folder or list below {reading.source}; correct the path")
    if path.is_dir():
        return files_below(path, IMAGE_SUFFIXES)
    images = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if line.strip():
            image = _existing(reading, config, line.strip())
            if image is None or not image.is_file():
                raise InputError(f"{path}:{number}: {line.strip()[:100]!r}: no such image below {reading.source}; "
                                 "correct the path")
            images.append(image)
    return images


def _existing(reading: Reading, config: dict[str, Any], name: str) -> Path | None:
    """What a path of the file means: from its `path`, from the file's folder, or without leading folders (they are
    often those of the machine that exported), but not the folder of all splits' images."""
    parts = [part for part in Path(name.replace("\\", "/")).parts if part not in ("..", ".", "/")]
    root = config["file"].parent
    base = root / str(config.get("path") or ".")
    tried = [base / name, root / name]
    tried += [root.joinpath(*parts[k:]) for k in range(len(parts)) if k == 0 or parts[k:] != ["images"]]
    for path in tried:
        try:
            if path.resolve().is_relative_to(reading.source.resolve()) and path.exists():
                return path.resolve() if reading.source == reading.source.resolve() else path
        except (OSError, ValueError, RuntimeError):
            continue
    return None


def _label_path(image: Path) -> Path:
    """The text file of an image: the last folder `images` of its path is called `labels`, or it lies beside it."""
    parts = list(image.parts)
    places = [k for k, part in enumerate(parts[:-1]) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
    label, beside = Path(*parts).with_suffix(".txt"), image.with_suffix(".txt")
    return beside if beside.is_file() and not label.is_file() else label


def _annotations(reading: Reading, label: Path, picture: Picture, names: list[str]) -> list[Annotation]:
    if not label.is_file():
        reading.report.note("images have no label file and show no object", picture.name)
        return []
    found = []
    for number, line in enumerate(read_text(label).splitlines(), 1):
        if line.strip():
            with reading.report.collecting():
                annotation = _annotation(reading, line.split(), f"{label}:{number}", picture, names)
                found += [annotation] if annotation else []
    return found


def _annotation(reading: Reading, words: list[str], place: str, picture: Picture, names: list[str]
                ) -> Annotation | None:
    try:
        index, numbers = float(words[0]), [float(word) for word in words[1:]]
    except ValueError:
        raise InputError(f"{place}: {' '.join(words)[:60]!r} holds something else than numbers; a line is `class x1 y1 "
                         "x2 y2 ...`: correct it") from None
    if not index.is_integer() or index < 0 or (names and index >= len(names)) or index > 9999:
        raise InputError(f"{place}: class {words[0]}, but there are 0..{len(names) - 1}; correct the line, or `names` "
                         "in data.yaml" if names else f"{place}: class {words[0]} is no class number; correct the line")
    name = names[int(index)] if names else str(int(index))
    wrong = next((v for v in numbers if not math.isfinite(v) or not -_BEYOND < v < _BEYOND), None)
    if wrong is not None:
        raise InputError(f"{place}: {wrong:g} is no share of the image's size, which is 0..1; export normalised "
                         "coordinates")
    height, width = picture.size
    if len(numbers) == 4:
        x, y, w, h = numbers
        reading.report.note("objects have a box and no mask", reading.relative(Path(place)))
        corners = [((x - w / 2) * width, (y - h / 2) * height), ((x + w / 2) * width, (y + h / 2) * height)]
        return from_corners(name, corners, picture, reading.report, reading.relative(Path(place)), mask=False)
    if len(numbers) < 6 or len(numbers) % 2:
        raise InputError(f"{place}: {len(numbers)} coordinates; a polygon has x and y of at least 3 points, a box 4 "
                         "numbers: correct the line")
    points = [(x * width, y * height) for x, y in zip(numbers[::2], numbers[1::2])]
    return from_polygons(name, [points], picture, reading.report, reading.relative(Path(place)))
