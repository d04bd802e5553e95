"""List files: lines, paths, what is refused with its line, and the check of one record."""
import os

import numpy as np
import pytest

from src.contract import InputError, Record
from src.data.semantic.voc import (
    ListDataset,
    RecordCheck,
    check_record,
    check_record_size,
    decode_pair,
    label_histogram,
    read_list,
)
from tests.tiny_seg import image, jpeg, label, png, write_data


def test_records_of_a_list(tmp_path):
    dataset = ListDataset(tmp_path, write_data(tmp_path, 3))
    records = list(dataset.rows([2, 0, 2]))
    assert len(dataset) == 3
    assert [r.image_id for r in records] == [3, 1, 3]
    assert [r.file_name for r in records] == ["images/2.jpg", "images/0.jpg", "images/2.jpg"]
    assert records[0].image == (tmp_path / "images/2.jpg").read_bytes()
    assert records[0].target == (tmp_path / "labels/2.png").read_bytes()
    assert records[0].place == f"{tmp_path}/list.txt:3"


@pytest.mark.parametrize("text", [
    "a.jpg a.png\nb.jpg b.png\n",
    "a.jpg a.png\r\nb.jpg b.png\r\n",
    "a.jpg a.png\rb.jpg b.png",
    "\ufeffa.jpg a.png\nb.jpg b.png",
    "  a.jpg \t a.png  \n\n\n b.jpg b.png \n\n",
])
def test_line_ends_blanks_and_marks(tmp_path, text):
    (tmp_path / "list.txt").write_bytes(text.encode())
    lines, problems = read_list(tmp_path / "list.txt")
    assert [(line.image, line.label) for line in lines] == [("a.jpg", "a.png"), ("b.jpg", "b.png")]
    assert problems == []


def test_line_numbers_count_blank_lines(tmp_path):
    (tmp_path / "list.txt").write_text("\n\na.jpg a.png\n")
    assert read_list(tmp_path / "list.txt")[0][0].number == 3


def test_absolute_paths_become_relative_names(tmp_path):
    write_data(tmp_path, 1)
    (tmp_path / "list.txt").write_text(f"{tmp_path}/images/0.jpg {tmp_path}/labels/0.png")
    record = next(ListDataset(tmp_path, tmp_path / "list.txt").rows([0]))
    assert record.file_name == "images/0.jpg"
    assert record.image == (tmp_path / "images/0.jpg").read_bytes()


def test_absolute_paths_outside_the_root_stay(tmp_path):
    write_data(tmp_path / "data", 1)
    (tmp_path / "other").mkdir()
    (tmp_path / "list.txt").write_text(f"{tmp_path}/data/images/0.jpg {tmp_path}/data/labels/0.png")
    record = next(ListDataset(tmp_path / "other", tmp_path / "list.txt").rows([0]))
    assert record.file_name == f"{tmp_path}/data/images/0.jpg"


@pytest.mark.parametrize(("text", "words"), [
    ("images/0.jpg labels/0.png\nimages/1.jpg\n", "list.txt:2: one column 'images/1.jpg'"),
    ("images/0.jpg labels/0.png 1\n", "list.txt:1: 3 columns"),
    ("images/0.jpg labels/0.png\n./images/0.jpg labels/1.png\n", "list.txt:2: .*listed twice .first in line 1"),
    ("images/9.jpg labels/0.png\n", "list.txt:1: image .*images/9.jpg does not exist; relative paths"),
    ("images/0.jpg labels/9.png\n", "list.txt:1: label .*labels/9.png does not exist"),
    ("images labels/0.png\n", "list.txt:1: image .*images is a folder"),
    ("empty.jpg labels/0.png\n", "list.txt:1: image .*empty.jpg is empty"),
    ("\n \n", "list.txt: the list is empty"),
])
def test_bad_lines_are_named(tmp_path, text, words):
    write_data(tmp_path, 2)
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(InputError, match=words):
        ListDataset(tmp_path, tmp_path / "list.txt")


def test_path_that_exists_without_the_root_is_explained(tmp_path, monkeypatch):
    write_data(tmp_path / "data", 1)
    (tmp_path / "list.txt").write_text("data/images/0.jpg data/labels/0.png")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="use --data_root=[.]"):
        ListDataset("data", "list.txt")


