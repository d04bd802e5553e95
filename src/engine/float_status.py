"""The overflow register of Ascend devices: the only trace of an overflow where it saturates instead of giving Inf.

An Ascend 910 always saturates: Inf becomes the largest number, and NaN becomes 0. A 910B or A3 does so when
MS_ASCEND_CHECK_OVERFLOW_MODE is SATURATION_MODE. MindSpore's own mixed precision decides in the same way and uses the
same primitives (`_all_finite` in mindspore/amp.py, TrainOneStepWithLossScaleCell in mindspore/nn/wrap/loss_scale.py of
2.10). Not run on Ascend.
"""
from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import mindspore as ms
import mindspore.nn as nn
from mindspore import Tensor, ops
from mindspore.ops.operations.math_ops import NPUClearFloatStatusV2, NPUGetFloatStatusV2

from src.contract import InputError

MODE = "MS_ASCEND_CHECK_OVERFLOW_MODE"


class FloatStatus(nn.Cell):
    """Clears and reads the register. An operator that overflows sets it; nothing but clearing resets it."""

    def __init__(self):
        super().__init__()
        self.clear = NPUClearFloatStatusV2()
        self.read = NPUGetFloatStatusV2()

    def cleared(self, inputs):
        """`inputs`, to be had once the register is cleared: what is computed from them counts."""
        return ops.depend(inputs, self.clear(Tensor([0] * 8, ms.int32)))

    def overflows(self, outputs):
        """float32 scalar: 1 if anything overflowed until `outputs` were computed, else 0."""
        status = self.read(ops.depend(Tensor([0] * 8, ms.int32), outputs))
        return ops.not_equal(status, Tensor(0, ms.int32)).any().astype(ms.float32)


def _chip_has(feature: str) -> bool:
    from mindspore._c_expression import MSContext

    return MSContext.get_instance().ascend_soc_supports_feature(feature)


def saturates(device_target: str, environment: Mapping[str, str] = os.environ,
              chip_has: Callable[[str], bool] = _chip_has) -> bool:
    """Whether an overflow on this device leaves no Inf or NaN behind.

    Args:
        chip_has: tells features of the chip by MindSpore's names, which are those of its amp.py: the first is the
            910's, the second the 910B's.
    """
    if device_target != "Ascend":
        return False
    return chip_has("amp_loss_scale_train_classic_target") or (
        chip_has("train_hq_dtype_line") and environment.get(MODE) == "SATURATION_MODE")


def overflow_register(overflow_check: str, device_target: str) -> FloatStatus | None:
    """What a training step reads overflows from: the register, or None where it looks for Inf and NaN in gradients.

    Raises:
        InputError: the register was asked for on a device that has none.
    """
    if overflow_check == "status" and device_target != "Ascend":
        raise InputError(f"--overflow_check=status: a {device_target} has no overflow register; use "
                         "--overflow_check=auto")
    read = overflow_check == "status" or (overflow_check == "auto" and saturates(device_target))
    return FloatStatus() if read else None
