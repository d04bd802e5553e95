"""Every published list of names maps completely into ours and comes back as it was."""
from __future__ import annotations

import numpy as np
import pytest

from src.weights.names import (
    bare,
    counters,
    find_family,
    from_ours,
    matches,
    measured,
    required,
    to_ours,
)

FAMILIES = {
    "zoo_resnet50": ("zoo_resnet", {"backbone": "resnet50"}),
    "zoo_resnet101": ("zoo_resnet", {"backbone": "resnet101"}),
    "zoo_deeplab_v3": ("zoo_deeplabv3", {"backbone": "resnet101", "num_classes": 21, "auxiliary": False}),
    "zoo_maskrcnn_resnet50": ("zoo_maskrcnn", {"backbone": "resnet50", "num_classes": 81}),
    "torchvision_resnet50": ("torchvision_resnet", {"backbone": "resnet50"}),
    "torchvision_resnet101": ("torchvision_resnet", {"backbone": "resnet101"}),
    "torchvision_deeplabv3_resnet101": (
        "torchvision_deeplabv3", {"backbone": "resnet101", "num_classes": 21, "auxiliary": True}),
    "torchvision_maskrcnn_resnet50_fpn": ("torchvision_maskrcnn", {"backbone": "resnet50", "num_classes": 91}),
}


def test_all_lists_are_known(golden):
    assert golden.names() == sorted(FAMILIES)


@pytest.mark.parametrize("name", FAMILIES)
def test_names_map_both_ways(golden, name):
    tensors = {key: np.broadcast_to(np.float32(0), shape) for key, shape in golden.shapes(name).items()}
    family = find_family(tensors, "auto", name)
    renames = {key: to_ours(family, bare(key)) for key in tensors if not matches(key, family.state)}
    assert [key for key, to in renames.items() if to is None] == []
    ours = {to.name: tensors[key].T if to.transposed else tensors[key] for key, to in renames.items()}
    assert len(ours) == len(renames)
    assert (family.name, measured(ours)) == FAMILIES[name]
    assert sorted(required(family, ours, name)) == sorted(ours)
    back = [from_ours(family, key).name for key in ours]
    assert sorted(back + counters(family, back)) == sorted(map(bare, tensors))
