"""Gray labels and lists from VOC2012 + SBD and from any folder in VOC's layout."""
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy import io

from src.contract import InputError
from src.data.semantic import voc_layout
from src.data.semantic.colour_table import read_labelmap
from src.data.semantic.voc import ListDataset
from tests.tiny_seg import image, jpeg, png

TOOLS = Path("src/tools").resolve()


def write_voc(root: Path, train: bytes, val: bytes, *, names: str = "abcdef") -> Path:
    """A VOC folder with palette labels whose pixels are the position of the image's name."""
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    for number, name in enumerate(names):
        (root / f"JPEGImages/{name}.jpg").write_bytes(jpeg(image(number, 4, 5)))
        label = Image.fromarray(np.full((4, 5), number, np.uint8), "P")
        label.putpalette(voc_layout.voc_colours().ravel().tolist())
        label.save(root / f"SegmentationClass/{name}.png")
    (root / "ImageSets/Segmentation/train.txt").write_bytes(train)
    (root / "ImageSets/Segmentation/val.txt").write_bytes(val)
    return root


def write_sbd(root: Path, train: str, val: str, names: str) -> None:
    for folder in ("img", "cls"):
        (root / folder).mkdir(parents=True)
    for name in names:
        (root / f"img/{name}.jpg").write_bytes(jpeg(image(ord(name), 4, 5)))
        label = np.full((4, 5), ord(name) - ord("a") + 10, np.uint8)
        io.savemat(root / f"cls/{name}.mat", {"GTcls": {"Segmentation": label, "CategoriesPresent": np.array([1])}})
    (root / "train.txt").write_text(train)
    (root / "val.txt").write_text(val)


def names_in(path: Path) -> list[str]:
    return [Path(line.split()[0]).stem for line in path.read_text().splitlines()]


def test_voc2012_with_sbd(tmp_path):
    voc = write_voc(tmp_path / "VOCdevkit/VOC2012", b"a\nb\n", b"c\nd\n")
    write_sbd(tmp_path / "benchmark_RELEASE/dataset", "b\nc\nx\n", "y\nd\na", "abcdxy")
    lists = voc_layout.make_lists(tmp_path)
    assert {path.name: lines for path, lines in lists.items()} == {
        "voc_train_lst.txt": 2, "voc_val_lst.txt": 2, "vocaug_train_lst.txt": 4}
    assert (tmp_path / "voc_val_lst.txt").read_text() == (
        "VOCdevkit/VOC2012/JPEGImages/c.jpg VOCdevkit/VOC2012/SegmentationClassGray/c.png\n"
        "VOCdevkit/VOC2012/JPEGImages/d.jpg VOCdevkit/VOC2012/SegmentationClassGray/d.png\n")
    sbd = "benchmark_RELEASE/dataset"
    assert (tmp_path / "vocaug_train_lst.txt").read_text() == (
        f"{sbd}/img/x.jpg {sbd}/cls_png_gray/x.png\n{sbd}/img/y.jpg {sbd}/cls_png_gray/y.png\n"
        + (tmp_path / "voc_train_lst.txt").read_text())
    assert cv2.imread(str(voc / "SegmentationClassGray/d.png"), cv2.IMREAD_UNCHANGED).tolist() == [[3] * 5] * 4
    assert cv2.imread(str(tmp_path / sbd / "cls_png_gray/y.png"), cv2.IMREAD_UNCHANGED).tolist() == [[34] * 5] * 4


@pytest.mark.parametrize(("train", "val"), [
    (b"a\nb\nc", b"c\nd"), (b"a\r\nb\r\nc\r\n", b"c\nd\n"), (b"a\nb\nc\n", b"c\r\nd"),
    (b"\xef\xbb\xbfa\nb\nc", b"\xef\xbb\xbfc\nd"), (b"a 1\nb -1\nc 1\n", b"c\nd\n"),
    (b"a\n\nb\nb\nc \na\n", b" d\n\nc\nc"),
])
def test_no_image_of_val_is_in_a_train_list(tmp_path, train, val):
    write_voc(tmp_path, train, val)
    write_sbd(tmp_path / "benchmark_RELEASE/dataset", "c\r\nx", "d\n", "cdx")
    voc_layout.make_lists(tmp_path)
    assert names_in(tmp_path / "voc_train_lst.txt") == ["a", "b"]
    assert sorted(names_in(tmp_path / "voc_val_lst.txt")) == ["c", "d"]
    assert names_in(tmp_path / "vocaug_train_lst.txt") == ["x", "a", "b"]


