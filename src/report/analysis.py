"""What a report says beside the metric: operating points, calibration and kinds of errors, as numbers and pictures."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from src.contract import Instances, Record
from src.data.decode import Decoding, decode_image
from src.data.instance.target import decode_target
from src.metrics import calibration
from src.metrics.coco_map import CocoMAP, Kind
from src.metrics.coco_matches import ImageOverlaps, Matches, match, overlaps
from src.metrics.error_kinds import KINDS, Error, ErrorKinds
from src.metrics.precision_recall import curve_of, curves_as_json
from src.report import draw, operating_charts, rows
from src.report.page import Picture

WORST = 3  # images that are shown of each kind of error
_MEANING = {
    "Cls": "The right place, but another class.", "Loc": "The right class, but an IoU of 0.1 to 0.5.",
    "Both": "Another class, and badly placed.", "Dupe": "An object that a better detection has found already.",
    "Bkg": "No object there.", "Miss": "Objects that nothing found."}
_WHAT = {"bbox": "boxes", "segm": "masks"}


@dataclass
class Analysis:
    """Attributes:
        numbers: for analysis.json.
        tables: for the page, as `page.Page.numbers`.
        pictures: {file name: picture}.
    """

    numbers: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, Any] = field(default_factory=dict)
    pictures: dict[str, Picture] = field(default_factory=dict)

    def add(self, name: str, title: str, png: bytes | None, note: str) -> None:
        """Add a chart, if there is one."""
        if png:
            self.pictures[name] = Picture(title, png, note, kind="png")


def of_label_maps(confusion: Sequence[Sequence[int]], class_names: Sequence[str],
                  reliability: calibration.Reliability) -> Analysis:
    """Of a semantic model: precision, recall and F1 of each class, and calibration over pixels.

    Args:
        confusion: (K, K) counts, truth in rows.
    """
    counts = np.asarray(confusion, np.float64)
    hits, truth, found = np.diag(counts), counts.sum(1), counts.sum(0)
    classes = {name: {"precision": _ratio(h, f), "recall": _ratio(h, t), "f1": _ratio(2 * h, t + f) if t else None}
               for name, h, t, f in zip(class_names, hits, truth, found)}
    honest = reliability.compute()
    result = Analysis({"classes": classes, "calibration": honest}, {"precision and recall of pixels": classes})
    result.add("calibration.png", "Calibration", operating_charts.reliability_diagram(honest, "pixels"),
               "Pixels by the probability of the predicted class; pixels without a class in the truth do not count.")
    return result


def of_instances(evaluator: CocoMAP, kinds: Sequence[Kind], thresholds: Mapping[str, float],
                 record_of: Callable[[int], Record], class_names: Sequence[str], how: Decoding) -> Analysis:
    """Of an instance model: curves, calibration and kinds of errors, for boxes and masks.

    Args:
        evaluator: of the whole split.
        kinds: those that the truth has; pictures are of the last one.
        thresholds: score threshold by class name, which curves and tables show; all detections count.
        record_of: from an image id to its record.
        how: decoding of its image.
    """
    result, categories = Analysis(), {c.label: c.name for c in evaluator.categories}
    for kind in kinds:
        images = overlaps(evaluator, kind)
        matches, errors = match(images, categories), ErrorKinds(images, categories)
        result.numbers[kind] = {"curves": curves_as_json(matches), "errors": errors.compute(),
                                "calibration": calibration.of_detections(matches).compute()}
        if thresholds:
            result.numbers[kind]["at_score_thresholds"] = at_thresholds(matches, thresholds)
    _charts(result, kind, matches, thresholds)
    for name in KINDS:
        if worst := errors.worst_images(name, WORST):
            result.pictures[f"errors_{name}.jpg"] = Picture(
                f"Errors: {name}", _worst(worst, images, evaluator, record_of, class_names, how),
                f"{_MEANING[name]} The images with most of it; only errors of this kind are drawn at the right.")
    return result


def at_thresholds(matches: Matches, thresholds: Mapping[str, float]) -> dict[str, dict[str, float | None]]:
    """{class: {"threshold", "precision", "recall", "f1"}} at IoU 0.5; a class without a threshold has that of 0."""
    return {name: {"threshold": thresholds.get(name, 0.0),
                   **curve_of(matches, label, calibration.IOU).at(thresholds.get(name, 0.0))}
            for label, name in matches.class_names.items()}


def _charts(result: Analysis, kind: Kind, matches: Matches, thresholds: Mapping[str, float]) -> None:
    numbers, what = result.numbers[kind], _WHAT[kind]
    if thresholds:
        result.tables[f"{what} at score_thresholds, IoU 0.5"] = numbers["at_score_thresholds"]
    result.add("curves.png", f"Precision, recall and F1 of {what}",
               operating_charts.detection_curves(matches, thresholds), "Matched by COCO's rules"
               + (", points: score_thresholds." if thresholds else "."))
    result.add("calibration.png", f"Calibration of {what}",
               operating_charts.reliability_diagram(numbers["calibration"], "detections"),
               "Detections by their score; those of IoU 0.5 or more with an object of their class are right.")
    result.add("errors.png", f"What costs average precision ({what})",
               operating_charts.lost_precision(numbers["errors"]),
               "TIDE's kinds of errors: the AP that mending one kind alone would bring.")


def _worst(worst: Sequence[tuple[int, list[Error]]], images: Sequence[ImageOverlaps], evaluator: CocoMAP,
           record_of: Callable[[int], Record], class_names: Sequence[str], how: Decoding) -> bytes:
    """JPEG with a row of image, truth and errors for each image."""
    pictures, captions = [], []
    for number, errors in worst:
        record = record_of(images[number].image_id)
        image, target = decode_image(record.image, how), decode_target(record.target)
        factor = rows.SIDE / max(image.shape[:2])
        image = draw.fit(image, rows.SIDE)
        truth = rows.truth(image, target, class_names, factor, np.flatnonzero(~target.crowds))
        if errors[0].kind == "Miss":
            wrong = rows.truth(image, target, class_names, factor, [error.object for error in errors])
        else:
            wrong = rows.found(image, _detections(evaluator, images[number], errors), class_names, factor)
        pictures.append([image, truth, wrong])
        captions.append(f"{record.file_name}   {len(errors)} x {errors[0].kind}")
    return draw.jpeg(draw.grid(pictures, ("image", "truth", f"errors: {errors[0].kind}"), captions, side=rows.SIDE))


def _detections(evaluator: CocoMAP, image: ImageOverlaps, errors: Sequence[Error]) -> Instances:
    """The detections of some errors, as they were predicted."""
    own = [error.detection for error in errors]
    found = [evaluator.detections[image.image_id][image.rows[k]] for k in own]
    boxes = np.array([row["bbox"] for row in found], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return Instances(image.image_id, boxes, image.labels[own], image.scores[own],
                     [row["segmentation"] for row in found if "segmentation" in row])


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None
