import logging

import pytest

from src.engine import compile_notice
from src.engine.compile_notice import CompileNotice, times_file


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.INFO)
    return caplog


def test_the_next_run_is_told_how_long_it_took(said):
    with CompileNotice("the graph", "a") as notice:
        notice.begun -= 75
        notice.done()
    with CompileNotice("the graph", "a") as notice:
        notice.done()
    with CompileNotice("the graph", "b"):
        pass
    assert [record.getMessage() for record in said.records] == [
        "compiling the graph (the first time here)", "compiled the graph and ran it for the first time in 1:15",
        "compiling the graph (the last run on this machine took 1:15)",
        "compiled the graph and ran it for the first time in 0:00", "compiling the graph (the first time here)"]
    assert '"b"' not in times_file().read_text()  # it failed


def test_it_speaks_while_the_graph_is_compiled(said, monkeypatch):
    monkeypatch.setattr(compile_notice, "SPEAK_EVERY", 0.02)
    with CompileNotice("the graph", "a") as notice:
        notice._thread.join(0.5)
    assert "still compiling the graph: 0:00 so far, the first time here" in said.text
    assert not notice._thread.is_alive()


@pytest.mark.parametrize("content", ["", "[1]", '{"a": null}', '{"a": "long"}', "\xff"])
def test_damaged_notes_are_written_anew(content, said):
    times_file().parent.mkdir()
    times_file().write_text(content, encoding="latin-1")
    with CompileNotice("the graph", "a") as notice:
        notice.done()
    assert times_file().read_text() == '{\n "a": 0.0\n}'


def test_a_cache_that_cannot_be_written_is_no_error(cache, said):
    (cache / "mindseg").write_text("a file, where the folder should be")
    with CompileNotice("the graph", "a") as notice:
        notice.done()
    assert "ran it for the first time" in said.text


def test_other_ranks_remember_nothing():
    with CompileNotice("the graph", "a", remembers=False) as notice:
        notice.done()
    assert not times_file().exists()
