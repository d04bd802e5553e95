"""The benchmark of the compile cache changes every key that shapes a graph, each to another value that is valid."""
import pytest

from benchmarks.compile_cache import BASE, KEYS, SHAPE_NOTHING, WITH
from src import tasks
from src.compile_cache.key import digest
from src.config import build

SHAPING = {"network", "optimisation", "losses", "matching and sampling", "proposals and detections"}


@pytest.mark.parametrize("model", KEYS)
def test_every_key_of_networks_losses_and_optimizers_is_in_the_benchmark(model):
    keys = tasks.config_class(model).keys()
    shaping = {name for name, key in keys.items() if key.topic in SHAPING}
    assert sorted(shaping - KEYS[model].keys() - SHAPE_NOTHING) == []
    assert sorted(KEYS[model].keys() & SHAPE_NOTHING) == []


@pytest.mark.parametrize(("model", "name"), [(model, name) for model in KEYS for name in KEYS[model]])
def test_a_changed_key_is_valid_and_changes_the_digest(model, name):
    def found(**changes):
        values = {"model": model} | BASE[model] | WITH.get(name, {}) | changes
        return digest(build(tasks.config_class(model), values).shaping())

    assert found(**{name: KEYS[model][name]}) != found()
