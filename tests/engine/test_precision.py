import mindspore.nn as nn
import pytest

from src.contract import InputError
from src.engine.precision import apply_amp, apply_inference_amp, inference_level, resolved_level


@pytest.mark.parametrize(("level", "device", "expected"), [
    ("auto", "Ascend", "O3"), ("auto", "CPU", "O0"), ("O2", "Ascend", "O2"), ("O0", "Ascend", "O0")])
def test_level_of_training(level, device, expected):
    assert resolved_level(level, device) == expected


@pytest.mark.parametrize(("level", "device", "trained", "expected"), [
    ("auto", "Ascend", "O2", "O2"), ("auto", "Ascend", "O0", "O0"), ("auto", "Ascend", None, "O3"),
    ("auto", "Ascend", "O9", "O3"), ("auto", "CPU", "O3", "O0"), ("O0", "Ascend", "O3", "O0"),
    ("O2", "Ascend", "O3", "O2")])
def test_level_of_inference_follows_the_checkpoint_on_ascend(level, device, trained, expected):
    assert inference_level(level, device, trained) == expected


def network() -> nn.Cell:
    return nn.SequentialCell(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())


def casts(cell: nn.Cell) -> dict[str, bool]:
    """{cell: whether it computes in float16}."""
    return {name: bool(part.get_flags().get("fp16")) for name, part in cell.cells_and_names()}


@pytest.mark.parametrize(("level", "conv", "norm"), [("O0", False, False), ("O2", True, False), ("O3", True, True)])
def test_inference_has_the_casts_of_training(level, conv, norm):
    trained, inference = network(), network()
    apply_amp(trained, level, "Ascend")
    apply_inference_amp(inference, "auto", "Ascend", {"amp_level": level})
    assert casts(inference) == casts(trained)
    assert {name[-1]: cast for name, cast in casts(inference).items() if name}.items() >= {"0": conv, "1": norm}.items()


def test_float16_on_a_cpu_is_refused_with_the_way_out():
    with pytest.raises(InputError, match="amp_level=O2: float16 is not faster on a CPU.*use O0"):
        apply_inference_amp(network(), "O2", "CPU", {})
    apply_inference_amp(network(), "auto", "CPU", {"amp_level": "O3"})