def test_skipped_lines_are_kept_as_messages(tmp_path):
    path = write_data(tmp_path, 3)
    path.write_text("images/0.jpg labels/0.png\nimages/1.jpg\nimages/7.jpg labels/7.png\nimages/2.jpg labels/2.png\n")
    dataset = ListDataset(tmp_path, path, on_bad="skip")
    assert [r.image_id for r in dataset.rows(range(2))] == [1, 4]
    assert [message.split(": ")[0] for message in dataset.bad] == [f"{path}:2", f"{path}:3"]


def test_skipping_everything_is_an_error(tmp_path):
    (tmp_path / "list.txt").write_text("images/0.jpg\n")
    with pytest.raises(InputError, match="no usable line.*\n.*list.txt:1"):
        ListDataset(tmp_path, tmp_path / "list.txt", on_bad="skip")


def test_many_bad_lines_are_counted(tmp_path):
    (tmp_path / "list.txt").write_text("x.jpg x.png\n" + "".join(f"{n}.jpg\n" for n in range(30)))
    with pytest.raises(InputError, match="(?s)31 bad records:.*and 11 more"):
        ListDataset(tmp_path, tmp_path / "list.txt")


def test_file_that_vanishes_later_is_named(tmp_path):
    dataset = ListDataset(tmp_path, write_data(tmp_path, 2))
    os.remove(tmp_path / "labels/1.png")
    with pytest.raises(InputError, match="list.txt:2: .*labels/1.png: No such file"):
        list(dataset.rows([0, 1]))


@pytest.mark.parametrize(("name", "words"), [("nothing.txt", "no such list.*get_dataset_lst"), (".", "is a directory"),
                                         ("binary", "not a text file")])
def test_no_list(tmp_path, name, words):
    (tmp_path / "binary").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(InputError, match=words):
        ListDataset(tmp_path, tmp_path / name)


def test_no_root(tmp_path):
    with pytest.raises(InputError, match="--data_root=.*nowhere: no such folder"):
        ListDataset(tmp_path / "nowhere", tmp_path / "list.txt")


# --- one record -------------------------------------------------------------------------------------------------------

def record(pixels: bytes, target: bytes) -> Record:
    return Record(1, "a.jpg", pixels, target, "list.txt:12")


def test_check_counts_pixels():
    target = np.array([[0, 1, 1], [2, 255, 1]], np.uint8)
    good = record(jpeg(image(0, 2, 3)), png(target))
    assert check_record(good, 3, 255) == {0: 1, 1: 3, 2: 1, 255: 1}
    assert check_record_size(good) == {}
    assert RecordCheck(3, 255)(good) == {0: 1, 1: 3, 2: 1, 255: 1}
    assert RecordCheck(3, 255, "size")(good) == {}


@pytest.mark.parametrize(("pixels", "target", "words"), [
    (jpeg(image(0, 2, 3)), png(np.zeros((3, 2), np.uint8)), "image is 2x3 .H x W., its label 3x2"),
    (jpeg(image(0, 2, 3)), png(np.full((2, 3), 3, np.uint8)), "label has values 3, but classes are 0..2 and 255"),
    (jpeg(image(0, 2, 3)), png(np.arange(90, 96, dtype=np.uint8).reshape(2, 3)), "90, 91, 92, 93, 94 and 1 more"),
    (jpeg(image(0, 2, 3))[:-9], png(label(0, 2, 3)), "image is a damaged or truncated JPEG"),
    (jpeg(image(0, 2, 3)), png(image(1, 2, 3)), "label is an RGB PNG"),
])
def test_bad_records(pixels, target, words):
    with pytest.raises(InputError, match=f"^list.txt:12: a.jpg: .*{words}"):
        check_record(record(pixels, target), 3, 255)
    with pytest.raises(InputError, match=words) as error:
        decode_pair(pixels, target, 3, 255)
    assert "list.txt" not in str(error.value)


def test_another_ignore_label():
    target = np.array([[0, 99]], np.uint8)
    assert label_histogram(target, 1, 99) == {0: 1, 99: 1}
    with pytest.raises(InputError, match="values 99"):
        label_histogram(target, 1, 255)


def test_decode_pair():
    pixels, target = decode_pair(png(image(0)), png(label(0)), 3, 255)
    assert (pixels == image(0)).all()
    assert (target == label(0)).all()


def test_the_size_check_decodes_no_pixels():
    check_record_size(record(jpeg(image(0, 30, 40))[:-50], png(label(0, 30, 40))))
    with pytest.raises(InputError, match="list.txt:12: a.jpg: image is 30x40 .H x W., its label 40x30"):
        check_record_size(record(jpeg(image(0, 30, 40)), png(label(0, 40, 30))))
