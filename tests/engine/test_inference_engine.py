"""The choice between MindSpore and OpenVINO, and the cache of translated graphs."""
import importlib.util
import logging

import mindspore.nn as nn
import numpy as np
import pytest
from mindspore import Tensor, ops

from src.contract import InputError
from src.engine import inference_engine
from src.engine.inference_engine import InferenceEngine
from src.engine.settings import Settings
from src.files import user_cache

pytest.importorskip("openvino", reason="needs requirements/export.txt")
pytest.importorskip("onnx", reason="needs requirements/export.txt")
IMAGE = np.linspace(-1, 1, 2 * 3 * 5 * 4, dtype=np.float32).reshape(2, 3, 5, 4)


class Network(nn.Cell):
    """Has a bias that ONNX has no place for in the layer before it, and group normalisation's scale and shift."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, pad_mode="pad", padding=1, has_bias=True, weight_init="normal",
                              bias_init="normal")
        self.norm = nn.GroupNorm(2, 4, gamma_init="normal", beta_init="normal")

    def construct(self, x):
        return ops.relu(self.norm(self.conv(x))), x.mean((2, 3), keep_dims=True)


class Erf(nn.Cell):
    def construct(self, x):
        return ops.erf(x)


@pytest.fixture(autouse=True)
def cache(graph_mode, tmp_path, monkeypatch):
    """The folder of the translated graphs, empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/mindseg/graphs"


def engine(choice: str = "openvino", **configuration) -> InferenceEngine:
    return InferenceEngine(choice, "CPU", configuration)


def same(found, expected) -> None:
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected):
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_both_give_the_same_for_every_shape():
    network = Network().set_train(False)
    in_openvino, in_mindspore = (engine(choice).function(network) for choice in ("openvino", "mindspore"))
    for batch in (IMAGE, IMAGE[:1, :, :4], IMAGE):
        same(in_openvino(batch), in_mindspore(batch))


def test_results_stay_when_the_next_batch_comes():
    function = engine().function(Network().set_train(False))
    first = function(IMAGE)
    copies = [array.copy() for array in first]
    function(-IMAGE)
    same(first, copies)


def test_a_graph_is_translated_once_and_takes_the_weights_of_the_moment(cache, caplog):
    network = Network().set_train(False)
    with caplog.at_level(logging.INFO):
        engine().function(network)(IMAGE)
    assert "input 2 x 3 x 5 x 4: graph translated in" in caplog.text
    assert f"kept in {cache}" in caplog.text
    kept, = cache.iterdir()
    network.conv.weight.set_data(Tensor(network.conv.weight.asnumpy() * -2))
    caplog.clear()
    with caplog.at_level(logging.INFO):
        found = engine().function(network)(IMAGE)
    assert f"graph taken from {cache}" in caplog.text
    assert list(cache.iterdir()) == [kept]
    same(found, engine("mindspore").function(network)(IMAGE))


def test_what_shapes_a_graph_has_its_own_entry(cache):
    network = Network().set_train(False)
    for number, (configuration, batch) in enumerate([({"a": 1}, IMAGE), ({"a": 2}, IMAGE), ({"a": 2}, IMAGE[:1])], 1):
        engine(**configuration).function(network)(batch)
        assert len(list(cache.iterdir())) == number


def test_a_damaged_entry_is_written_again(cache, caplog):
    network = Network().set_train(False)
    expected = engine().function(network)(IMAGE)
    kept, = cache.iterdir()
    whole = kept.read_bytes()
    for damaged in (b"", whole[:-1], whole[:40] + b"x" + whole[41:], whole[:32]):
        caplog.clear()
        kept.write_bytes(damaged)
        same(engine().function(network)(IMAGE), expected)
        assert f"{kept}: damaged ({len(damaged)} bytes)" in caplog.text
        assert kept.read_bytes() == whole


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(cache, caplog):
    cache.parent.parent.mkdir()
    cache.parent.write_text("a file where the folder would be")
    network = Network().set_train(False)
    with caplog.at_level(logging.INFO):
        same(engine().function(network)(IMAGE), engine("mindspore").function(network)(IMAGE))
    assert f"not kept in {cache} (" in caplog.text


def test_a_user_without_a_home_has_no_cache(monkeypatch, caplog):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr("pathlib.Path.home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    with pytest.raises(RuntimeError):
        user_cache()
    with caplog.at_level(logging.INFO):
        engine().function(Network().set_train(False))(IMAGE)
    assert "not kept: there is no home folder" in caplog.text


def test_a_network_without_translation_runs_in_mindspore_or_is_refused(caplog):
    chosen = engine("auto")
    assert chosen.name.startswith("OpenVINO 20")
    found, = chosen.function(Erf())(IMAGE)
    np.testing.assert_allclose(found, ops.erf(Tensor(IMAGE)).asnumpy(), atol=1e-6)
    assert chosen.name.startswith("MindSpore 2.")
    assert "the network runs in MindSpore: no translation of Erf of Default/Erf-op0" in caplog.text
    with pytest.raises(InputError, match="--inference_engine=openvino: no translation of Erf.*--inference_engine=mind"):
        engine().function(Erf())(IMAGE)


def test_openvino_is_refused_where_it_cannot_be(monkeypatch):
    with pytest.raises(InputError, match="openvino: OpenVINO runs on a CPU, not on --device_target=Ascend; use --inf"):
        InferenceEngine("openvino", "Ascend", {}).function(Erf())
    assert InferenceEngine("auto", "Ascend", {}).name.startswith("MindSpore")
    assert "--inference_engine=openvino" in inference_engine.hint(Settings(device_target="CPU"))
    assert not inference_engine.hint(Settings(device_target="Ascend"))
    assert not inference_engine.hint(Settings(device_target="CPU", inference_engine="auto"))
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openvino" else there(name))
    with pytest.raises(InputError, match="not installed: openvino; pip install -r requirements/export.txt, or use "):
        inference_engine.check("openvino", "CPU")
    assert InferenceEngine("auto", "CPU", {}).name.startswith("MindSpore")
    assert not inference_engine.hint(Settings(device_target="CPU"))
