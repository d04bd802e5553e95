"""COCO's average precision of boxes and masks (Lin et al. 2014), accumulated image by image, matched by image id.

`faster_coco_eval` does the matching. Nothing is read from files: targets carry ids, classes and masks
(`src/data/instance/target.py`).
"""
from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np

from src.contract import InputError, Instances
from src.data.instance.target import Category, Target, decode_target, to_rle
from src.metrics.coco_results import result_rows
from src.metrics.image_matches import matches_of
from src.metrics.image_statistics import MatchStatistics, digest

Kind = Literal["bbox", "segm"]

# key: (average, IoU, area) of COCO's twelve numbers, in their order; AR1, AR10 and AR differ in detections an image
_NUMBERS = {
    "AP": ("Precision", "0.50:0.95", "all"), "AP50": ("Precision", "0.50", "all"), "AP75": ("Precision", "0.75", "all"),
    "APs": ("Precision", "0.50:0.95", "small"), "APm": ("Precision", "0.50:0.95", "medium"),
    "APl": ("Precision", "0.50:0.95", "large"), "AR1": ("Recall", "0.50:0.95", "all"),
    "AR10": ("Recall", "0.50:0.95", "all"), "AR": ("Recall", "0.50:0.95", "all"),
    "ARs": ("Recall", "0.50:0.95", "small"), "ARm": ("Recall", "0.50:0.95", "medium"),
    "ARl": ("Recall", "0.50:0.95", "large"),
}


