"""Families of weights: recognised, renamed, loaded with a report, written back."""
from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest

import src  # noqa: F401  the CPU switch comes before MindSpore
from src.contract import InputError
from src.weights.families import FAMILIES
from src.weights.formats import read_tensors, write_tensors
from src.weights.load import (
    load_weights,
    read_weights,
    to_metadata,
    write_published,
    write_weights,
)
from src.weights.names import from_ours, required, to_ours

CLASSIFIER = ("classifier.*",)


def complete(family: str, *, third: int = 2, seed: int = 0) -> dict[str, np.ndarray]:
    """Every tensor of a family's file under the family's names, tiny but for those that it is recognised by."""
    table = FAMILIES[family]
    rng, root = np.random.default_rng(seed), "" if family.endswith("_resnet") else "backbone."
    some = [f"{root}layer3.{b}.conv1.weight" for b in range(third)]
    some += [f"{root}layer1.0.conv3.weight"] if third > 2 else []
    signature = table.signatures[0]
    result = {}
    for ours in required(table, some, "here"):
        theirs = from_ours(table, ours)
        small = (2, 3) if ours.endswith(".weight") else (64,) if ours.startswith("bn1.") else (2,)
        shape = [n or 2 for n in signature.get(theirs.name, small)]
        result[theirs.name] = rng.normal(size=shape).astype(np.float32)
    return result


def write(path, tensors, metadata=None):
    write_tensors(path, tensors, {"metadata": json.dumps(metadata)} if metadata else {})
    return path


# --- names ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("family", "theirs", "ours", "transposed"), [
    ("zoo_resnet", "layer2.0.down_sample_layer.1.gamma", "layer2.0.downsample.1.gamma", False),
    ("zoo_resnet", "end_point.weight", "fc.weight", False),
    ("zoo_deeplabv3", "resnet.layer3.22.bn2.moving_mean", "backbone.layer3.22.bn2.moving_mean", False),
    ("zoo_deeplabv3", "aspp.aspp3.aspp_conv.1.beta", "aspp.branches.2.bn.beta", False),
    ("zoo_deeplabv3", "aspp.conv1.weight", "aspp.project.conv.weight", False),
    ("zoo_deeplabv3", "aspp.conv2.bias", "classifier.bias", False),
    ("zoo_maskrcnn", "backbone.layer1.0.conv_down_sample.weight", "backbone.layer1.0.downsample.0.weight", False),
    ("zoo_maskrcnn", "fpn_ncek.fpn_convs_list.3.bias", "fpn.output.3.bias", False),
    ("zoo_maskrcnn", "rcnn_cls.fpn_cls.shared_fc_0.weight", "box_head.fc1.weight", True),
    ("zoo_maskrcnn", "rcnn_cls.fpn_cls.shared_fc_0.bias", "box_head.fc1.bias", False),
    ("zoo_maskrcnn", "rcnn_mask.fpn_mask.mask_conv4.weight", "mask_head.convs.3.weight", False),
    ("torchvision_resnet", "layer1.1.bn2.running_var", "layer1.1.bn2.moving_variance", False),
    ("torchvision_deeplabv3", "classifier.0.convs.4.2.weight", "aspp.pooling.bn.gamma", False),
    ("torchvision_deeplabv3", "classifier.0.convs.3.0.weight", "aspp.branches.3.conv.weight", False),
    ("torchvision_deeplabv3", "classifier.2.bias", "head.bn.beta", False),
    ("torchvision_deeplabv3", "aux_classifier.4.weight", "auxiliary.classifier.weight", False),
    ("torchvision_maskrcnn", "backbone.body.bn1.bias", "backbone.bn1.beta", False),
    ("torchvision_maskrcnn", "roi_heads.box_head.fc6.weight", "box_head.fc1.weight", False),
    ("torchvision_maskrcnn", "roi_heads.mask_head.0.0.weight", "mask_head.convs.0.weight", False),
])
def test_names_both_ways(family, theirs, ours, transposed):
    table = FAMILIES[family]
    assert to_ours(table, theirs) == (ours, transposed)
    assert from_ours(table, ours) == (theirs, transposed)


@pytest.mark.parametrize(("old", "ours"), [
    ("backbone.fpn.inner_blocks.2.weight", "fpn.lateral.2.weight"), ("rpn.head.conv.bias", "rpn.conv.bias"),
    ("roi_heads.mask_head.mask_fcn1.weight", "mask_head.convs.0.weight")])
