"""Score thresholds by class: how they are written, what is refused, and which instances they keep."""
import json

import numpy as np
import pytest

from src.contract import InputError, Instances
from src.metrics.score_thresholds import by_label, entries, keep, parse

NAMES = ("background", "cat", "traffic light")
FOUND = Instances(7, np.arange(16, dtype=np.float32).reshape(4, 4), np.array([1, 2, 1, 2], np.int32),
                  np.array([0.9, 0.8, 0.7, 0.1], np.float32), [{"counts": str(k)} for k in range(4)])


def test_as_they_are_written(tmp_path):
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"score_thresholds": {"cat": 0.5, "a=b": 1}}))
    for values in ([str(path)], str(path), {"cat": 0.5, "a=b": 1}, ["cat=0.5", "a=b=1"], ["", "cat=0.5", "a=b=1"]):
        assert parse(entries(values)) == {"cat": 0.5, "a=b": 1.0}
    assert entries([""]) == entries([]) == ()


@pytest.mark.parametrize(("value", "message"), [
    ("0.7", "'0.7' has no class; write --score_thresholds=NAME=NUMBER"), ("=0.7", "has no class"),
    ("cat=", "has no number"), ("cat=high", "has no number"), ("cat=1.01", "scores are from 0 to 1"),
    ("cat=-0.1", "scores are from 0 to 1"), ("cat=nan", "scores are from 0 to 1")])
def test_what_is_no_threshold(value, message):
    with pytest.raises(ValueError, match=message):
        parse(entries([value]))


def test_a_class_twice():
    with pytest.raises(ValueError, match="'cat' is given twice"):
        parse(["cat=0.5", "cat=0.5"])


@pytest.mark.parametrize(("text", "message"), [("{", "not readable as JSON"), ("[]", "has no key 'score_thresholds'"),
                                               ("{}", "has no key 'score_thresholds'"), (None, "no such file")])
def test_files_without_thresholds(text, message, tmp_path):
    if text is not None:
        (tmp_path / "t.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        entries([str(tmp_path / "t.json")])


def test_unknown_classes():
    assert by_label({"traffic light": 0.5}, NAMES) == {2: 0.5}
    with pytest.raises(InputError, match="'trafic light' is no class of the model; did you mean traffic light"):
        by_label({"trafic light": 0.5}, NAMES)
    with pytest.raises(InputError, match="'background' is no class"):
        by_label({"background": 0.5}, NAMES)


@pytest.mark.parametrize(("thresholds", "otherwise", "kept"), [
    ({}, 0.0, [0, 1, 2, 3]), ({1: 0.8}, 0.0, [0, 1, 3]), ({1: 0.8, 2: 0.2}, 0.0, [0, 1]), ({2: 0.05}, 0.75, [0, 1, 3]),
    ({1: float(np.float32(0.7))}, 0.0, [0, 1, 2, 3]), ({1: 0.7}, 0.0, [0, 1, 3]), ({9: 1.0}, 0.0, [0, 1, 2, 3])])
def test_what_is_kept(thresholds, otherwise, kept):
    """A score of float32 is compared as it is: that nearest to 0.7 is below 0.7."""
    found = keep(FOUND, thresholds, otherwise=otherwise)
    assert found.scores.tolist() == FOUND.scores[kept].tolist()
    assert found.boxes_image.tolist() == FOUND.boxes_image[kept].tolist()
    assert [rle["counts"] for rle in found.rles] == [str(k) for k in kept]


def test_nothing_found():
    nothing = Instances(1, np.zeros((0, 4)), np.zeros(0, np.int32), np.zeros(0, np.float32))
    assert keep(nothing, {1: 0.5}) is nothing
