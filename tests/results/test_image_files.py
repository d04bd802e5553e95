"""Files of per-image statistics: what is written is read, other files are refused with their name."""
import numpy as np
import pytest

from src.contract import InputError, Instances, LabelMap
from src.data.instance.target import Category, encode_categories, encode_instances, encode_target
from src.metrics.coco_map import CocoMAP
from src.metrics.miou import MeanIoU
from src.results.image_files import beside, read_statistics, write_statistics


def confusion():
    evaluator = MeanIoU(("grün", "cat"), lambda target: target)
    evaluator.update(LabelMap(2 ** 53 + 1, np.array([[0, 1]], np.uint8)), np.array([[1, 1]], np.uint8))
    return evaluator.statistics()


def matches():
    evaluator = CocoMAP(7)
    instance = {"id": 1, "label": 1, "category_id": 18, "bbox": [0, 0, 9, 9], "area": 81, "iscrowd": 0}
    target = encode_target(4, (20, 20), encode_categories([Category(1, 18, "dog")]), encode_instances([instance]))
    evaluator.update(Instances(4, np.array([[0, 0, 9, 8]]), np.array([1]), np.array([0.5])), target)
    return evaluator.statistics()


@pytest.mark.parametrize("statistics", [confusion, matches], ids=lambda function: function.__name__)
def test_what_is_written_is_read(statistics, tmp_path):
    statistics, path = statistics(), tmp_path / "a.images.npz"
    write_statistics(path, statistics)
    found = read_statistics(path)
    assert type(found) is type(statistics)
    assert found.class_names == statistics.class_names
    assert found.image_ids.tolist() == statistics.image_ids.tolist()
    assert found.truths.tolist() == statistics.truths.tolist()
    expected = statistics.numbers(np.ones((1, 1)))
    for name, values in found.numbers(np.ones((1, 1))).items():
        np.testing.assert_array_equal(values, expected.pop(name))
    assert expected == {}
    assert list(tmp_path.iterdir()) == [path]


def test_the_name_beside_the_results(tmp_path):
    assert beside(tmp_path / "eval_result.json").name == "eval_result.images.npz"


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "a.images.npz"
    with pytest.raises(InputError, match=r"a.images.npz: does not exist; eval.py and report.py write it"):
        read_statistics(path)
    write_statistics(path, confusion())
    whole = path.read_bytes()
    middle = whole.index(b"count.npy") + 40
    for content in (b"", b"text", whole[:200], whole[:-200], whole[:middle] + b"#####" + whole[middle + 5:]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"a.images.npz: holds no per-image statistics .* evaluate again"):
            read_statistics(path)
    with path.open("wb") as file:
        np.savez(file, format="mindseg.images.9")
    with pytest.raises(InputError, match=r"its format is mindseg.images.9, known is mindseg.images.1"):
        read_statistics(path)
