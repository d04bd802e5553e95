"""The cache of a process, where nothing is served: what it does before and around a compilation."""
import os

import mindspore as ms
import mindspore.nn as nn
import numpy as np
import pytest

from src.compile_cache import cache as module
from src.compile_cache import private

ONES = np.ones((2, 3), np.float32)


class Double(nn.Cell):
    def __init__(self, other=None):
        super().__init__()
        self.other = other

    def construct(self, x):
        return x * 2


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_active", None)
    monkeypatch.setenv(private.PATH, "")
    return module.activate(tmp_path / "cache", {})


def entries(cache) -> list:
    return list(cache.entries.folder.iterdir())


def test_only_the_first_call_for_a_shape_is_looked_at(cache):
    cell = Double()
    assert cache.load(cell, [ONES], "a graph") is not None
    assert cache.load(cell, [ONES + 1], "a graph") is None
    assert cache.load(cell, [ONES[:1]], "a graph") is not None
    assert cache.load(cell.set_train(), [ONES], "a graph") is not None


def test_the_switches_are_off_outside_a_compilation(cache):
    with cache.load(Double(), [ONES], "a graph"):
        assert {name: os.environ[name] for name in private.SWITCHES} == private.SWITCHES
    assert not private.SWITCHES.keys() & os.environ.keys()
    with pytest.raises(ZeroDivisionError), cache.load(Double(), [ONES], "a graph"):
        1 / 0  # noqa: B018
    assert not private.SWITCHES.keys() & os.environ.keys()


def test_ranks_agree_on_what_they_do_together_alone(cache):
    """Of a small split, a rank may have no image to predict: it never asks for the graph."""
    asked = []
    cache.any_rank = lambda flag: asked.append(flag) or True
    compilation = cache.load(Double(), [ONES], "inference")
    assert asked == []
    with cache.load(Double(), [ONES], "training", together=True):
        pass
    assert asked == [True]
    compilation.store()
    assert asked == [True]
    assert entries(cache) == []


def test_an_object_that_nothing_can_tell_apart_is_not_cached_and_runs(cache, caplog):
    found = cache.call(Double(other=object()), [ms.Tensor(ONES)], "a graph")
    np.testing.assert_array_equal(found.asnumpy(), ONES * 2)
    assert "a graph is not cached: nothing tells one of these from another: Double.other" in caplog.text
    assert entries(cache) == []


def test_without_a_cache_a_call_is_a_call(monkeypatch):
    monkeypatch.setattr(module, "_active", None)
    np.testing.assert_array_equal(module.call(Double(), ms.Tensor(ONES), what="a graph").asnumpy(), ONES * 2)
