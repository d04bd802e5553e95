"""Corrupted input to the record builder, each case run as a process.

Every case ends with status 2 (and no traceback), names file and line, and says what to do; none of them starts
MindSpore, so that the answer comes at once.
"""
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.tiny_seg import image, jpeg, label, png, raw_png, write_data

TOOL = Path("src/tools/build_seg_data.py").resolve()


def put(name: str, data: bytes):
    return lambda root: (root / name).write_bytes(data)


def cut(name: str, left: float):
    def change(root: Path) -> None:
        data = (root / name).read_bytes()
        (root / name).write_bytes(data[:int(len(data) * left)])
    return change


def remove(name: str):
    return lambda root: (root / name).unlink()


def folder(name: str):
    return lambda root: ((root / name).unlink(), (root / name).mkdir())


def line(text: str):
    """Replace line 2 of the list."""
    def change(root: Path) -> None:
        lines = (root / "list.txt").read_text().splitlines()
        (root / "list.txt").write_text("\n".join([lines[0], text, *lines[2:]]))
    return change


def nothing(root: Path) -> None:
    """The flags are what is wrong."""


def gif(root: Path) -> None:
    Image.fromarray(image(1)).save(root / "images/1.jpg", "GIF")


def palette_cut(root: Path) -> None:
    Image.fromarray(label(1), "P").save(root / "labels/1.png")
    cut("labels/1.png", 0.9)(root)


def gray_alpha(root: Path) -> None:
    Image.fromarray(np.zeros((12, 16, 2), np.uint8), "LA").save(root / "labels/1.png")


LINE = "list.txt:2: "
FIX_FILE, MAKE_LABELS, MAKE_LIST = "restore the file", "get_dataset_lst.py", "get_dataset_lst.py"
IMPORT = "import_data.py masks"