class CocoMAP:
    """Evaluator of instances.

    Args:
        max_detections: detections that count per class and image, best first; COCO's own numbers use 100.
        areas: which area makes a predicted mask small, medium or large: its "own", or that of its box ("bbox", as
            pycocotools does if an entry of a results file has both).

    Raises:
        InputError: `max_detections` below 1.
    """

    def __init__(self, max_detections: int = 100, *, areas: Literal["own", "bbox"] = "own"):
        if max_detections < 1:
            raise InputError(f"max_detections={max_detections}: at least 1 detection of an image must count; COCO's "
                             "numbers have 100")
        self.max_detections = max_detections
        self.areas = areas
        self.categories: tuple[Category, ...] = ()
        self.targets: dict[int, Target] = {}
        self.detections: dict[int, list[dict[str, Any]]] = {}
        self.without_truth: set[int] = set()
        self.of_other_classes = 0
        self.truths: dict[int, int] = {}  # digests by image id
        self._evaluated: dict[Kind, Any] = {}  # what faster_coco_eval found, kept for `statistics`

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_evaluated": {}}  # other processes evaluate for themselves

    def update(self, prediction: Instances, target: bytes) -> None:
        """Count one image; `target` is its record's bytes.

        Raises:
            InputError: the target of another image, an image that was already counted, other classes, or masks of
                another size.
        """
        truth = decode_target(target)
        if truth.image_id != prediction.image_id:
            raise InputError(f"prediction of image {prediction.image_id} compared with the target of {truth.image_id}")
        _check_sizes(prediction, truth)
        self.update_missing(target)
        category_ids = {c.label: c.category_id for c in self.categories}
        if all(label == number for label, number in category_ids.items()):
            # Class indices are category ids (COCO's 91): the network may know categories that the data does not have.
            known = np.isin(prediction.labels, list(category_ids))
            self.of_other_classes += int((~known).sum())
            prediction = _chosen(prediction, np.flatnonzero(known))
        self.detections[truth.image_id] = result_rows(prediction, category_ids)

    def update_missing(self, target: bytes) -> None:
        """Count an image without a prediction: none of its objects was found."""
        truth = decode_target(target)
        if truth.image_id in self.targets:
            raise InputError(f"image {truth.image_id} was evaluated twice")
        self._same_categories(truth.categories)
        for instance in truth.instances:
            if "segmentation" in instance:
                instance["segmentation"] = to_rle(instance["segmentation"], truth.size)
        self.targets[truth.image_id] = truth
        self.truths[truth.image_id] = _digest(truth)
        self._evaluated.clear()

    def update_all(self, predictions: Iterable[Instances], targets: Iterable[bytes]) -> None:
        """Count a whole split, matched by image id; `compute` names the images that only one side has."""
        by_id: dict[int, Instances] = {}
        for prediction in predictions:
            if prediction.image_id in by_id:
                raise InputError(f"image {prediction.image_id} is predicted twice")
            by_id[prediction.image_id] = prediction
        for target in targets:
            prediction = by_id.pop(decode_target(target).image_id, None)
            if prediction is None:
                self.update_missing(target)
            else:
                self.update(prediction, target)
        self.without_truth |= set(by_id)

    def merge(self, other: CocoMAP) -> None:
        """Add another process's part; the parts must not share an image."""
        twice = self.targets.keys() & other.targets.keys()
        if twice:
            raise InputError(f"images evaluated twice: {sorted(twice)[:10]}")
        if other.targets:
            self._same_categories(other.categories)
        self.targets |= other.targets
        self.detections |= other.detections
        self.without_truth |= other.without_truth
        self.of_other_classes += other.of_other_classes
        self.truths |= other.truths
        self._evaluated.clear()

    def compute(self) -> dict[str, Any]:
        """Return all numbers. Averages are in [0, 1], or None if the truth has nothing to find.

        ap                  mean AP of masks if there are any, else of boxes; 0 if it is undefined
        bbox, segm          {AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR, ARs, ARm, ARl}; segm is None without masks
        classes             {name: {"bbox", "segm" (AP), "instances" (without crowds)}}
        images, instances, crowds, detections   how many there are
        images_without_masks        images left out of segm because some of their instances have only a box
        images_without_prediction   ids of images that were counted as if nothing had been found in them
        predictions_without_truth   ids of predicted images without a target; they did not count
        detections_of_other_classes how many detections have category ids that the data does not have; they did not
                                    count
        """
        scores = {kind: self._score(kind) for kind in ("bbox", "segm")}
        numbers = {kind: score and score[0] for kind, score in scores.items()}
        truths = [instance for target in self.targets.values() for instance in target.instances]
        crowds = sum(instance["iscrowd"] for instance in truths)
        classes = {c.name: {kind: score[1][c.category_id] if score else None for kind, score in scores.items()}
                   | {"instances": sum(i["label"] == c.label and not i["iscrowd"] for i in truths)}
                   for c in self.categories}
        return {
            "ap": (numbers["segm"] or numbers["bbox"])["AP"] or 0.0, **numbers, "classes": classes,
            "images": len(self.targets), "instances": len(truths) - crowds, "crowds": crowds,
            "detections": sum(map(len, self.detections.values())),
            "images_without_masks": len(self.targets) - len(self.image_ids("segm")),
            "images_without_prediction": sorted(self.targets.keys() - self.detections.keys()),
            "predictions_without_truth": sorted(self.without_truth),
            "detections_of_other_classes": self.of_other_classes,
        }

    def results(self, kind: Kind) -> list[dict[str, Any]]:
        """Detections in COCO's results format, by image id: only boxes (x, y, width, height), or only masks."""
        # loadRes takes the area of the box where an entry has both.
        other = "segmentation" if kind == "bbox" else "bbox"
        return [{key: value for key, value in detection.items() if key != other} for detection in self.all_results()]

    def all_results(self) -> list[dict[str, Any]]:
        """Detections in COCO's results format, by image id, boxes and masks in one entry."""
        return [detection for image_id in sorted(self.detections) for detection in self.detections[image_id]]

    def statistics(self) -> MatchStatistics:
        """What each image contributes, by the evaluation that `compute` made, or a new one."""
        image_ids = np.array(sorted(self.targets), np.int64)
        matches = {}
        for kind in ("bbox", "segm"):
            if evaluation := self._evaluation(kind):
                matches[kind] = matches_of(evaluation, np.searchsorted(image_ids, self.image_ids(kind)))
        names = [category.name for category in sorted(self.categories, key=lambda c: c.category_id)]
        return MatchStatistics(image_ids, np.array([self.truths[k] for k in image_ids.tolist()], np.int64), names,
                               matches=matches, max_detections=self.max_detections)

    def _same_categories(self, categories: tuple[Category, ...]) -> None:
        if self.categories and categories != self.categories:
            raise InputError("parts of the split have other classes; evaluate records of one build")
        self.categories = categories

    def image_ids(self, kind: Kind) -> list[int]:
        """Images that count: for masks, those in which every instance has one."""
        return sorted(image_id for image_id, target in self.targets.items()
                      if kind == "bbox" or all("segmentation" in i for i in target.instances))

    def _score(self, kind: Kind) -> tuple[dict[str, float | None], dict[int, float | None]] | None:
        """COCO's numbers and the AP of each category; None for masks if there are none."""
        evaluation = self._evaluation(kind)
        if evaluation is None:
            return None if kind == "segm" else (dict.fromkeys(_NUMBERS), {c.category_id: None for c in self.categories})
        precision = evaluation.eval["precision"][:, :, :, 0, -1]  # IoU, recall, category at any area
        numbers = _Numbers((), self.categories).categories
        by_category = {category_id: _mean(precision[:, :, n - 1]) for category_id, n in numbers.items()}
        return dict(zip(_NUMBERS, map(_defined, evaluation.stats))), by_category

    def _evaluation(self, kind: Kind) -> Any:
        """faster_coco_eval's evaluation; None if there is nothing to find, or for masks if some detection has none."""
        image_ids = self.image_ids(kind)
        results = self.all_results() if self.areas == "bbox" else self.results(kind)
        if not any(self.targets[image_id].instances for image_id in image_ids):
            return None
        if kind == "segm" and any("segmentation" not in result for result in results):
            return None
        if kind not in self._evaluated:
            numbers = _Numbers(image_ids, self.categories)
            self._evaluated[kind] = _evaluation(self._truth(image_ids, numbers), numbers.renumbered(results), kind,
                                                self.max_detections)
        return self._evaluated[kind]

    def _truth(self, image_ids: list[int], numbers: _Numbers) -> dict[str, list]:
        """The targets in COCO's layout; annotations are numbered from 1, because 0 means "no match"."""
        targets = [self.targets[image_id] for image_id in image_ids]
        annotations = [{**instance, "image_id": target.image_id} for target in targets for instance in target.instances]
        return {"images": [{"id": numbers.images[t.image_id], "height": t.size[0], "width": t.size[1]}
                           for t in targets],
                "annotations": [{**annotation, "id": n} for n, annotation in
                                enumerate(numbers.renumbered(annotations), 1)],
                "categories": [{"id": numbers.categories[c.category_id], "name": c.name} for c in self.categories]}


