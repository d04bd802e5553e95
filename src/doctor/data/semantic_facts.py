"""Facts of a split of label maps: pixels and images by class, ignored pixels, and regions too small for the network."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from src.data.semantic.label_counts import LabelCounts
from src.doctor.data.facts import looked_at, share
from src.doctor.data.look import Look


def semantic_facts(look: Look, settings: Any, class_names: Sequence[str]) -> dict[str, Any]:
    """The facts of a split for a `DeepLabV3Config`; `class_names` has index 0 first."""
    labels = [image.label for image in look.images if image.label]
    pixels = np.array([label.pixels for label in labels]).reshape(-1, 256)
    total, ignored = pixels.sum(0), settings.ignore_label
    known = [k for k in range(len(class_names)) if k != ignored]
    other = [v for v in np.flatnonzero(total).tolist() if v != ignored and v >= len(class_names)]
    usable = sum(not image.faults for image in look.images)
    return {"looked_at": looked_at(len(labels), usable), "labels": len(labels),
            "classes": {class_names[k]: {"pixels": int(total[k]), "share": share(total[k], total[known].sum()),
                                         "images": int((pixels[:, k] > 0).sum())} for k in known},
            "ignored_share": share(total[ignored], total.sum()),
            "wholly_ignored": int((pixels[:, known].sum(1) == 0).sum()),
            "other_values": {str(v): int((pixels[:, v] > 0).sum()) for v in other},
            "frequency": _frequency(pixels, known, class_names),
            "regions": _regions(look, settings, class_names)}


def label_counts(look: Look) -> LabelCounts:
    """Pixels by value, as training reports and checks them."""
    labels = [image.label for image in look.images if image.label]
    total = np.sum([label.pixels for label in labels], 0) if labels else np.zeros(256, int)
    return LabelCounts({int(v): int(total[v]) for v in np.flatnonzero(total)}, len(labels), len(look.images))


def _frequency(pixels: np.ndarray, known: Sequence[int], names: Sequence[str]) -> dict[str, float | None]:
    """Share of a class's pixels in the images that have it (Eigen and Fergus 2015), for weights of classes."""
    counted = pixels[:, known].sum(1)
    found: dict[str, float | None] = {}
    for k in known:
        having = counted[pixels[:, k] > 0].sum()
        found[names[k]] = float(pixels[:, k].sum() / having) if having else None
    return found


def _regions(look: Look, settings: Any, names: Sequence[str]) -> dict[str, Any]:
    """Connected parts of the classes: how many are narrower than a cell of the output, and how many vanish.

    A region vanishes where it is less than a pixel wide or high at `min_scale`. "below_share" is the share of the
    class's pixels that lie in regions below a cell: one-pixel specks are many, but they are few pixels.
    """
    chosen = [image for image in look.images if image.label and len(image.label.regions)]
    canvas = settings.eval_crop_size or settings.crop_size
    every, small, gone, pixels, below = (np.zeros(256, int) for _ in range(5))
    for image in chosen:
        assert image.label
        assert image.size
        rows = image.label.regions
        sides = np.minimum(rows["width"], rows["height"])
        narrow = sides * canvas / max(image.size) < settings.output_stride
        for total, part in ((every, rows), (small, rows[narrow]), (gone, rows[sides * settings.min_scale < 1])):
            total += np.bincount(part["label"], minlength=256)
        for total, part in ((pixels, rows), (below, rows[narrow])):
            total += np.bincount(part["label"], part["pixels"], minlength=256).astype(int)
    named = [k for k in range(len(names)) if every[k]]
    return {"looked_at": looked_at(len(chosen), len(look.images)), "labels": len(chosen),
            "classes": {names[k]: {"regions": int(every[k]), "below_a_cell": int(small[k]), "vanish": int(gone[k]),
                                   "below_share": share(below[k], pixels[k])} for k in named}}
