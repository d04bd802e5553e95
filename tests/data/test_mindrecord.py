"""MindRecord files: the same bytes back, resumed builds, several builders, damage, and the model zoo's records."""
import json
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from src.contract import InputError, Record
from src.data import manifest as manifests
from src.data import mindrecord
from src.data.mindrecord import BuildOptions, RecordSource, build, verify
from src.data.voc import ListSource, RecordCheck
from tests.tiny_seg import jpeg, png, write_data

CHECK = RecordCheck(3, 255)


class Memory:
    """A source of given records."""

    name = "memory"

    def __init__(self, records: list[Record]):
        self.records = records

    def __len__(self) -> int:
        return len(self.records)

    def rows(self, sample_ids):
        return (self.records[i] for i in sample_ids)


def record(image_id: int, image: bytes = b"image", target: bytes = b"target") -> Record:
    return Record(image_id, f"{image_id}.jpg", image, target, f"memory:{image_id}")


def content(records) -> list[tuple]:
    return [(r.image_id, r.file_name, r.image, r.target) for r in records]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != ".r.lock"}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> ListSource:
    root = tmp_path_factory.mktemp("data")
    return ListSource(root, write_data(root, 12))


@pytest.mark.parametrize("num_shards, names", [(1, ["r"]), (3, ["r0", "r1", "r2"]),
                                               (12, [f"r{n:02d}" for n in range(12)])])
def test_records_come_back_as_they_are(tmp_path, data, num_shards, names):
    manifest = build(data, tmp_path / "r", BuildOptions(num_shards=num_shards), check=CHECK)
    source = RecordSource(tmp_path / "r")
    assert [file.name for file in source.files] == names
    assert content(source.rows(range(12))) == content(data.rows(range(12)))
    assert content(source.rows([11, 0, 5, 5])) == content(data.rows([11, 0, 5, 5]))
    assert manifest.records == len(source) == 12
    assert sum(manifest.histogram.values()) == 12 * 12 * 16
    assert manifest.histogram[255] == 12 * 16
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [".r.lock", "r.manifest.json", *names, *(f"{name}.db" for name in names)])


def test_bytes_that_strings_would_lose(tmp_path):
    source = Memory([record(1, b"\0\0", b"\0"), record(2, b"a\0b\0\0\0", b" \n"), record(2 ** 40, b"\xff" * 70000)])
    build(source, tmp_path / "r")
    assert content(RecordSource(tmp_path / "r").rows([0, 1, 2])) == content(source.records)


def test_more_ids_than_records_and_ids_outside(tmp_path):
    build(Memory([record(n) for n in range(3)]), tmp_path / "r", BuildOptions(num_shards=2))
    source = RecordSource(tmp_path / "r")
    assert [r.image_id for r in source.rows([2, 1, 0, 2, 2, 2, 0, 1])] == [2, 1, 0, 2, 2, 2, 0, 1]
    assert [r.place for r in source.rows([0, 1, 2])] == ["r0:row 0", "r1:row 0", "r1:row 1"]
    for sample_id in (3, -1):
        with pytest.raises(IndexError, match=f"sample id {sample_id} "):
            list(source.rows([sample_id]))


def test_names_of_the_same_records(tmp_path, data, monkeypatch):
    build(data, tmp_path / "r", BuildOptions(num_shards=2))
    monkeypatch.chdir(tmp_path)
    for path in ("r", "./r", "r0", "r1", "r.manifest.json", tmp_path / "r"):
        assert len(RecordSource(path)) == 12
    os.remove("r.manifest.json")
    for path in ("r", "r0", "r1"):
        assert len(RecordSource(path)) == 12


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
    order = {name: [r.image_id for r in RecordSource(tmp_path / name).rows(range(12))] for name in "abc"}
    assert order["a"] == order["b"] != order["c"]
    assert sorted(order["a"]) == sorted(order["c"]) == list(range(1, 13))


def test_builds_are_byte_identical(tmp_path, data):
    for folder in ("a", "b"):
        build(data, tmp_path / folder / "r", BuildOptions(num_shards=3, workers=1 if folder == "a" else 3), check=CHECK)
    assert files(tmp_path / "a") == files(tmp_path / "b")


