"""Files of class names that lie beside labels decide what their indices mean."""
import json

import numpy as np
import pytest
from PIL import Image

from src.contract import InputError
from src.data.importers.pictures import Options
from src.data.importers.run import import_data
from src.data.practice.sample_set import write_sample_set
from src.data.semantic import voc_layout
from src.data.semantic.class_list import read_class_names
from tests.data.importers.exports import truth, voc, yolo


def class_names(root, name, **options) -> list[str]:
    import_data(name, root / "source", root / "out", Options(**options))
    return json.loads((root / "out/import.json").read_text())["class_names"]


@pytest.mark.parametrize(("file", "text"), [
    ("labels.txt", "0 background\n1 cat\n2 dog\n255 void (ignore)\n"), ("labels.txt", "background\ncat\ndog\n"),
    ("class_names.txt", "_background_\ncat\ndog\n"), ("classes.txt", "\ufeffbackground\r\ncat\r\ndog\r\n"),
    ("labels.txt", "__ignore__\n_background_\ncat\ndog\n"), ("labels.txt", "2: dog\n0: background\n1: cat\n")])
def test_vocs_folders_with_names_beside_them(tmp_path, file, text):
    voc(tmp_path / "source")
    for k in range(4):
        Image.fromarray(truth(k)).save(tmp_path / f"source/SegmentationClass/s{k}.png")
    (tmp_path / "source" / file).write_text(text)
    assert class_names(tmp_path, "voc") == ["background", "cat", "dog"]
    label = np.asarray(Image.open(tmp_path / "out/SegmentationClassGray/s0.png"))
    np.testing.assert_array_equal(label, truth(0))


def test_the_practice_set_keeps_its_names(tmp_path, caplog):
    caplog.set_level("INFO")
    write_sample_set(tmp_path / "source", train=4, val=2)
    names = ["background", "disc", "triangle", "square", "ring", "star"]
    assert class_names(tmp_path, "voc") == names
    voc_layout.make_lists(tmp_path / "source", tmp_path / "lists")
    assert f"labels.txt: its names are the classes, in this order: --class_names={','.join(names)}" in caplog.text


def test_names_of_the_command_line_come_first(tmp_path):
    voc(tmp_path / "source")
    (tmp_path / "source/labels.txt").write_text("".join(f"n{k}\n" for k in range(13)))
    assert class_names(tmp_path, "voc", class_names=tuple(f"m{k}" for k in range(13)))[0] == "m0"


@pytest.mark.parametrize("file", ["classes.txt", "obj.names", "labels/classes.txt"])
def test_yolo_without_data_yaml(tmp_path, file):
    yolo(tmp_path / "source")
    (tmp_path / "source/data.yaml").unlink()
    (tmp_path / "source" / file).write_text("cat\ndog\n")
    assert class_names(tmp_path, "yolo") == ["cat", "dog"]


@pytest.mark.parametrize(("text", "words"), [("", "names 0 classes"), ("0 cat\n2 dog\n", "are not 0, 1, 2"),
                                             ("1 cat\n1 dog\n", "are not 0, 1, 2")])
def test_what_is_no_list_of_names(tmp_path, text, words):
    (tmp_path / "labels.txt").write_text(text)
    with pytest.raises(InputError, match=words):
        read_class_names(tmp_path / "labels.txt")


def test_objects_need_their_folder(tmp_path):
    write_sample_set(tmp_path / "source", train=4, val=2)
    with pytest.raises(InputError, match="has no folder SegmentationObject.*take --layout=voc") as found:
        import_data("voc", tmp_path / "source", tmp_path / "out", Options(layout="coco"))
    assert "\n" not in str(found.value)
