"""Freezing the first stages of a backbone, and thawing them again."""
from __future__ import annotations

import mindspore.nn as nn

from src.layers.stages import STAGES, stage_of

_STATISTICS = ("moving_mean", "moving_variance")


def freeze(network: nn.Cell, stages: int) -> None:
    """Freeze the stem and the first stages of the backbone, and nothing else: 0 nothing, 1 the stem, 2 stem and layer1,
    ... 5 all.

    A frozen stage keeps its weights, and its batch norms use and keep their running statistics, as those of
    `norm=frozen` do. To be called before the training step is built.

    Args:
        network: with a ResNet as `backbone`.
    """
    if not 0 <= stages <= len(STAGES):
        raise ValueError(f"freeze_at={stages}: expected 0 (nothing) to {len(STAGES)} (the whole backbone)")
    frozen = STAGES[:stages]
    for parameter in network.get_parameters():
        if stage_of(parameter.name) in STAGES and not parameter.name.endswith(_STATISTICS):
            parameter.requires_grad = stage_of(parameter.name) not in frozen
    for name, cell in network.cells_and_names():
        if hasattr(cell, "moving_mean") and stage_of(name) in STAGES:
            _keep_statistics(cell, stage_of(name) in frozen)


def _keep_statistics(norm: nn.Cell, frozen: bool) -> None:
    """Make a batch norm use its running statistics, or again what it was made for."""
    if not hasattr(norm, "made_for"):
        norm.made_for = norm.use_batch_statistics
    norm.use_batch_statistics = False if frozen else norm.made_for
