"""Masked softmax cross-entropy over pixels, and the training cell that computes it."""
from __future__ import annotations

import mindspore.nn as nn
import numpy as np
from mindspore import Tensor, ops
from mindspore.common import dtype as mstype


def softmax_cross_entropy(logits, label, ignore_label: int, *, gather: bool = True, class_weights: tuple = ()):
    """Mean of -log softmax(logits)[label] over the pixels that are not ignored; 0 where all are.

    Args:
        logits: (B, K, H, W) of any float type; computed in float32.
        label: (B, H, W) int32, 0..K-1 or `ignore_label`.
        gather: take the label's logit by its index, which needs no other array of the logits' size (32 x 513 x 513 x 21
            floats are 707 MB). Otherwise compare the labels with every class, with the same bits as result: Ascend 910
            gathers only on its AI CPU.
        class_weights: K weights of a weighted mean, each pixel with that of its label; empty: all count alike.

    The largest logit, subtracted before `exp`, needs no gradient because it cancels. That halves the time on a CPU.
    """
    logits = logits.astype(mstype.float32)
    valid = label != ignore_label
    label = ops.select(valid, label, ops.zeros_like(label))
    picked = _gathered(logits, label) if gather else _compared(logits, label)
    largest = ops.stop_gradient(logits.max(1, keepdims=True))
    logsumexp = ops.log(ops.exp(logits - largest).sum(1)) + largest.squeeze(1)
    weight = valid.astype(mstype.float32)
    if class_weights:
        weight = weight * _weights(class_weights, logits, label, gather)
        return ((logsumexp - picked) * weight).sum() / ops.maximum(weight.sum(), 1e-6)
    return ((logsumexp - picked) * weight).sum() / ops.maximum(weight.sum(), 1.0)


def _weights(class_weights: tuple, logits, label, gather: bool):
    """(B, H, W): the weight of each pixel's class."""
    weights = np.array(class_weights, np.float32)
    if gather:
        return ops.gather(Tensor(weights), label, 0)
    return _compared(ops.zeros_like(logits) + Tensor(weights.reshape(1, -1, 1, 1)), label)


def _gathered(logits, label):
    return ops.gather_elements(logits, 1, label.expand_dims(1)).squeeze(1)


def _compared(logits, label):
    classes = Tensor(np.arange(logits.shape[1], dtype=np.int32).reshape(1, -1, 1, 1))
    return ops.select(label.expand_dims(1) == classes, logits, ops.zeros_like(logits)).sum(1)  # one term is not 0


class DeepLabV3Loss(nn.Cell):
    """Training cell: (image, label, sample_id, epoch) -> (loss,), with dropout and the auxiliary head's share."""

    def __init__(self, network: nn.Cell, *, ignore_label: int, auxiliary_weight: float = 0.5, gather: bool = True,
                 class_weights: tuple = ()):
        super().__init__(auto_prefix=False)
        self.network = network
        self.gather = gather
        self.ignore_label = ignore_label
        self.auxiliary_weight = auxiliary_weight
        self.class_weights = class_weights

    def construct(self, image, label, sample_id, epoch):
        features = self.network.backbone(image)
        logits = self.network.train_logits(features[3], image, sample_id, epoch)
        loss = softmax_cross_entropy(logits, label, self.ignore_label, gather=self.gather,
                                     class_weights=self.class_weights)
        if self.network.auxiliary is not None:
            auxiliary = self.network.auxiliary_logits(features[2], image)
            loss = loss + self.auxiliary_weight * softmax_cross_entropy(
                auxiliary, label, self.ignore_label, gather=self.gather, class_weights=self.class_weights)
        return (loss,)
