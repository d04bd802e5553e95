"""The terms of DeepLabV3's loss, and the training cell that adds them up.

A loss is a mean over the batch of its rank. So several ranks, whose gradients are averaged, learn what one process
learns that accumulates their batches.
"""
from __future__ import annotations

from collections.abc import Mapping
from math import log

import mindspore.nn as nn
import numpy as np
from mindspore import Tensor, ops
from mindspore.common import dtype as mstype

from src.deeplabv3.region_losses import lovasz_softmax, soft_dice


def softmax_cross_entropy(logits, label, ignore_label: int, *, gather: bool = True, class_weights: tuple = (),
                          label_smoothing: float = 0.0):
    """Mean of -log softmax(logits)[label] over the pixels that are not ignored; 0 where all are.

    Args:
        logits: (B, K, H, W) of any float type; computed in float32.
        label: (B, H, W) int32, 0..K-1 or `ignore_label`.
        gather: take the label's logit by its index, which needs no other array of the logits' size (32 x 513 x 513 x 21
            floats are 707 MB). Otherwise compare the labels with every class, with the same bits as result: Ascend 910
            gathers only on its AI CPU.
        class_weights: K weights of a weighted mean, each pixel with that of its label; empty: all count alike.
        label_smoothing: the part e of the truth that is spread evenly over all classes: a pixel's loss is
            (1 - e) * -log p[label] + e * mean(-log p) (Szegedy et al. 2016, arXiv:1512.00567).
    """
    losses, weight, _ = _pixels(logits, label, ignore_label, gather, class_weights, label_smoothing)
    return (losses * weight).sum() / ops.maximum(weight.sum(), 1e-6 if class_weights else 1.0)


def ohem_cross_entropy(logits, label, ignore_label: int, *, threshold: float, min_kept: int, gather: bool = True,
                       class_weights: tuple = (), label_smoothing: float = 0.0):
    """`softmax_cross_entropy` over the hard pixels alone (Shrivastava et al. 2016, arXiv:1604.03540, as for pixels).

    Args:
        threshold: a pixel is hard where its class has a lower probability.
        min_kept: pixels of an image, on average over the batch, that count in any case: those of the lowest
            probabilities.
    """
    losses, weight, nll = _pixels(logits, label, ignore_label, gather, class_weights, label_smoothing)
    hardness = ops.stop_gradient(ops.select(label != ignore_label, nll, -ops.ones_like(nll)))
    count = min(min_kept * hardness.shape[0], hardness.size)
    least = ops.topk(hardness.reshape(-1), count)[0][count - 1]
    kept = ops.logical_or(hardness > -log(threshold), hardness >= least)
    weight = weight * kept.astype(mstype.float32)  # that of an ignored pixel is 0 anyway
    return (losses * weight).sum() / ops.maximum(weight.sum(), 1e-6 if class_weights else 1.0)


def _pixels(logits, label, ignore_label: int, gather: bool, class_weights: tuple, label_smoothing: float):
    """(B, H, W) each: the pixels' losses, their weights (0 where ignored), and -log of their classes' probabilities.

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
    nll = logsumexp - picked
    if label_smoothing == 0:
        return nll, weight, nll
    return (1.0 - label_smoothing) * nll + label_smoothing * (logsumexp - logits.mean(1)), weight, nll


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


class CrossEntropy(nn.Cell):
    """(logits, label) -> loss; see `softmax_cross_entropy`, whose keywords `how` holds."""

    def __init__(self, ignore_label: int, **how):
        super().__init__()
        self.ignore_label = ignore_label
        self.how = how

    def construct(self, logits, label):
        return softmax_cross_entropy(logits, label, self.ignore_label, **self.how)


class HardPixels(CrossEntropy):
    """(logits, label) -> loss; see `ohem_cross_entropy`, whose keywords `how` holds."""

    def construct(self, logits, label):
        return ohem_cross_entropy(logits, label, self.ignore_label, **self.how)


class Regions(nn.Cell):
    """(logits, label) -> loss; see `soft_dice` and `lovasz_softmax`, one of which is `function`."""

    def __init__(self, function, ignore_label: int):
        super().__init__()
        self.function = function
        self.ignore_label = ignore_label

    def construct(self, logits, label):
        logits = logits.astype(mstype.float32)
        powers = ops.exp(logits - ops.stop_gradient(logits.max(1, keepdims=True)))
        return self.function(powers / powers.sum(1, keepdims=True), label, self.ignore_label)


def term(name: str, ignore_label: int, *, ohem_threshold: float, ohem_min_kept: int, **how) -> nn.Cell:
    """The cell of one of `loss_terms.TERMS`: (logits, label) -> scalar. `how` is that of `softmax_cross_entropy`."""
    if name == "ohem":
        return HardPixels(ignore_label, threshold=ohem_threshold, min_kept=ohem_min_kept, **how)
    if name == "ce":
        return CrossEntropy(ignore_label, **how)
    return Regions({"dice": soft_dice, "lovasz": lovasz_softmax}[name], ignore_label)


class DeepLabV3Loss(nn.Cell):
    """Training cell: (image, label, sample_id, epoch) -> (loss, ...), with dropout and the auxiliary head's share.

    Where there are several terms, they follow the loss they make, each without its weight, and the auxiliary head's.

    Args:
        ignore_label: label of pixels that do not count.
        terms: {name: weight}, see `loss_terms`.
        auxiliary_weight: of the auxiliary head's cross-entropy.
        ohem_threshold, ohem_min_kept: see `ohem_cross_entropy`.
        how: `gather`, `class_weights` and `label_smoothing` of `softmax_cross_entropy`.
    """

    def __init__(self, network: nn.Cell, *, ignore_label: int, terms: Mapping[str, float] | None = None,
                 auxiliary_weight: float = 0.5, ohem_threshold: float = 0.7, ohem_min_kept: int = 100_000, **how):
        super().__init__(auto_prefix=False)
        terms = terms or {"ce": 1.0}
        self.network = network
        self.terms = nn.CellList([term(name, ignore_label, ohem_threshold=ohem_threshold, ohem_min_kept=ohem_min_kept,
                                       **how) for name in terms])
        self.weights = tuple(terms.values())
        self.auxiliary_loss = CrossEntropy(ignore_label, **how)
        self.auxiliary_weight = auxiliary_weight

    def construct(self, image, label, sample_id, epoch):
        features = self.network.backbone(image)
        logits = self.network.train_logits(features[3], image, sample_id, epoch)
        parts = [loss(logits, label) for loss in self.terms]
        shares = [part if weight == 1 else weight * part for weight, part in zip(self.weights, parts)]
        if self.network.auxiliary is not None:
            auxiliary = self.auxiliary_loss(self.network.auxiliary_logits(features[2], image), label)
            parts.append(auxiliary)
            shares.append(self.auxiliary_weight * auxiliary)
        loss = shares[0]
        for share in shares[1:]:
            loss = loss + share
        return (loss,) if len(self.terms) == 1 else (loss,) + tuple(parts)