# --- bad records ------------------------------------------------------------------------------------------------------

def with_bad(tmp_path) -> ListSource:
    path = write_data(tmp_path, 8)
    (tmp_path / "labels/2.png").write_bytes(png(np.full((12, 16), 9, np.uint8)))
    (tmp_path / "images/5.jpg").write_bytes(b"text")
    return ListSource(tmp_path, path)


def test_bad_records_stop_a_build_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match="(?s)2 bad records:\n.*list.txt:3: .*\n.*list.txt:6: .*Nothing was written"):
        build(with_bad(tmp_path), tmp_path / "r", check=CHECK)
    assert not (tmp_path / "r").exists() and not (tmp_path / "r.manifest.json").exists()


def test_bad_records_are_left_out_counted_and_listed(tmp_path):
    manifest = build(with_bad(tmp_path), tmp_path / "r", BuildOptions(num_shards=8, on_bad="skip"), check=CHECK,
                     left_out=["list.txt:9: one column"])
    assert [r.image_id for r in RecordSource(tmp_path / "r").rows(range(6))] == [1, 2, 4, 5, 7, 8]
    stored = json.loads((tmp_path / "r.manifest.json").read_text())
    assert stored["records"] == 6 and stored["bad"] == manifest.bad and len(manifest.bad) == 3
    assert verify(tmp_path / "r").records == 6


def test_nothing_left(tmp_path):
    with pytest.raises(InputError, match="no good record is left\nmemory:1: 1.jpg: image is empty"):
        build(Memory([record(1, b"")]), tmp_path / "r", BuildOptions(on_bad="skip"))


@pytest.mark.parametrize("dst, num_shards, words", [
    ("r", 4, "num_shards=4: memory has 3 records"), ("r", -1, "num_shards=-1"), (".", 0, "is a folder"),
    ("a:b", 0, "record file's name"),
])
def test_impossible_options(tmp_path, dst, num_shards, words):
    with pytest.raises(InputError, match=words):
        build(Memory([record(n) for n in range(3)]), tmp_path / dst, BuildOptions(num_shards=num_shards))


# --- building again ---------------------------------------------------------------------------------------------------

def written(source, dst, *args, **kwargs) -> set[str]:
    """Build and return the names of the shards that were written anew."""
    before = {path.name: path.stat().st_ino for path in dst.parent.iterdir()}
    manifest = build(source, dst, *args, **kwargs)
    return {s.file for s in manifest.shards if before.get(s.file) != (dst.parent / s.file).stat().st_ino}


def test_a_finished_build_is_left_alone(tmp_path, data):
    options = BuildOptions(num_shards=3)
    assert written(data, tmp_path / "r", options, check=CHECK) == {"r0", "r1", "r2"}
    assert written(data, tmp_path / "r", options, check=CHECK) == set()
    assert written(data, tmp_path / "r", options) == set()


def test_missing_and_cut_shards_alone_are_repaired(tmp_path, data):
    build(data, tmp_path / "r", BuildOptions(num_shards=4))
    good = files(tmp_path)
    os.remove(tmp_path / "r1")
    os.remove(tmp_path / "r2.db")
    os.truncate(tmp_path / "r3", 1000)
    with pytest.raises(InputError, match="3 of 4 shards missing or of another size: r1, r2, r3.*run the same build"):
        RecordSource(tmp_path / "r")
    assert written(data, tmp_path / "r", BuildOptions(num_shards=4)) == {"r1", "r2", "r3"}
    assert files(tmp_path) == good


def test_finished_records_are_not_replaced_without_a_word(tmp_path):
    records = [record(n) for n in range(4)]
    build(Memory(records), tmp_path / "r", BuildOptions(num_shards=2))
    changed = Memory([*records[:3], record(3, b"another")])
    with pytest.raises(InputError, match="holds 4 finished records that differ.*--overwrite"):
        build(changed, tmp_path / "r", BuildOptions(num_shards=2))
    assert written(changed, tmp_path / "r", BuildOptions(num_shards=2, overwrite=True)) == {"r1"}
    assert written(changed, tmp_path / "r", BuildOptions(num_shards=1, overwrite=True)) == {"r"}
    assert sorted(p.name for p in tmp_path.iterdir()) == [".r.lock", "r", "r.db", "r.manifest.json"]


