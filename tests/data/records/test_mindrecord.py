"""MindRecord files: the same bytes back, damage, and the model zoo's records."""
import os
import re
from pathlib import Path

import numpy as np
import pytest

from src.contract import InputError
from src.data.records.mindrecord import BuildOptions, RecordDataset, build, verify
from src.data.semantic.voc import ListDataset, RecordCheck
from tests.tiny_seg import Memory, content, jpeg, png, record, write_data

CHECK = RecordCheck(3, 255)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> ListDataset:
    root = tmp_path_factory.mktemp("data")
    return ListDataset(root, write_data(root, 12))


@pytest.mark.parametrize(("num_shards", "names"), [(1, ["r"]), (3, ["r0", "r1", "r2"]),
                                               (12, [f"r{n:02d}" for n in range(12)])])
def test_records_come_back_as_they_are(tmp_path, data, num_shards, names):
    manifest = build(data, tmp_path / "r", BuildOptions(num_shards=num_shards), check=CHECK)
    dataset = RecordDataset(tmp_path / "r")
    assert [file.name for file in dataset.files] == names
    assert content(dataset.rows(range(12))) == content(data.rows(range(12)))
    assert content(dataset.rows([11, 0, 5, 5])) == content(data.rows([11, 0, 5, 5]))
    assert manifest.records == len(dataset) == 12
    assert sum(manifest.histogram.values()) == 12 * 12 * 16
    assert manifest.histogram[255] == 12 * 16
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [".r.lock", "r.manifest.json", *names, *(f"{name}.db" for name in names)])


def test_bytes_that_strings_would_lose(tmp_path):
    dataset = Memory([record(1, b"\0\0", b"\0"), record(2, b"a\0b\0\0\0", b" \n"), record(2 ** 40, b"\xff" * 70000)])
    build(dataset, tmp_path / "r")
    assert content(RecordDataset(tmp_path / "r").rows([0, 1, 2])) == content(dataset.records)


def test_more_ids_than_records_and_ids_outside(tmp_path):
    build(Memory([record(n) for n in range(3)]), tmp_path / "r", BuildOptions(num_shards=2))
    dataset = RecordDataset(tmp_path / "r")
    assert [r.image_id for r in dataset.rows([2, 1, 0, 2, 2, 2, 0, 1])] == [2, 1, 0, 2, 2, 2, 0, 1]
    places = [r.place.split(" (")[0].rsplit("/", 1)[1] for r in dataset.rows([0, 1, 2])]
    assert places == ["r0:row 0", "r1:row 0", "r1:row 1"]
    for sample_id in (3, -1):
        with pytest.raises(IndexError, match=f"sample id {sample_id} "):
            list(dataset.rows([sample_id]))


def test_names_of_the_same_records(tmp_path, data, monkeypatch):
    build(data, tmp_path / "r", BuildOptions(num_shards=2))
    monkeypatch.chdir(tmp_path)
    for path in ("r", "./r", "r0", "r1", "r.manifest.json", tmp_path / "r"):
        assert len(RecordDataset(path)) == 12
    os.remove("r.manifest.json")
    for path in ("r", "r0", "r1"):
        assert len(RecordDataset(path)) == 12


def test_first_shard_opens_all_in_plain_mindspore(tmp_path, data):
    import mindspore.dataset as ds

    build(data, tmp_path / "r", BuildOptions(num_shards=5))
    rows = ds.MindDataset(str(tmp_path / "r0"), ["image_id"], shuffle=False)
    assert sorted(int(row[0]) for row in rows.create_tuple_iterator(output_numpy=True)) == list(range(1, 13))


def test_shards_are_as_readable_as_other_files(tmp_path, data):
    build(data, tmp_path / "r")
    (tmp_path / "other").touch()
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert modes == {(tmp_path / "other").stat().st_mode}


def test_shuffle_is_a_fixed_permutation(tmp_path, data):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        build(data, tmp_path / name, BuildOptions(num_shards=2, shuffle=seed))
    order = {name: [r.image_id for r in RecordDataset(tmp_path / name).rows(range(12))] for name in "abc"}
    assert order["a"] == order["b"] != order["c"]
    assert sorted(order["a"]) == sorted(order["c"]) == list(range(1, 13))




# --- damage -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("file", "place"), [("r1", 10), ("r1", -5), ("r1", "image"), ("r2.db", 5000)])
def test_verify_names_the_one_file_in_which_a_bit_changed(tmp_path, data, file, place):
    build(data, tmp_path / "r", BuildOptions(num_shards=3))
    assert verify(tmp_path / "r").records == 12
    body = bytearray((tmp_path / file).read_bytes())
    if place == "image":
        place = body.index((Path(data.data_root) / "images/5.jpg").read_bytes()) + 300
    body[place] ^= 1
    (tmp_path / file).write_bytes(body)
    with pytest.raises(InputError, match=rf"^\S*/{file}: [^\n]*(\nRemove|its header is damaged)"):
        verify(tmp_path / "r")


