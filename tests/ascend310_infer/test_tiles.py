"""Tiles of large images in the C++ program against Python's: the same objects, boxes, scores and masks."""
import json

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from src.contract import Record
from src.maskrcnn.inference import TiledPredictor
from src.maskrcnn.preprocess import Preprocess
from src.maskrcnn.tiles import Tiling
from tests.ascend310_infer.tiny_models import changed, instance_model, instance_spec, run

pytestmark = pytest.mark.slow
CANVAS = (64, 96)
# A tile exactly, a pixel more, three by three, a strip, smaller than a tile.
SIZES = [(64, 96), (65, 97), (170, 250), (40, 300), (30, 20)]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for n, size in enumerate(SIZES):
        cv2.imwrite(str(folder / f"{n}.png"), np.full((*size, 3), 90, np.uint8))
    return folder


def detections(overlap: int) -> dict[str, np.ndarray]:
    """What the network finds in every tile: random things, and most of them again where a neighbour would see them."""
    rng = np.random.default_rng(overlap)
    corners = rng.uniform(0, (70, 40), (14, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(6, (60, 40), (14, 2))], 1)
    steps = [(96 - overlap, 0), (overlap - 96, 0), (0, 64 - overlap), (0, overlap - 64)]
    copies = np.concatenate([boxes[:11] + np.tile(step, 2) + rng.normal(0, 0.4, (11, 4)) for step in steps])
    boxes = np.concatenate([boxes, copies]).clip(0, (96, 64, 96, 64))
    masks = [np.clip(cv2.resize(rng.random((5, 5), np.float32), (28, 28)) + 0.2, 0, 1) for _ in range(14)]
    masks += [np.clip(mask + rng.normal(0, 0.05, (28, 28)), 0, 1) for _ in steps for mask in masks[:11]]
    order = rng.permutation(len(boxes))
    labels = np.tile(rng.integers(1, 3, 14), 5)[:len(boxes)]
    labels[14:] = np.tile(labels[:11], 4)
    valid = ((boxes[:, 2:] - boxes[:, :2]) > 1).all(1)
    return {"boxes": boxes[order][None].astype(np.float32), "labels": labels[order][None].astype(np.int32),
            "scores": np.sort(rng.random((1, len(boxes)), np.float32))[:, ::-1].copy(), "valid": valid[order][None],
            "masks": np.stack(masks)[order][None].astype(np.float32)}


@pytest.mark.parametrize(("build", "tile", "overlap", "limit"), [
    ("program", (64, 96), 20, 0), ("sanitized", (64, 96), 31, 7), ("sanitized", (96, 144), 40, 0),
    ("program", (64, 96), 0, 0), ("program", (60, 60), 44, 0)])
def test_instances_are_those_of_python(build, tile, overlap, limit, request, images, tmp_path):
    arrays = detections(overlap)
    spec = changed(instance_spec(arrays, height=64, width=96, merged_max_per_img=limit), resize={
        "rule": "tiles", "tile_rule": "canvas", "size": list(CANVAS), "rounding": "round", "tile_size": list(tile),
        "tile_overlap": overlap})
    ran = run(request.getfixturevalue(build), instance_model(tmp_path / "m", spec, arrays), images, tmp_path / "r")
    assert ran.returncode == 0, ran.stderr
    predict = TiledPredictor(lambda *inputs: tuple(arrays.values()), tiling=Tiling(tile, overlap), limit=limit,
                             preprocess=Preprocess(CANVAS, (0,) * 3, (1,) * 3), batch_size=1)
    records = [Record(n, "", (images / f"{n}.png").read_bytes(), b"") for n in range(len(SIZES))]
    merged = 0
    for expected, size in zip(predict(records), SIZES):
        content = json.loads((tmp_path / f"r/detections/{expected.image_id}.json").read_text())
        assert (content["height"], content["width"]) == size
        found = content["detections"]
        assert [d["label"] for d in found] == expected.labels.tolist()
        assert [np.float32(d["score"]) for d in found] == expected.scores.tolist()
        boxes = np.array([d["bbox"] for d in found])
        boxes[:, 2:] += boxes[:, :2]
        np.testing.assert_allclose(boxes, expected.boxes_image, atol=1e-3)
        for detection, rle in zip(found, expected.rles):
            ours, theirs = coco_mask.decode(detection["segmentation"]), coco_mask.decode(rle)
            assert (ours != theirs).sum() <= max(1, 2e-4 * ours.size)
        tiles = len(Tiling(tile, overlap).tiles(size))
        merged += tiles * int(arrays["valid"].sum()) - len(found)
        assert not limit or len(found) <= limit
    assert merged > 50 or overlap == 0