class _Numbers:
    """Consecutive numbers for images and categories, in the order of their ids.

    The evaluator stores ids as float64: above 2**53, different ids would become equal.
    """

    def __init__(self, image_ids: Iterable[int], categories: Iterable[Category]):
        self.images = {image_id: n for n, image_id in enumerate(sorted(image_ids), 1)}
        self.categories = {id_: n for n, id_ in enumerate(sorted(c.category_id for c in categories), 1)}

    def renumbered(self, rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """Annotations or detections with these numbers as ids; those of other images are left out."""
        return [{**row, "image_id": self.images[row["image_id"]], "category_id": self.categories[row["category_id"]]}
                for row in rows if row["image_id"] in self.images]


def _digest(truth: Target) -> int:
    """Of what counts: size, classes, boxes, areas and crowds. Masks may be written in many ways."""
    rows = [[i["category_id"], i["bbox"], i["area"], i["iscrowd"]] for i in truth.instances]
    return digest(json.dumps([truth.size, truth.categories, rows]).encode())


def _check_sizes(prediction: Instances, truth: Target) -> None:
    for rle in prediction.rles:
        if rle["size"] != list(truth.size):
            raise InputError(f"image {truth.image_id}: a predicted mask's size is {rle['size']}, the annotations say "
                             f"{list(truth.size)} (height, width); correct these, or predict that image again")


def _chosen(prediction: Instances, index: np.ndarray) -> Instances:
    """The detections at `index`."""
    p = prediction
    return Instances(p.image_id, *(np.asarray(x)[index] for x in (p.boxes_image, p.labels, p.scores)),
                     [p.rles[k] for k in index if p.rles])


def _evaluation(truth: dict[str, list], results: list[dict], kind: Kind, max_detections: int):
    from faster_coco_eval import COCO, COCOeval_faster

    gt = COCO(truth)
    evaluation = COCOeval_faster(gt, gt.loadRes(results), kind, print_function=lambda *words: None)
    evaluation.params.maxDets = _counts(max_detections)
    evaluation.run()
    return evaluation


def _counts(max_detections: int) -> list[int]:
    """Limits on the detections that count: for AR1, for AR10, for the rest. The evaluator computes AP at the last."""
    return [1, min(10, max_detections), max_detections]


def _defined(value: float) -> float | None:
    """COCO writes -1 if there is nothing to find."""
    return float(value) if value > -1 else None


def _mean(values: np.ndarray) -> float | None:
    values = values[values > -1]
    return float(values.mean()) if values.size else None


def summary(numbers: Mapping[str, float | None], max_detections: int = 100) -> str:
    """COCO's twelve lines of `compute()["bbox"]` or `["segm"]`, laid out as pycocotools prints them; -1 = undefined."""
    lines = []
    for key, (average, iou, area) in _NUMBERS.items():
        short = "(AP)" if average == "Precision" else "(AR)"
        at_one, at_ten, _ = _counts(max_detections)
        counted = {"AR1": at_one, "AR10": at_ten}.get(key, max_detections)
        value = -1.0 if numbers[key] is None else numbers[key]
        what = f" {f'Average {average}':<18} {short} @[ IoU={iou:<9} | area={area:>6s} | maxDets={counted:>3d} ]"
        lines.append(f"{what} = {value:0.3f}")
    return "\n".join(lines)
