"""The cache of a process, where nothing is served: what it does before and around a compilation."""
import os

import mindspore as ms
import mindspore.nn as nn
import numpy as np
import pytest

from src.compile_cache import cache as module
from src.compile_cache import private
from src.engine.loop import obstacle_to_caching
from src.engine.runtime import Runtime

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


def test_a_training_graph_that_ranks_share_or_that_has_a_queue_is_not_cached():
    """Of several ranks each loads for itself, so that what they exchange need not fit."""
    assert obstacle_to_caching(Runtime("CPU")) == ""
    assert "exchange gradients" in obstacle_to_caching(Runtime("CPU", rank=0, world_size=2))
    assert "queue" in obstacle_to_caching(Runtime("Ascend"))


def test_an_object_that_nothing_can_tell_apart_is_not_cached_and_runs(cache, caplog):
    found = cache.call(Double(other=object()), [ms.Tensor(ONES)], "a graph")
    np.testing.assert_array_equal(found.asnumpy(), ONES * 2)
    assert "a graph is not cached: nothing tells one of these from another: Double.other" in caplog.text
    assert entries(cache) == []


def test_without_a_cache_a_call_is_a_call(monkeypatch):
    monkeypatch.setattr(module, "_active", None)
    np.testing.assert_array_equal(module.call(Double(), ms.Tensor(ONES), what="a graph").asnumpy(), ONES * 2)
