"""Masked softmax cross-entropy over pixels, and the training cell that computes it."""
from __future__ import annotations

import mindspore.nn as nn
from mindspore import ops
from mindspore.common import dtype as mstype


def softmax_cross_entropy(logits, label, ignore_label: int):
    """Mean of -log softmax(logits)[label] over the pixels that are not ignored; 0 where all are.

    Args:
        logits: (B, K, H, W) of any float type; computed in float32.
        label: (B, H, W) int32, 0..K-1 or `ignore_label`.

    The label's logit is gathered: no one-hot array of the batch exists (32 x 513 x 513 x 21 floats would be 707 MB).
    The largest logit, taken out before `exp`, needs no gradient: it cancels. That halves the time on a CPU.
    """
    logits = logits.astype(mstype.float32)
    valid = label != ignore_label
    label = ops.select(valid, label, ops.zeros_like(label))
    picked = ops.gather_elements(logits, 1, label.expand_dims(1)).squeeze(1)
    largest = ops.stop_gradient(logits.max(1, keepdims=True))
    logsumexp = ops.log(ops.exp(logits - largest).sum(1)) + largest.squeeze(1)
    loss = (logsumexp - picked) * valid.astype(mstype.float32)
    return loss.sum() / ops.maximum(valid.astype(mstype.float32).sum(), 1.0)


class DeepLabV3Loss(nn.Cell):
    """Training cell: (image, label, sample_id, epoch) -> (loss,), with dropout and the auxiliary head's share."""

    def __init__(self, network: nn.Cell, *, ignore_label: int, auxiliary_weight: float = 0.5):
        super().__init__(auto_prefix=False)
        self.network = network
        self.ignore_label, self.auxiliary_weight = ignore_label, auxiliary_weight

    def construct(self, image, label, sample_id, epoch):
        features = self.network.backbone(image)
        logits = self.network.train_logits(features[3], image, sample_id, epoch)
        loss = softmax_cross_entropy(logits, label, self.ignore_label)
        if self.network.auxiliary is not None:
            auxiliary = self.network.auxiliary_logits(features[2], image)
            loss = loss + self.auxiliary_weight * softmax_cross_entropy(auxiliary, label, self.ignore_label)
        return (loss,)
