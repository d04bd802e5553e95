"""eval.py with published Mask R-CNN weights and no flag that tells it about them, on COCO images of both orientations.

The weights' conventions have to choose network, input and class indices; only the input's size is made a fifth of
theirs, for the time. What it writes is compared with the network of `test_maskrcnn.py`, which gives the reference's
arrays, on an input made here.
"""
from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import src  # noqa: F401  the CPU switch comes before MindSpore
from src.weights.formats import write_tensors
from src.weights.load import read_weights

ROOT = Path(__file__).parents[2]
SHORT, LONG = 160, 288  # of torchvision's input
HEIGHT, WIDTH = 160, 256  # of the zoo's
MEAN, STD = np.float32([123.675, 116.28, 103.53]), np.float32([58.395, 57.12, 57.375])


def torchvision_input(image):
    """Short side SHORT, long side at most LONG, rounded down; zeros after normalisation up to the canvas."""
    scale = min(SHORT / min(image.shape[:2]), LONG / max(image.shape[:2]))
    height, width = (math.floor(side * scale) for side in image.shape[:2])
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    canvas = np.zeros((LONG, SHORT, 3) if height > width else (SHORT, LONG, 3), np.float32)
    canvas[:height, :width] = (resized - MEAN) / STD
    return canvas.transpose(2, 0, 1)[None], (height, width)


def zoo_input(image):
    """Into HEIGHT x WIDTH with rounded sides, a portrait image in a second step; black before normalisation."""
    height, width = image.shape[:2]
    scale = min(WIDTH / max(height, width), HEIGHT / min(height, width))
    height, width = int(height * scale + 0.5), int(width * scale + 0.5)
    if height > HEIGHT:
        height, width = HEIGHT, int(width * (HEIGHT / height) + 0.5)
    canvas = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    canvas[:height, :width] = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return ((canvas - MEAN) / STD).transpose(2, 0, 1)[None], (height, width)


def expected(path, image, make_input):
    """(boxes of the image, class indices, scores) of the network with the file's conventions and nothing else."""
    import mindspore as ms

    from src.maskrcnn.build import Conventions, Detections, build_network
    from src.weights.load import load_weights

    said = read_weights(path).report.conventions
    network = build_network(Conventions.of_family(said), num_classes=said["num_classes"],
                            detections=Detections(max_detections=said["detections_per_image"]))
    load_weights(network, path)
    pixels, size = make_input(image)
    boxes, labels, scores, valid, _ = (x.asnumpy()[0] for x in network.set_train(False)(
        ms.Tensor(pixels), ms.Tensor(np.float32([size]))))
    factor = [image.shape[1] / size[1], image.shape[0] / size[0]] * 2
    return boxes[valid] * factor, labels[valid], scores[valid]


@pytest.mark.parametrize(("name", "expected"), [
    ("torchvision_maskrcnn_resnet50_fpn", {"resize_rule": "short_side", "img_height": 800, "img_width": 1333,
                                           "class_map": "id", "num_classes": 91, "mask_paste_pad": 1}),
    ("zoo_maskrcnn_resnet50", {"resize_rule": "canvas", "img_height": 768, "img_width": 1280, "class_map": "order",
                               "num_classes": 81, "mask_paste_pad": 0, "test_max_per_img": 128})])
def test_settings_that_published_weights_choose(golden, tmp_path, name, expected):
    from src import tasks

    write_tensors(tmp_path / "weights.npz", golden.weights(name), {})
    settings = tasks.with_conventions(tasks.parse_settings([f"--ckpt_path={tmp_path / 'weights.npz'}"],
                                                           program="eval.py", groups=("eval",)))
    assert settings.model == "mask_rcnn_r50"
    assert settings.norm == "frozen"
    assert {key: getattr(settings, key) for key in expected} == expected


@pytest.mark.slow
@pytest.mark.parametrize(("name", "portrait", "make_input", "classes"), [
    ("torchvision_maskrcnn_resnet50_fpn", True, torchvision_input, 91), ("zoo_maskrcnn_resnet50", True, zoo_input, 81)])
def test_results_of_published_weights(golden, shared, tmp_path, name, portrait, make_input, classes):
    data = shared / "data/coco_open"
    content = json.loads((data / "annotations/instances_val2017.json").read_text())
    entry = next(i for i in content["images"] if (i["height"] > i["width"]) == portrait)
    content |= {"images": [entry], "annotations": [a for a in content["annotations"] if a["image_id"] == entry["id"]]}
    (tmp_path / "one.json").write_text(json.dumps(content))
    tensors = golden.weights(name)
    if classes == 91:  # as published: with frozen norms, which have no counters and an epsilon of 0
        tensors = {key: array for key, array in tensors.items() if not key.endswith("num_batches_tracked")}
    write_tensors(tmp_path / "weights.safetensors", tensors, {})
    done = subprocess.run(
        [sys.executable, str(ROOT / "eval.py"), "--device_target=CPU", "--ckpt_path=weights.safetensors",
         "--ann_file=one.json", f"--image_dir={data / 'val2017'}", "--test_batch_size=1",
         f"--img_height={SHORT}", f"--img_width={LONG if classes == 91 else WIDTH}"],
        cwd=tmp_path, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "eval_result.bbox.json").read_text())
    image = cv2.imread(str(data / "val2017" / entry["file_name"]))[..., ::-1]
    boxes, labels, scores = expected(tmp_path / "weights.safetensors", np.ascontiguousarray(image), make_input)
    ids = [c["id"] for c in content["categories"]]
    index = {number: number if classes == 91 else place for place, number in enumerate(ids, 1)}
    known = np.isin(labels, list(index.values()))
    assert len(found) == known.sum() > 20
    assert len(set(labels[known])) > 3
    assert [index[f["category_id"]] for f in found] == labels[known].tolist()
    np.testing.assert_allclose([f["score"] for f in found], scores[known], atol=1e-3)
    xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)[known]
    np.testing.assert_allclose([f["bbox"] for f in found], xywh, atol=0.1)
    numbers = json.loads((tmp_path / "eval_result.json").read_text())
    assert numbers["images"] == 1
    assert numbers["detections_of_other_classes"] == (~known).sum()
