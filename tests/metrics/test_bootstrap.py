"""Intervals and p-values: normal theory, equal samples for equal splits, Holm's correction by hand."""
from statistics import NormalDist

import numpy as np
import pytest

from src.contract import InputError, Instances, LabelMap
from src.data.instance.target import encode_instances, encode_target
from src.metrics import bootstrap
from src.metrics.bootstrap import Samples, Shape, holm
from src.metrics.coco_map import CocoMAP
from src.metrics.miou import MeanIoU
from src.metrics.tables import interval_line
from src.tasks import parse_settings
from src.tools import compare_runs
from tests.generated_detections import CATEGORIES, SIZE

MANY = 10 ** 9  # images: nothing is added for few of them


def normal_samples(value: float = 0.0, count: int = 20_001) -> Samples:
    """Samples whose quantiles are those of a normal distribution of standard deviation 0.1 around `value`."""
    spread = np.array([NormalDist(value, 0.1).inv_cdf(p) for p in (np.arange(count) + 0.5) / count])
    return Samples(value, spread, value + np.linspace(-0.01, 0.01, 50), MANY)


def evaluated(seed: int = 0, images: int = 40, right: float = 0.8) -> MeanIoU:
    rng, evaluator = np.random.default_rng(7), MeanIoU(("ground", "cat"), lambda target: target)
    own = np.random.default_rng(seed)
    for k in range(images):
        truth = rng.integers(0, 2, (8, 8), np.uint8)
        evaluator.update(LabelMap(k, np.where(own.random((8, 8)) < right, truth, 1 - truth)), truth)
    return evaluator


def test_a_normal_distribution_without_bias_has_its_own_quantiles():
    low, high = Shape.of(normal_samples()).interval()
    assert (low, high) == (pytest.approx(-0.196, abs=2e-4), pytest.approx(0.196, abs=2e-4))


def test_the_ends_move_against_the_bias_and_with_the_acceleration():
    """By hand: z0 = Phi^-1(0.5 + 1/2 of what lies between), ends at Phi(z0 + (z0 + z) / (1 - a (z0 + z)))."""
    samples = normal_samples()
    shifted = Samples(0.05, samples.drawn, samples.left_out, MANY)  # z0 = 0.5
    low, high = Shape.of(shifted).interval()
    assert (low, high) == (pytest.approx(0.1 * (1 - 1.96), abs=3e-4), pytest.approx(0.1 * (1 + 1.96), abs=3e-3))
    skewed = Samples(0.0, samples.drawn, np.array([-3.0] + [1.0] * 9), MANY)  # pulls are 3.6, and -0.4 nine times
    pulls = np.array([3.6] + [-0.4] * 9)
    acceleration = (pulls ** 3).sum() / (6 * (pulls ** 2).sum() ** 1.5)
    low, high = Shape.of(skewed).interval()
    assert acceleration == pytest.approx(0.14, abs=0.01)
    assert low == pytest.approx(-0.196 / (1 + acceleration * 1.96), abs=1e-3)
    assert high == pytest.approx(0.196 / (1 - acceleration * 1.96), abs=5e-3)


def test_intervals_of_few_images_are_wider():
    """Of 10 images: Student's quantile with 9 degrees of freedom is 2.262, and sqrt(10 / 9) times that 2.385."""
    samples = normal_samples()
    shape = Shape.of(Samples(0.0, samples.drawn, samples.left_out, 10))
    assert shape.interval() == (pytest.approx(-0.2385, abs=5e-4), pytest.approx(0.2385, abs=5e-4))
    shape = Shape.of(Samples(0.2385, samples.drawn + 0.2385, samples.left_out, 10))
    assert shape.p_value() == pytest.approx(0.05, abs=1e-3)


@pytest.mark.parametrize("value", [0.15, -0.15, 0.21, 0.05])
def test_p_values_are_normal_theory_and_agree_with_the_interval(value):
    shape = Shape.of(normal_samples(value))
    assert shape.p_value() == pytest.approx(2 * NormalDist().cdf(-abs(value) / 0.1), abs=1e-3)
    low, high = shape.interval()
    assert (low <= 0 <= high) == (shape.p_value() >= 0.05)
    at_its_own_level = shape.interval(1 - shape.p_value())
    assert min(map(abs, at_its_own_level)) < 1e-3


def test_a_model_against_itself_has_no_difference():
    samples = bootstrap.bootstrap(evaluated().statistics(), 100, seed=1)
    shape = Shape.of(samples["miou",] - samples["miou",])
    assert shape.interval() == (0.0, 0.0)
    assert shape.p_value() == 1.0


