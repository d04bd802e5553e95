"""Fold batch normalisation, a factor and a shift per channel at inference, into the convolution before it."""
from __future__ import annotations

import itertools

import mindspore as ms
import mindspore.nn as nn
import numpy as np

NORMS = ("gamma", "beta", "moving_mean", "moving_variance")


def fold_batch_norms(network: nn.Cell) -> int:
    """Fold every batch norm of a network into the convolution just before it among its parent's children.

    The convolution gets a bias and the normalisation becomes the identity. In evaluation mode the network computes the
    same up to rounding; it can no longer be trained. Group normalisation depends on the input and stays.

    Returns:
        Number of normalisations folded.
    """
    count = 0
    for _, parent in network.cells_and_names():
        children = list(parent.name_cells().items())
        for (_, conv), (name, norm) in itertools.pairwise(children):
            if isinstance(conv, nn.Conv2d) and all(hasattr(norm, part) for part in NORMS):
                _fold(conv, norm)
                _replace(parent, name, nn.Identity())
                count += 1
    return count


def _fold(conv: nn.Conv2d, norm: nn.Cell) -> None:
    gamma, beta, mean, variance = (getattr(norm, part).asnumpy().astype(np.float64) for part in NORMS)
    factor = gamma / np.sqrt(variance + norm.eps)
    bias = conv.bias.asnumpy() if conv.has_bias else 0.0
    weight = conv.weight.asnumpy() * factor[:, None, None, None]
    conv.weight.set_data(ms.Tensor(weight.astype(np.float32)))
    shift = ms.Tensor((beta + (bias - mean) * factor).astype(np.float32))
    conv.bias = ms.Parameter(shift, name=conv.weight.name.removesuffix("weight") + "bias")
    conv.has_bias = True


def _replace(parent: nn.Cell, name: str, cell: nn.Cell) -> None:
    if isinstance(parent, nn.SequentialCell):
        parent[int(name)] = cell
    else:
        setattr(parent, name, cell)
