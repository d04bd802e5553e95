"""Every term of the loss against a float64 reference from its formula, in value and gradient, and their combination."""
import math
from functools import partial

import mindspore as ms
import mindspore.nn as nn
import numpy as np
import pytest
from mindspore import Tensor, ops

from src.deeplabv3.loss import DeepLabV3Loss, term
from src.engine import loop
from src.engine.runtime import Runtime
from tests.deeplabv3 import loss_references as reference
from tests.deeplabv3.conftest import tiny_batch, tiny_task
from tests.deeplabv3.test_loss import Constant

WEIGHTS = (0.5, 2.0, 1.0, 4.0)
HARD = {"threshold": 0.4, "min_kept": 3}
REFERENCES = {
    "ce": partial(reference.ce, smoothing=0.1, weights=WEIGHTS),
    "ohem": partial(reference.ohem, **HARD, smoothing=0.1, weights=WEIGHTS),
    "dice": reference.dice, "lovasz": reference.lovasz}


def cell(name: str, *, gather: bool = True) -> nn.Cell:
    return term(name, 255, ohem_threshold=HARD["threshold"], ohem_min_kept=HARD["min_kept"], gather=gather,
                class_weights=WEIGHTS, label_smoothing=0.1)


def both(loss: nn.Cell, logits: np.ndarray, label: np.ndarray) -> tuple[float, np.ndarray]:
    """Value and gradient at the logits."""
    value, gradient = ops.value_and_grad(loss, 0)(Tensor(logits), Tensor(label))
    assert value.dtype == ms.float32
    return float(value), gradient.asnumpy()