def test_names_before_torchvision_0_13_are_read(old, ours):
    assert to_ours(FAMILIES["torchvision_maskrcnn"], old) == (ours, False)


def test_unknown_names_have_no_place():
    assert to_ours(FAMILIES["zoo_deeplabv3"], "resnet.layer1.0.conv1.bias") is None
    assert to_ours(FAMILIES["torchvision_resnet"], "layer1.x.conv1.weight") is None
    assert from_ours(FAMILIES["zoo_deeplabv3"], "head.conv.weight") is None


# --- reading ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("family", ["zoo_resnet", "zoo_deeplabv3", "torchvision_resnet", "torchvision_deeplabv3"])
def test_a_family_is_recognised_and_comes_back(tmp_path, family):
    tensors = complete(family)
    weights = read_weights(write(tmp_path / "theirs.npz", tensors))
    assert weights.report.family == family
    assert not weights.report.missing
    assert not weights.report.left_over
    assert weights.report.conventions.items() >= FAMILIES[family].conventions.items()
    assert weights.report.conventions["backbone"] == "resnet18"
    write_weights(weights, tmp_path / "ours.safetensors")
    ours = read_weights(tmp_path / "ours.safetensors")
    assert ours.report.family == family
    assert ours.report.conventions == weights.report.conventions
    table, differences = write_published(ours, tmp_path / "back.npz", FAMILIES[family].publisher)
    assert table.name == family
    assert differences == []
    back, _ = read_tensors(tmp_path / "back.npz")
    counters = {name for name in back if name.endswith("num_batches_tracked")}
    assert len(counters) == (sum(n.endswith("running_mean") for n in tensors) if "torchvision" in family else 0)
    assert all(back.pop(name) == 0 for name in counters)
    assert back.keys() == tensors.keys()
    for name, array in tensors.items():
        np.testing.assert_array_equal(back[name], array, err_msg=name)


def test_training_state_and_prefixes_of_the_zoo(tmp_path):
    weights = complete("zoo_deeplabv3")
    tensors = {f"network.{name}": array for name, array in weights.items()}
    state = {"moments.network.resnet.conv1.weight": np.ones(2), "global_step": np.array([7]), "momentum": np.ones(())}
    report = read_weights(write(tmp_path / "a.npz", {**tensors, **state})).report
    assert report.family == "zoo_deeplabv3"
    assert sorted(report.ignored) == sorted(state)
    assert report.mapped["backbone.conv1.weight"] == "network.resnet.conv1.weight"
    tensors["resnet.conv1.weight"] = weights["resnet.conv1.weight"]
    with pytest.raises(InputError, match="are both backbone.conv1.weight"):
        read_weights(write(tmp_path / "b.npz", tensors))


def test_dense_layers_of_the_zoo_are_transposed(tmp_path):
    tensors = complete("zoo_maskrcnn", third=6)
    tensors["rcnn_cls.fpn_cls.cls_scores.weight"] = np.float32([[1, 2, 3], [4, 5, 6]])
    weights = read_weights(write(tmp_path / "a.npz", tensors))
    assert weights.tensors["box_head.cls.weight"].tolist() == [[1, 4], [2, 5], [3, 6]]
    assert sorted(weights.report.transposed) == [f"box_head.{n}.weight" for n in ("cls", "fc1", "fc2", "reg")]
    assert "transposed  rcnn_cls.fpn_cls.cls_scores.weight -> box_head.cls.weight" in str(weights.report)


def test_frozen_norms_of_torchvision_have_no_epsilon(tmp_path):
    tensors = complete("torchvision_maskrcnn", third=6)
    frozen = read_weights(write(tmp_path / "a.npz", tensors)).report
    assert frozen.family == "torchvision_maskrcnn"
    assert frozen.conventions["bn_eps"] == 0
    tensors["backbone.body.bn1.num_batches_tracked"] = np.array(3)
    assert read_weights(write(tmp_path / "b.npz", tensors)).report.conventions["bn_eps"] == 1e-5


def test_half_precision_is_widened_and_integers_are_refused(tmp_path):
    tensors = complete("torchvision_resnet")
    tensors["conv1.weight"] = np.float16([[0.5, 2]])
    tensor = read_weights(write(tmp_path / "a.npz", tensors)).tensors["conv1.weight"]
    assert tensor.dtype == np.float32
    assert tensor.tolist() == [[0.5, 2]]
    tensors["conv1.weight"] = np.int32([[0, 2]])
    with pytest.raises(InputError, match=r"conv1.weight is int32 \(1, 2\)"):
        read_weights(write(tmp_path / "b.npz", tensors))


