"""Annotation files with anything at all in any place: they are read or refused, and never end in another error."""
import copy
import json
import random

import pytest

from src.contract import InputError
from src.data.instance.coco import CocoDataset
from src.data.instance.target import decode_target
from tests.tiny_coco import RUNS, annotation, content, write_coco

ODD = (None, True, -1, 0, 1, 2.0, 2.5, 1e308, float("nan"), 10 ** 30, "", "1", "x", "train\\a.jpg", "a%20b.jpg", "../a",
       "\ud800", "a\0b", [], [[]], [[1, 2]], [1, 2, 3, 4], [[1, 2, 3, 4, 5, 6]], [None], {}, {"id": 1},
       {"size": [24, 32], "counts": "x"}, {"size": [24, 32], "counts": RUNS}, "background", [{"x": 1}])


def places(value: object, path: tuple = ()) -> list[tuple]:
    """Every place in lists and objects."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, part in inner for place in [(*path, key), *places(part, (*path, key))]]


def mutated(rng: random.Random) -> dict:
    data = content()
    data["annotations"].append(annotation(1, 10, segmentation={"size": [24, 32], "counts": RUNS}, iscrowd=1))
    data = json.loads(json.dumps(data))  # a copy: parts of it are shared with other tests
    for _ in range(rng.choice((1, 1, 2, 4))):
        *path, last = rng.choice(places(data))
        part = data
        for key in path:
            part = part[key]
        if rng.random() < 0.2:
            del part[last]
        else:
            part[last] = copy.deepcopy(rng.choice(ODD))
    return data


def reading(path, folder, on_bad: str) -> CocoDataset | str:
    """The dataset, or the message that refuses it."""
    try:
        return CocoDataset(path, folder, on_bad=on_bad)
    except InputError as error:
        return str(error)


@pytest.mark.parametrize("seed", range(6))
def test_anything_in_any_place_is_read_or_refused(tmp_path, seed):
    rng, path, refused = random.Random(seed), write_coco(tmp_path), 0
    for _ in range(100):
        path.write_text(json.dumps(mutated(rng)))
        for on_bad in ("error", "skip"):
            found = reading(path, tmp_path / "val", on_bad)
            if isinstance(found, str):
                refused += 1
                assert str(path) in found
                continue
            for record in found.rows(range(len(found))):
                target = decode_target(record.target)
                assert len(target.boxes_image) == len(target.labels)
    assert 40 < refused < 180