def test_equal_seeds_draw_the_same_images_for_all_models_and_in_all_block_sizes(monkeypatch):
    first = bootstrap.bootstrap(evaluated().statistics(), 50, seed=3)["miou",]
    monkeypatch.setattr(bootstrap, "_CELLS", 7 * 40)
    again = bootstrap.bootstrap(evaluated().statistics(), 50, seed=3)["miou",]
    np.testing.assert_array_equal(first.drawn, again.drawn)
    np.testing.assert_array_equal(first.left_out, again.left_out)
    other = bootstrap.bootstrap(evaluated(1).statistics(), 50, seed=3)["miou",]
    assert np.std((first - other).drawn) < np.std(first.drawn) + np.std(other.drawn)
    assert (bootstrap.bootstrap(evaluated().statistics(), 50, seed=4)["miou",].drawn != first.drawn).any()


def test_left_out_images_are_left_out():
    evaluator, alone = evaluated(images=12), evaluated(images=12)
    samples = bootstrap.bootstrap(evaluator.statistics(), 20, seed=1)["miou",]
    assert len(samples.left_out) == 12
    del alone.images[0]
    assert samples.left_out[0] == pytest.approx(
        alone.statistics().numbers(np.ones((11, 1)))["miou",][0], abs=1e-15)


def test_numbers_that_samples_lack_have_no_interval():
    values, left_out = np.linspace(0.4, 0.6, 1000), np.array([np.nan, 0.5])
    for lacking, has_interval in ((0, True), (10, True), (11, False), (400, False)):
        drawn = np.where(np.arange(1000) < lacking, np.nan, values)
        assert (Shape.of(Samples(0.5, drawn, left_out, MANY)) is not None) is has_interval
    assert Shape.of(Samples(np.nan, values, left_out, MANY)) is None


@pytest.mark.parametrize(("holding", "has_interval"), [(1, False), (3, False), (8, True), (40, True)])
def test_a_size_that_few_images_hold_has_no_interval(holding, has_interval):
    """All samples that hold the only image with a large object agree on its AP: that is no certainty."""
    evaluator = CocoMAP()
    for k in range(40):
        side = 110.0 if k < holding else 40.0  # large is 96 x 96 and more
        box = {"id": k, "label": 1, "category_id": 10, "bbox": [0, 0, side, side], "area": side ** 2, "iscrowd": 0,
               "segmentation": [[0, 0, side, 0, side, side, 0, side]]}
        found = np.array([[0, 0, side if k % 3 else 0.7 * side, side]], np.float32)
        evaluator.update(Instances(k, found, np.array([1], np.int32), np.array([0.9], np.float32)),
                         encode_target(k, SIZE, CATEGORIES, encode_instances([box])))
    found = bootstrap.report(evaluator.statistics(), 1000)["intervals"]["bbox"]
    assert (found["APl"] is not None) is has_interval
    assert found["AP"] is not None


def test_holm():
    """Four tests: 0.01 x 4, then 0.015 x 3, 0.03 x 2 and 0.005 x 4, each at least the one before it."""
    assert holm([0.015, 0.03, 0.005, 0.6]) == pytest.approx([0.045, 0.06, 0.02, 0.6])
    assert holm([0.04, 0.03]) == pytest.approx([0.06, 0.06])
    assert holm([0.7, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_what_is_added_to_the_results_and_printed():
    statistics = evaluated().statistics()
    found = bootstrap.report(statistics, 200)
    low, high = found["intervals"]["miou"]
    assert low < evaluated().compute()["miou"] < high
    assert found["intervals"]["iou"].keys() == {"ground", "cat"}
    assert interval_line(found, 40) == (f"95 % intervals: mean IoU {low:.4f} to {high:.4f} (200 bootstrap samples of "
                                        "40 images, seed 1)")
    assert bootstrap.report(statistics, 0) == {}
    few = bootstrap.report(evaluated(images=9).statistics(), 200)
    assert "intervals" not in few
    assert interval_line(few, 9) == "95 % intervals: none, 9 images are too few"


@pytest.mark.parametrize("count", [1, 99])
def test_too_few_samples_are_refused_wherever_they_are_asked_for(count, capsys):
    words = f"{count}: too few samples for intervals of 95 %; give at least 100, or 0 for no intervals"
    with pytest.raises(InputError, match=f"--bootstrap={words}"):
        parse_settings([f"--bootstrap={count}"], program="eval.py", groups=("eval",))
    with pytest.raises(SystemExit):
        compare_runs.parse_args(["a", "b", f"--bootstrap={count}"])
    assert f"argument --bootstrap: {words}" in capsys.readouterr().err


def test_no_samples_and_enough_are_taken():
    for count in (0, 100):
        assert parse_settings([f"--bootstrap={count}"], program="eval.py", groups=("eval",)).bootstrap == count
        assert compare_runs.parse_args(["a", "b", f"--bootstrap={count}"]).bootstrap == count