def test_files_of_others_are_not_replaced(tmp_path):
    (tmp_path / "r").write_text("mine")
    with pytest.raises(InputError, match="r exists and has no manifest"):
        build(Memory([record(1)]), tmp_path / "r")
    assert (tmp_path / "r").read_text() == "mine"


def test_an_interrupted_build_goes_on(tmp_path, data):
    """An interruption anywhere in the second pass; a real SIGKILL is in tests/tools/test_build_seg_data.py."""
    def interrupt(phase, done, total):
        if phase == "write" and done >= 6:
            raise KeyboardInterrupt

    options = BuildOptions(num_shards=6)
    with pytest.raises(KeyboardInterrupt):
        build(data, tmp_path / "a" / "r", options, check=CHECK, progress=interrupt)
    with pytest.raises(InputError, match="unfinished.*r2, r3, r4, r5"):
        RecordSource(tmp_path / "a" / "r")
    assert written(data, tmp_path / "a" / "r", options, check=CHECK) == {"r2", "r3", "r4", "r5"}
    build(data, tmp_path / "b" / "r", options, check=CHECK)
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_an_interrupted_build_may_be_given_up_for_another(tmp_path, data):
    def interrupt(phase, done, total):
        if phase == "write" and done >= 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(data, tmp_path / "r", BuildOptions(num_shards=6), progress=interrupt)
    build(data, tmp_path / "r", BuildOptions(num_shards=2))
    assert sorted(p.name for p in tmp_path.iterdir()) == [".r.lock", "r.manifest.json", "r0", "r0.db", "r1", "r1.db"]


def test_a_resumed_build_does_not_decode_again(tmp_path, data):
    calls = []

    class Counting(RecordCheck):
        def __call__(self, item):
            calls.append(item.image_id)
            return super().__call__(item)

    for _ in range(2):
        build(data, tmp_path / "r", BuildOptions(num_shards=3), check=Counting(3, 255))
    assert sorted(calls) == list(range(1, 13))


def test_data_that_changes_while_it_is_built(tmp_path):
    class Changing(Memory):
        calls = 0

        def rows(self, sample_ids):
            self.calls += 1
            return iter([record(1, str(self.calls).encode())])

    with pytest.raises(InputError, match="changed while they were read"):
        build(Changing([record(1)]), tmp_path / "r")
    assert not (tmp_path / "r").exists()


# --- several at once --------------------------------------------------------------------------------------------------

