import pytest

from mindspore_hub_conf import create_network
from src.contract import InputError


def parameters(name, **settings):
    return {p.name: p.shape for p in create_network(name, **settings).get_parameters()}


def test_each_published_name_builds_its_network():
    s16 = parameters("deeplab_v3_s16", num_classes=5, backbone="resnet18")
    assert s16["classifier.weight"][0] == 5
    assert parameters("deeplab_v3_s8", num_classes=5, backbone="resnet18") == s16
    small = {"num_classes": 3, "backbone": "resnet18", "fpn_out_channels": 16, "rcnn_fc_out_channels": 16}
    assert parameters("mask_rcnn_r50", **small) == parameters("maskrcnn", **small)
    assert create_network("deeplab_v3_s16", backbone="resnet18").training is False


@pytest.mark.parametrize(("name", "classifier", "classes"), [
    ("mask_rcnn_r50", "box_head.cls.weight", 81), ("maskrcnn", "box_head.cls.weight", 81),
    ("deeplab_v3_s8", "classifier.weight", 21)])
def test_without_further_settings_the_classes_are_those_of_the_published_models(name, classifier, classes):
    assert parameters(name)[classifier][0] == classes


def test_with_a_checkpoint_it_is_the_network_of_its_weights(tmp_path):
    from src import tasks
    from src.engine import checkpoint
    from src.weights.load import to_metadata

    settings = {"num_classes": 4, "backbone": "resnet18", "fpn_out_channels": 16, "rcnn_fc_out_channels": 16}
    network = create_network("mask_rcnn_r50", **settings)
    config = tasks.config_class("mask_rcnn_r50")(**settings).completed()
    checkpoint.save(tmp_path / "a.ckpt", network, to_metadata("mindseg", config.conventions()))
    restored = create_network("maskrcnn", checkpoint=str(tmp_path / "a.ckpt"))
    assert restored.training is False
    wanted, found = ({p.name: p.asnumpy() for p in n.get_parameters()} for n in (network, restored))
    assert wanted.keys() == found.keys()
    assert all((wanted[key] == found[key]).all() for key in wanted)


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="unknown model; did you mean deeplab_v3_s8.*mask_rcnn_r50"):
        create_network("deeplab_v3_s9")