def test_gray_labels_that_are_there_are_used(tmp_path):
    write_voc(tmp_path, b"a\n", b"b\n")
    (tmp_path / "SegmentationClassGray").mkdir()
    (tmp_path / "SegmentationClassGray/a.png").write_bytes(png(np.full((4, 5), 77, np.uint8)))
    voc_layout.make_lists(tmp_path)
    assert cv2.imread(str(tmp_path / "SegmentationClassGray/a.png"), cv2.IMREAD_UNCHANGED)[0, 0] == 77


def test_read_only_data(tmp_path):
    """Nothing is written below data_root; the lists lead back to it."""
    data = write_voc(tmp_path / "data", b"a\n", b"b\n")
    before = sorted(data.rglob("*"))
    voc_layout.make_lists(data, tmp_path / "out")
    assert sorted(data.rglob("*")) == before
    assert (tmp_path / "out/voc_train_lst.txt").read_text() == (
        f"JPEGImages/a.jpg {tmp_path}/out/SegmentationClassGray/a.png\n")


def test_other_lists_of_that_name_are_kept(tmp_path):
    write_voc(tmp_path, b"a\n", b"b\n")
    voc_layout.make_lists(tmp_path)
    voc_layout.make_lists(tmp_path)
    assert sorted(p.name for p in tmp_path.glob("*.txt*")) == ["voc_train_lst.txt", "voc_val_lst.txt"]
    (tmp_path / "voc_train_lst.txt").write_text("mine\n")
    voc_layout.make_lists(tmp_path)
    assert (tmp_path / "voc_train_lst.txt.1").read_text() == "mine\n"
    assert names_in(tmp_path / "voc_train_lst.txt") == ["a"]


def test_labels_in_voc_colours(tmp_path):
    label = np.array([[0, 1, 20], [255, 15, 7]], np.uint8)
    (tmp_path / "rgb.png").write_bytes(png(voc_layout.voc_colours()[label]))
    assert voc_layout.read_voc_label(tmp_path / "rgb.png").tolist() == label.tolist()
    (tmp_path / "foreign.png").write_bytes(png(np.full((2, 2, 3), (1, 2, 3), np.uint8)))
    with pytest.raises(InputError, match="foreign.png: colour .1, 2, 3. is not in VOC.*labelmap.txt.*ClassGray"):
        voc_layout.read_voc_label(tmp_path / "foreign.png")


def test_voc_colours_are_the_published_ones():
    colours = voc_layout.voc_colours()
    assert colours[[0, 1, 2, 15, 20, 255]].tolist() == [
        [0, 0, 0], [128, 0, 0], [0, 128, 0], [192, 128, 128], [0, 64, 128], [224, 224, 192]]
    assert len(np.unique(colours, axis=0)) == 256


@pytest.mark.parametrize(("damage", "words"), [
    (lambda f: os.remove(f / "JPEGImages/a.jpg"), r"JPEGImages/a\.\*: no such image"),
    (lambda f: os.remove(f / "SegmentationClass/b.png"), r"SegmentationClass/b\.\*: no such label"),
    (lambda f: (f / "SegmentationClass/a.png").write_bytes(b"text"), "SegmentationClass/a.png: is not an image"),
    (lambda f: (f / "SegmentationClass/a.png").write_bytes(b""), "SegmentationClass/a.png: is empty"),
    (lambda f: (f / "ImageSets/Segmentation/val.txt").write_bytes(b"\xff\xfe\xff"), "val.txt: not readable"),
    (lambda f: os.remove(f / "ImageSets/Segmentation/train.txt"), "none of VOCdevkit/VOC2012, VOC2012, . in it has"),
    (lambda f: [(f / f"ImageSets/Segmentation/{n}.txt").write_text("\n") for n in ("train", "val")], "name no image"),
    (lambda f: (f / "JPEGImages/a.png").write_bytes(b"another"), "a.png: a.jpg has the same name"),
])
def test_what_is_missing_is_named(tmp_path, damage, words):
    write_voc(tmp_path, b"a\n", b"b\n")
    damage(tmp_path)
    with pytest.raises(InputError, match=words):
        voc_layout.make_lists(tmp_path)


