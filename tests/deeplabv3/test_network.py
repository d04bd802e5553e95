import json
from pathlib import Path

import mindspore as ms
import mindspore.nn as nn
import numpy as np
import pytest
from mindspore import Tensor, ops
from mindspore.nn.utils import no_init_parameters

from src.deeplabv3.config import DeepLabV3Config
from src.deeplabv3.network import ASPP, ImagePooling
from src.deeplabv3.task import DeepLabV3Task
from src.engine import loop
from src.engine.runtime import Runtime
from src.layers.conv_norm import norm_factory
from tests.conftest import running_mode
from tests.deeplabv3.conftest import statistics, tiny_batch, tiny_task

SNAPSHOTS = Path(__file__).parent / "snapshots"


def parameters(**values) -> dict[str, list[int]]:
    with no_init_parameters():
        network = DeepLabV3Task(DeepLabV3Config(**values)).network()
    return {p.name: list(p.shape) for p in network.get_parameters()}


def train_step(task, network, steps_per_epoch: int = 4):
    return loop.build_step(task, task.config, Runtime("CPU"), network, steps_per_epoch)


# --- names ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("backbone", ["resnet18", "resnet34", "resnet50", "resnet101"])
def test_parameter_names_and_shapes_are_public(backbone):
    """Checkpoints of earlier versions have these names. A change needs a row in `weights/families.py`."""
    assert parameters(backbone=backbone) == json.loads((SNAPSHOTS / f"{backbone}.json").read_text())


def test_both_output_strides_have_the_same_parameters():
    assert parameters(model="deeplab_v3_s8") == parameters(model="deeplab_v3_s16")


def test_resnet101_has_the_published_network_s_size():
    shapes = parameters()
    trained = [name for name in shapes if "moving_" not in name]
    assert (len(shapes), len(trained), len(shapes) - len(trained)) == (552, 332, 220)
    assert sum(np.prod(shape) for shape in shapes.values()) == 58_149_077
    assert sum(np.prod(shapes[name]) for name in trained) == 58_040_661


def test_only_running_statistics_are_not_trained():
    with no_init_parameters():
        network = tiny_task(freeze_bn=True).network()
    assert {p.name.rsplit(".", 1)[1] for p in network.get_parameters() if not p.requires_grad} == {
        "moving_mean", "moving_variance"}


# --- layers -----------------------------------------------------------------------------------------------------------

def test_atrous_rates_are_1_6_12_18_at_both_strides():
    for model in ("deeplab_v3_s16", "deeplab_v3_s8"):
        with no_init_parameters():
            network = tiny_task(model=model).network()
        convs = [branch.conv for branch in network.aspp.branches]
        assert [(c.kernel_size[0], c.dilation[0], c.padding) for c in convs] == [
            (1, 1, 0), (3, 6, 6), (3, 12, 12), (3, 18, 18)]


def test_image_pooling_is_the_mean_of_all_positions_whatever_their_ratio(eager):
    pooling = ImagePooling(2, norm=norm_factory("frozen"))
    x = np.random.default_rng(0).normal(size=(2, 2, 3, 7)).astype(np.float32)
    weight = pooling.conv.weight.asnumpy()[..., 0, 0]
    expected = np.maximum(x.mean((2, 3)) @ weight.T, 0) / np.sqrt(1 + 1e-5)
    np.testing.assert_allclose(pooling(Tensor(x)).asnumpy()[..., 0, 0], expected, atol=1e-5)


def test_aspp_concatenates_branches_and_the_image_feature_everywhere(eager):
    aspp = ASPP(2, rates=(2,), norm=norm_factory("frozen", eps=1e-9))
    assert aspp.project.conv.weight.shape == (256, 768, 1, 1)
    x = Tensor(np.random.default_rng(0).normal(size=(1, 2, 4, 6)).astype(np.float32))
    parts = [aspp.branches[0](x), aspp.branches[1](x), ops.tile(aspp.pooling(x), (1, 1, 4, 6))]
    np.testing.assert_allclose(aspp(x).asnumpy(), aspp.project(ops.concat(parts, 1)).asnumpy(), atol=1e-5)


# --- dropout ----------------------------------------------------------------------------------------------------------

def mask(network, samples, epochs) -> np.ndarray:
    """True where features are kept: (B, 256, 9, 9)."""
    ones = Tensor(np.ones((len(samples), 256, 9, 9), np.float32))
    dropped = network.dropout(ones, Tensor(np.array(samples, np.int32)), Tensor(np.array(epochs, np.int32))).asnumpy()
    assert set(np.unique(dropped)) == {0.0, np.float32(1 / (1 - network.dropout.rate))}
    return dropped > 0


