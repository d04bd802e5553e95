"""Corrupted input to the record builder of detection data, each case run as a process.

Every case ends with status 2 (and no traceback), names file and line or id, and says what to do; none of them starts
MindSpore, so that the answer comes at once.
"""
import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.tiny_coco import RUNS, annotation, write_coco, write_txt
from tests.tiny_seg import image, jpeg

TOOL = Path("src/tools/build_coco_data.py").resolve()
JSON = "coco/annotations/instances_val.json"


def data(change: Callable[[dict], object]):
    """Change the content of the annotation file."""
    def apply(root: Path) -> None:
        content = json.loads((root / JSON).read_text())
        change(content)
        (root / JSON).write_text(json.dumps(content, indent=1))
    return apply


def first(**changes):
    """Change the first annotation: number 1000 of image 10."""
    return data(lambda content: content["annotations"][0].update(changes))


def without(part: str, key: str | None = None):
    """Take a list out of the file, or a key out of its first entry."""
    return data(lambda content: content.pop(part) if key is None else content[part][0].pop(key))


def more(part: str, **entry):
    return data(lambda content: content[part].append(entry))


def sized(**changes):
    return data(lambda content: content["images"][1].update(changes))


def put(name: str, content: bytes):
    return lambda root: (root / name).write_bytes(content)


def cut(name: str, left: float):
    def change(root: Path) -> None:
        content = (root / name).read_bytes()
        (root / name).write_bytes(content[:int(len(content) * left)])
    return change


def remove(name: str):
    return lambda root: (root / name).unlink()


def nothing(root: Path) -> None:
    """The flags are what is wrong."""


def line(text: str):
    return lambda root: (root / "txt/list.txt").write_text(f"1.jpg 4,6,12,11,1\n{text}\n")


def mask(counts, size=(24, 32)):
    return first(segmentation={"size": list(size), "counts": counts})


ONE, TWO = f"{JSON}: annotation 1000 (image 10): ", f"{JSON}: image 20: "
TXT = ["--dataset=other", "--coco_root=", "--anno_path=txt/list.txt", "--image_dir=txt/images", "--num_classes=3"]
LINE = "txt/list.txt:2: "