def test_missing_and_left_over_tensors_are_named(tmp_path):
    tensors = complete("zoo_resnet")
    del tensors["layer3.1.bn2.beta"]
    tensors["layer3.1.se.weight"] = np.ones((2, 2))
    report = read_weights(write(tmp_path / "a.npz", tensors)).report
    assert report.missing == ["layer3.1.bn2.beta"]
    assert report.left_over == ["layer3.1.se.weight"]
    with pytest.raises(InputError, match=r"1: layer3.1.se.weight left over; 1: layer3.1.bn2.beta missing"):
        report.check()
    assert "left over   layer3.1.se.weight" in str(report)
    assert "missing     layer3.1.bn2.beta" in str(report)


def test_weights_of_no_or_another_family(tmp_path):
    path = write(tmp_path / "a.npz", {"encoder.weight": np.ones(2)})
    with pytest.raises(InputError, match=r"a.npz: .*no known family.* encoder\.weight\. .*zoo_resnet"):
        read_weights(path)
    with pytest.raises(InputError, match="did you mean zoo_resnet"):
        read_weights(path, "zoo_resnets")
    path = write(tmp_path / "b.npz", complete("zoo_resnet"))
    with pytest.raises(InputError, match="not torchvision_resnet: .* looks like zoo_resnet"):
        read_weights(path, "torchvision_resnet")
    tensors = complete("zoo_resnet") | {f"layer3.{b}.conv1.weight": np.ones((2, 2)) for b in range(8)}
    with pytest.raises(InputError, match="ResNet with 8 blocks"):
        read_weights(write(tmp_path / "c.npz", tensors))


@pytest.mark.parametrize("metadata", [[1], {"family": "caffe"}, {"family": ["zoo_resnet"]},
                                      {"family": "zoo_resnet", "conventions": 3}])
def test_foreign_metadata_is_refused(tmp_path, metadata):
    ours = read_weights(write(tmp_path / "a.npz", complete("zoo_resnet"))).tensors
    with pytest.raises(InputError, match="metadata"):
        read_weights(write(tmp_path / "b.npz", ours, metadata))


# --- the way back -----------------------------------------------------------------------------------------------------

def test_the_zoo_cannot_be_written_where_torchvision_has_another_head(tmp_path):
    weights = read_weights(write(tmp_path / "a.npz", complete("zoo_deeplabv3")))
    with pytest.raises(InputError, match="torchvision_deeplabv3 needs head.bn.beta"):
        write_published(weights, tmp_path / "b.npz", "torchvision")
    assert not (tmp_path / "b.npz").exists()


def test_rates_of_one_output_stride_agree_with_those_published_by_stride(tmp_path):
    ours = read_weights(write(tmp_path / "a.npz", complete("torchvision_deeplabv3"))).tensors
    for rates, count in (([12, 24, 36], 0), ([6, 12, 18], 1)):
        path = write(tmp_path / f"{count}.npz", ours, to_metadata("mindseg", {"aspp_rates": rates, "stem_pool": "pad"}))
        assert len(write_published(read_weights(path), tmp_path / "out.npz", "torchvision")[1]) == count


def test_differing_arithmetic_is_named_on_the_way_back(tmp_path):
    weights = read_weights(write(tmp_path / "a.npz", complete("zoo_resnet")))
    _, differences = write_published(weights, tmp_path / "b.safetensors", "torchvision")
    assert differences == ["stem_pool: 'same' here, 'pad' in torchvision_resnet",
                           "bn_eps: 0.0001 here, 1e-05 in torchvision_resnet"]
    assert read_tensors(tmp_path / "b.safetensors")[1] == {"format": "pt"}


# --- loading ----------------------------------------------------------------------------------------------------------

def network(*, num_classes: int = 4, output_stride: int = 16, **options):
    from src.deeplabv3.network import DeepLabV3
    from src.layers.conv_norm import norm_factory
    from src.layers.resnet import ResNet

    norm = norm_factory("batch")
    return DeepLabV3(ResNet(18, norm=norm, output_stride=output_stride), num_classes=num_classes,
                     aspp_rates=(6, 12, 18), norm=norm, **options)


