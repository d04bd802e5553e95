"""The numbers of an evaluation as tables to print, the same in all programs."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from src.metrics.coco_map import summary

_TITLES = {"bbox": "box AP", "segm": "mask AP"}
INTERVALS = "95 % intervals"
HEADLINES = {("miou",): "mean IoU"} | {(kind, "AP"): title for kind, title in _TITLES.items()}


def miou_table(numbers: dict[str, Any]) -> str:
    """`MeanIoU.compute()` as a table: IoU of each class, then the means."""
    rows = [f"{name:<20} {'-' if iou is None else f'{100 * iou:6.2f}'}" for name, iou in numbers["iou"].items()]
    total = (f"mean IoU {numbers['miou']:.4f}, pixel accuracy {numbers['pixel_accuracy']:.4f}, "
             f"mean accuracy {numbers['mean_accuracy']:.4f}, {numbers['images']} images")
    absent = numbers.get("classes_without_truth")
    remarks = [f"left out of the means, the labels have no pixel of them: {', '.join(absent)} "
               f"({sum(absent.values())} pixels were predicted as one of them)"] if absent else []
    return "\n".join([f"{'class':<20} IoU %", *rows, *remarks, total])


def coco_table(numbers: dict[str, Any], max_detections: int = 100, *, kinds: Sequence[str] = ("bbox", "segm")) -> str:
    """`CocoMAP.compute()` as a table: COCO's lines for `kinds`, AP by class, and the images that did not count."""
    parts = [f"Evaluate annotation type *{kind}*\n{summary(numbers[kind], max_detections)}"
             for kind in kinds if numbers[kind]]
    rows = [" ".join([f"{'class':<20} {'objects':>8}", *(f"{_TITLES[kind]:>7}" for kind in kinds)])]
    rows += [" ".join([f"{name:<20} {row['instances']:8d}", *(_percent(row[kind]) for kind in kinds)])
             for name, row in numbers["classes"].items()]
    remarks = [f"{len(numbers[key])} {key.replace('_', ' ')}: {numbers[key][:20]}"
               for key in ("images_without_prediction", "predictions_without_truth") if numbers[key]]
    if numbers["detections_of_other_classes"]:
        remarks.append(f"{numbers['detections_of_other_classes']} detections are of classes that the data does not "
                       "have; they did not count")
    if numbers["images_without_masks"] and "segm" in kinds:
        remarks.append(f"{numbers['images_without_masks']} images have objects without masks and count for boxes alone")
    return "\n\n".join([*parts, "\n".join(rows), *remarks])


def interval_line(found: dict[str, Any], images: int) -> str:
    """The 95 % intervals of the main numbers, as a line."""
    return f"{INTERVALS}: {interval_text(found, images)}"


def interval_text(found: dict[str, Any], images: int) -> str:
    """The 95 % intervals of the main numbers, from the results that `bootstrap.report` adds."""
    if "intervals" not in found:
        return f"none, {images} images are too few"
    shown = []
    for name, title in HEADLINES.items():
        value = found["intervals"].get(name[0])
        ends = value.get(name[1]) if isinstance(value, dict) else value
        if ends:
            shown.append("{} {:.4f} to {:.4f}".format(title, *ends))
    drawn = found["bootstrap"]
    return (f"{', '.join(shown) or 'none'} ({drawn['samples']} bootstrap samples of {images} images, "
            f"seed {drawn['seed']})")


def _percent(value: float | None) -> str:
    return f"{'-':>7}" if value is None else f"{100 * value:7.2f}"