# name: (what is done to good data, further flags, words that the message has)
CASES = {
    "image missing": (remove("images/1.jpg"), [], [LINE, "images/1.jpg does not exist", "start from --data_root"]),
    "image empty": (put("images/1.jpg", b""), [], [LINE, "images/1.jpg is empty", FIX_FILE]),
    "image a folder": (folder("images/1.jpg"), [], [LINE, "images/1.jpg is a folder", "two files"]),
    "image is text": (put("images/1.jpg", b"<html>404</html>"), [], [LINE, "not an image", FIX_FILE]),
    "image truncated": (cut("images/1.jpg", 0.6), [], [LINE, "images/1.jpg", "truncated JPEG", FIX_FILE]),
    "image lacks its last bytes": (cut("images/1.jpg", 0.99), [], [LINE, "truncated JPEG", FIX_FILE]),
    "image truncated in its header": (cut("images/1.jpg", 0.1), [], [LINE, "image", FIX_FILE]),
    "PNG image truncated": (put("images/1.jpg", png(image(1))[:-60]), [], [LINE, "truncated PNG", FIX_FILE]),
    "image a GIF": (gif, [], [LINE, "GIF", "convert it"]),
    "image too large to decode": (put("images/1.jpg", raw_png([b"\0"] * 4096, 1 << 19, 8, 0)), [],
                                  [LINE, "cannot be decoded", "scale it down"]),
    "label missing": (remove("labels/1.png"), [], [LINE, "labels/1.png does not exist", "start from --data_root"]),
    "label empty": (put("labels/1.png", b""), [], [LINE, "labels/1.png is empty", FIX_FILE]),
    "label truncated": (cut("labels/1.png", 0.8), [], [LINE, "label is a damaged or truncated PNG", FIX_FILE]),
    "palette label truncated": (palette_cut, [], [LINE, "label is a damaged or truncated PNG", FIX_FILE[:7]]),
    "label RGB-encoded": (put("labels/1.png", png(image(1))), [], [LINE, "label is an RGB PNG", MAKE_LABELS]),
    "label gray + alpha": (gray_alpha, [], [LINE, "gray + alpha PNG", IMPORT]),
    "label a JPEG": (put("labels/1.png", jpeg(image(1))), [], [LINE, "label is a JPEG file", IMPORT]),
    "label of 16 bits": (put("labels/1.png", png(np.full((12, 16), 999, np.uint16))), [], [LINE, "999", IMPORT]),
    "label smaller than its image": (put("labels/1.png", png(label(1, 6, 8))), [],
                                     [LINE, "image is 12x16 (H x W), its label 6x8", "its own label"]),
    "label turned": (put("labels/1.png", png(label(1, 16, 12))), ["--check=size"],
                     [LINE, "its label 16x12", "its own label"]),
    "label value too large": (put("labels/1.png", png(np.full((12, 16), 3, np.uint8))), [],
                              [LINE, "values 3, but classes are 0..2 and 255", "--num_classes"]),
    "label with another ignore value": (put("labels/1.png", png(np.full((12, 16), 254, np.uint8))), [],
                                        [LINE, "254", "--ignore_label"]),
    "ignore value not set": (nothing, ["--ignore_label=99"], ["list.txt:1: ", "255", "--ignore_label"]),
    "image and label exchanged": (line("labels/1.png images/1.jpg"), [], [LINE, "label is a JPEG", IMPORT]),
    "line with one column": (line("images/1.jpg"), [], [LINE, "one column", "`image label`"]),
    "line with three columns": (line("images/1.jpg labels/1.png 1"), [], [LINE, "3 columns", "in double quotes"]),
    "line with commas": (line("images/1.jpg,labels/1.png"), [], [LINE, "one column", "separated by a blank"]),
    "image listed twice": (line("images/0.jpg labels/1.png"), [], [LINE, "listed twice (first in line 1)", "remove"]),
    "path with the root in it twice": (line("data/images/1.jpg data/labels/1.png"), [],
                                       [LINE, "does not exist", "use --data_root=."]),
    "list empty": (put("list.txt", b""), [], ["list.txt: the list is empty", MAKE_LIST]),
    "list of blank lines": (put("list.txt", b"\n\r\n  \n"), [], ["list.txt: the list is empty", MAKE_LIST]),
    "list missing": (remove("list.txt"), [], ["list.txt: no such list", MAKE_LIST]),
    "list a folder": (folder("list.txt"), [], ["list.txt: is a directory", "give the path of a list"]),
    "list an image": (put("list.txt", b"\xff\xd8\xff\xe0"), [], ["list.txt: not a text file", "`image label`"]),
    "root missing": (nothing, ["--data_root=nowhere"], ["nowhere: no such folder", "--data_root"]),
    "nothing good is left": (put("list.txt", b"a b\nc d\n"), ["--on_bad=skip"], ["no usable line", "list.txt:2: "]),
    "too many shards": (nothing, ["--num_shards=4"], ["num_shards=4", "3 records", "lower"]),
    "records of others in the way": (put("r", b"mine"), [], ["exists and has no manifest", "--overwrite"]),
    "manifest damaged": (put("r.manifest.json", b"{"), [], ["r.manifest.json: damaged", "remove it"]),
    "target a folder": (nothing, ["--dst_path=data"], ["is a folder", "record file's path"]),
    "no target": (nothing, ["--dst_path="], ["--dst_path is missing", "give"]),
    "no root": (nothing, ["--data_root="], ["--data_root is missing", "give"]),
    "no list": (nothing, ["--data_lst="], ["--data_lst is missing", "get_dataset_lst.py"]),
    "unknown check": (nothing, ["--check=half"], ["--check", "full"]),
    "misspelt flag": (nothing, ["--num_shard=2"], ["--num_shard", "did you mean --num_shards"]),
    "classes that no label can hold": (nothing, ["--num_classes=300"], ["--num_classes", "'300'", "1 to 255"]),
    "ignored class": (nothing, ["--num_classes=5", "--ignore_label=2"], ["--ignore_label=2 is a class", "classes=5"]),
    "negative workers": (nothing, ["--workers=-1"], ["--workers", "'-1'", "0 to 1024"]),
    "negative seed": (nothing, ["--shuffle", "--seed=-1"], ["--seed", "'-1'", "from 0"]),
    "nothing to verify": (nothing, ["--data_root=", "--data_lst=", "--verify"], ["no such record file", "build"]),
    "verify foreign records": (put("r", b"some text"), ["--data_root=", "--data_lst=", "--verify"],
                               ["not a MindRecord", "build the records again"]),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """{case: finished process}; all cases run here, two at a time."""
    def run(name: str) -> subprocess.CompletedProcess:
        change, flags, _ = CASES[name]
        base = tmp_path_factory.mktemp("case")
        write_data(base / "data", 3)
        change(base if name in ("records of others in the way", "manifest damaged", "verify foreign records")
               else base / "data")
        command = [sys.executable, str(TOOL), "--data_root=data", "--data_lst=data/list.txt", "--dst_path=r",
                   "--num_classes=3", *flags]
        done = subprocess.run(command, cwd=base, capture_output=True, text=True, timeout=60)
        done.left_behind = sorted(p.name for p in base.glob("r*"))
        return done

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(CASES, pool.map(run, CASES)))


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_refused_with_place_and_way_out(results, name):
    done = results[name]
    message = done.stderr + done.stdout
    assert done.returncode == 2, message
    assert "Traceback" not in message
    assert [words for words in CASES[name][2] if words not in message] == [], message
    assert done.left_behind in ([], ["r"], ["r.manifest.json"])
