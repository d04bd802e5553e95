"""What the facts of label maps mean for DeepLabV3."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from src.doctor.data.facts import NONE, Facts
from src.doctor.data.findings import percent
from src.doctor.finding import FAILURE, OK, WARNING, Finding

RARE = 1e-3  # share of the pixels below which a class is rare
MUCH_IGNORED, MANY_SMALL, SHRUNK = 0.3, 0.3, 0.75


def semantic_findings(facts: Facts, settings: Any) -> Iterator[Finding]:
    """Findings on the label maps of `facts`, the JSON's content."""
    for split, part in facts["splits"].items():
        labels = part["labels"]
        if labels["looked_at"] == NONE:
            yield Finding(f"{split}: classes", OK, "not looked at, because no label was decoded")
            continue
        yield from _values(split, labels)
        yield from _classes(split, labels)
        yield from _ignored(split, labels)
    yield from _sizes(facts["splits"]["train"], settings)


def _values(split: str, labels: Facts) -> Iterator[Finding]:
    if labels["refused"]:
        yield Finding(f"{split}: labels", FAILURE, labels["refused"])
    if labels["other_values"]:
        shown = ", ".join(f"{value} (in {count} labels)" for value, count in list(labels["other_values"].items())[:5])
        yield Finding(f"{split}: labels", FAILURE, f"values that are no class: {shown}",
                      "set --num_classes or --ignore_label, or renumber the values with --label_map")


def _classes(split: str, labels: Facts) -> Iterator[Finding]:
    classes = labels["classes"]
    absent = [name for name, numbers in classes.items() if not numbers["pixels"]]
    rare = [f"{name} ({percent(numbers['share'])})" for name, numbers in classes.items()
            if 0 < numbers["share"] < RARE]
    if absent:
        what = "it is never learnt" if split == "train" else "evaluation leaves it out of the mean"
        yield Finding(f"{split}: classes", WARNING,
                      f"no pixel of {', '.join(absent)} in {labels['labels']} labels", what)
    if rare and split == "train":
        yield Finding("train: classes", WARNING, f"few pixels of {', '.join(rare)}", "see the proposed class weights")
    if not absent and not (rare and split == "train"):
        yield Finding(f"{split}: classes", OK, f"all {len(classes)} classes have pixels in {labels['labels']} labels")


def _ignored(split: str, labels: Facts) -> Iterator[Finding]:
    share = labels["ignored_share"]
    text = f"{percent(share)} of the pixels are ignored"
    if labels["wholly_ignored"]:
        yield Finding(f"{split}: unlabelled", WARNING,
                      f"labels without a pixel that counts: {labels['wholly_ignored']}",
                      "label these images, or remove them")
    if share > MUCH_IGNORED:
        yield Finding(f"{split}: unlabelled", WARNING, text, "check --ignore_label")
    else:
        yield Finding(f"{split}: unlabelled", OK, text)


def _sizes(part: Facts, settings: Any) -> Iterator[Finding]:
    regions = part["labels"]["regions"]["classes"]
    small = [f"{name} ({percent(numbers['below_share'])} of its pixels; {numbers['vanish']} of {numbers['regions']} "
             f"regions vanish at min_scale={settings.min_scale:g})" for name, numbers in regions.items()
             if numbers["below_share"] > MANY_SMALL]
    if small:
        yield Finding("small regions", WARNING, f"much lies in regions that are narrower than a cell of the output, "
                      f"{settings.output_stride} pixels: {', '.join(small)}",
                      "the network can hardly draw them: train at a larger scale, or with output stride 8")
    height, width = (part["images"][side] for side in ("height", "width"))
    if not height:
        return
    canvas, long = settings.eval_crop_size or settings.crop_size, max(height["median"], width["median"])
    if canvas < SHRUNK * long:
        yield Finding("crop", WARNING, f"evaluation shrinks images of {long:g} pixels to {canvas} (eval_crop_size)",
                      "see the proposed settings")
    elif settings.crop_size > 1.5 * long * settings.max_scale:
        yield Finding("crop", WARNING, f"a crop of {settings.crop_size} pixels is mostly padding around images of "
                      f"{long:g} pixels", "see the proposed settings")
    else:
        yield Finding("crop", OK, f"crops of {settings.crop_size} pixels suit images of {long:g} pixels")
