"""Images that are there twice, in one split or in both: the same file, nearly the same picture, frames of a video."""
from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from src.contract import Dataset
from src.data.importers.similar import near_duplicates, video_frames
from src.doctor.data.facts import ALL, NONE, SAMPLED
from src.doctor.data.look import Image, Look
from src.doctor.data.source import image_bytes

Place = tuple[str, int]  # split, sample id


def copies(datasets: Mapping[str, Dataset], looks: Mapping[str, Look]) -> dict[str, list[tuple[Place, Place]]]:
    """Pairs of images: "exact" ones, "near" ones that are not exact, and neighbouring "frames" that are neither."""
    places = [(split, k) for split, look in looks.items() for k in range(len(look.images))]
    exact = _exact(datasets, looks, places)
    deep = [place for place in places if _image(looks, place).pixels]
    prints = [pixels.print for place in deep if (pixels := _image(looks, place).pixels)]
    names = [_image(looks, place).name for place in deep]
    near = [(deep[i], deep[j]) for i, j in near_duplicates(prints) if prints[i].digest != prints[j].digest]
    known = {*exact, *near}
    frames = [(deep[i], deep[j]) for i, j in video_frames(names, prints)
              if deep[i][0] != deep[j][0] and (deep[i], deep[j]) not in known]
    return {"exact": exact, "near": near, "frames": frames}


def _image(looks: Mapping[str, Look], place: Place) -> Image:
    return looks[place[0]].images[place[1]]


def _exact(datasets: Mapping[str, Dataset], looks: Mapping[str, Look],
           places: Sequence[Place]) -> list[tuple[Place, Place]]:
    """Pairs that chain the images whose files are the same. Only files of one length and size are read."""
    alike: dict[Any, list[Place]] = defaultdict(list)
    for place in places:
        image = _image(looks, place)
        if image.header:
            alike[image.length, image.header].append(place)
    candidates = [place for group in alike.values() if len(group) > 1 for place in group]
    first: dict[Any, Place] = {}
    pairs = []
    for place, digest in zip(candidates, _digests(datasets, looks, candidates)):
        if first.setdefault(digest, place) != place:
            pairs.append((first[digest], place))
    return pairs


def _digests(datasets: Mapping[str, Dataset], looks: Mapping[str, Look], places: Iterable[Place]) -> Iterable[Any]:
    for split, sample_id in places:
        pixels = _image(looks, (split, sample_id)).pixels
        if pixels:
            yield pixels.print.digest
            continue
        try:
            yield hashlib.sha256(image_bytes(datasets[split], sample_id)).digest()
        except OSError:
            yield split, sample_id  # removed since it was looked at; equal to no other


def copy_facts(pairs: Mapping[str, Sequence[tuple[Place, Place]]], looks: Mapping[str, Look], shown: int
               ) -> dict[str, Any]:
    """Counts and examples for the JSON: pairs across the splits, and pairs within one."""
    usable = sum(not image.faults for look in looks.values() for image in look.images)
    deep = sum(image.pixels is not None for look in looks.values() for image in look.images)
    facts: dict[str, Any] = {"looked_at": {"exact": ALL, "near": ALL if deep >= usable else SAMPLED if deep else NONE}}
    for kind, found in pairs.items():
        across = [pair for pair in found if pair[0][0] != pair[1][0]]
        within = [pair for pair in found if pair[0][0] == pair[1][0]]
        for where, chosen in (("across", across), ("within", within)):
            named = [[f"{split}: {looks[split].images[k].name}" for split, k in pair] for pair in chosen[:shown]]
            facts[f"{kind}_{where}"] = {"count": len(chosen), "examples": named}
    return facts
