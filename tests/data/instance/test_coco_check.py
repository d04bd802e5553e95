"""What is wrong with an entry of an annotation file, and with the file."""
import pytest

from src.contract import InputError
from src.data.instance.coco_check import class_table, image_problem, is_id, to_instance
from src.data.instance.coco_index import open_table
from src.data.instance.target import Category
from tests.tiny_coco import RUNS, annotation

SIZE, DOG = (24, 32), Category(1, 3, "dog")
GOOD = {"file_name": "a/1.jpg", "height": 24, "width": 32}


def test_a_good_annotation_keeps_its_numbers():
    given = annotation(5, 10)
    expected = {key: value for key, value in given.items() if key != "image_id"} | {"label": 1}
    assert to_instance(given, SIZE, DOG) == expected


@pytest.mark.parametrize(("changes", "words"), [
    ({"bbox": None, "segmentation": None}, "bbox is None; it must be four numbers"),
    ({"bbox": [1, 2, 3]}, "four numbers"), ({"bbox": [1, 2, 3, "4"]}, "four numbers"),
    ({"bbox": [1, 2, 3, float("nan")]}, "four numbers"), ({"bbox": [1, 2, 3, True]}, "four numbers"),
    ({"bbox": [4, 6, -1, 5], "segmentation": None}, "negative side"),
    ({"bbox": [-3, 0, 5, 5]}, "lies outside its image of 32x24 .*; correct it"),
    ({"bbox": [20, 15, 31, 23]}, "looks like two corners"), ({"bbox": [0, 20, 5, 9]}, "lies outside"),
    ({"segmentation": "4 6 12 6"}, "neither a list of polygons"),
    ({"segmentation": [4, 6, 12, 6, 12]}, "must be a list of polygons"),
    ({"segmentation": [[4, 6, 12, 6]]}, "polygon of 4 numbers; it needs at least 3 points"),
    ({"segmentation": [[]]}, "polygon of 0 numbers"),
    ({"segmentation": [[4, 6, 12, 6, 12, 11, 4]]}, "polygon of 7 numbers"),
    ({"segmentation": [[4, 6, "a", 6, 12, 11]]}, "finite numbers"),
    ({"segmentation": [[4, 6, None, 6, 12, 11]]}, "finite numbers"),
    ({"segmentation": [[4, 6, float("inf"), 6, 12, 11]]}, "finite numbers"),
    ({"segmentation": [[4, 6, 12, 46, 12, 11]]}, "outside its image of 32x24"),
    ({"segmentation": {"size": [32, 24], "counts": RUNS}}, "the mask's size is .32, 24., its image has .24, 32."),
    ({"segmentation": {"size": "\ud800", "counts": RUNS}}, r"the mask's size is '\\ud800'"),
    ({"segmentation": {"size": [24, 32]}}, "counts are neither"),
    ({"segmentation": {"size": [24, 32], "counts": [1.5]}}, "counts are neither"),
    ({"segmentation": {"size": [24, 32], "counts": RUNS[:-2]}}, "runs cover .* its image has 768"),
    ({"segmentation": {"size": [24, 32], "counts": [-1, 769]}}, "a run of -1"),
    ({"segmentation": {"size": [24, 32], "counts": "ZZ3"}}, "a run of [0-9]+ pixels, its image has 768"),
    ({"segmentation": {"size": [24, 32], "counts": "\ud800"}}, "no run-length encoding"),
    ({"segmentation": {"size": [24, 32], "counts": [10 ** 30]}}, "a run of 10+ pixels"),
    ({"segmentation": {"size": [24, 32], "counts": [2 ** 63 - 1, 2 ** 63 - 1, 770]}}, "a run of 9.* image has 768"),
    ({"segmentation": {"size": [24, 32], "counts": [True, 767]}}, "counts are neither"),
    ({"segmentation": [[[4, 6], [12, 6], [12, 11], [4, 11], [4, 8], [4, 7]]]}, "must be a flat list"),
    ({"segmentation": [["4", "6", "12", "6", "12", "11"]]}, "finite numbers"),
    ({"segmentation": [[True, 6, 12, 6, 12, 11]]}, "finite numbers"),
    ({"segmentation": [[4, 6, 10 ** 400, 6, 12, 11]]}, "finite numbers"),
    ({"bbox": [4, 6, 10 ** 400, 5]}, "four numbers"), ({"area": 10 ** 400}, "area is 10"),
    ({"segmentation": {"size": [24, 32], "counts": "j~"}}, "no run-length encoding"),
    ({"area": -1}, "area is -1"), ({"area": "40"}, "area is '40'"), ({"iscrowd": 2}, "iscrowd is 2")])