def test_the_dropout_mask_belongs_to_seed_epoch_and_sample(eager):
    networks = []
    for values in ({"dropout": 0.3}, {"dropout": 0.3}, {"dropout": 0.3, "seed": 2}):
        with no_init_parameters():
            networks.append(tiny_task(**values).network())
    first = mask(networks[0], [5, 9], [0, 0])
    assert 0.69 < first.mean() < 0.71
    np.testing.assert_array_equal(mask(networks[1], [9, 7, 5], [0, 0, 0])[[2, 0]], first)
    for other in (mask(networks[0], [6], [0]), mask(networks[0], [5], [1]), mask(networks[2], [5], [0])):
        assert 0.55 < (other[0] == first[0]).mean() < 0.61  # two independent masks agree in 0.7^2 + 0.3^2 of places


def test_dropout_0_and_inference_drop_nothing(eager, tiny):
    with no_init_parameters():
        network = tiny_task(dropout=0).network()
    x = Tensor(np.ones((1, 256, 2, 2), np.float32))
    assert network.dropout(x, None, None) is x
    _task, network = tiny
    image = tiny_batch()[0]
    network.set_train(False)
    np.testing.assert_array_equal(network(image).asnumpy(), network(image).asnumpy())


# --- training ---------------------------------------------------------------------------------------------------------

def test_eager_and_graph_compute_the_same(tiny):
    task, network = tiny
    batch, losses, logits = tiny_batch(), [], []
    for mode in ("GRAPH", "PYNATIVE"):
        with running_mode(mode):
            before = statistics(network)
            losses.append(float(task.training_cell(network).set_train()(*batch)[0]))
            for p in network.get_parameters():
                if p.name in before:
                    p.set_data(Tensor(before[p.name]))
            logits.append(network.set_train(False)(batch[0]).asnumpy())
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert logits[0].shape == (2, 3, 33, 33)
    np.testing.assert_allclose(logits[0], logits[1], atol=1e-3 * np.abs(logits[0]).max())


def test_the_training_graph_compiles_without_warnings_and_learns(capfd):
    """With both heads: the compiler reports operations with effects that it dropped as a warning on stderr."""
    ms.set_seed(1)
    task = tiny_task(auxiliary=True, base_lr=0.03)
    network = task.network()
    step, batch = train_step(task, network, 100), tiny_batch()
    before = statistics(network)
    values = [float(step(*batch)[0]) for _ in range(5)]
    after = statistics(network)
    assert "WARNING" not in capfd.readouterr().err
    assert values[-1] < 0.9 * values[0]
    assert all(not np.array_equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize("norm", ["batch", pytest.param("sync", marks=pytest.mark.slow)])
def test_a_batch_of_one_trains_with_finite_statistics(eager, norm):
    task = tiny_task(norm=norm, batch_size=1)
    network = task.network()
    losses = task.training_cell(network).set_train()
    for seed in range(3):
        loss, = losses(*tiny_batch(1, seed))
        assert np.isfinite(float(loss))
    assert all(np.isfinite(p.asnumpy()).all() for p in network.get_parameters())
    assert network.aspp.pooling.bn.moving_mean.asnumpy().tolist() == [0.0] * 256  # one value has no statistics


@pytest.mark.parametrize("values", [{"norm": "frozen"}, {"freeze_bn": True}, {"norm": "group"}], ids=str)
def test_frozen_statistics_do_not_move_and_group_norm_has_none(eager, values):
    task = tiny_task(**values)
    network = task.network()
    before = statistics(network)
    loss, = task.training_cell(network).set_train()(*tiny_batch())
    assert np.isfinite(float(loss))
    after = statistics(network)
    assert bool(before) == ("group" not in values.values())
    for name in before:
        np.testing.assert_array_equal(after[name], before[name])


@pytest.mark.slow
def test_sync_norm_learns_like_batch_norm_on_one_rank(eager):
    losses = []
    for norm in ("batch", "sync"):
        ms.set_seed(3)
        task = tiny_task(norm=norm)
        network = task.network()
        losses.append(float(task.training_cell(network).set_train()(*tiny_batch())[0]))
        assert isinstance(network.backbone.bn1, nn.Cell)
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