used_before = cache(network)  # for tests that look only at what they load themselves: building one takes a second


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """A training checkpoint of an s16 network with 4 classes: (path, {name: array})."""
    values = {name: p.asnumpy() for name, p in network().parameters_and_names()}
    state = {"moments.network.classifier.weight": np.ones(2), "state.loss_scale": np.ones(())}
    path = tmp_path_factory.mktemp("earlier") / "deeplab_v3_s16-1_1.ckpt"
    write(path, {f"network.{k}": v for k, v in values.items()} | state,
          to_metadata("zoo_deeplabv3", {"colour_order": "BGR", "num_classes": 4}))
    return path, values


def array(net, name):
    return dict(net.parameters_and_names())[name].asnumpy()


def test_a_checkpoint_of_an_earlier_stage_loads_completely(earlier):
    path, values = earlier
    net = network(output_stride=8)
    report = load_weights(net, path)
    assert len(report.mapped) == len(values)
    assert not report.missing
    assert not report.left_over
    assert not report.replaced
    assert sorted(report.ignored) == ["moments.network.classifier.weight", "state.loss_scale"]
    assert report.family == "zoo_deeplabv3"
    assert report.conventions["colour_order"] == "BGR"
    for name, value in values.items():
        np.testing.assert_array_equal(array(net, name), value, err_msg=name)


def test_another_number_of_classes(earlier):
    path, values = earlier
    net = used_before(num_classes=7)
    first = array(net, "backbone.conv1.weight").copy()
    with pytest.raises(InputError, match=r"weight \(4, 256, 1, 1\) for \(7, 256, 1, 1\), .* Try --x$"):
        load_weights(net, path, classifier=CLASSIFIER, remedy="Try --x")
    np.testing.assert_array_equal(array(net, "backbone.conv1.weight"), first)  # nothing was loaded
    before = array(net, "classifier.weight").copy()
    report = load_weights(net, path, classifier=CLASSIFIER, replace_classifier=True)
    assert report.replaced == ["classifier.weight", "classifier.bias"]
    assert "classifier is replaced: classifier.weight, classifier.bias" in report.summary()
    np.testing.assert_array_equal(array(net, "classifier.weight"), before)
    np.testing.assert_array_equal(array(net, "backbone.conv1.weight"), values["backbone.conv1.weight"])


@pytest.mark.parametrize(("num_classes", "mode", "count"), [(4, "mismatched", 0), (7, "mismatched", 2), (4, True, 2)])
def test_when_the_classifier_is_replaced(earlier, num_classes, mode, count):
    net = used_before(num_classes=num_classes)
    report = load_weights(net, earlier[0], classifier=CLASSIFIER, replace_classifier=mode)
    assert len(report.replaced) == count
    assert len(report.mapped) + count == len(earlier[1])


def test_imagenet_weights_go_into_the_backbone(tmp_path, earlier):
    own = {name.removeprefix("backbone."): value for name, value in earlier[1].items() if name.startswith("backbone.")}
    zoo = {from_ours(FAMILIES["zoo_resnet"], name).name: value + 1 for name, value in own.items()}
    zoo |= {"end_point.weight": np.ones((2, 2)), "end_point.bias": np.ones(2), "global_step": np.array([1])}
    path = write(tmp_path / "resnet18.npz", zoo)
    net = network()
    before = array(net, "aspp.project.conv.weight").copy()
    with pytest.raises(InputError, match=r"aspp.branches.0.conv.weight, .* missing"):
        load_weights(net, path)  # as an evaluation does
    report = load_weights(net, path, replace_classifier="mismatched")
    assert report.family == "zoo_resnet"
    assert report.left_over == ["end_point.weight", "end_point.bias"]
    assert len(report.mapped) == len(own)
    assert len(report.missing) == len(earlier[1]) - len(own)
    assert "left over   end_point.bias (as expected)" in str(report)
    np.testing.assert_array_equal(array(net, "backbone.layer4.1.bn2.gamma"), own["layer4.1.bn2.gamma"] + 1)
    np.testing.assert_array_equal(array(net, "aspp.project.conv.weight"), before)
    del zoo["layer4.1.bn2.gamma"]
    with pytest.raises(InputError, match=r"1: backbone.layer4.1.bn2.gamma missing"):
        load_weights(net, write(tmp_path / "less.npz", zoo), replace_classifier=True)
    assert load_weights(net, tmp_path / "less.npz", replace_classifier=True, expect_missing=["*layer4*gamma"]).missing


