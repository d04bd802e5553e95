"""What names an entry, without MindSpore: sources, processor, switches."""
import os
import sys
from types import SimpleNamespace

import pytest

from src.compile_cache import key


def test_digest_is_of_the_values_and_not_of_their_order():
    assert key.digest({"a": 1, "b": [2]}) == key.digest({"b": [2], "a": 1})
    assert key.digest({"a": 1}) != key.digest({"a": 1.0}) != key.digest({"a": "1"})


def test_sources_count_with_names_and_contents(tmp_path):
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "b.py").write_text("x = 2\n")
    files = [tmp_path / "a.py", tmp_path / "b.py"]
    before = key.digest_of_sources(files)
    (tmp_path / "b.py").write_text("x = 3\n")
    edited = key.digest_of_sources(files)
    (tmp_path / "b.py").rename(tmp_path / "c.py")
    assert len({before, edited, key.digest_of_sources([files[0], tmp_path / "c.py"])}) == 3


def test_every_source_file_of_the_project_counts_and_no_installed_one():
    files = key.source_files()
    assert {"src/maskrcnn/boxes.py", "src/layers/resnet.py", "src/compile_cache/key.py"} <= {
        str(path.relative_to(key.ROOT.parent)) for path in files if path.is_relative_to(key.ROOT.parent)}
    assert not [path for path in files if "site-packages" in str(path) or path.name == "json.py"]


def test_a_program_of_the_project_does_not_part_its_graphs_from_those_of_others(monkeypatch, tmp_path):
    before = key.source_files()
    monkeypatch.setitem(sys.modules, "program", SimpleNamespace(__file__=str(key.ROOT.parent / "eval.py")))
    assert key.source_files() == before
    mine = tmp_path / "mine.py"
    mine.write_text("x = 1\n")
    monkeypatch.setitem(sys.modules, "program", SimpleNamespace(__file__=str(mine)))
    assert set(key.source_files()) == {*before, mine.resolve()}


def test_files_edited_after_the_start_are_found(tmp_path):
    file = tmp_path / "a.py"
    file.write_text("x = 1\n")
    os.utime(file, (1000, 1000))
    assert key.changed_since([file], 1001) == []
    assert key.changed_since([file], 999) == [file]


@pytest.mark.parametrize(("text", "model", "features"), [
    ("processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: avx2 fma\n", "AMD EPYC", ["avx2", "fma"]),
    ("CPU part\t: 0xd01\nFeatures\t: fp asimd\n", "0xd01", ["asimd", "fp"]),
    ("something else\n", "", [])])
def test_processor(tmp_path, text, model, features):
    (tmp_path / "cpuinfo").write_text(text)
    found = key.machine(tmp_path / "cpuinfo")
    assert (found["model"], found["features"], found["cores"]) == (model, features, len(os.sched_getaffinity(0)))


def test_switches_of_libraries_count_and_what_a_launcher_sets_does_not():
    kept = {"ONEDNN_MAX_CPU_ISA": "AVX2", "OMP_NUM_THREADS": "2", "MS_DEV_RUNTIME_CONF": "x", "HCCL_DETERMINISTIC": "1"}
    dropped = {"MS_SCHED_PORT": "8118", "MS_COMPILER_CACHE_PATH": "/tmp/x", "HOME": "/root", "MS_NODE_ID": "3"}
    assert key.switches(kept | dropped) == kept


def test_difference_names_the_parts():
    one = {"settings": {"a": 1, "b": 2}, "cell": "x", "order": 0}
    other = {"settings": {"a": 1, "b": 3}, "cell": "y", "order": 0}
    assert key.difference(one, other) == ["cell", "settings.b"]
    assert key.difference(one, one) == []