def example(seed: int, *, ignored: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Logits (2, 4, 3, 5) and labels in which class 2 is absent and a part is ignored."""
    rng = np.random.default_rng(seed)
    label = rng.choice(np.array([0, 1, 3], np.int32), (2, 3, 5))
    label[rng.random(label.shape) < ignored] = 255
    return rng.normal(0, 1.5, (2, 4, 3, 5)).astype(np.float32), label


@pytest.mark.parametrize("name", REFERENCES)
def test_value_and_gradient_are_those_of_the_formula(name):
    loss = cell(name)
    for seed in range(3):
        logits, label = example(seed)
        value, gradient = both(loss, logits, label)
        formula = partial(REFERENCES[name], label=label)
        assert value == pytest.approx(formula(logits), rel=2e-6)
        np.testing.assert_allclose(gradient, reference.gradient(formula, logits), rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("name", REFERENCES)
def test_what_is_ignored_has_no_part_in_it(name):
    """Whatever the logits of ignored pixels are: the same loss, and no gradient there."""
    loss = cell(name)
    logits, label = example(7)
    value, gradient = both(loss, logits, label)
    ignored = np.broadcast_to((label == 255)[:, None], logits.shape)
    assert gradient[ignored].tolist() == [0.0] * int(ignored.sum())
    assert np.abs(gradient[~ignored]).max() > 1e-3
    other, _ = both(loss, np.where(ignored, 50, logits).astype(np.float32), label)
    assert other == value


@pytest.mark.parametrize("name", REFERENCES)
def test_a_batch_without_a_pixel_that_counts_is_zero_without_gradient(name):
    logits, label = example(1, ignored=1.0)
    value, gradient = both(cell(name), logits, label)
    assert (value, gradient.tolist()) == (0.0, np.zeros_like(logits).tolist())


@pytest.mark.parametrize("name", REFERENCES)
def test_class_0_can_be_the_ignored_label(name):
    logits, label = example(2, ignored=0.0)
    shown = np.where(label == 0, 255, label).astype(np.int32)
    loss = term(name, 0, ohem_threshold=0.4, ohem_min_kept=3)
    wanted, there = both(term(name, 255, ohem_threshold=0.4, ohem_min_kept=3), logits, shown)
    value, gradient = both(loss, logits, label)
    assert value == wanted
    np.testing.assert_array_equal(gradient, there)


@pytest.mark.parametrize("name", REFERENCES)
def test_float16_logits_are_computed_in_float32(name):
    logits, label = example(3)
    half = logits.astype(np.float16)
    value, _ = both(cell(name), half, label)
    assert value == pytest.approx(REFERENCES[name](half.astype(np.float64), label), rel=2e-6)


@pytest.mark.parametrize("name", ["ce", "ohem"])
def test_comparing_labels_is_gathering_to_the_last_bit(name):
    for ours, theirs in zip(both(cell(name, gather=True), *example(4)), both(cell(name, gather=False), *example(4))):
        np.testing.assert_array_equal(ours, theirs)


def test_lovasz_of_literal_values():
    """Two pixels of class 0, one of class 1; errors by class are 1/4, 1/2, 3/4 for both.

    Class 0: the pixel of class 1 (3/4) makes 1 - IoU 1/3, the next (1/2) 2/3, the last (1/4) 1: (3/4 + 1/2 + 1/4) / 3.
    Class 1: its own pixel (3/4) is all of its intersection: 1 - IoU is 1 at once, and the loss 3/4.
    """
    probabilities = np.array([[0.75, 0.5, 0.75], [0.25, 0.5, 0.25]], np.float32)
    loss = term("lovasz", 255, ohem_threshold=0.5, ohem_min_kept=1)
    value, _ = both(loss, np.log(probabilities)[None, :, None, :], np.array([[[0, 0, 1]]], np.int32))
    assert value == pytest.approx((0.5 + 0.75) / 2, rel=1e-6)


def test_dice_of_literal_values():
    """Class 0: 2 * (3/4 + 1/2) / (2 + 2); class 1: 2 * (1/4) / (1 + 1)."""
    probabilities = np.array([[0.75, 0.5, 0.75], [0.25, 0.5, 0.25]], np.float32)
    loss = term("dice", 255, ohem_threshold=0.5, ohem_min_kept=1)
    value, _ = both(loss, np.log(probabilities)[None, :, None, :], np.array([[[0, 0, 1]]], np.int32))
    assert value == pytest.approx(((1 - 2.5 / 4) + (1 - 0.5 / 2)) / 2, rel=1e-6)


@pytest.mark.parametrize(("threshold", "min_kept", "kept"), [
    (0.2, 1, [0.25]), (0.3, 1, [0.25]), (0.6, 1, [0.25, 0.5]), (0.2, 2, [0.25, 0.5]), (0.2, 9, [0.25, 0.5, 0.75])])
def test_hard_pixels_are_those_below_the_threshold_and_at_least_the_minimum(threshold, min_kept, kept):
    probabilities = np.array([[0.75, 0.5, 0.25, 0.001], [0.25, 0.5, 0.75, 0.999]], np.float32)
    loss = term("ohem", 255, ohem_threshold=threshold, ohem_min_kept=min_kept)
    value, gradient = both(loss, np.log(probabilities)[None, :, None, :], np.array([[[0, 0, 0, 255]]], np.int32))
    assert value == pytest.approx(np.mean([-math.log(p) for p in kept]), rel=1e-5)
    assert (np.abs(gradient[0, 0, 0]) > 0).sum() == len(kept)


def test_terms_add_up_by_their_weights_and_are_returned_beside_the_sum():
    logits, label = example(5)
    ids = Tensor(np.zeros(2, np.int32))
    terms = {"ce": 1.0, "dice": 0.5, "lovasz": 2.0}
    loss = DeepLabV3Loss(Constant(True), ignore_label=255, terms=terms, auxiliary_weight=0.4)
    total, *parts = map(float, loss(Tensor(logits), Tensor(label), ids, ids))
    expected = [reference.ce(logits, label), reference.dice(logits, label), reference.lovasz(logits, label),
                reference.ce(logits * 0.5, label)]
    assert parts == pytest.approx(expected, rel=2e-6)
    assert total == pytest.approx(np.dot([1, 0.5, 2, 0.4], expected), rel=2e-6)
    alone = DeepLabV3Loss(Constant(True), ignore_label=255, terms={"dice": 2.0})
    assert float(alone(Tensor(logits), Tensor(label), ids, ids)[0]) == pytest.approx(
        2 * expected[1] + 0.5 * expected[3], rel=2e-6)


RECIPE = {"loss": ("ohem:1", "dice:0.5", "lovasz:0.5"), "ohem_min_kept": 300, "class_weights": (1.0, 2.0, 3.0),
          "label_smoothing": 0.1, "aux_weight": 0.4, "dropout": 0.0}


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"loss_scale": 1024.0, "dynamic_loss_scale": True}, {"accumulate_steps": 2}],
                         ids=["scaled", "accumulated"])
def test_a_scaled_step_is_the_plain_one_and_accumulated_batches_their_mean(settings):
    """Accumulating is what several ranks do (tests/engine): gradients of batches, each with its own normalisers."""
    task, batch = tiny_task(**RECIPE), tiny_batch()
    network = task.network()
    assert task.loss_names == ("loss", "ohem", "dice", "lovasz", "auxiliary")
    before = {p.name: p.asnumpy().copy() for p in network.get_parameters()}
    results = []
    for values in ({}, settings):
        for p in network.get_parameters():
            p.set_data(Tensor(before[p.name]))
        task = tiny_task(**RECIPE, freeze_bn=True, **values)
        step = loop.build_step(task, task.config, Runtime("CPU"), network, 4)
        outputs = [step(*batch) for _ in range(values.get("accumulate_steps", 1))][-1]
        assert bool(outputs[len(task.loss_names)])
        results.append((float(outputs[0]), {p.name: p.asnumpy() for p in network.trainable_params()}))
    (loss, plain), (other, changed) = results
    assert loss == pytest.approx(other, rel=1e-5)
    for name, value in plain.items():
        np.testing.assert_allclose(changed[name], value, rtol=1e-4, atol=1e-6, err_msg=name)