def test_another_model_gives_its_backbone(tmp_path, earlier):
    backbone = {name: value for name, value in earlier[1].items() if name.startswith("backbone.")}
    other = {**backbone, "fpn.lateral.0.weight": np.ones((2, 2, 1, 1)), "rpn.conv.weight": np.ones((2, 2, 3, 3))}
    path = write(tmp_path / "other.npz", other)
    net = network()
    before = array(net, "aspp.project.conv.weight").copy()
    with pytest.raises(InputError, match=r"2: fpn.lateral.0.weight, rpn.conv.weight left over; .* missing"):
        load_weights(net, path)  # as an evaluation does
    report = load_weights(net, path, replace_classifier="mismatched")
    assert set(report.mapped) == set(backbone)
    assert report.left_over == ["fpn.lateral.0.weight", "rpn.conv.weight"]
    np.testing.assert_array_equal(array(net, "backbone.conv1.weight"), backbone["backbone.conv1.weight"])
    np.testing.assert_array_equal(array(net, "aspp.project.conv.weight"), before)
    del other["backbone.layer4.1.bn2.gamma"]
    with pytest.raises(InputError, match=r"1: backbone.layer4.1.bn2.gamma missing"):
        load_weights(net, write(tmp_path / "less.npz", other), replace_classifier="mismatched")
    other["aspp.project.conv.weight"] = before
    with pytest.raises(InputError, match=r"2: fpn.lateral.0.weight, rpn.conv.weight left over"):
        load_weights(net, write(tmp_path / "mixed.npz", other), replace_classifier="mismatched")


def test_what_is_left_over_has_to_be_expected(tmp_path, earlier):
    more = {"auxiliary.classifier.bias": np.ones(4), "teacher.bias": np.ones(4)}
    path = write(tmp_path / "a.npz", {**earlier[1], **more})
    with pytest.raises(InputError, match="2: auxiliary.classifier.bias, teacher.bias left over"):
        load_weights(used_before(num_classes=4), path)
    report = load_weights(used_before(num_classes=4), path, expect_unexpected=["auxiliary.*", "teacher.bias"])
    assert report.left_over == ["auxiliary.classifier.bias", "teacher.bias"]
    with pytest.raises(InputError, match="head.conv.weight.* missing"):
        load_weights(network(head_conv=True), path, expect_unexpected=["auxiliary.*", "teacher.bias"])


# --- shapes of the backbone -------------------------------------------------------------------------------------------

def resnet_file(path, depth: int, **changed: np.ndarray):
    """A torchvision ResNet of zeros and ones, with `changed` tensors."""
    from src.layers.conv_norm import norm_factory
    from src.layers.resnet import ResNet

    tensors = {"fc.weight": np.ones((10, 512 if depth < 50 else 2048), np.float32), "fc.bias": np.ones(10, np.float32)}
    for name, parameter in ResNet(depth, norm=norm_factory("batch")).parameters_and_names():
        tensors[from_ours(FAMILIES["torchvision_resnet"], name).name] = np.zeros(parameter.shape, np.float32)
    write_tensors(path, tensors | changed, {})
    return path


@pytest.mark.parametrize("depth", [18, 50])
def test_a_backbone_of_other_widths_does_not_fit(tmp_path, depth):
    assert read_weights(resnet_file(tmp_path / "a.npz", depth)).report.mismatched == []
    wide = {"layer2.1.conv2.weight": np.zeros((256, 256, 3, 3), np.float32),
            "layer1.0.conv1.weight": np.zeros((64, 64, 3, 3, 1), np.float32)}
    report = read_weights(resnet_file(tmp_path / "b.npz", depth, **wide)).report
    assert [(name, theirs) for name, theirs, _ in report.mismatched] == [
        ("layer1.0.conv1.weight", (64, 64, 3, 3, 1)), ("layer2.1.conv2.weight", (256, 256, 3, 3))]
    with pytest.raises(InputError, match=r"2: layer1.0.conv1.weight \(64, 64, 3, 3, 1\) for .* of another shape"):
        report.check()


def test_weights_that_are_not_finite_are_refused(tmp_path):
    bad = {"layer1.0.conv1.weight": np.full((64, 64, 3, 3), 1e300)}
    with pytest.raises(InputError, match="layer1.0.conv1.weight holds values that are not finite in float32"):
        read_weights(resnet_file(tmp_path / "a.npz", 18, **bad))
