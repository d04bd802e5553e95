"""Folding of batch norms: same results, none left, other normalisations untouched."""
import src  # noqa: F401  isort: skip
import mindspore as ms
import mindspore.nn as nn
import numpy as np

from src.exporting.fold import fold_batch_norms
from src.layers.conv_norm import ConvNormAct, norm_factory


def random_statistics(network: nn.Cell, seed: int = 0) -> None:
    """Give every parameter values that show a mistake: no zeros, no ones, variances above 0."""
    rng = np.random.default_rng(seed)
    for name, parameter in network.parameters_and_names():
        values = rng.uniform(0.5, 1.5, parameter.shape) if "variance" in name else rng.normal(0, 0.5, parameter.shape)
        parameter.set_data(ms.Tensor(values.astype(np.float32)))


def test_results_stay_and_norms_go(eager):  # a compiled graph would stay what it was before
    batch, frozen, group = (norm_factory(kind, groups=2) for kind in ("batch", "frozen", "group"))
    conv = nn.Conv2d(6, 5, 3, pad_mode="same", has_bias=True)
    network = nn.SequentialCell([ConvNormAct(3, 4, 3, norm=batch), ConvNormAct(4, 6, 1, norm=group),
                                 nn.SequentialCell([conv, frozen(5)])]).set_train(False)
    random_statistics(network)
    image = ms.Tensor(np.random.default_rng(1).normal(0, 1, (2, 3, 7, 6)).astype(np.float32))
    expected = network(image).asnumpy()
    assert fold_batch_norms(network) == 2
    np.testing.assert_allclose(network(image).asnumpy(), expected, rtol=1e-4, atol=1e-5)
    left = [type(cell).__name__ for _, cell in network.cells_and_names()]
    assert "BatchNorm2d" not in left
    assert left.count("GroupNorm") == 1
    assert fold_batch_norms(network) == 0
    assert {name for name, _ in network.parameters_and_names() if name.startswith("2.")} == {"2.0.weight", "2.0.bias"}