def test_one_builds_and_the_others_wait(tmp_path, data):
    writers, results = set(), []

    def start(name):
        def progress(phase, done, total):
            if phase == "write":
                writers.add(name)
        results.append(build(data, tmp_path / "r", BuildOptions(num_shards=4), check=CHECK, progress=progress))

    threads = [threading.Thread(target=start, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(writers) == 1
    assert [m.content_hash for m in results] == [results[0].content_hash] * 3
    assert verify(tmp_path / "r").records == 12


def test_waiting_has_an_end_and_says_for_whom(tmp_path):
    with manifests.exclusive(tmp_path / "r", 1):
        with pytest.raises(InputError, match=f"waited 0.2 s for process {os.getpid()} on .*still missing: all shards"):
            build(Memory([record(1)]), tmp_path / "r", BuildOptions(wait_seconds=0.2))


# --- damage -----------------------------------------------------------------------------------------------------------

def test_verify_names_the_shard_whose_bytes_changed(tmp_path, data):
    build(data, tmp_path / "r", BuildOptions(num_shards=3))
    assert verify(tmp_path / "r").records == 12
    body = bytearray((tmp_path / "r1").read_bytes())
    at = body.index((Path(data.data_root) / "images/5.jpg").read_bytes()) + 300
    body[at] ^= 1
    (tmp_path / "r1").write_bytes(body)
    with pytest.raises(InputError, match="r1: its records are not those that were written\nRemove these files"):
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
            RecordSource(tmp_path / "r")


@pytest.mark.parametrize("damage, words", [
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
        RecordSource(tmp_path / "r")


def test_damaged_index_is_reported_when_it_is_read(tmp_path):
    build(Memory([record(n) for n in range(3)]), tmp_path / "r")
    (tmp_path / "r.db").write_text("no database")
    with pytest.raises(InputError, match="cannot be read .*one of r or their .db files is damaged"):
        list(RecordSource(tmp_path / "r").rows([0]))


# --- records of others ------------------------------------------------------------------------------------------------

def write_others(path: Path, schema: dict, rows: list[dict], num_shards: int) -> None:
    from mindspore.mindrecord import FileWriter

    writer = FileWriter(str(path), num_shards)
    writer.add_schema(schema, "test")
    writer.write_raw_data(rows)
    writer.commit()


@pytest.mark.parametrize("num_shards, first", [(1, "zoo"), (8, "zoo0"), (11, "zoo00")])
def test_zoo_records_are_read(tmp_path, num_shards, first):
    schema = {"file_name": {"type": "string"}, "label": {"type": "bytes"}, "data": {"type": "bytes"}}
    image, label = jpeg(np.zeros((8, 8, 3), np.uint8)), png(np.zeros((8, 8), np.uint8))
    write_others(tmp_path / "zoo", schema, [{"file_name": f"{n}.jpg", "label": label, "data": image + bytes(n)}
                                            for n in range(22)], num_shards)
    for path in (tmp_path / first, tmp_path / "zoo"):
        records = list(RecordSource(path).rows(range(22)))
        assert [r.image_id for r in records] == list(range(1, 23))
        assert sorted(int(r.file_name[:-4]) for r in records) == list(range(22))
        assert all(r.target == label and r.image == image + bytes(int(r.file_name[:-4])) for r in records)


def test_one_missing_shard_of_others_is_named(tmp_path):
    schema = {"file_name": {"type": "string"}, "label": {"type": "bytes"}, "data": {"type": "bytes"}}
    write_others(tmp_path / "zoo", schema, [{"file_name": "a", "label": b"b", "data": b"c"}] * 6, 3)
    os.remove(tmp_path / "zoo2")
    with pytest.raises(InputError, match="zoo2: no such record file"):
        RecordSource(tmp_path / "zoo0")


def test_foreign_columns_are_named(tmp_path):
    write_others(tmp_path / "r", {"words": {"type": "string"}}, [{"words": "a"}], 1)
    with pytest.raises(InputError, match="columns .'words'., expected .'image_id'"):
        RecordSource(tmp_path / "r")


# --- size -------------------------------------------------------------------------------------------------------------

CAMVID = Path("../shared/data/camvid")


@pytest.mark.skipif(not CAMVID.is_dir(), reason="the real images of ../shared/data/camvid are not here")
def test_allocated_size_of_real_images(tmp_path):
    names = (CAMVID / "ImageSets/Segmentation/val.txt").read_text().split()
    (tmp_path / "list.txt").write_text("".join(f"JPEGImages/{n}.jpg SegmentationClassGray/{n}.png\n" for n in names))
    for num_shards in (0, 8):
        dst = tmp_path / f"shards{num_shards}" / "r"
        manifest = build(ListSource(CAMVID, tmp_path / "list.txt"), dst, BuildOptions(num_shards=num_shards))
        allocated = sum(path.stat().st_blocks * 512 for path in dst.parent.iterdir())
        assert manifest.bytes < allocated < 1.05 * manifest.bytes
        shutil.rmtree(dst.parent)


def test_number_of_shards_follows_the_size(tmp_path, monkeypatch):
    monkeypatch.setattr("src.data.build_plan._SHARD_BYTES", 1000)
    manifest = build(Memory([record(n, b"x" * 400) for n in range(10)]), tmp_path / "r")
    assert [s.file for s in manifest.shards] == ["r0", "r1", "r2", "r3", "r4"]
    assert mindrecord.RecordSource(tmp_path / "r").manifest == manifest
