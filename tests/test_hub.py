import pytest

from mindspore_hub_conf import create_network
from src.contract import InputError


def parameters(name, **settings):
    return {p.name: p.shape for p in create_network(name, **settings).get_parameters()}


def test_each_published_name_builds_its_network():
    s16 = parameters("deeplab_v3_s16", num_classes=5, backbone="resnet18")
    assert s16["classifier.weight"][0] == 5 and parameters("deeplab_v3_s8", num_classes=5, backbone="resnet18") == s16
    small = {"num_classes": 3, "backbone": "resnet18", "fpn_out_channels": 16, "rcnn_fc_out_channels": 16}
    assert parameters("mask_rcnn_r50", **small) == parameters("maskrcnn", **small)
    assert create_network("deeplab_v3_s16", backbone="resnet18").training is False


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="unknown model; did you mean deeplab_v3_s8.*mask_rcnn_r50"):
        create_network("deeplab_v3_s9")
