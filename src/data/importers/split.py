"""Which picture is for training and which for validation: no image, near duplicate, video or group is in both.

A source's own split is kept, but for what would leak; a source without one is split by groups.
"""
from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence

import numpy as np

from src.contract import InputError
from src.data.importers.pictures import Collection, Options, Picture, Report
from src.data.importers.similar import Fingerprint, identical, near_duplicates, video_frames

log = logging.getLogger(__name__)

DEFAULT_SHARE = 0.2
_ROBOFLOW = re.compile(r"^(.+)\.rf\.\w{16,}\.\w+$")


def assign_splits(collection: Collection, prints: Sequence[Fingerprint], options: Options, report: Report
                  ) -> list[Picture]:
    """Give every picture its split; return those that are taken.

    Raises:
        InputError: the pictures cannot be divided without a leak; says which flags decide.
    """
    pictures = collection.pictures
    exact = identical(prints)
    if options.near_duplicates == "together":
        near = [*near_duplicates(prints), *_augmented_copies(pictures)]
        frames = video_frames([picture.name for picture in pictures], prints)
    else:
        near, frames = exact, []
    grouped = _named_groups(pictures, options.group_by, report)
    own = any(picture.split in ("val", "test") for picture in pictures)
    if own and options.val_share is None:
        leaks = exact if collection.published else near
        if collection.published:
            _warn_pairs(pictures, [pair for pair in near if pair not in set(exact)], "nearly the same image")
        _warn_pairs(pictures, frames, "neighbouring frames of one video")
        if _leaves_training(pictures, [*leaks, *grouped]):
            return _without_leaks(pictures, [*leaks, *grouped], report)
        log.warning("validation has every image of training too: the images are split anew")
    pool = [k for k, picture in enumerate(pictures) if picture.split != "test"]
    share = DEFAULT_SHARE if options.val_share is None else options.val_share
    groups = _united(len(pictures), [*near, *frames, *grouped])
    _say_groups(near, frames)
    val = _choose([[k for k in group if k in set(pool)] for group in groups], share, options.seed)
    for k in pool:
        pictures[k].split = "val" if k in val else "train"
    return _without_leaks(pictures, [*near, *grouped], report)


def _augmented_copies(pictures: Sequence[Picture]) -> list[tuple[int, int]]:
    """Pairs that chain Roboflow's versions of one image, NAME.rf.HASH.jpg: turned, cropped and recoloured copies."""
    first: dict[str, int] = {}
    found = [(k, match) for k, p in enumerate(pictures) if (match := _ROBOFLOW.search(p.name.rpartition("/")[2]))]
    return [(first[match[1]], k) for k, match in found if first.setdefault(match[1], k) != k]


def _named_groups(pictures: Sequence[Picture], group_by: str, report: Report) -> list[tuple[int, int]]:
    """Pairs that chain the pictures whose names have the same part `group_by`."""
    if not group_by:
        return []
    try:
        pattern = re.compile(group_by)
    except re.error as error:
        raise InputError(f"--group_by={group_by}: not a regular expression ({error}); for example --group_by='^[^_]+' "
                         "groups by what comes before the first underscore") from None
    last: dict[str, int] = {}
    pairs = []
    for k, picture in enumerate(pictures):
        found = pattern.search(picture.name)
        if not found:
            report.note("images without the part --group_by in their names are each a group of their own", picture.name)
            continue
        name = next((group for group in found.groups() if group is not None), found[0])
        if name in last:
            pairs.append((last[name], k))
        last[name] = k
    if not last and pictures:
        raise InputError(f"--group_by={group_by}: in no image's name, for example {pictures[0].name!r}; name a part "
                         "that they have")
    return pairs


def _united(count: int, pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """The groups that chains of pairs make of 0..count-1."""
    parent = list(range(count))

    def root(k: int) -> int:
        while parent[k] != k:
            parent[k] = parent[parent[k]]
            k = parent[k]
        return k

    for i, j in pairs:
        parent[max(root(i), root(j))] = min(root(i), root(j))
    groups: dict[int, list[int]] = {}
    for k in range(count):
        groups.setdefault(root(k), []).append(k)
    return list(groups.values())


def _choose(groups: Sequence[list[int]], share: float, seed: int) -> set[int]:
    """The pictures of validation: whole groups in a random order, as near to `share` of all as they allow."""
    groups = [group for group in groups if group]
    total = sum(map(len, groups))
    if share == 0 or total < 2:
        return set()
    if len(groups) == 1:
        raise InputError(f"all {total} images are one group, because they are frames of one video, near duplicates, or "
                         "of one --group_by: import more recordings, or take all for training with --val_share=0, or "
                         "accept that validation shows known scenes with --near_duplicates=ignore")
    wanted = max(round(share * total), 1)
    order = np.random.default_rng(seed).permutation(len(groups))
    val: set[int] = set()
    for k in order:
        if len(val) + len(groups[k]) <= wanted:
            val |= set(groups[k])
    return val or set(sorted(groups, key=len)[0])


def _leaves_training(pictures: Sequence[Picture], pairs: Iterable[tuple[int, int]]) -> bool:
    """Whether an image of training is in no group with one of validation or test."""
    return any(all(pictures[k].split in ("", "train") for k in group) for group in _united(len(pictures), pairs))


def _without_leaks(pictures: list[Picture], pairs: Iterable[tuple[int, int]], report: Report) -> list[Picture]:
    """The pictures but for those of training that are the same as one of validation or test."""
    for picture in pictures:
        picture.split = picture.split or "train"
    rank = {"train": 0, "val": 1, "test": 2}
    dropped = set()
    for group in _united(len(pictures), pairs):
        highest = max((pictures[k].split for k in group), key=rank.__getitem__)
        for k in group:
            if pictures[k].split != highest:
                dropped.add(k)
                report.note(f"images of {pictures[k].split} were left out, because {highest} has them too, the same, "
                            "nearly the same, or of one group (--near_duplicates=ignore keeps near ones)",
                            pictures[k].name)
    return [picture for k, picture in enumerate(pictures) if k not in dropped]


def _say_groups(near: Sequence[tuple[int, int]], frames: Sequence[tuple[int, int]]) -> None:
    if near or frames:
        log.warning("%d pairs of near duplicates and %d of neighbouring video frames stay together in train or val "
                    "(--near_duplicates=ignore splits them)", len(near), len(frames))


def _warn_pairs(pictures: Sequence[Picture], pairs: Iterable[tuple[int, int]], what: str) -> None:
    across = [(i, j) for i, j in pairs if pictures[i].split != pictures[j].split]
    if across:
        i, j = across[0]
        log.warning("%d pairs of images of different splits are %s, for example %s (%s) and %s (%s): scores of val "
                    "will be too high; split by whole groups with --val_share=0.2", len(across), what, pictures[i].name,
                    pictures[i].split, pictures[j].name, pictures[j].split)
