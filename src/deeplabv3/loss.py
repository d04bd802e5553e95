"""Masked softmax cross-entropy over pixels, and the training cell that computes it."""
from __future__ import annotations

import mindspore.nn as nn
import numpy as np
from mindspore import Tensor, ops
from mindspore.common import dtype as mstype


def softmax_cross_entropy(logits, label, ignore_label: int, *, gather: bool = True):
    """Mean of -log softmax(logits)[label] over the pixels that are not ignored; 0 where all are.

    Args:
        logits: (B, K, H, W) of any float type; computed in float32.
        label: (B, H, W) int32, 0..K-1 or `ignore_label`.
        gather: take the label's logit by its index, which needs no other array of the logits' size (32 x 513 x 513 x 21
            floats are 707 MB). Otherwise compare the labels with every class, with the same bits as result: Ascend 910
            gathers only on its AI CPU.

    The largest logit, subtracted before `exp`, needs no gradient because it cancels. That halves the time on a CPU.
    """
    logits = logits.astype(mstype.float32)
    valid = label != ignore_label
    label = ops.select(valid, label, ops.zeros_like(label))
    picked = _gathered(logits, label) if gather else _compared(logits, label)
    largest = ops.stop_gradient(logits.max(1, keepdims=True))
    logsumexp = ops.log(ops.exp(logits - largest).sum(1)) + largest.squeeze(1)
    loss = (logsumexp - picked) * valid.astype(mstype.float32)
    return loss.sum() / ops.maximum(valid.astype(mstype.float32).sum(), 1.0)


def _gathered(logits, label):
    return ops.gather_elements(logits, 1, label.expand_dims(1)).squeeze(1)


def _compared(logits, label):
    classes = Tensor(np.arange(logits.shape[1], dtype=np.int32).reshape(1, -1, 1, 1))
    return ops.select(label.expand_dims(1) == classes, logits, ops.zeros_like(logits)).sum(1)  # one term is not 0


class DeepLabV3Loss(nn.Cell):
    """Training cell: (image, label, sample_id, epoch) -> (loss,), with dropout and the auxiliary head's share."""

    def __init__(self, network: nn.Cell, *, ignore_label: int, auxiliary_weight: float = 0.5, gather: bool = True):
        super().__init__(auto_prefix=False)
        self.network = network
        self.gather = gather
        self.ignore_label = ignore_label
        self.auxiliary_weight = auxiliary_weight

    def construct(self, image, label, sample_id, epoch):
        features = self.network.backbone(image)
        logits = self.network.train_logits(features[3], image, sample_id, epoch)
        loss = softmax_cross_entropy(logits, label, self.ignore_label, gather=self.gather)
        if self.network.auxiliary is not None:
            auxiliary = self.network.auxiliary_logits(features[2], image)
            loss = loss + self.auxiliary_weight * softmax_cross_entropy(auxiliary, label, self.ignore_label,
                                                                        gather=self.gather)
        return (loss,)
