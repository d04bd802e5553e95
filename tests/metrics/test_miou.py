import numpy as np
import pytest

from src.contract import InputError, LabelMap
from src.metrics.miou import MeanIoU, confusion_matrix
from src.metrics.tables import miou_table

TRUTH = np.array([[0, 0, 0, 1], [1, 1, 255, 255]], np.uint8)
PREDICTED = np.array([[0, 0, 1, 1], [1, 2, 2, 0]], np.uint8)


def evaluator() -> MeanIoU:
    """Its targets are arrays already: what is decoded is tested with the decoder."""
    return MeanIoU(("ground", "cat", "dog", "hen"), lambda target: target)


def test_rows_are_truth_and_ignored_pixels_do_not_count():
    assert confusion_matrix(TRUTH, PREDICTED, 3).tolist() == [[2, 1, 0], [0, 2, 1], [0, 0, 0]]


def test_a_class_that_is_ignored_does_not_count():
    assert confusion_matrix(TRUTH, PREDICTED, 3, ignore_label=0).tolist() == [[0, 0, 0], [0, 2, 1], [0, 0, 0]]


def test_numbers_of_one_image():
    miou = evaluator()
    miou.update(LabelMap(1, PREDICTED), TRUTH)
    numbers = miou.compute()
    assert numbers["iou"] == {"ground": pytest.approx(2 / 3), "cat": pytest.approx(2 / 4), "dog": None, "hen": None}
    assert numbers["miou"] == pytest.approx((2 / 3 + 2 / 4) / 2)
    assert numbers["classes_without_truth"] == {"dog": 1, "hen": 0}
    assert "left out of the means, the labels have no pixel of them: dog, hen (1 pixels" in miou_table(numbers)
    assert numbers["pixel_accuracy"] == pytest.approx(4 / 6)
    assert numbers["mean_accuracy"] == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert numbers["images"] == 1
    assert numbers["confusion"] == [[2, 1, 0, 0], [0, 2, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_counts_add_up_over_images_before_the_ratio_is_taken():
    miou = evaluator()
    miou.update(LabelMap(1, np.full((1, 3), 1, np.uint8)), np.array([[1, 1, 0]], np.uint8))
    miou.update(LabelMap(2, np.full((1, 1), 0, np.uint8)), np.array([[0]], np.uint8))
    assert miou.compute()["iou"] == {"ground": 0.5, "cat": pytest.approx(2 / 3), "dog": None, "hen": None}


def test_parts_of_several_processes_merge_into_the_whole():
    images = [(i, np.random.default_rng(i).integers(0, 4, (2, 5, 6), np.uint8)) for i in range(5)]
    whole, parts = evaluator(), [evaluator(), evaluator()]
    for i, (truth, predicted) in images:
        whole.update(LabelMap(i, predicted), truth)
        parts[i % 2].update(LabelMap(i, predicted), truth)
    parts[0].merge(parts[1])
    assert parts[0].compute() == whole.compute()
    assert whole.compute()["images"] == 5


def test_an_image_counts_once_in_a_process_and_over_processes():
    miou, other = evaluator(), evaluator()
    miou.update(LabelMap(7, TRUTH % 3), TRUTH)
    with pytest.raises(InputError, match="image 7 was evaluated twice"):
        miou.update(LabelMap(7, TRUTH % 3), TRUTH)
    other.update(LabelMap(7, TRUTH % 3), TRUTH)
    with pytest.raises(InputError, match=r"images evaluated twice: \[7\]"):
        miou.merge(other)
    assert miou.compute()["images"] == 1


def test_a_prediction_in_another_frame_is_refused():
    with pytest.raises(InputError, match=r"image 3: predicted size \(4, 2\), label size \(2, 4\)"):
        evaluator().update(LabelMap(3, PREDICTED.reshape(4, 2)), TRUTH)


def test_nothing_to_count_is_zero_and_no_warning(recwarn):
    miou = evaluator()
    miou.update(LabelMap(1, PREDICTED), np.full((2, 4), 255, np.uint8))
    numbers = miou.compute()
    assert (numbers["miou"], numbers["pixel_accuracy"], numbers["mean_accuracy"]) == (0.0, 0.0, 0.0)
    assert not recwarn.list


def test_a_label_value_that_is_no_class_is_refused_and_the_ignore_label_is_not():
    evaluator = MeanIoU(("a", "b"), lambda data: np.array([[0, 77]], np.uint8))
    with pytest.raises(InputError, match="label value 77 is neither below num_classes=2 nor ignore_label=255"):
        evaluator.update(LabelMap(1, np.zeros((1, 2), np.uint8)), b"")
    evaluator = MeanIoU(("a", "b"), lambda data: np.array([[0, 77]], np.uint8), ignore_label=77)
    evaluator.update(LabelMap(1, np.zeros((1, 2), np.uint8)), b"")
    assert evaluator.compute()["pixel_accuracy"] == 1.0


def test_a_predicted_class_beyond_the_names_is_refused():
    evaluator = MeanIoU(("a", "b"), lambda data: np.zeros((1, 2), np.uint8))
    with pytest.raises(InputError, match="image 4: predicted class 5 of 2"):
        evaluator.update(LabelMap(4, np.array([[0, 5]], np.uint8)), b"")
