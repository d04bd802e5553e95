"""Entries on disk survive whatever happens to a folder, and are served only byte for byte."""
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from src.compile_cache import entries as module
from src.compile_cache.entries import MANIFEST, Entries, Entry

KEY = {"graph": "the training graph", "settings": {"crop_size": 97, "dilation": 1}}
FILES = {"rank_0/graph_cache/compile_cache_0.mindir": b"graph" * 100, "rank_0/graph_cache/x.hash": b"1"}


def entry(outcome: str = "abc") -> Entry:
    return Entry(FILES, [None, np.arange(6, dtype=np.int32).reshape(2, 3)], outcome)


@pytest.fixture
def stored(tmp_path):
    entries = Entries(tmp_path / "cache")
    assert entries.write(KEY, entry())
    return entries


def test_an_entry_comes_back_as_it_was(stored, tmp_path):
    found = Entries(stored.folder).read(KEY)
    assert (found.files, found.outcome, found.inputs[0]) == (FILES, "abc", None)
    np.testing.assert_array_equal(found.inputs[1], [[0, 1, 2], [3, 4, 5]])
    found.unpack(tmp_path / "work")
    assert (tmp_path / "work/rank_0/graph_cache/compile_cache_0.mindir").read_bytes() == b"graph" * 100


def test_another_key_has_no_entry(stored):
    assert stored.read(KEY | {"settings": {"crop_size": 97, "dilation": 2}}) is None
    assert stored.nearest(KEY | {"settings": {"crop_size": 97, "dilation": 2}}) == ["settings.dilation"]
    assert stored.nearest(KEY | {"graph": "another"}) == []


def damages():
    def cut(path):
        path.write_bytes(path.read_bytes()[:-7])

    def flip(path):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)

    def empty(path):
        path.write_bytes(b"")

    def remove(path):
        path.unlink()

    def folder(path):
        path.unlink()
        path.mkdir()

    names = (*(f"graph/{name}" for name in FILES), "inputs.npz", MANIFEST)
    return [(name, how) for name in names for how in (cut, flip, empty, remove, folder)]


@pytest.mark.parametrize(("name", "how"), damages(), ids=lambda value: getattr(value, "__name__", str(value)))
def test_damaged_files_are_thrown_away_and_written_anew(stored, name, how, caplog):
    how(stored.path(KEY) / name)
    assert stored.read(KEY) is None
    assert "thrown away" in caplog.text
    assert not stored.path(KEY).exists()
    assert stored.write(KEY, entry("new"))
    assert stored.read(KEY).outcome == "new"


@pytest.mark.parametrize("content", [
    "[]", "{}", "null", '{"key": {}}', "{" * 5000, '{"seal": 1, "key": 2, "files": 3}'])
def test_strange_manifests_are_thrown_away(stored, content, caplog):
    (stored.path(KEY) / MANIFEST).write_text(content)
    assert stored.read(KEY) is None
    assert "thrown away" in caplog.text


def test_an_entry_under_another_name_is_not_served(stored):
    other = KEY | {"graph": "another"}
    shutil.copytree(stored.path(KEY), stored.path(other))
    assert stored.read(other) is None
    assert stored.read(KEY) is not None


def test_half_written_entries_are_not_found(tmp_path, monkeypatch, caplog):
    def killed(*_):
        raise OSError(28, "No space left on device")

    entries = Entries(tmp_path)
    monkeypatch.setattr(module.keys, "digest", lambda value, whole=module.keys.digest: killed() if isinstance(
        value, dict) and "files" in value else whole(value))
    assert not entries.write(KEY, entry())
    monkeypatch.undo()
    assert "could not be stored" in caplog.text
    assert list(tmp_path.iterdir()) == []
    assert entries.read(KEY) is None


def test_a_folder_that_cannot_be_written_serves_and_stores_nothing(stored, monkeypatch, caplog):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(module.tempfile, "TemporaryFile", refuse)  # root may write everywhere
    entries = Entries(stored.folder)
    assert "cannot be written" in caplog.text
    assert entries.read(KEY).outcome == "abc"
    assert not entries.write(KEY | {"graph": "new"}, entry())


def test_a_file_in_place_of_the_folder(tmp_path, caplog):
    (tmp_path / "cache").write_text("x")
    entries = Entries(tmp_path / "cache")
    assert not entries.writable
    assert entries.read(KEY) is None
    assert not entries.write(KEY, entry())


def test_many_processes_write_the_same_entry(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda _: Entries(tmp_path).write(KEY, entry()), range(24)))
    assert Entries(tmp_path).read(KEY).files == FILES
    assert [path.name for path in tmp_path.iterdir()] == [Entries(tmp_path).path(KEY).name]


@pytest.mark.parametrize("moment", ["before its mark is complete", "when its mark goes", "when it ends"])
def test_an_entry_that_another_process_checks_now_is_served(stored, moment, monkeypatch, caplog):
    mark = stored.path(KEY) / f"serving-{socket.gethostname()}-{os.getpid()}"
    mark.write_text("" if moment.startswith("before") else str(module.psutil.Process().create_time()))
    if moment == "when its mark goes":
        found = list(stored.path(KEY).glob("serving-*"))
        mark.unlink()
        monkeypatch.setattr(module.Path, "glob", lambda *_: found)
    elif moment == "when it ends":
        def ended(pid):
            mark.unlink(missing_ok=True)
            raise module.psutil.NoSuchProcess(pid)
        monkeypatch.setattr(module.psutil, "Process", ended)
    assert stored.read(KEY).outcome == "abc"
    assert caplog.text == ""


def test_an_entry_that_killed_its_process_is_not_served_again(stored, caplog):
    child = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    mark = stored.path(KEY) / f"serving-{socket.gethostname()}-{int(child.stdout)}"
    mark.write_text("1.0")
    assert stored.read(KEY) is None
    assert "when its process died" in caplog.text


def test_marks_of_living_processes_are_left_alone(stored):
    with stored.serving(KEY):
        assert Entries(stored.folder).read(KEY) is not None
        assert len(list(stored.path(KEY).glob("serving-*"))) == 1
    assert not list(stored.path(KEY).glob("serving-*"))


def test_the_least_recently_used_go_first(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "KEPT", 3)
    entries, names = Entries(tmp_path), [KEY | {"order": number} for number in range(5)]
    for number, key in enumerate(names):
        assert entries.write(key, entry())
        if key == names[2]:  # 0 is used again: it is newer than 1 and 2
            with entries.serving(names[0]):
                pass
        for other in names[1:number + 1]:
            if entries.path(other).exists():
                os.utime(entries.path(other) / MANIFEST, (1000 + names.index(other),) * 2)
    assert [entries.path(key).exists() for key in names] == [True, False, False, True, True]


def test_manifest_tells_the_key(stored, caplog):
    caplog.set_level(logging.INFO)
    assert json.loads((stored.path(KEY) / MANIFEST).read_text())["key"] == KEY