def test_verify_compares_records_where_a_manifest_has_no_hashes_of_files(tmp_path, data):
    build(data, tmp_path / "r", BuildOptions(num_shards=3))
    path = tmp_path / "r.manifest.json"
    path.write_text(re.sub(r'_hash": "\w*"(?=,?\s*})|"file_hash": "\w*"', lambda m: m[0][:m[0].index(":")] + ': ""',
                           path.read_text()))
    assert verify(tmp_path / "r").records == 12
    body = bytearray((tmp_path / "r1").read_bytes())
    body[body.index((Path(data.data_root) / "images/5.jpg").read_bytes()) + 300] ^= 1
    (tmp_path / "r1").write_bytes(body)
    with pytest.raises(InputError, match="r1: its records are not those that were written\nRemove these files"):
        verify(tmp_path / "r")


def test_a_manifest_whose_totals_are_not_its_shards_is_damaged(tmp_path, data):
    build(data, tmp_path / "r", BuildOptions(num_shards=3))
    path = tmp_path / "r.manifest.json"
    path.write_text(path.read_text().replace('"records": 12', '"records": 11'))
    with pytest.raises(InputError, match="damaged manifest .11 records"):
        verify(tmp_path / "r")


def test_verify_needs_a_manifest(tmp_path):
    build(Memory([record(1)]), tmp_path / "r")
    os.remove(tmp_path / "r.manifest.json")
    with pytest.raises(InputError, match="no manifest"):
        verify(tmp_path / "r")


def test_manifest_that_is_none(tmp_path):
    for text, words in (("{", "damaged manifest"), ("{}", "damaged manifest"), ('{"version": 99}', "version 99")):
        (tmp_path / "r.manifest.json").write_text(text)
        with pytest.raises(InputError, match=words):
            RecordDataset(tmp_path / "r")


@pytest.mark.parametrize(("damage", "words"), [
    (lambda f: os.remove(f / "r"), "r: no such record file; build it"),
    (lambda f: os.remove(f / "r.db"), "r.db is missing"),
    (lambda f: (f / "r").write_bytes(b""), "not a MindRecord"),
    (lambda f: (f / "r").write_bytes(b"\xff" * 100), "not a MindRecord"),
    (lambda f: (f / "r").write_text("just some text that is long enough"), "not a MindRecord"),
    (lambda f: os.truncate(f / "r", 70000), "cut short"),
    (lambda f: (os.remove(f / "r"), (f / "r").mkdir()), "is a folder"),
])
def test_foreign_or_damaged_files(tmp_path, damage, words):
    build(Memory([record(n, b"x" * 50000) for n in range(20)]), tmp_path / "r")
    os.remove(tmp_path / "r.manifest.json")
    damage(tmp_path)
    with pytest.raises(InputError, match=words):
        RecordDataset(tmp_path / "r")


def test_damaged_index_is_reported_when_it_is_read(tmp_path):
    build(Memory([record(n) for n in range(3)]), tmp_path / "r")
    (tmp_path / "r.db").write_text("no database")
    with pytest.raises(InputError, match="cannot be read .*one of r or their .db files is damaged"):
        list(RecordDataset(tmp_path / "r").rows([0]))


# --- records of others ------------------------------------------------------------------------------------------------

def write_others(path: Path, schema: dict, rows: list[dict], num_shards: int) -> None:
    from mindspore.mindrecord import FileWriter

    writer = FileWriter(str(path), num_shards)
    writer.add_schema(schema, "test")
    writer.write_raw_data(rows)
    writer.commit()


@pytest.mark.parametrize(("num_shards", "first"), [(1, "zoo"), (8, "zoo0"), (11, "zoo00")])
def test_zoo_records_are_read(tmp_path, num_shards, first):
    schema = {"file_name": {"type": "string"}, "label": {"type": "bytes"}, "data": {"type": "bytes"}}
    image, label = jpeg(np.zeros((8, 8, 3), np.uint8)), png(np.zeros((8, 8), np.uint8))
    write_others(tmp_path / "zoo", schema, [{"file_name": f"{n}.jpg", "label": label, "data": image + bytes(n)}
                                            for n in range(22)], num_shards)
    for path in (tmp_path / first, tmp_path / "zoo"):
        records = list(RecordDataset(path).rows(range(22)))
        assert [r.image_id for r in records] == list(range(1, 23))
        assert sorted(int(r.file_name[:-4]) for r in records) == list(range(22))
        assert all(r.target == label and r.image == image + bytes(int(r.file_name[:-4])) for r in records)


def test_one_missing_shard_of_others_is_named(tmp_path):
    schema = {"file_name": {"type": "string"}, "label": {"type": "bytes"}, "data": {"type": "bytes"}}
    write_others(tmp_path / "zoo", schema, [{"file_name": "a", "label": b"b", "data": b"c"}] * 6, 3)
    os.remove(tmp_path / "zoo2")
    with pytest.raises(InputError, match="zoo2: no such record file"):
        RecordDataset(tmp_path / "zoo0")


def test_foreign_columns_are_named(tmp_path):
    write_others(tmp_path / "r", {"words": {"type": "string"}}, [{"words": "a"}], 1)
    with pytest.raises(InputError, match="columns .'words'., expected .'image_id'"):
        RecordDataset(tmp_path / "r")
