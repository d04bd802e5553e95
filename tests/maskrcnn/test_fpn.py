"""Top-down path of the pyramid."""
import src  # noqa: F401  isort: skip
import numpy as np
import pytest
from mindspore import Tensor

from src.maskrcnn.fpn import FPN, add_upsampled


def pyramid(upsample):
    """FPN of one channel whose convolutions pass their input on."""
    fpn = FPN((1, 1, 1, 1), 1, upsample=upsample)
    for cells in (fpn.lateral, fpn.output):
        for cell in cells:
            weight = np.zeros(cell.weight.shape, np.float32)
            weight[0, 0, weight.shape[2] // 2, weight.shape[3] // 2] = 1
            cell.weight.set_data(Tensor(weight))
    return fpn


def test_each_coarse_cell_goes_to_its_four_fine_ones():
    fine = Tensor(np.zeros((1, 1, 2, 4), np.float32))
    coarse = Tensor(np.array([[[[1, 2]]]], np.float32))
    assert add_upsampled(fine, coarse).asnumpy().tolist() == [[[[1, 1, 2, 2], [1, 1, 2, 2]]]]


@pytest.mark.parametrize(("upsample", "row"), [("nearest", [1, 1, 3, 3]), ("asymmetric", [1, 2, 3, 3])])
def test_upsampling_rules(upsample, row):
    fpn = pyramid(upsample)
    merged = fpn.merge(Tensor(np.zeros((1, 1, 2, 4), np.float32)), Tensor(np.array([[[[1, 3]]]], np.float32)))
    assert merged.asnumpy()[0, 0].tolist() == [row, row]


def test_levels_sum_from_the_top_and_p6_takes_every_second_cell():
    sizes = [(24, 40), (12, 20), (6, 10), (3, 5)]
    features = tuple(Tensor(np.full((1, 1, *size), 10.0 ** i, np.float32)) for i, size in enumerate(sizes))
    levels = pyramid("nearest")(features)
    assert [level.shape[2:] for level in levels] == [*sizes, (2, 3)]
    assert [float(level[0, 0, 1, 1]) for level in levels] == [1111, 1110, 1100, 1000, 1000]


def test_unknown_upsampling_is_refused():
    with pytest.raises(ValueError, match="cubic"):
        FPN((1, 1, 1, 1), 1, upsample="cubic")
