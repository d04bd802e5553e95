"""Detections of offline inference read from their files: a good one, and damaged ones named with file and place."""
import json
from pathlib import Path

import pytest

from src.contract import InputError
from src.data.instance.target import compress
from src.results.files import ResultFiles

RLE = compress([2, 3, 7], (3, 4))
GOOD = {"label": 1, "category_id": 7, "score": 0.5, "bbox": [1, 0, 2, 3], "segmentation": RLE}


def read(folder: Path, text: str):
    path = folder / "a.json"
    path.write_text(text)
    return ResultFiles(folder, "instance", ("background", "cat"), {"a.jpg": path}).instances("a.jpg", 10, {1: 4})


def detections(*rows: dict, **changes) -> str:
    return json.dumps({"file_name": "a.jpg", "height": 3, "width": 4, "detections": rows} | changes)


def test_detections_are_read(tmp_path):
    found = read(tmp_path, detections(GOOD, GOOD | {"bbox": [0, 0, 1, 1], "score": 0.25}))
    assert found.image_id == 10
    assert found.boxes_image.tolist() == [[1, 0, 3, 3], [0, 0, 1, 1]]
    assert found.labels.tolist() == [4, 4]
    assert found.scores.tolist() == [0.5, 0.25]
    assert found.rles == [RLE, RLE]


@pytest.mark.parametrize(("text", "words"), [
    (detections(GOOD, GOOD | {"score": "high"}), "detections[1]: score is 'high'; it must be a finite number"),
    (detections(GOOD | {"score": float("inf")}), "detections[0]: score is inf"),
    (detections(GOOD | {"bbox": [1, 2]}), "detections[0]: bbox is [1, 2]"),
    (detections(GOOD | {"segmentation": None}), "detections[0]: segmentation is None"),
    (detections(GOOD | {"segmentation": RLE | {"counts": "~"}}), "detections[0]: its counts are no run-length"),
    (detections(GOOD, height=4), "detections[0]: the mask's size is [3, 4], its image has [4, 4]"),
    (detections(GOOD | {"label": 2}), "classes [2] of the model"),
    (detections({"score": 1}), "holds no detections"), ("[]", "holds no detections"),
    ("[" * 100_000, "cannot be read")])
def test_what_is_no_detection_is_named(tmp_path, text, words):
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    assert f"{tmp_path / 'a.json'}: {words}" in str(caught.value)
