import json
import os
import subprocess
import sys
from pathlib import Path

import mindspore as ms
import mindspore.nn as nn
import numpy as np
import pytest
from mindspore import Tensor

from src.layers.conv_norm import norm_factory
from src.layers.sync_norm import SyncBatchNorm
from tests.conftest import running_mode
from tests.layers.norm_case import X, run

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("graph_mode")


@pytest.fixture(scope="module")
def reference():
    """nn.BatchNorm2d on the whole batch."""
    with running_mode("GRAPH"):
        return run(norm_factory("batch")(3))


def assert_close(ours, theirs):
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, rtol=2e-5, atol=2e-6, err_msg=name)


def test_on_one_rank_it_is_batch_normalisation(reference):
    norm = SyncBatchNorm(3)
    assert norm.world_size == 1
    assert_close(run(norm), reference)


def test_parameters_have_the_names_of_batch_normalisation():
    ours, theirs = ({name: (p.shape, p.requires_grad) for name, p in cell.parameters_and_names()}
                    for cell in (SyncBatchNorm(3), norm_factory("batch")(3)))
    assert ours == theirs


def test_evaluation_uses_the_running_statistics_and_leaves_them():
    norm = SyncBatchNorm(1, eps=1e-9, momentum=0.5)
    x = Tensor(np.array([1, 3], np.float32).reshape(2, 1, 1, 1))
    norm.set_train()(x)
    assert norm.moving_mean.asnumpy().tolist() == [1.0]       # halfway from 0 to 2
    assert norm.moving_variance.asnumpy().tolist() == [1.5]   # halfway from 1 to 2, the unbiased variance
    y = norm.set_train(False)(Tensor(np.full((1, 1, 1, 1), 7, np.float32))).asnumpy()
    assert y.item() == pytest.approx(6 / 1.5 ** 0.5)
    assert norm.moving_mean.asnumpy().tolist() == [1.0]


def test_float16_is_counted_in_float32():
    norm = SyncBatchNorm(3).set_train()
    y = norm(Tensor((X + 100).astype(np.float16)))
    assert y.dtype == ms.float16
    np.testing.assert_allclose(y.asnumpy().std((0, 2, 3)), 1, rtol=1e-2)


def test_a_mean_far_from_zero_costs_no_precision_once_the_running_mean_is_near():
    norm = SyncBatchNorm(3)
    norm.moving_mean.set_data(Tensor(np.full(3, 5000, np.float32)))
    y = norm.set_train()(Tensor(X + 5000)).asnumpy()
    wide = (X + 5000).astype(np.float64)
    expected = (wide - wide.mean((0, 2, 3), keepdims=True)) / wide.std((0, 2, 3), keepdims=True)
    np.testing.assert_allclose(y, expected, atol=2e-4)


def test_a_constant_channel_stays_finite():
    norm = SyncBatchNorm(1).set_train()
    assert np.isfinite(norm(Tensor(np.full((2, 1, 3, 3), 1e3, np.float32))).asnumpy()).all()
    assert isinstance(norm_factory("sync")(4), SyncBatchNorm)
    assert isinstance(norm, nn.Cell)


@pytest.mark.slow
def test_two_ranks_with_half_the_batch_each_compute_what_one_does_with_all(reference, tmp_path):
    (tmp_path / "rank.py").write_text((Path(__file__).parent / "sync_rank.py").read_text())
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("RANK_", "MS_", "DEVICE_"))}
    done = subprocess.run([sys.executable, str(ROOT / "src/tools/launch.py"), "rank.py", str(ROOT)], cwd=tmp_path,
                          env=environment | {"DEVICE_TARGET": "CPU", "WORKERS": "2"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    ranks = [json.loads(next(tmp_path.rglob(f"result{r}.json")).read_text()) for r in (0, 1)]
    both = {name: np.stack([ranks[0][name], ranks[1][name]], 1).reshape(X.shape) for name in ("y", "dx")}
    # A loss is summed over its own half: parameters' gradients add up over ranks, as the reducer does.
    both |= {name: np.add(ranks[0][name], ranks[1][name]) for name in ("dgamma", "dbeta")}
    assert_close(both | {k: ranks[1][k] for k in ("moving_mean", "moving_variance")}, reference)
    assert ranks[0]["moving_variance"] == ranks[1]["moving_variance"]
