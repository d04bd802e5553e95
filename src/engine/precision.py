"""Number formats: the one place that decides where float16 is used."""
from __future__ import annotations

import mindspore.nn as nn
from mindspore import amp

from src.contract import InputError


def resolved_level(amp_level: str, device_target: str) -> str:
    """What "auto" means: O3 (all in float16, the model zoo's setting) on Ascend, O0 (float32) elsewhere."""
    if amp_level != "auto":
        return amp_level
    return "O3" if device_target == "Ascend" else "O0"


def apply_amp(network: nn.Cell, level: str, device_target: str) -> nn.Cell:
    """Return the network with float16 casts as `level` asks; losses are computed in float32 by the losses' own cells.

    Args:
        level: "O0" float32, "O2" float16 but for normalisation, "O3" float16.
    """
    if level == "O0":
        return network
    if device_target == "CPU":
        raise InputError(f"--amp_level={level}: float16 is not faster on a CPU and lacks operators there; use O0")
    return amp.auto_mixed_precision(network, level)
