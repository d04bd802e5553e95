"""Precision and operators of a device: the one place that decides where float16 and plain operators are used."""
from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from src.contract import InputError

if TYPE_CHECKING:  # MindSpore is imported where casts are put in, so that a level is refused before
    import mindspore.nn as nn

log = logging.getLogger(__name__)
LEVELS = ("O0", "O2", "O3")


def resolved_level(amp_level: str, device_target: str) -> str:
    """What "auto" means in training: O3 (float16, the model zoo's setting) on Ascend, O0 (float32) elsewhere."""
    if amp_level != "auto":
        return amp_level
    return "O3" if device_target == "Ascend" else "O0"


def check_level(amp_level: str, device_target: str) -> None:
    """Raise InputError for float16 on a CPU."""
    if amp_level in ("O2", "O3") and device_target == "CPU":
        raise InputError(f"--amp_level={amp_level}: float16 is not faster on a CPU and lacks operators there; use O0")


def inference_level(amp_level: str, device_target: str, trained_level: Any = None) -> str:
    """What "auto" means in evaluation and prediction: on Ascend the level of training, elsewhere O0 (float32).

    Args:
        trained_level: what the weights were trained with, as their conventions have it; where they do not say, it is
            the level that training would use.
    """
    if amp_level == "auto" and device_target == "Ascend" and trained_level in LEVELS:
        return trained_level
    return resolved_level(amp_level, device_target)


def plain_box_ops(box_ops: str, device_target: str) -> bool:
    """Whether boxes are compared by plain operators instead of the primitives `NMSWithMask` and `IOU`.

    On Ascend the first needs boxes of eight columns, in float16 on 910 and 310P, and the second is deprecated.

    Args:
        box_ops: "plain", "primitive", or "auto" for what suits the device.
    """
    return device_target == "Ascend" if box_ops == "auto" else box_ops == "plain"


def gathers(device_target: str) -> bool:
    """Whether single elements are taken by their index: Ascend 910's graph engine does that on the AI CPU."""
    return device_target != "Ascend"


def apply_inference_amp(network: nn.Cell, amp_level: str, device_target: str, conventions: Mapping[str, Any]) -> None:
    """`apply_amp` for evaluation and prediction, after the weights were loaded; `conventions` are theirs."""
    apply_amp(network, inference_level(amp_level, device_target, conventions.get("amp_level")), device_target)


def apply_amp(network: nn.Cell, level: str, device_target: str) -> None:
    """Put float16 casts into `network`; losses and scores are computed in float32 by cells of their own.

    Args:
        level: "O0" float32, "O2" float16 except in normalisation layers, "O3" float16.

    Raises:
        InputError: float16 on a CPU.
    """
    check_level(level, device_target)
    if level == "O0":
        return
    import mindspore as ms
    from mindspore import amp

    from src.layers.sync_norm import SyncBatchNorm

    amp.auto_mixed_precision(network, level)
    for _, cell in network.cells_and_names():
        if isinstance(cell, SyncBatchNorm):  # MindSpore keeps its own normalisation in float32, not ours
            cell.to_float(ms.float32)
    log.info("mixed precision: %s (float16%s)", level, " except in normalisation layers" if level == "O2" else "")
