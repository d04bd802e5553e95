"""The whole network at a tiny size: names, shapes, odd inputs, sampling, eager against graph."""
import src  # noqa: F401  isort: skip
from dataclasses import replace

import mindspore as ms
import mindspore.nn as nn
import numpy as np
import pytest
from mindspore import Tensor, ops

from src.layers.freezing import freeze
from src.maskrcnn import COLUMNS, LOSS_NAMES
from src.maskrcnn.build import (
    ANCHOR_SAMPLING,
    ROI_SAMPLING,
    Conventions,
    Detections,
    Proposals,
    Widths,
    build_losses,
    build_network,
)
from src.maskrcnn.network import LossWeights
from tests.conftest import running_mode

HEIGHT, WIDTH, SLOTS, SIDE = 64, 96, 4, 14
NARROW = Widths(fpn=8, rpn=8, box_hidden=16, mask_channels=8)


@pytest.fixture(scope="module")
def network():
    ms.set_seed(7)
    return tiny(3)


def tiny(num_classes, *, plain=False, **options):
    network = build_network(Conventions(**options), num_classes=num_classes, depth=18, widths=NARROW,
                            proposals=Proposals(before_nms=60, after_nms=30),
                            detections=Detections(max_detections=6, candidates=40, score_threshold=0.0), plain=plain)
    return network.set_train(False)


def losses_of(network, **options):
    options = {"anchors": replace(ANCHOR_SAMPLING, samples=24, max_positive=12)} | options
    cell = build_losses(network, Conventions(), proposals=Proposals(before_nms=60, after_nms=30),
                        rois=replace(ROI_SAMPLING, samples=16, max_positive=4), mask_rois=4, **options)
    return cell.set_train(False)


def batch(images=2, slots=SLOTS):
    """Image 0: two objects and a crowd region. Image 1: empty. Others: one object."""
    rng = np.random.default_rng(0)
    boxes, labels = np.zeros((images, slots, 4), np.float32), np.zeros((images, slots), np.int32)
    valid, ignore = np.zeros((images, slots), bool), np.zeros((images, slots), bool)
    boxes[0, :3], labels[0, :3], valid[0, :3] = [[8, 8, 40, 40], [50, 10, 90, 60], [0, 40, 96, 64]], [1, 2, 1], True
    ignore[0, 2] = True
    boxes[2:, 0], labels[2:, 0], valid[2:, 0] = [20, 20, 60, 50], 2, True
    masks = np.zeros((images, slots, SIDE, SIDE), np.uint8)
    masks[:, :3] = rng.integers(0, 2, (images, 3, SIDE, SIDE)) * 255
    arrays = (rng.normal(size=(images, 3, HEIGHT, WIDTH)).astype(np.float32),
              np.tile(np.array([HEIGHT, WIDTH], np.float32), (images, 1)), boxes, labels, valid, ignore, masks, valid,
              np.arange(images, dtype=np.int32) + 5, np.zeros(images, np.int32))
    return dict(zip(COLUMNS, arrays, strict=True))


def run(cell, columns):
    return dict(zip(LOSS_NAMES, (float(x) for x in cell(*(Tensor(a) for a in columns.values()))), strict=True))


def changed(columns, **arrays):
    return columns | arrays


def test_parameter_names_are_public(network):
    names = [p.name for p in network.get_parameters() if not p.name.startswith("backbone.")]
    parts = ([f"fpn.{part}.{i}" for part in ("lateral", "output") for i in range(4)]
             + [f"rpn.{part}" for part in ("conv", "cls", "reg")]
             + [f"box_head.{part}" for part in ("fc1", "fc2", "cls", "reg")]
             + [f"mask_head.{part}" for part in (*(f"convs.{i}" for i in range(4)), "deconv", "predict")])
    assert names == [f"{part}.{kind}" for part in parts for kind in ("weight", "bias")]
    assert [p.name for p in losses_of(network).get_parameters()] == [p.name for p in network.get_parameters()]


def test_detections_of_a_batch(network):
    columns = batch()
    sizes = np.array([[64, 96], [50, 70]], np.float32)
    boxes, labels, scores, valid, masks = (a.asnumpy() for a in network(Tensor(columns["image"]), Tensor(sizes)))
    assert boxes.shape == (2, 6, 4)
    assert masks.shape == (2, 6, 28, 28)
    assert labels.dtype == np.int32
    assert valid.all()
    assert (boxes >= 0).all()
    assert (boxes[:, :, 2:] <= sizes[:, None, ::-1]).all()
    assert set(np.unique(labels)) <= {1, 2}
    assert (np.diff(scores, axis=1) <= 0).all()
    assert masks.min() > 0
    assert masks.max() < 1


