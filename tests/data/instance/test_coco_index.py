"""Tables of annotation files: what is taken as it is written, and the index that large files have."""
import json
import os
import shutil
import threading
import time

import numpy as np
import pytest

from src.contract import InputError
from src.data.instance import coco_index
from src.data.instance.coco import CocoDataset
from src.data.instance.coco_check import to_instance
from src.data.instance.coco_index import open_table
from src.data.instance.coco_scan import read_table
from src.data.instance.coco_table import AS_IS
from src.data.instance.target import Category, compress, encode_instances
from src.data.records.manifest import record_digest
from tests.tiny_coco import RUNS, annotation, content, write_coco

SIZE, DOG = (24, 32), Category(1, 3, "dog")
ENCODED = compress(RUNS, SIZE)["counts"]
SLIVER = [[30, 22, 31, 22]]


@pytest.fixture
def large(monkeypatch, tmp_path):
    """Files of any size are large ones; the user's cache is empty."""
    monkeypatch.setattr(coco_index, "LARGE", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def readings(monkeypatch):
    """The paths of the files that are read and checked, one for each time."""
    read = []

    def counted(data, path):
        read.append(path)
        return read_table(data, path)

    monkeypatch.setattr(coco_index, "read_table", counted)
    return read


def everything(dataset: CocoDataset) -> tuple:
    return (dataset.image_ids, dataset.bad, dataset.left_out, dataset.objects, dataset.crowds, dataset.categories,
            [record_digest(row) for row in dataset.rows(range(len(dataset)))])


def mixed() -> dict:
    """A file with annotations of every kind, and an image without a size."""
    data = content(5)
    del data["images"][1]["height"], data["images"][1]["width"]
    data["annotations"] += [
        annotation(1, 10, iscrowd=1, segmentation={"size": [24, 32], "counts": RUNS}), annotation(2, 10, 99),
        annotation(3, 77), annotation(4, 30, bbox=[30, 0, 8, 8]), annotation(5, 30, bbox=[30, 22, 0, 0],
        segmentation=SLIVER), annotation("a", 20), annotation(6, 40, bbox=[-3, 10, 23, 10], segmentation=None)]
    return data


def write(root, data: dict):
    """As `write_coco`, with the images of `content` even where entries lack their size."""
    path = write_coco(root, content(len(data["images"])))
    path.write_text(json.dumps(data))
    return path


# --- what is taken as it is written -----------------------------------------------------------------------------------

def number(rng: np.random.Generator, low: float, high: float) -> float | int:
    value = rng.uniform(low, high)
    return int(value) if rng.random() < 0.3 else float(round(value, rng.integers(0, 17)))


def random_annotation(rng: np.random.Generator, key: int) -> dict:
    """An annotation near the borders of its image, which has most of what tools write."""
    polygons = [[number(rng, -1.3, side) for _ in range(rng.integers(2, 5)) for side in (33.3, 25.3)]
                for _ in range(rng.integers(0, 3))]
    if polygons and rng.random() < 0.1:
        polygons[-1].append(1e-5)
    box = [number(rng, low, high) for low, high in ((-1.2, 20), (-1.2, 20), (-0.2, 9), (-0.2, 9))]
    areas = (40, 40.5, 0, 2.5e-5, -1, 123456789012345678)
    masks = (polygons, polygons, {"size": [24, 32], "counts": "T3"}, {"size": [24.0, 32], "counts": ENCODED},
             {"size": [24, 32], "counts": ENCODED, "more": 1}, {"counts": RUNS, "size": [24, 32]})
    return annotation(key, 10, bbox=box, area=areas[rng.integers(len(areas))],
                      segmentation=masks[rng.integers(len(masks))])


def test_what_is_taken_as_it_is_written_is_what_the_full_check_makes_of_it():
    rng = np.random.default_rng(4)
    annotations = [random_annotation(rng, key) for key in range(1, 2001)]
    table = read_table(json.dumps(content() | {"annotations": annotations}).encode(), "x.json")
    as_is = np.flatnonzero(table.has_kind(table.rows["outcome"], AS_IS.kind))
    assert 300 < len(as_is) < 1500
    for row in as_is:
        assert table.instance(row, SIZE, DOG) == encode_instances([to_instance(annotations[row], SIZE, DOG)])[1:-1]


def test_nearly_all_of_cocos_annotations_are_taken_as_they_are_written(shared):
    path = shared / "data/coco_open/annotations/instances_train2017.json"
    table = open_table(path)
    others = [table.entry(row) for row in np.flatnonzero(~table.has_kind(table.rows["outcome"], AS_IS.kind))]
    assert len(table.rows) == 829
    assert all(entry["iscrowd"] for entry in others)


@pytest.mark.parametrize("change", [
    lambda text: b"\xef\xbb\xbf" + text.encode(), lambda text: text.encode("utf-16"),
    lambda text: text.replace('"categories"', '"other": [NaN, 1e400], "categories"').encode(),
    lambda text: text.replace('"iscrowd": 0', '"iscrowd": 0, "note": "\\ud800"').encode()])
@pytest.mark.parametrize("is_large", [False, True])
def test_what_the_fast_parser_refuses_is_read_by_python(tmp_path, request, change, is_large):
    path = write(tmp_path, mixed())
    expected = everything(CocoDataset(path, tmp_path / "val", on_bad="skip"))
    if is_large:
        request.getfixturevalue("large")
    path.write_bytes(change(path.read_text()))
    assert everything(CocoDataset(path, tmp_path / "val", on_bad="skip")) == expected


@pytest.mark.parametrize(("change", "words"), [
    (lambda text: text.replace(b"dog", b"d\xffg"), "not a text file .byte"),
    (lambda text: text.replace(b'"iscrowd"', b'"note": "\xff", "iscrowd"'), "not a text file .byte"),
    (lambda text: text.replace(b'"area": 40', b'"area": 040', 1), "x.json:1:[0-9]+: not JSON"),
    (lambda text: text.replace(b'"area": 40', b'"area": ' + b"9" * 5000, 1), "thousands of digits")])
def test_mistakes_inside_annotations_are_named(tmp_path, change, words):
    with pytest.raises(InputError, match=words):
        read_table(change(json.dumps(content()).encode()), "x.json")


def test_of_keys_that_are_there_twice_the_last_one_counts(tmp_path):
    text = json.dumps(content()).replace('"area": 40,', '"area": 1, "area": 41,')
    table = read_table(text.encode(), "x.json")
    assert json.loads(table.instance(0, SIZE, DOG))["area"] == 41


# --- the index --------------------------------------------------------------------------------------------------------

def test_the_second_start_takes_the_index_and_finds_the_same(tmp_path, monkeypatch, caplog, readings):
    path = write(tmp_path, mixed())

    def found() -> tuple:
        caplog.clear()
        return everything(CocoDataset(path, tmp_path / "val", on_bad="skip")), [
            message for message in caplog.messages if "reading and checking" not in message]

    expected = found()
    assert len(expected[0][1]) == 3
    monkeypatch.setattr(coco_index, "LARGE", 0)
    assert found() == expected
    assert path.with_name("instances_val.json.index.npz").is_file()
    assert found() == expected
    assert len(readings) == 2


def test_an_index_belongs_to_the_contents_of_its_file(tmp_path, large, readings):
    path = write_coco(tmp_path)
    open_table(path)
    os.utime(path, ns=(1, 1))  # as a copy has it
    open_table(path)
    assert len(readings) == 1
    path.write_text(path.read_text().replace('"dog"', '"cow"'))
    assert CocoDataset(path, tmp_path / "val").class_names[1] == "cow"
    assert len(readings) == 2


@pytest.mark.parametrize("damage", [
    lambda data: b"", lambda data: data[:-30], lambda data: b"x" * len(data),
    lambda data: data[:600] + bytes([data[600] ^ 1]) + data[601:]])
def test_a_damaged_index_is_made_again(tmp_path, large, readings, caplog, damage):
    path = write(tmp_path, mixed())
    expected = everything(CocoDataset(path, tmp_path / "val", on_bad="skip"))
    index = path.with_name("instances_val.json.index.npz")
    index.write_bytes(damage(index.read_bytes()))
    assert everything(CocoDataset(path, tmp_path / "val", on_bad="skip")) == expected
    assert len(readings) == 2
    assert f"{index} is damaged" in caplog.text
    open_table(path)
    assert len(readings) == 2


def test_an_index_of_other_checks_is_made_again(tmp_path, large, readings, monkeypatch):
    path = write_coco(tmp_path)
    open_table(path)
    monkeypatch.setattr(coco_index, "_program", lambda: "another")
    open_table(path)
    assert len(readings) == 2


def test_the_index_of_a_folder_without_write_permission_is_in_the_users_cache(tmp_path, large, readings, monkeypatch):
    path = write_coco(tmp_path)
    monkeypatch.setattr(os, "access", lambda folder, mode: False)  # tests may run as root, who may write anywhere
    for _ in range(2):
        open_table(path)
    assert len(readings) == 1
    assert [found.name for found in (tmp_path / "cache").rglob("*.npz")] == ["instances_val.json.index.npz"]
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").write_text("a file where the cache should be")
    for _ in range(2):
        assert len(open_table(path).rows) == 4
    assert len(readings) == 3


def test_one_of_several_makes_the_index_and_the_others_wait(tmp_path, large, monkeypatch):
    path, readings, tables = write_coco(tmp_path), [], []

    def slow(data, path):
        readings.append(path)
        time.sleep(0.3)
        return read_table(data, path)

    def rank() -> None:
        tables.append(open_table(path))

    monkeypatch.setattr(coco_index, "read_table", slow)
    ranks = [threading.Thread(target=rank) for _ in range(4)]
    for one in ranks:
        one.start()
    for one in ranks:
        one.join()
    assert len(readings) == 1
    assert [(table.rows == tables[0].rows).all() for table in tables] == [True] * 4


def test_a_file_that_changes_under_a_dataset_is_refused(tmp_path, large):
    path = write_coco(tmp_path)
    dataset = CocoDataset(path, tmp_path / "val")
    assert len(list(dataset.rows([0, 1]))) == 2
    path.write_text(path.read_text().replace("40", "41"))
    with pytest.raises(InputError, match="instances_val.json: was changed while it was in use; start again"):
        next(dataset.rows([0]))
