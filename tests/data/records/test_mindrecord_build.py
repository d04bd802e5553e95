"""Building MindRecord files: bad records, interruptions, several builders at once, sizes."""
import json
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from src.contract import InputError
from src.data.records import manifest as manifests
from src.data.records.mindrecord import BuildOptions, RecordDataset, build, verify
from src.data.semantic.voc import ListDataset, RecordCheck
from tests.tiny_seg import Memory, png, record, write_data

CHECK = RecordCheck(3, 255)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != ".r.lock"}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> ListDataset:
    root = tmp_path_factory.mktemp("data")
    return ListDataset(root, write_data(root, 12))


def test_builds_are_byte_identical(tmp_path, data):
    for folder in ("a", "b"):
        build(data, tmp_path / folder / "r", BuildOptions(num_shards=3, workers=1 if folder == "a" else 3), check=CHECK)
    assert files(tmp_path / "a") == files(tmp_path / "b")


# --- bad records ------------------------------------------------------------------------------------------------------

def with_bad(tmp_path) -> ListDataset:
    path = write_data(tmp_path, 8)
    (tmp_path / "labels/2.png").write_bytes(png(np.full((12, 16), 9, np.uint8)))
    (tmp_path / "images/5.jpg").write_bytes(b"text")
    return ListDataset(tmp_path, path)


def test_bad_records_stop_a_build_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match="(?s)2 bad records:\n.*list.txt:3: .*\n.*list.txt:6: .*Nothing was written"):
        build(with_bad(tmp_path), tmp_path / "r", check=CHECK)
    assert not (tmp_path / "r").exists()
    assert not (tmp_path / "r.manifest.json").exists()


def test_bad_records_are_left_out_counted_and_listed(tmp_path):
    manifest = build(with_bad(tmp_path), tmp_path / "r", BuildOptions(num_shards=8, on_bad="skip"), check=CHECK,
                     left_out=["list.txt:9: one column"])
    assert [r.image_id for r in RecordDataset(tmp_path / "r").rows(range(6))] == [1, 2, 4, 5, 7, 8]
    stored = json.loads((tmp_path / "r.manifest.json").read_text())
    assert stored["records"] == 6
    assert stored["bad"] == manifest.bad
    assert len(manifest.bad) == 3
    assert verify(tmp_path / "r").records == 6


def test_nothing_left(tmp_path):
    with pytest.raises(InputError, match="no good record is left\nmemory:1: 1.jpg: image is empty"):
        build(Memory([record(1, b"")]), tmp_path / "r", BuildOptions(on_bad="skip"))


@pytest.mark.parametrize(("dst", "num_shards", "words"), [
    ("r", 4, "num_shards=4: memory has 3 records"), ("r", -1, "num_shards=-1"), (".", 0, "is a folder"),
    ("a:b", 0, "record file's name"),
])
def test_impossible_options(tmp_path, dst, num_shards, words):
    with pytest.raises(InputError, match=words):
        build(Memory([record(n) for n in range(3)]), tmp_path / dst, BuildOptions(num_shards=num_shards))


# --- building again ---------------------------------------------------------------------------------------------------

def written(dataset, dst, *args, **kwargs) -> set[str]:
    """Build and return the names of the shards that were written anew."""
    before = {path.name: path.stat().st_ino for path in dst.parent.iterdir()}
    manifest = build(dataset, dst, *args, **kwargs)
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
        RecordDataset(tmp_path / "r")
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


@pytest.mark.parametrize(("first", "second", "taken"), [(("r", 8), ("r1", 1), "r1"), (("r1", 1), ("r", 8), "r1"),
                                                        (("r1", 2), ("r", 11), "r10")])
def test_shards_of_other_records_are_never_replaced(tmp_path, first, second, taken):
    dataset = Memory([record(n) for n in range(12)])
    build(dataset, tmp_path / first[0], BuildOptions(num_shards=first[1]))
    before = files(tmp_path)
    for overwrite in (False, True):
        with pytest.raises(InputError, match=f"{taken} is a shard of other records, .*{first[0]}.man") as raised:
            build(dataset, tmp_path / second[0], BuildOptions(num_shards=second[1], overwrite=overwrite))
        assert "--overwrite" not in str(raised.value)
    assert {name: content for name, content in files(tmp_path).items() if name in before} == before


def test_an_interrupted_build_goes_on(tmp_path, data):
    """An interruption anywhere in the second pass; a real SIGKILL is in tests/tools/test_build_seg_data.py."""
    def interrupt(phase, done, total):
        if phase == "write" and done >= 6:
            raise KeyboardInterrupt

    options = BuildOptions(num_shards=6)
    with pytest.raises(KeyboardInterrupt):
        build(data, tmp_path / "a" / "r", options, check=CHECK, progress=interrupt)
    with pytest.raises(InputError, match="unfinished.*r2, r3, r4, r5"):
        RecordDataset(tmp_path / "a" / "r")
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
    message = f"waited 0.2 s for process {os.getpid()} on .*still missing: all shards"
    with manifests.exclusive(tmp_path / "r", 1), pytest.raises(InputError, match=message):
        build(Memory([record(1)]), tmp_path / "r", BuildOptions(wait_seconds=0.2))


# --- size -------------------------------------------------------------------------------------------------------------

def test_allocated_size_of_real_images(shared, tmp_path):
    camvid = shared / "data/camvid"
    names = (camvid / "ImageSets/Segmentation/val.txt").read_text().split()
    (tmp_path / "list.txt").write_text("".join(f"JPEGImages/{n}.jpg SegmentationClassGray/{n}.png\n" for n in names))
    for num_shards in (0, 8):
        dst = tmp_path / f"shards{num_shards}" / "r"
        manifest = build(ListDataset(camvid, tmp_path / "list.txt"), dst, BuildOptions(num_shards=num_shards))
        allocated = sum(path.stat().st_blocks * 512 for path in dst.parent.iterdir())
        assert manifest.bytes < allocated < 1.05 * manifest.bytes
        shutil.rmtree(dst.parent)


def test_number_of_shards_follows_the_size(tmp_path, monkeypatch):
    monkeypatch.setattr("src.data.records.build_plan._SHARD_BYTES", 1000)
    manifest = build(Memory([record(n, b"x" * 400) for n in range(10)]), tmp_path / "r")
    assert [s.file for s in manifest.shards] == ["r0", "r1", "r2", "r3", "r4"]
    assert RecordDataset(tmp_path / "r").manifest == manifest