def test_image_of_a_batch_is_detected_as_it_is_alone(network):
    columns = batch()
    sizes = Tensor(columns["image_size"])
    together = network(Tensor(columns["image"]), sizes)
    for i in range(2):
        alone = network(Tensor(columns["image"][i:i + 1]), sizes[i:i + 1])
        for a, b in zip(together, alone):
            np.testing.assert_allclose(a.asnumpy()[i], b.asnumpy()[0], atol=2e-4)


def test_two_classes_one_image_and_a_size_that_p6_overhangs():
    image = Tensor(np.random.default_rng(0).normal(size=(1, 3, 96, 32)).astype(np.float32))
    boxes, labels, *_ = tiny(2)(image, Tensor(np.array([[96, 32]], np.float32)))
    assert boxes.shape == (1, 6, 4)
    assert (labels.asnumpy() == 1).all()


def test_sizes_that_are_no_multiples_of_32_are_refused(network):
    with pytest.raises(ValueError, match="48 x 96"):
        network.anchors(Tensor(np.zeros((1, 3, 48, 96), np.float32)), (Tensor(np.zeros((1, 8, 12, 24))),))


def test_losses_are_finite_and_add_up(network):
    losses = run(losses_of(network), batch(3))
    assert all(np.isfinite(value) and value > 0 for value in losses.values())
    assert losses["rpn_loss"] == pytest.approx(losses["rpn_cls_loss"] + losses["rpn_reg_loss"], rel=1e-5)
    assert losses["rcnn_loss"] == pytest.approx(
        losses["rcnn_cls_loss"] + losses["rcnn_reg_loss"] + losses["rcnn_mask_loss"], rel=1e-5)
    assert losses["total_loss"] == pytest.approx(losses["rpn_loss"] + losses["rcnn_loss"], rel=1e-5)


@pytest.mark.slow
def test_plain_operators_give_the_same_losses_and_detections(tmp_path):
    """As on Ascend. There, no primitive may be left that needs the AI CPU for whole tables or that it does not have."""
    from src.exporting import graph, mindir

    networks = []
    for plain in (False, True):
        ms.set_seed(7)
        networks.append(tiny(3, plain=plain))
    columns = batch(3)
    primitive, plain = (losses_of(network, plain=form) for network, form in zip(networks, (False, True)))
    *losses, undecided = (float(x) for x in plain(*(Tensor(a) for a in columns.values())))
    assert losses == pytest.approx(list(run(primitive, columns).values()), rel=1e-5)
    assert undecided == 0
    with running_mode("GRAPH"):
        mindir.write(plain, tuple(columns.values()), tmp_path / "losses.mindir", "MINDIR")
    found = {operation.primitive for operation in graph.read(tmp_path / "losses.mindir").operations}
    assert {"BatchMatMul", "TopK"} <= found
    assert not found & {"NMSWithMask", "IOU", "LessScalar", "RightShift"}
    inputs = Tensor(columns["image"]), Tensor(columns["image_size"])
    for a, b in zip(*(network(*inputs) for network in networks)):
        np.testing.assert_allclose(a.asnumpy(), b.asnumpy(), atol=1e-5)


@pytest.mark.slow
def test_weights_of_losses_change_the_sums_alone(network):
    plain = run(losses_of(network), batch())
    weighted = run(losses_of(network, weights=LossWeights(rpn=2.0, rpn_reg=3.0, rcnn_mask=0.5)), batch())
    rpn = 2 * (plain["rpn_cls_loss"] + 3 * plain["rpn_reg_loss"])
    rcnn = plain["rcnn_cls_loss"] + plain["rcnn_reg_loss"] + 0.5 * plain["rcnn_mask_loss"]
    assert weighted["rpn_cls_loss"] == plain["rpn_cls_loss"]
    assert weighted["total_loss"] == pytest.approx(rpn + rcnn, rel=1e-5)


def test_empty_images_teach_background(network):
    columns = batch()
    nothing = np.zeros_like(columns["gt_valid"])
    losses = run(losses_of(network), changed(columns, gt_valid=nothing))
    assert losses["rpn_reg_loss"] == losses["rcnn_reg_loss"] == losses["rcnn_mask_loss"] == 0
    assert losses["rpn_cls_loss"] > 0
    assert losses["rcnn_cls_loss"] > 0


