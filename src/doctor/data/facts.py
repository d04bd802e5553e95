"""Facts of a split that do not depend on its kind of annotation, as they stand in the JSON."""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from src.contract import Dataset
from src.doctor.data.look import Image, Look

Facts = Mapping[str, Any]  # the content of the JSON, or a part of it
SHOWN = 20  # examples of each kind in the JSON
ALL, SAMPLED, NONE = "all", "sampled", "not looked at"


def looked_at(count: int, total: int) -> str:
    """How far a split was looked at: `ALL`, `SAMPLED` or `NONE`."""
    return ALL if count >= total else SAMPLED if count else NONE


def spread(values: Iterable[float]) -> dict[str, float] | None:
    """Least, greatest, and percentiles of some numbers; None where there are none."""
    array = np.fromiter(values, np.float64)
    if not len(array):
        return None
    names = ("min", "5%", "median", "95%", "max")
    return dict(zip(names, np.percentile(array, (0, 5, 50, 95, 100)).round(3).tolist()))


def examples(what: Sequence[Any]) -> dict[str, Any]:
    """How many there are, and the first of them."""
    return {"count": len(what), "examples": list(what[:SHOWN])}


def split_facts(dataset: Dataset, look: Look) -> dict[str, Any]:
    """The part of a split's facts that `JSON` in docs/own_data.md calls records, images and pixels."""
    seen = [image for image in look.images if image.header]
    bad = list(getattr(dataset, "bad", []))
    faulty = [f"{image.place}: {image.name}: {image.faults[0]}" for image in look.images if image.faults]
    unlisted = dataset.unlisted() if hasattr(dataset, "unlisted") else []
    return {"name": dataset.name, "records": len(look.images), "left_out": examples(bad),
            "unusable": examples(faulty), "not_listed": examples(unlisted),
            "images": _images(seen), "pixels": _pixels(look.images)}


def _images(seen: Sequence[Image]) -> dict[str, Any]:
    headers = [image.header for image in seen if image.header]
    sizes = Counter(header.size for header in headers)
    return {"height": spread(header.size[0] for header in headers),
            "width": spread(header.size[1] for header in headers),
            "sizes": len(sizes),
            "most_frequent": [[*size, count] for size, count in sizes.most_common(5)],
            "portrait": sum(header.size[0] > header.size[1] for header in headers),
            "bytes": sum(image.length for image in seen),
            "kinds": dict(Counter(header.kind for header in headers).most_common()),
            "channels": dict(Counter(header.channels for header in headers).most_common()),
            "bits": {str(bits): n for bits, n in sorted(Counter(header.bits for header in headers).items())},
            "orientations": {str(tag): n for tag, n in sorted(Counter(h.orientation for h in headers).items())}}


def _pixels(images: Sequence[Image]) -> dict[str, Any]:
    deep = [image.pixels for image in images if image.pixels]
    facts: dict[str, Any] = {"looked_at": looked_at(len(deep), sum(not image.faults for image in images)),
                             "images": len(deep), "mean": None, "std": None, "samples_of_16_bits": None}
    if deep:
        count, total, squares = np.sum([pixels.colours for pixels in deep], 0)
        mean = total / count
        facts |= {"mean": mean.round(2).tolist(),
                  "std": np.sqrt(np.maximum(squares / count - mean ** 2, 0)).round(2).tolist()}
    ranges = [pixels.samples for pixels in deep if pixels.samples]
    if ranges:
        facts["samples_of_16_bits"] = [min(low for low, _ in ranges), max(high for _, high in ranges)]
    return facts


def share(part: float, whole: float) -> float:
    """`part` of `whole` in 0..1, 0 of nothing; rounded for people."""
    return round(part / whole, 6) if whole else 0.0