# name: (what is done to good data, further flags, words that the message has)
CASES = {
    "unknown category": (first(category_id=99), [], [ONE, "unknown category_id 99", "has 3, 7, 12"]),
    "box outside its image": (first(bbox=[30, 6, 8, 5]), [], [ONE, "bbox [30, 6, 8, 5] lies outside", "32x24"]),
    "box given by its corners": (first(bbox=[20, 15, 31, 23]), [], [ONE, "looks like two corners", "width, height"]),
    "box of negative size": (first(bbox=[12, 6, -8, 5], segmentation=None), [],
                             [ONE, "negative side", "x, y, width, height"]),
    "polygon of two points": (first(segmentation=[[4, 6, 12, 11]]), [], [ONE, "polygon of 4 numbers", "3 points"]),
    "polygon outside": (first(segmentation=[[4, 6, 80, 6, 12, 11]]), [], [ONE, "polygon reaches", "cut it off"]),
    "polygon not nested": (first(segmentation=[4, 6, 12, 6, 12]), [], [ONE, "list of polygons: [[x1"]),
    "polygon of point pairs": (first(segmentation=[[[4, 6], [12, 6], [12, 11], [4, 11]]]), [], [ONE, "flat list [x1"]),
    "mask of another size": (mask(RUNS, (32, 24)), [], [ONE, "mask's size is [32, 24]", "[24, 32]"]),
    "mask with too few runs": (mask(RUNS[:-2]), [], [ONE, "mask's runs cover", "768"]),
    "mask with damaged text": (mask("j2~n"), [], [ONE, "no run-length encoding"]),
    "crowd flag wrong": (first(iscrowd=2), [], [ONE, "iscrowd is 2", "0 or 1"]),
    "annotation of an unknown image": (first(image_id=11), [], ["annotation 1000: image_id 11 is no image", "remove"]),
    "annotation id there twice": (more("annotations", **annotation(1000, 20)), [],
                                  ["annotation 1000 (image 20): the id is there twice", "unique"]),
    "image id there twice": (more("images", id=20, file_name="9.jpg", height=1, width=1), [], [TWO, "there twice"]),
    "image id a list": (sized(id=[20]), [], ["images[1]: id is [20]", "whole number"]),
    "image id a text beside numbers": (sized(id="x20"), [], ["images[1]: id is 'x20'", "whole number"]),
    "file listed twice": (sized(file_name="1.jpg"), [], [TWO, "1.jpg is image 10 too", "remove"]),
    "file name outside the folder": (sized(file_name="../1.jpg"), [], [TWO, "leaves the image folder", "relative"]),
    "image of another size": (sized(height=25), [], [TWO, "the image is 24x32 (H x W)", "says 25x32", "correct"]),
    "image turned": (put("coco/val/2.jpg", jpeg(image(1, 32, 24))), ["--check=size"],
                     [TWO, "the image is 32x24", "restore"]),
    "image missing": (remove("coco/val/2.jpg"), [], [TWO, "val/2.jpg does not exist", "restore it"]),
    "image empty": (put("coco/val/2.jpg", b""), [], [TWO, "empty (0 bytes)", "restore the file"]),
    "image truncated": (cut("coco/val/2.jpg", 0.7), [], [TWO, "truncated JPEG", "restore the file"]),
    "image is text": (put("coco/val/2.jpg", b"<html>"), ["--check=size"], [TWO, "not an image", "restore the file"]),
    "json truncated": (cut(JSON, 0.5), [], [f"{JSON}:", "not JSON", "may be truncated"]),
    "json a list of results": (put(JSON, b"[]"), [], ["looks like a file of results", "give the annotation file"]),
    "json an image": (put(JSON, b"\x89PNG\xff"), [], ["not a text file", "give a JSON file"]),
    "json missing": (remove(JSON), [], ["no such annotation file", "--instance_set"]),
    "json nested without end": (put(JSON, b"[" * 200000), [], [f"{JSON}: ", "nested too deep", "give a JSON file"]),
    "category called background": (data(lambda c: (c["categories"].append({"id": 5, "name": "background"}),
                                                   c["annotations"].append(annotation(5, 10, 5)))), [],
                                   ["categories[3]: the name 'background'", "rename it", "--coco_classes"]),
    "no categories": (without("categories"), [], ["has no list 'categories'", "images, annotations, categories"]),
    "no images": (data(lambda c: c["images"].clear()), [], ["'images' is empty", "restore"]),
    "category id there twice": (more("categories", id=3, name="x"), [], ["categories[3]: id 3", "unique"]),
    "class that the file lacks": (nothing, ["--coco_classes=background,cats"], ["'cats' is no category", "'cat'"]),
    "nothing good is left": (data(lambda c: c.update(annotations=[annotation(k, k, 99) for k in (10, 20, 30)])),
                             ["--on_bad=skip"], ["no usable annotation is left", "annotation 30 (image 30)"]),
    "root missing": (nothing, ["--coco_root=nowhere"], ["--coco_root=nowhere: no such folder"]),
    "image folder missing": (nothing, ["--image_dir=nowhere"], ["nowhere: No such file", "file names of"]),
    "text file with the coco layout": (nothing, ["--anno_path=txt/list.txt"],
                                       ["--anno_path belongs to --dataset=other"]),
    "no data": (nothing, ["--coco_root="], ["are missing", "--coco_root", "--ann_file"]),
    "no target": (nothing, ["--dst_path="], ["--dst_path is missing"]),
    "line with a box of four numbers": (line("2.jpg 1,2,3,4"), TXT, [LINE, "'1,2,3,4' is no box", "x1,y1,x2,y2,class"]),
    "line with an unknown class": (line("2.jpg 1,2,3,4,3"), TXT, [LINE, "class 3 is none of 1..2", "--num_classes"]),
    "line with a box outside": (line("2.jpg 30,2,40,4,1"), TXT, [LINE, "2.jpg: box 30,2,40,4 lies outside", "correct"]),
    "line with a missing image": (line("9.jpg 1,2,3,4,1"), TXT, [LINE, "9.jpg does not exist", "--image_dir"]),
    "text file empty": (put("txt/list.txt", b"\n"), TXT, ["list.txt: no usable line", "x1,y1,x2,y2,class"]),
    "text file without classes": (nothing, [*TXT, "--num_classes=0"], ["--num_classes=0", "number of classes"]),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """{case: finished process}; all cases run here, two at a time."""
    def run(name: str) -> subprocess.CompletedProcess:
        change, flags, _ = CASES[name]
        base = tmp_path_factory.mktemp("case")
        write_coco(base / "coco")
        write_txt(base / "txt")
        change(base)
        command = [sys.executable, str(TOOL), "--coco_root=coco", "--data_type=val", "--dst_path=r", *flags]
        done = subprocess.run(command, cwd=base, capture_output=True, text=True, timeout=120)
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
    assert done.left_behind == []
