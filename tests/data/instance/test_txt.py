"""Boxes from a text file."""
import pytest
from PIL import Image

from src.contract import InputError
from src.data.decode import Decoding
from src.data.instance.target import decode_target
from src.data.instance.txt import TxtDataset
from tests.tiny_coco import write_txt

NAMES = ("background", "cat", "dog")


def test_lines_become_boxes_without_masks(tmp_path):
    dataset = TxtDataset(write_txt(tmp_path), tmp_path / "images", class_names=NAMES)
    records = list(dataset.rows(range(len(dataset))))
    assert [(record.image_id, record.file_name) for record in records] == [(1, "1.jpg"), (2, "2.jpg"), (3, "3.jpg")]
    first, second, third = (decode_target(record.target) for record in records)
    assert first.categories == ((1, 1, "cat"), (2, 2, "dog"))
    assert first.size == (24, 32)
    assert first.boxes_image.tolist() == [[4, 6, 12, 11], [1, 2, 21.5, 12]]
    assert first.labels.tolist() == [1, 2]
    assert first.instances[1] == {"id": 2, "label": 2, "category_id": 2, "bbox": [1, 2, 20.5, 10], "area": 205,
                                  "iscrowd": 0}
    assert second.instances == []
    assert third.boxes_image.tolist() == [[0, 0, 32, 24]]


def test_line_ends_blank_lines_and_a_byte_order_mark(tmp_path):
    path = write_txt(tmp_path)
    path.write_bytes(b"\xef\xbb\xbf1.jpg 4,6,12,11,1\r\n\r\n2.jpg  0,0,5,5,2")
    dataset = TxtDataset(path, tmp_path / "images", class_names=NAMES)
    assert [record.image_id for record in dataset.rows([0, 1])] == [1, 3]


@pytest.mark.parametrize(("line", "words"), [
    ("2.jpg 1,2,3,4", "'1,2,3,4' is no box"), ("2.jpg 1,2,3,4,1,5", "is no box"), ("2.jpg 1 2 3 4 1", "'1' is no box"),
    ("2.jpg 1,2,3,nan,1", "is no box"), ("2.jpg a,b,c,d,e", "is no box"),
    ("2.jpg 5,2,3,4,1", "corners exchanged"), ("2.jpg 1,2,3,4,0", "class 0 is none of 1..2"),
    ("2.jpg 1,2,3,4,3", "class 3 is none of 1..2"), ("2.jpg 1,2,3,4,1.5", "class 1.5"),
    ("9.jpg 1,2,3,4,1", "9.jpg does not exist"), ("1.jpg", "is there twice .first in line 1")])
def test_malformed_lines_are_named(tmp_path, line, words):
    path = write_txt(tmp_path, ["1.jpg", line, "3.jpg"])
    with pytest.raises(InputError, match=f"list.txt:2: .*{words}"):
        TxtDataset(path, tmp_path / "images", class_names=NAMES)
    dataset = TxtDataset(path, tmp_path / "images", class_names=NAMES, on_bad="skip")
    assert [record.image_id for record in dataset.rows(range(len(dataset)))] == (
        [1, 2, 3] if line.startswith("2.jpg") else [1, 3])
    assert len(dataset.bad) == 1


def test_the_number_of_classes_is_limited(tmp_path):
    with pytest.raises(InputError, match="--num_classes=10001: there are at most 10000"):
        TxtDataset(write_txt(tmp_path), tmp_path / "images", class_names=("background", *map(str, range(10_000))))


@pytest.mark.parametrize(("name", "words"), [("cat", "'cat' of class 2 is there twice"), ("background", "no object"),
                                         ("", "'' of class 2 is empty"), ("a\nb", "control"), ("\ud800", "surrogate")])
def test_every_class_needs_a_name_of_its_own(tmp_path, name, words):
    with pytest.raises(InputError, match=f"--coco_classes: the name .*{words}.*a name of its own"):
        TxtDataset(write_txt(tmp_path), tmp_path / "images", class_names=("background", "cat", name, "dog"))


def test_a_list_below_a_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="list.txt/x: not a directory; --anno_path is a text file"):
        TxtDataset(write_txt(tmp_path) / "x", tmp_path / "images", class_names=NAMES)


def test_a_box_outside_its_image_is_found_when_it_is_read(tmp_path):
    path = write_txt(tmp_path, ["1.jpg 30,0,35,5,1"])
    with pytest.raises(InputError, match="list.txt:1: 1.jpg: box 30,0,35,5 lies outside its image of 32x24"):
        next(TxtDataset(path, tmp_path / "images", class_names=NAMES).rows([0]))


def test_boxes_over_the_border_are_clipped_and_those_outside_skipped_alone(tmp_path, caplog):
    path = write_txt(tmp_path, ["1.jpg -2,-3,12,11,1 0,0,33.5,26,2 0.5,0,32.9,24,1", "2.jpg 30,0,35,5,1 1,1,9,9,2"])
    dataset = TxtDataset(path, tmp_path / "images", class_names=NAMES, on_bad="skip")
    first, second = (decode_target(record.target) for record in dataset.rows([0, 1]))
    assert first.boxes_image.tolist() == [[0, 0, 12, 11], [0, 0, 32, 24], [0.5, 0, 32, 24]]
    assert first.instances[0]["area"] == 12 * 11
    assert caplog.text.count("leaves its image") == 1
    assert "list.txt:1: box -2,-3,12,11 leaves its image of 32x24 (width x height) and is clipped" in caplog.text
    assert second.boxes_image.tolist() == [[1, 1, 9, 9]]
    assert dataset.bad == [f"{path}:2: box 30,0,35,5 lies outside its image of 32x24 (width x height); correct it"]
    assert dataset.left_out == (0, 1)


def test_paths_with_blanks_stand_in_quotes_and_near_ones_are_named(tmp_path):
    path = write_txt(tmp_path, ['"IMG (1).jpg" 4,6,12,11,1', '2.jpg'])
    (tmp_path / "images/1.jpg").rename(tmp_path / "images/IMG (1).jpg")
    dataset = TxtDataset(path, tmp_path / "images", class_names=NAMES)
    assert [record.file_name for record in dataset.rows([0, 1])] == ["IMG (1).jpg", "2.jpg"]
    path.write_text("2.JPG 4,6,12,11,1\n")
    with pytest.raises(InputError, match=r"2.jpg does \(capitals matter here\)"):
        TxtDataset(path, tmp_path / "images", class_names=NAMES)


def test_a_photo_with_an_orientation_says_exif(tmp_path):
    path = write_txt(tmp_path, ["1.jpg 2,40,9,59,1"])
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 40)).save(tmp_path / "images/1.jpg", exif=exif)
    assert len(list(TxtDataset(path, tmp_path / "images", class_names=NAMES, how=Decoding("turn")).rows([0]))) == 1
    with pytest.raises(InputError, match="EXIF orientation 6: .*--exif=turn"):
        next(TxtDataset(path, tmp_path / "images", class_names=NAMES).rows([0]))
