"""Settings of DeepLabV3 for a data set: classes, crop, evaluation canvas and weights of classes."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from src.data.semantic.label_counts import median_frequency_weights
from src.doctor.data.facts import Facts
from src.doctor.data.proposals import Proposal, changed, multiple
from src.doctor.data.semantic_findings import SHRUNK

LARGEST_CANVAS, SMALLEST = 1025, 65  # pixels
PADDED = 1.5  # times the image, from which a crop is mostly padding
IMBALANCE = 20.0  # factor between the classes' shares


def semantic_proposals(facts: Facts, settings: Any) -> Iterator[Proposal]:
    """Proposals for a `DeepLabV3Config` from `facts`, the JSON's content."""
    train = facts["splits"]["train"]
    values = [int(value) for value in train["labels"]["other_values"]]
    renumbering = _renumbering(train["labels"], values, settings)
    if renumbering:
        yield from changed(settings, "label_map", *renumbering)
    elif values and max(values) < 255 and not settings.class_names:
        yield from changed(settings, "num_classes", max(values) + 1, f"labels have values up to {max(values)}")
    if train["images"]["height"]:
        yield from _sizes(train["images"], settings)
    if not values:
        yield from _weights(train["labels"], settings)


def _renumbering(labels: Facts, values: list[int], settings: Any) -> tuple[str, str] | None:
    """(label_map, reason) for labels that are masks of 0 and another value, or Cityscapes' labelIds."""
    if settings.label_map or settings.data_file:  # records are built with a map
        return None
    if settings.num_classes == 19 and values and max(values) <= 33:
        return "cityscapes", f"labels have values up to {max(values)}, as Cityscapes' labelIds"
    if settings.num_classes != 2 or list(labels["classes"].values())[1]["pixels"]:
        return None
    objects = values or ([settings.ignore_label] if labels["refused"] and labels["ignored_share"] < 1 else [])
    if len(objects) != 1:
        return None
    return f"{objects[0]}:1", f"labels are masks whose object has the value {objects[0]}"


def _sizes(images: Facts, settings: Any) -> Iterator[Proposal]:
    long = max(images["height"]["95%"], images["width"]["95%"])
    short = min(images["height"]["median"], images["width"]["median"])
    crop = settings.crop_size
    if crop > PADDED * long * settings.max_scale:
        crop = max(multiple(short * min(settings.max_scale, 1.5), 16, 1), SMALLEST)
        yield from changed(settings, "crop_size", crop, f"images are {short:g} pixels high or wide (median of the "
                           f"shorter side): a crop of {settings.crop_size} is mostly padding")
    canvas = settings.eval_crop_size or crop
    wanted = min(max(multiple(long, 16, 1), SMALLEST), LARGEST_CANVAS)
    if canvas < SHRUNK * min(long, LARGEST_CANVAS) or canvas > PADDED * long:
        yield from changed(settings, "eval_crop_size", wanted, f"evaluation then shows 95 % of the images at their own "
                           f"size of up to {long:g} pixels; the canvas is {canvas} pixels now")


def _weights(labels: Facts, settings: Any) -> Iterator[Proposal]:
    """Median frequency balancing (Eigen and Fergus 2015), within limits."""
    shares = [numbers["share"] for numbers in labels["classes"].values()]
    frequency = list(labels["frequency"].values())
    present = [f for f in frequency if f]
    if len(frequency) != settings.num_classes or len(present) < 2 or settings.class_weights \
            or max(shares) < IMBALANCE * min(share for share in shares if share):
        return
    yield from changed(settings, "class_weights", median_frequency_weights(frequency),
                       f"the most frequent class has {max(shares) / min(s for s in shares if s):.0f} times as many "
                       "pixels as the rarest: median frequency balancing, which favours rare classes; leave it out "
                       "where the frequent ones matter more")