@pytest.mark.slow
def test_what_stands_in_padded_slots_and_their_number_change_nothing(network):
    cell, columns = losses_of(network), batch()
    expected = run(cell, columns)
    boxes, labels = columns["gt_boxes"].copy(), columns["gt_labels"].copy()
    boxes[:, 3], labels[:, 3] = [8, 8, 41, 41], 2
    assert run(cell, changed(columns, gt_boxes=boxes, gt_labels=labels)) == expected
    assert run(cell, batch(slots=SLOTS + 3)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_instances_without_a_mask_leave_the_mask_loss_out(network):
    cell, columns = losses_of(network), batch()
    without = run(cell, changed(columns, gt_has_mask=np.zeros_like(columns["gt_has_mask"])))
    expected = run(cell, columns)
    assert without["rcnn_mask_loss"] == 0
    assert expected["rcnn_mask_loss"] > 0
    assert without["rcnn_cls_loss"] == expected["rcnn_cls_loss"]


@pytest.mark.slow
def test_sampling_follows_seed_epoch_and_sample_id_not_the_place_in_the_batch(network):
    cell, columns = losses_of(network), batch(3)
    expected = run(cell, columns)
    assert run(cell, columns) == expected
    turned = {name: np.ascontiguousarray(array[::-1]) for name, array in columns.items()}
    assert run(cell, turned) == pytest.approx(expected, rel=1e-4)
    for other in (changed(columns, epoch=columns["epoch"] + 1), changed(columns, sample_id=columns["sample_id"] + 9)):
        assert run(cell, other)["total_loss"] != expected["total_loss"]
    assert run(losses_of(network, seed=2), columns)["total_loss"] != expected["total_loss"]


@pytest.mark.parametrize(("stages", "first"), [(0, "backbone.conv1.weight"), (1, "backbone.layer1.0.conv1.weight"),
                                           (2, "backbone.layer2.0.conv1.weight"), (5, "fpn.lateral.0.weight")])
def test_freezing(stages, first):
    network = tiny(2)
    freeze(network, stages)
    assert network.trainable_params()[0].name == first
    with pytest.raises(ValueError, match="6"):
        freeze(network, 6)


def test_mixed_precision_leaves_box_arithmetic_in_float32():
    network = tiny(2).to_float(ms.float16)
    for cell in (network.proposals, network.detections, network.box_align, network.mask_align):
        assert cell.fp32
        assert not cell.fp16
    for cell in (network.backbone.conv1, network.fpn.output[0], network.box_head.fc1, network.mask_head.convs[0]):
        assert cell.fp16
        assert not cell.fp32


class Gradients(nn.Cell):
    """Losses and the gradients of the first."""

    def __init__(self, losses):
        super().__init__(auto_prefix=False)
        self.losses = losses
        self.gradient = ops.value_and_grad(self.first, None, ms.ParameterTuple(losses.trainable_params()), has_aux=True)

    def first(self, *columns):
        losses = self.losses(*columns)
        return losses[0], losses

    def construct(self, *columns):
        return self.gradient(*columns)


@pytest.mark.slow
def test_graph_gives_the_losses_of_eager_mode_and_gradients_for_every_parameter(network, capfd):
    all_anchors = replace(ANCHOR_SAMPLING, samples=2000)  # so that no level is left out
    cell, columns = losses_of(network, anchors=all_anchors), batch()
    expected = run(cell, columns)
    with running_mode("GRAPH"):
        (_, losses), gradients = Gradients(cell)(*(Tensor(a) for a in columns.values()))
    assert "WARNING" not in capfd.readouterr().err  # as which the compiler reports operations that it dropped
    assert [float(x) for x in losses] == pytest.approx(list(expected.values()), rel=1e-4)
    for parameter, gradient in zip(cell.trainable_params(), gradients):
        assert np.isfinite(gradient.asnumpy()).all(), parameter.name
        assert np.abs(gradient.asnumpy()).max() > 0, parameter.name


@pytest.mark.slow
def test_graph_gives_the_detections_of_eager_mode(network):
    columns = batch()
    inputs = Tensor(columns["image"]), Tensor(columns["image_size"])
    expected = network(*inputs)
    with running_mode("GRAPH"):
        got = network(*inputs)
    for a, b in zip(expected, got):
        np.testing.assert_allclose(a.asnumpy(), b.asnumpy(), atol=1e-4)