def test_damaged_mat(tmp_path):
    write_voc(tmp_path, b"a\n", b"b\n")
    write_sbd(tmp_path / "benchmark_RELEASE/dataset", "x\ny\n", "", "xy")
    (tmp_path / "benchmark_RELEASE/dataset/cls/x.mat").write_bytes(b"text")
    io.savemat(tmp_path / "benchmark_RELEASE/dataset/cls/y.mat", {"other": 1})
    with pytest.raises(InputError, match="(?s)2 bad records.*x.mat: not an SBD class label.*y.mat: not an SBD"):
        voc_layout.make_lists(tmp_path)


@pytest.mark.parametrize(("label", "words"), [
    (np.full((4, 5), 300, np.uint16), "holds 300, expected class indices 0..255"),
    (np.full((4, 5), 1.5), "holds 1.5, expected class indices"), (np.full((4, 5), -1, np.int16), "holds -1, expected"),
    (np.zeros((4, 5, 3), np.uint8), r"of shape \(4, 5, 3\), expected \(H, W\)"),
    (np.zeros((0, 0)), r"of shape \(0, 0\)"),
    ("some text", "Segmentation is <U9")])
def test_a_mat_with_something_else_in_it(tmp_path, label, words):
    io.savemat(tmp_path / "x.mat", {"GTcls": {"Segmentation": label}})
    with pytest.raises(InputError, match=f"x.mat: .*{words}"):
        voc_layout.read_sbd_label(tmp_path / "x.mat")


def test_names_with_blanks_are_quoted_and_read_back(tmp_path):
    root = write_voc(tmp_path / "my data", b"IMG (1)\nb\n", b"c 1\nd -1\n", names=["IMG (1)", "b", "c", "d"])
    lists = voc_layout.make_lists(root, tmp_path / "out 10")
    assert list(lists.values()) == [2, 2]
    text = (tmp_path / "out 10/voc_train_lst.txt").read_text()
    assert text.startswith('"JPEGImages/IMG (1).jpg" "')
    dataset = ListDataset(root, tmp_path / "out 10/voc_train_lst.txt")
    assert [row.file_name for row in dataset.rows([0, 1])] == ["JPEGImages/IMG (1).jpg", "JPEGImages/b.jpg"]


COLOURED = np.array([[0, 1, 2, 2], [1, 1, 0, 255]], np.uint8)
COLOURS = np.array([[0, 0, 0], [0, 128, 0], [128, 0, 0]] + [[224, 224, 192]] * 253, np.uint8)  # VOC's, in another order
LABELMAP = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:0,128,0::\ndog:128,0,0::\n"


def write_cvat(root: Path, split: str, palette: bool) -> Path:
    write_voc(root, b"", b"", names="ab")
    (root / "ImageSets/Segmentation/val.txt").unlink()
    (root / "ImageSets/Segmentation/train.txt").unlink()
    (root / f"ImageSets/Segmentation/{split}.txt").write_text("a\nb\n")
    (root / "labelmap.txt").write_text(LABELMAP)
    for name in "ab":
        picture = Image.fromarray(COLOURS[COLOURED])
        (picture.quantize(8) if palette else picture).save(root / f"SegmentationClass/{name}.png")
    return root


@pytest.mark.parametrize("split", ["default", "train"])
@pytest.mark.parametrize("palette", [False, True])
def test_the_colours_of_labelmap_txt_decide(tmp_path, caplog, split, palette):
    root = write_cvat(tmp_path, split, palette)
    with caplog.at_level("INFO"):
        assert list(voc_layout.make_lists(root).values()) == [2]
    assert "--class_names=background,cat,dog" in caplog.text
    assert cv2.imread(str(root / "SegmentationClassGray/b.png"), 0).tolist() == COLOURED.tolist()


@pytest.mark.parametrize("text", ["Background:0,0,0::\ncat:9,9,9::\n", "cat:9,9,9::\n_background_:0,0,0::\n"])
def test_the_background_of_labelmap_txt_is_class_0_however_it_is_written(tmp_path, text):
    (tmp_path / "labelmap.txt").write_text(text)
    assert dict(read_labelmap(tmp_path / "labelmap.txt").index) == {(0, 0, 0): 0, (9, 9, 9): 1}