def test_bad_annotations(changes, words):
    with pytest.raises(InputError, match=words):
        to_instance(annotation(5, 10, **changes), SIZE, DOG)


@pytest.mark.parametrize(("changes", "words"), [
    ({"file_name": None}, "has no file_name"), ({"file_name": ""}, "has no file_name"),
    ({"file_name": "/tmp/a.jpg"}, "leaves the image folder"), ({"file_name": "a/../../b.jpg"}, "leaves the image"),
    ({"height": 0}, "height is 0"), ({"width": "32"}, "width is '32'"), ({"width": 32.5}, "whole pixels"),
    ({"height": 10 ** 30}, "at most 65535"), ({"file_name": "a\0b/2.jpg"}, r"'a\x00b/2.jpg' has a character"),
    ({"file_name": "\ud800.jpg"}, r"'\ud800.jpg' has a character"), ({"file_name": []}, "has no file_name")])
def test_bad_images(changes, words):
    assert image_problem(GOOD) is None
    assert words in image_problem(GOOD | changes)


def test_ids_are_whole_numbers_that_a_record_holds():
    assert [is_id(v) for v in (0, -5, 2 ** 63 - 1, 2 ** 63, 1.0, "1", None, True)] == [True] * 3 + [False] * 5


@pytest.mark.parametrize(("categories", "words"), [
    ([{"id": 1}], r"categories\[0\]: needs a whole number"), ([{"id": "1", "name": "a"}], "needs a whole number"),
    (["a"], "needs a whole number"), ([{"id": 1, "name": "a"}, {"id": 1, "name": "b"}], r"\[1\]: id 1 or name 'b'"),
    ([{"id": 1, "name": "a"}, {"id": 2, "name": "a"}], "there twice"),
    ([{"id": 1, "name": "a"}, {"id": 2, "name": "background"}], r"\[1\]: the name 'background' .*--coco_classes"),
    ([{"id": 1, "name": " "}], "' ' is empty; rename it"), ([{"id": 1, "name": ""}], "'' is empty"),
    ([{"id": 1, "name": "a\nb"}], r"'a\\nb' has control"), ([{"id": 1, "name": "a\0"}], "has control"),
    ([{"id": 1, "name": "\ud800"}], r"'\\ud800' has control .* surrogate"),
    ([{"id": k, "name": str(k)} for k in range(10_000)], "id 9999 would be class 10000, there are at most 10000")])
def test_bad_categories(categories, words):
    with pytest.raises(InputError, match=words):
        class_table(categories, "x.json")


def test_names_that_are_not_chosen_need_not_be_usable():
    categories = [{"id": 1, "name": "background"}, {"id": 2, "name": ""}, {"id": 3, "name": "cat"}]
    assert class_table(categories, "x.json", class_names=("background", "cat")) == ((1, 3, "cat"),)
    with pytest.raises(InputError, match=r"\[1\]: the name '' is empty"):
        class_table(categories, "x.json", class_names=("background", ""))


def test_a_large_category_id_cannot_be_its_own_class_index():
    categories = [{"id": 10 ** 8, "name": "a"}]
    assert class_table(categories, "x.json") == ((1, 10 ** 8, "a"),)
    with pytest.raises(InputError, match="id 100000000 would be class 100000000, .*use class_map=order"):
        class_table(categories, "x.json", class_map="id")


def test_category_zero_cannot_be_its_own_class_index():
    categories = [{"id": 0, "name": "a"}]
    assert class_table(categories, "x.json") == ((1, 0, "a"),)
    with pytest.raises(InputError, match="category id 0 cannot be a class index"):
        class_table(categories, "x.json", class_map="id")


@pytest.mark.parametrize(("text", "words"), [
    ('{"images": [' + "9" * 5000, "thousands of digits"), ("[" * 200000, "nested too deep"),
    ("", "x.json:1:1: not JSON"), ('{"images": [\n', "x.json:2:1: not JSON"), ("5", "holds one value"),
    ("[]", "file of results"), ("{}", "has no list 'images'"), ('{"images": {}}', "has no list 'images'"),
    ('{"images": [], "annotations": [], "categories": [1]}', "'images' is empty")])
def test_bad_files(tmp_path, text, words):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match=words):
        open_table(tmp_path / "x.json")
