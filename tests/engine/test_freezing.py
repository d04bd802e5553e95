"""Stages that are frozen, and unfrozen at an epoch, in whole runs."""
import mindspore.nn as nn
import numpy as np
import pytest

from src.contract import InputError
from src.engine import checkpoint, loop
from src.layers.freezing import freeze
from src.layers.sync_norm import SyncBatchNorm
from tests.engine.tiny_task import CPU, Linear, TinyTask, settings

pytestmark = pytest.mark.usefixtures("graph_mode")
FROZEN = ("backbone.conv1.weight", "backbone.bn1.gamma", "backbone.bn1.moving_mean", "backbone.bn1.moving_variance")


class Backbone(nn.Cell):
    def __init__(self, norm):
        super().__init__()
        self.conv1, self.bn1, self.layer2 = nn.Dense(2, 2, weight_init="ones"), norm(2), Linear()

    def construct(self, x):
        return self.bn1(self.conv1(x).reshape((-1, 2, 1, 1))).reshape((-1, 2)) * self.layer2.weight


class Network(nn.Cell):
    def __init__(self, norm=nn.BatchNorm2d):
        super().__init__()
        self.backbone, self.head = Backbone(norm), Linear()

    def construct(self, x):
        return self.head(self.backbone(x))


class Staged(TinyTask):
    def __init__(self, options):
        super().__init__()
        self.options = options

    def network(self):
        network = Network()
        freeze(network, self.options.freeze_at)
        return network


def run(folder, **values):
    """Train four epochs of five steps; a checkpoint every two steps. The state in a checkpoint, by step."""
    options = settings(folder, **{"epochs": 4, "freeze_at": 1, "unfreeze_epoch": 2, "save_steps": 2} | values)
    loop.train(Staged(options), options, CPU)
    return {checkpoint.load(path)[1]["step"]: path for path in folder.glob("line-*.ckpt")}


def state(path) -> dict[str, np.ndarray]:
    return {name: value.asnumpy() for name, value in checkpoint.load(path)[0].items()}


@pytest.fixture(scope="module", params=[{}, {"ema_decay": 0.9, "accumulate_steps": 3, "optimizer": "adamw"}], ids=str)
def finished(request, tmp_path_factory):
    from tests.conftest import running_mode

    with running_mode("GRAPH"):
        return request.param, run(tmp_path_factory.mktemp("frozen"), **request.param)


def test_frozen_stages_and_their_statistics_stay_until_the_epoch_and_learn_afterwards(finished):
    options, files = finished
    raw = "state.raw." if options else ""
    first, last = (state(files[min(files)]), state(files[20]))
    thawed = 12 if options else 10  # at the end of an accumulation
    before = state(max((path for step, path in files.items() if step <= thawed), key=lambda p: p.stat().st_mtime_ns))
    initial = {p.name: p.asnumpy() for p in Network().get_parameters()}
    for name in FROZEN:
        np.testing.assert_array_equal(first[raw + name], initial[name], err_msg=name)
        np.testing.assert_array_equal(before[raw + name], first[raw + name], err_msg=name)
        assert not np.array_equal(last[raw + name], first[raw + name]), name
    assert not np.array_equal(before[raw + "head.weight"], first[raw + "head.weight"])
    moments = "state.mean." if options else "moments."
    assert moments + "backbone.conv1.weight" in last.keys() - before.keys()
    assert last["global_step"] == 20 // options.get("accumulate_steps", 1)


@pytest.mark.parametrize("where", ["frozen", "boundary", "unfrozen"])
def test_a_resumed_run_ends_with_the_bits_of_the_undisturbed_one(finished, where, tmp_path):
    options, files = finished
    step = {"frozen": 6, "boundary": 12 if options else 10, "unfrozen": 15 if options else 14}[where]
    (tmp_path / files[step].name).write_bytes(files[step].read_bytes())
    ours, theirs = state(run(tmp_path, resume=True, **options)[20]), state(files[20])
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name].tobytes() != theirs[name].tobytes()] == []


@pytest.mark.parametrize("norm", [nn.BatchNorm2d, SyncBatchNorm,
                                  lambda channels: nn.BatchNorm2d(channels, use_batch_statistics=False)])
def test_thawing_gives_back_what_a_norm_was_made_for(norm):
    network = Network(norm)
    made_for = network.backbone.bn1.use_batch_statistics
    freeze(network, 1)
    assert network.backbone.bn1.use_batch_statistics is False
    assert [p.name for p in network.trainable_params()] == ["backbone.layer2.weight", "head.weight"]
    freeze(network, 0)
    assert network.backbone.bn1.use_batch_statistics is made_for
    assert len(network.trainable_params()) == 6


@pytest.mark.parametrize(("values", "message"), [
    ({"freeze_at": 0}, "unfreeze_epoch=2: nothing is frozen .freeze_at=0.; give --freeze_at=2"),
    ({"unfreeze_epoch": 4}, "unfreeze_epoch=4: the run has 4 epochs, .* give at most 3, more --epochs, or leave it"),
    ({"freeze_at": 6}, "less than or equal to 5"), ({"unfreeze_epoch": -1}, "greater than or equal to 0")])
def test_what_would_unfreeze_nothing_is_refused(values, message, tmp_path):
    with pytest.raises((InputError, ValueError), match=message):
        run(tmp_path, **values)
