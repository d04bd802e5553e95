"""Selects from the table of an annotation file what the images of a dataset have. No MindSpore here."""
from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from src.data.instance.coco_check import no_such_image
from src.data.instance.coco_table import AnnotationTable
from src.wording import some


@dataclass
class Selection:
    """The sound annotations of usable images and chosen categories.

    Attributes:
        rows: of the table, image by image.
        first: (images + 1,) where the rows of each image begin; the last number is where all end.
        crowds: how many of them are regions with many objects.
        bad: messages: one for each image with bad annotations, and one for each id that is no image's.
        left_out: how many annotations those are about.
        others: category id -> number of annotations of categories that are not chosen.
        repairs: description -> how often it was done.
    """

    rows: np.ndarray
    first: np.ndarray
    crowds: int
    bad: list[str] = field(default_factory=list)
    left_out: int = 0
    others: Counter[int] = field(default_factory=Counter)
    repairs: Counter[str] = field(default_factory=Counter)


def select(table: AnnotationTable, images: Mapping[int, Mapping[str, Any]], *, known: Collection[int],
           chosen: Collection[int], hint: Callable[[str, str], str]) -> Selection:
    """Select annotations.

    Args:
        table: of the file; `complete` for these images.
        images: the usable entries of `images` by their positions there, in that order.
        known, chosen: category ids, of the file and of the classes.
        hint: (message, file name) -> what is said behind the message.
    """
    rows = _by_image(table, images)
    columns = table.rows[rows]
    outcome, category_id = columns["outcome"], columns["category_id"]
    twice = _repeats(columns["id"], ~columns["odd_id"])
    entitled = ~(columns["odd_id"] | twice) & np.isin(category_id, sorted(known))
    wanted = entitled & np.isin(category_id, sorted(chosen))
    kept = wanted & table.has_kind(outcome, "as_is", "sound")
    selection = Selection(rows[kept], np.searchsorted(columns["image"][kept], [*images, len(table.images)]),
                          int(columns["iscrowd"][kept].sum()))
    numbers, counts = np.unique(category_id[entitled & ~wanted], return_counts=True)
    selection.others.update(dict(zip(numbers.tolist(), counts.tolist())))
    selection.repairs.update(_repairs(table, outcome[wanted | entitled & table.has_kind(outcome, "empty")]))
    _add_astray(selection, table)
    bad = ~entitled | wanted & table.has_kind(outcome, "bad")
    _add_bad(selection, [(row, _problem(table, row, again, known)) for row, again in zip(rows[bad], twice[bad])],
             table, images, hint)
    return selection


def _by_image(table: AnnotationTable, images: Mapping[int, Any]) -> np.ndarray:
    """Rows of the annotations of `images`, image by image, each's in the order of the file."""
    usable = np.zeros(len(table.images) + 1, bool)  # the last one is for annotations of no image, -1
    usable[list(images)] = True
    rows = np.flatnonzero(usable[table.rows["image"]])
    return rows[np.argsort(table.rows["image"][rows], kind="stable")]


def _repeats(numbers: np.ndarray, among: np.ndarray) -> np.ndarray:
    """(n,) bool: which numbers `among` these were there before."""
    positions = np.flatnonzero(among)
    repeats = among.copy()
    repeats[positions[np.unique(numbers[positions], return_index=True)[1]]] = False
    return repeats


def _repairs(table: AnnotationTable, outcome: np.ndarray) -> Counter[str]:
    """What was done to annotations with these outcomes; what was done first comes first."""
    repairs: Counter[str] = Counter()
    numbers, first, counts = np.unique(outcome, return_index=True, return_counts=True)
    for k in np.argsort(first):
        for what, number in table.outcomes[numbers[k]].repairs:
            repairs[what] += number * int(counts[k])
    return repairs


def _add_astray(selection: Selection, table: AnnotationTable) -> None:
    """Add messages about annotations of images that the file does not have."""
    astray: dict[str, list[str]] = defaultdict(list)
    for row in np.flatnonzero(table.rows["image"] < 0):
        entry = table.entry(row)
        image_id, name = None, f"annotations[{row}]"
        if isinstance(entry, dict):
            image_id, name = entry.get("image_id"), f"annotation {entry['id']!r}"
        astray[no_such_image(image_id)].append(name)
    for problem, names in astray.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        selection.bad.append(f"{names[0]}{more}: {problem}")
        selection.left_out += len(names)


def _problem(table: AnnotationTable, row: int, is_repeated: bool, known: Collection[int]) -> str:
    """What is wrong with a bad annotation, the first thing of several."""
    if table.rows["odd_id"][row]:
        return "its id must be a whole number"
    if is_repeated:
        return "the id is there twice; annotation ids must be unique"
    if table.rows["category_id"][row] not in known:
        return f"unknown category_id {table.entry(row).get('category_id')!r}; categories has {some(sorted(known))}"
    return table.outcomes[table.rows["outcome"][row]].problem


def _add_bad(selection: Selection, problems: Sequence[tuple[int, str]], table: AnnotationTable,
             images: Mapping[int, Mapping[str, Any]], hint: Callable[[str, str], str]) -> None:
    """Add one message for each image that has bad annotations."""
    by_image: dict[int, list[tuple[int, str]]] = defaultdict(list)
    for row, problem in problems:
        by_image[int(table.rows["image"][row])].append((row, problem))
    for image, found in by_image.items():
        (row, problem), more = found[0], ""
        if len(found) > 1:
            more = f" ({len(found) - 1} more bad annotations in this image)"
        entry = table.entry(row)
        selection.bad.append(f"annotation {entry['id']!r} (image {images[image]['id']}): {problem}"
                             f"{hint(problem, images[image]['file_name'])}{more}")
    selection.left_out += len(problems)