def test_names_in_folders_with_suffixes_and_splits_with_capitals(tmp_path):
    """As CVAT's subsets Train and Validation, and lists of other tools."""
    write_voc(tmp_path, b"", b"")
    for folder in ("JPEGImages", "SegmentationClass"):
        (tmp_path / folder / "batch 1").mkdir()
        for path in [*(tmp_path / folder).glob("[ab].*")]:
            path.rename(path.parent / "batch 1" / path.name)
    lists = tmp_path / "ImageSets/Segmentation"
    (lists / "train.txt").unlink()
    (lists / "val.txt").unlink()
    (lists / "Train.txt").write_text("batch 1/a\nbatch 1/b.jpg\nc.jpg\nd\n")
    (lists / "Validation.txt").write_text("c\n")
    (tmp_path / "JPEGImages/d.json").write_text("{}")  # labelme's
    made = voc_layout.make_lists(tmp_path)
    assert {path.name: number for path, number in made.items()} == {"voc_train_lst.txt": 3, "voc_val_lst.txt": 1}
    dataset = ListDataset(tmp_path, tmp_path / "voc_train_lst.txt")
    assert [row.file_name for row in dataset.rows(range(3))] == [
        "JPEGImages/batch 1/a.jpg", "JPEGImages/batch 1/b.jpg", "JPEGImages/d.jpg"]


def test_gray_labels_that_contradict_labelmap_txt_are_named(tmp_path):
    root = write_cvat(tmp_path, "train", palette=False)
    voc_layout.make_lists(root)
    voc_layout.make_lists(root)
    (root / "labelmap.txt").write_text(LABELMAP.replace("cat", "cow").replace("128,0,0", "9,9,9").replace(
        "0,128,0", "128,0,0").replace("9,9,9", "0,128,0"))
    with pytest.raises(InputError, match="SegmentationClassGray/a.png: has other class indices than .*labelmap.txt"):
        voc_layout.make_lists(root)


@pytest.mark.parametrize(("text", "words"), [
    ("background:0,0,0::\ncat 0 128 0\n", "labelmap.txt:2: 'cat 0 128 0': a line is name:r,g,b"),
    ("background:0,0,0::\ncat:0,0,0::\n", "labelmap.txt:2: .* is there twice"),
    ("background:0,0,0::\ncat:0,300,0::\n", "numbers 0..255"), ("", "0 classes"),
    ("background:0,0,0::\ncat:0,128,0::\n", r"a.png: colour \(128, 0, 0\) is not in .*labelmap.txt; add it")])
def test_what_is_wrong_with_labelmap_txt(tmp_path, text, words):
    root = write_cvat(tmp_path, "train", palette=False)
    (root / "labelmap.txt").write_text(text)
    with pytest.raises(InputError, match=f"(?s){words}"):
        voc_layout.make_lists(root)


def test_advice_does_not_lead_back_to_the_tool_that_gives_it(tmp_path):
    write_voc(tmp_path, b"a\n", b"b\n")
    (tmp_path / "SegmentationClass/a.png").write_bytes(jpeg(image(1, 4, 5)))
    with pytest.raises(InputError, match="a.png: is a JPEG file") as error:
        voc_layout.make_lists(tmp_path)
    assert "get_dataset_lst" not in str(error.value)


@pytest.mark.parametrize(("cwd", "program"), [(TOOLS, "get_dataset_lst.py"), ("/", str(TOOLS / "get_dataset_lst.py"))])
def test_command_from_any_folder(tmp_path, cwd, program):
    write_voc(tmp_path / "voc", b"a\nb\n", b"c\n")
    root = os.path.relpath(tmp_path / "voc", cwd)
    done = subprocess.run([sys.executable, program, f"--data_root={root}"], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{tmp_path}/voc/voc_train_lst.txt: 2 lines" in done.stdout
    assert names_in(tmp_path / "voc/voc_val_lst.txt") == ["c"]
    assert not (tmp_path / "voc/voc").exists()


@pytest.mark.parametrize(("args", "words"), [
    ([], "--data_root is missing"), (["--data_rot=."], "did you mean --data_root"),
    (["--data_root=/nowhere"], "data_root /nowhere: none of")])
def test_command_line_errors(args, words):
    done = subprocess.run([sys.executable, TOOLS / "get_dataset_lst.py", *args], capture_output=True, text=True)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
