#!/usr/bin/env bash
# pycocotools, faster-coco-eval: the key `ignore` of an annotation is overwritten before it is read.
#
# COCOeval keeps an `ignore` flag for each object, and data sets that mark regions which must not count (VisDrone,
# CrowdHuman and others, once converted) write `"ignore": 1`. Both evaluators then set it anew from iscrowd alone, so that
# such an object counts as missed. Only iscrowd=1 is left out, and that changes the overlap to one over the detection.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check pycocotools==2.0.11 faster-coco-eval==1.8.0 numpy==1.26.4
cat >"$folder/finding.py" <<'PYTHON'
import contextlib
import copy
import io
from importlib.metadata import version

import faster_coco_eval
import pycocotools.coco
import pycocotools.cocoeval


def recall(coco_class, eval_class, **keys):
    box = {"image_id": 1, "category_id": 1, "area": 400, "iscrowd": 0}
    truth = coco_class()
    truth.dataset = {"images": [{"id": 1, "width": 99, "height": 99}], "categories": [{"id": 1, "name": "car"}],
                     "annotations": [box | {"id": 1, "bbox": [10, 10, 20, 20]},
                                     box | {"id": 2, "bbox": [50, 50, 20, 20]} | keys]}
    found = [{"image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 20], "score": 0.9}]
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = eval_class(truth, truth.loadRes(copy.deepcopy(found)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[8])


for name, classes in {"pycocotools": (pycocotools.coco.COCO, pycocotools.cocoeval.COCOeval),
                      "faster-coco-eval": (faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster)}.items():
    seen = [recall(*classes), recall(*classes, ignore=1), recall(*classes, iscrowd=1)]
    print(name, version(name), "one of two objects found; recall with the other one plain, ignore=1, iscrowd=1:", seen)
    assert seen == [0.5, 0.5, 1.0], f"{name} has changed"
PYTHON
"$folder/bin/python" "$folder/finding.py"
