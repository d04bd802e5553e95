"""What the facts of a data set mean for training: findings that do not depend on the kind of annotation."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from src.data.checks import fitting_depth
from src.doctor.data.facts import ALL, NONE, Facts
from src.doctor.finding import FAILURE, OK, WARNING, Finding
from src.launch.plan import plural

FAR_MEAN, FAR_STD = 0.5, 1.5  # standard deviations that a mean may be off; factor between the deviations


def common(facts: Facts, settings: Any) -> Iterator[Finding]:
    """Findings on files, images and copies of `facts`, the JSON's content."""
    for split, part in facts["splits"].items():
        yield from _entries(split, part)
        yield from _images(split, part["images"], settings)
        yield from _bits(split, part["pixels"], settings)
    yield from _splits(facts)
    yield from _copies(facts["copies"], len(facts["splits"]))
    yield from _colours(facts["splits"]["train"]["pixels"], settings)


def percent(value: float) -> str:
    """A share as text, with digits that tell small ones from 0."""
    return f"{100 * value:.3g} %"


def first(found: Facts) -> str:
    """The first example of `facts.examples` as text, "" where there is none."""
    if not found["examples"]:
        return ""
    example = found["examples"][0]
    if isinstance(example, Mapping):
        example = f"{example['image']} (annotation {example['annotation']})"
    return f", for example {' and '.join(example) if isinstance(example, list) else example}"


def _entries(split: str, part: Facts) -> Iterator[Finding]:
    name = f"{split}: files"
    if part["left_out"]["count"]:
        yield Finding(name, FAILURE, f"bad entries: {part['left_out']['count']}{first(part['left_out'])}",
                      "training stops at them: repair them, or leave them out with --on_bad=skip")
    if part["unusable"]["count"]:
        yield Finding(name, FAILURE, f"unusable: {part['unusable']['count']} of {plural(part['records'], 'image')}"
                      f"{first(part['unusable'])}",
                      "repair or remove them, or leave them out with --on_bad=skip")
    if part["not_listed"]["count"]:
        yield Finding(name, WARNING, f"files of the image folder that are in no record: {part['not_listed']['count']}"
                      f"{first(part['not_listed'])}", "annotate them, or move them elsewhere")
    if not part["left_out"]["count"] and not part["unusable"]["count"]:
        how = "" if part["pixels"]["looked_at"] == ALL else \
            f" (headers; pixels: {part['pixels']['looked_at']}, {part['pixels']['images']} images)"
        yield Finding(name, OK, f"{plural(part['records'], 'record')}, all usable{how}")


def _images(split: str, images: Facts, settings: Any) -> Iterator[Finding]:
    turned = sum(count for tag, count in images["orientations"].items() if tag != "1")
    if turned:
        what = "turned upright" if settings.exif == "turn" else "left as the pixels are stored"
        yield Finding(f"{split}: EXIF", WARNING, f"{plural(turned, 'image')} with an orientation tag, {what} by "
                      f"--exif={settings.exif}", "look at the drawn samples: annotations have to lie on their objects")
    if len(images["channels"]) > 1:
        mixed = ", ".join(f"{count} {name}" for name, count in images["channels"].items())
        yield Finding(f"{split}: channels", OK, f"{mixed}; all become RGB, without alpha")


def _bits(split: str, pixels: Facts, settings: Any) -> Iterator[Finding]:
    if not pixels["samples_of_16_bits"]:
        return
    low, high = pixels["samples_of_16_bits"]
    bits = fitting_depth(high, settings.bit_depth)
    if bits:
        yield Finding(f"{split}: bit depth", WARNING, f"samples of 16-bit images are {low} to {high}: they come out "
                      f"nearly black with --bit_depth={settings.bit_depth}", f"train with --bit_depth={bits}")


def _splits(facts: Facts) -> Iterator[Finding]:
    if facts["no_val"]:
        yield Finding("val", WARNING, f"no validation split: {facts['no_val']}",
                      "without one, nothing says how good the network is on images that it has not seen")


def _copies(found: Facts, splits: int) -> Iterator[Finding]:
    near = found["looked_at"]["near"]
    leaks = (("exact", "the same file", FAILURE), ("near", "nearly the same picture", WARNING),
             ("frames", "neighbouring frames of one video", WARNING))
    for kind, what, level in leaks:
        pairs = found[f"{kind}_across"]
        if pairs["count"]:
            yield Finding("leaks", level, f"{plural(pairs['count'], 'pair')} of a training and a validation image: "
                          f"{what}{first(pairs)}",
                          "scores on val will be too high: divide by whole groups, for example with import_data.py "
                          "--group_by")
    if splits > 1 and not any(found[f"{kind}_across"]["count"] for kind, _, _ in leaks):
        how = {ALL: "", NONE: "; near duplicates were not looked for"}.get(near, "; near duplicates in a sample")
        yield Finding("leaks", OK, f"no image is in both splits{how}")
    for kind, what, _ in leaks[:2]:
        pairs = found[f"{kind}_within"]
        if pairs["count"]:
            yield Finding("duplicates", WARNING, f"{plural(pairs['count'], 'pair')} of images in one split: {what}"
                          f"{first(pairs)}", "they count twice; where their annotations differ, they contradict each "
                                             "other")


def _colours(pixels: Facts, settings: Any) -> Iterator[Finding]:
    if pixels["looked_at"] == NONE:
        yield Finding("colours", OK, "not looked at, because no image was decoded")
        return
    order = slice(None) if settings.colour_order == "RGB" else slice(None, None, -1)
    mean, std = np.array(settings.image_mean)[order], np.array(settings.image_std)[order]
    found, deviation = np.array(pixels["mean"]), np.maximum(pixels["std"], 1e-3)
    text = (f"mean {_numbers(found)} and standard deviation {_numbers(deviation)} of red, green and blue; the recipe "
            f"subtracts {_numbers(mean)} and divides by {_numbers(std)}")
    ratio = np.maximum(deviation / std, std / deviation).max()
    if (np.abs(found - mean) / std).max() <= FAR_MEAN and ratio <= FAR_STD:
        yield Finding("colours", OK, text)
    else:
        yield Finding("colours", WARNING, text, "keep the recipe's numbers for weights that were trained with them; "
                      "from random weights the data's own are better")


def _numbers(values: Any) -> str:
    return ", ".join(f"{value:.1f}" for value in values)
