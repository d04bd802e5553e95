"""The parts of a network by the names of its parameters: the backbone's stages, and the parts behind it."""
from __future__ import annotations

STAGES = ("stem", "layer1", "layer2", "layer3", "layer4")  # of a ResNet
_STEM = ("conv1", "bn1")


def stage_of(name: str) -> str:
    """'backbone.bn1.gamma' -> 'stem', 'backbone.layer2.0.conv1.weight' -> 'layer2', 'aspp.conv.weight' -> 'aspp'."""
    part, *rest = name.split(".")
    if part != "backbone" or not rest:
        return part
    return "stem" if rest[0] in _STEM else rest[0]


def stages_behind(name: str) -> int:
    """How many stages of the network come after that of this parameter: 5 for the stem, 0 behind the backbone."""
    stage = stage_of(name)
    return len(STAGES) - STAGES.index(stage) if stage in STAGES else 0
