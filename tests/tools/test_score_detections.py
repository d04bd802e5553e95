"""Results files scored against annotations: numbers of known detections, and what is refused."""
import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from src.contract import InputError
from src.data.instance.target import compress, to_rle
from src.tools.score_detections import parse_args, read_results
from tests.tiny_coco import HEIGHT, POLYGON, RUNS, WIDTH, content, write_coco

SCRIPT = Path(__file__).parents[2] / "src/tools/score_detections.py"


@pytest.fixture(scope="module")
def ann_file(tmp_path_factory) -> Path:
    return write_coco(tmp_path_factory.mktemp("coco"))


def run(*flags) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, SCRIPT, *map(str, flags)], capture_output=True, text=True)


def results(folder: Path, rows: list) -> Path:
    path = folder / "results.json"
    path.write_text(json.dumps(rows))
    return path


def boxes(**changes) -> list[dict]:
    return [{key: a[key] for key in ("image_id", "category_id", "bbox")} | {"score": 0.9} | changes
            for a in content()["annotations"]]


def average(text: str) -> str:
    """The number of the first line: AP."""
    return next(line for line in text.splitlines() if "IoU=0.50:0.95" in line).split(" = ")[1]


def test_the_truth_scores_one_for_boxes_and_masks(ann_file):
    ran = run(f"--ann_file={ann_file}", "--truth")
    parts = ran.stdout.split("Evaluate annotation type")
    assert [part.split("*")[1] for part in parts[1:]] == ["bbox", "segm"], ran.stderr
    assert [average(part) for part in parts[1:]] == ["1.000", "1.000"]


def test_a_results_file_counts_by_image_id(ann_file, tmp_path):
    rows = [row for row in boxes() if row["image_id"] == 10 or row["category_id"] == 3]  # one of two cats is missing
    rows.append(rows[0] | {"image_id": 99})
    ran = run(f"--ann_file={ann_file}", f"--results={results(tmp_path, rows)}")
    # Dogs 1.0; of the cats one in two is found: precision 1 up to recall 0.5, 51 of 101 places.
    assert average(ran.stdout) == f"{(1 + 51 / 101) / 2:.3f}", ran.stderr
    assert "predictions without truth: [99]" in ran.stdout
    assert "1 images without prediction: [30]" in ran.stdout


RLE = compress(RUNS, (HEIGHT, WIDTH))


def entry(**changes) -> str:
    """The text of a results file of a good detection and one with `changes`; a change to None leaves the key out."""
    good = {"image_id": 10, "category_id": 3, "score": 0.9, "bbox": [4, 6, 8, 5]}
    return json.dumps([good, {key: value for key, value in (good | changes).items() if value is not None}])


def mask(segmentation) -> str:
    """As `entry`, of two detections by masks."""
    rows = [{"image_id": 10, "category_id": 3, "score": 0.9, "segmentation": m} for m in (RLE, segmentation)]
    return json.dumps(rows)


# name: (text of the results file, words of the message)
BAD = {
    "object": ("{}", ["not detections", "must be a list"]),
    "damaged json": ('[{"image_id"', ["not JSON", "write the results again"]),
    "nested json": ("[" * 100_000, ["not JSON"]),
    "entry null": ("[null]", ["entry [0]: is None", "must be an object"]),
    "image id a text": (entry(image_id="10"), ["entry [1]: image_id is '10'", "whole number"]),
    "image id missing": (entry(image_id=None), ["entry [1]: image_id is None", "whole number"]),
    "unknown category": (entry(category_id=44), ["entry [1]: category_id is 44", "has [3, 7, 12]"]),
    "category a list": (entry(category_id=[3]), ["entry [1]: category_id is [3]"]),
    "score a text": (entry(score="high"), ["entry [1]: score is 'high'", "finite number"]),
    "score NaN": (entry(score=float("nan")), ["entry [1]: score is nan", "finite number"]),
    "score too large": (entry(score=10 ** 400), ["entry [1]: score is 1000", "finite number"]),
    "score missing": (entry(score=None), ["entry [1]: score is None", "finite number"]),
    "neither box nor mask": (entry(bbox=None), ["entry [1]: has neither bbox nor segmentation"]),
    "box of three numbers": (entry(bbox=[1, 2, 3]), ["entry [1]: bbox is [1, 2, 3]", "x, y, width, height"]),
    "box of negative side": (entry(bbox=[4, 6, -8, 5]), ["entry [1]: bbox is [4, 6, -8, 5]", "not negative"]),
    "masks in some": (entry(segmentation=RLE), ["entry [0] has no segmentation", "a file each"]),
    "boxes in some": (json.dumps([{"image_id": 10, "category_id": 3, "score": 0.9, "segmentation": RLE}
                                  | box for box in ({"bbox": [4, 6, 8, 5]}, {})]),
                      ["entry [1] has no bbox", "a file each"]),
    "mask null": (mask(None), ["entry [1]: segmentation is None", "run-length encoding"]),
    "mask a polygon": (mask(POLYGON), ["entry [1]: segmentation is [[4, 6, ", "run-length encoding"]),
    "mask damaged": (mask(RLE | {"counts": "j2~n"}), ["entry [1]: its counts are no run-length encoding"]),
    "mask without counts": (mask({"size": [HEIGHT, WIDTH]}), ["entry [1]: the mask's counts are neither"]),
    "mask cut off": (mask(RLE | {"counts": RLE["counts"][:-2]}), ["entry [1]: the mask's runs cover", "768"]),
    "mask of another size": (mask(compress(RUNS, (WIDTH, HEIGHT))),
                             ["entry [1]: the mask's size is [32, 24]", "[24, 32]"]),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_result_is_refused_with_file_and_entry(tmp_path, name):
    text, words = BAD[name]
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_results(str(path), {3: 2, 7: 1, 12: 3}, {10: (HEIGHT, WIDTH)})
    assert [w for w in [f"{path}: ", *words] if w not in str(caught.value)] == [], caught.value


def test_a_refusal_is_a_message_and_status_2(ann_file, tmp_path):
    path = tmp_path / "results.json"
    path.write_text(entry(score="high"))
    ran = run(f"--ann_file={ann_file}", f"--results={path}")
    assert ran.returncode == 2
    assert f"{path}: entry [1]: score is 'high'" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.stdout == ""


def test_masks_without_annotated_ones_are_refused(tmp_path):
    data = content()
    for one in data["annotations"]:
        one.pop("segmentation")
    (tmp_path / "results.json").write_text(mask(RLE))
    ran = run(f"--ann_file={write_coco(tmp_path, data)}", f"--results={tmp_path / 'results.json'}")
    assert ran.returncode == 2
    assert "masks cannot be scored: no object of the annotation file has one" in ran.stderr


def test_uncompressed_masks_count_as_compressed_ones(tmp_path):
    path = tmp_path / "results.json"
    path.write_text(mask({"size": [HEIGHT, WIDTH], "counts": RUNS}))
    [found] = read_results(str(path), {3: 2}, {10: (HEIGHT, WIDTH)})
    assert found.rles == [RLE, RLE]
    assert found.labels.tolist() == [2, 2]


def test_entries_with_box_and_mask_are_scored_for_both_as_pycocotools_does(ann_file, tmp_path):
    """Of image 10's two objects the dog's box is wrong and its mask right; the cat has both."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    rows = [{key: a[key] for key in ("image_id", "category_id", "bbox")} | {
        "score": 0.9, "segmentation": to_rle(a["segmentation"], (HEIGHT, WIDTH))} for a in content()["annotations"]]
    for row in rows:
        if row["category_id"] == 3:
            row["bbox"] = [0, 0, 32, 24]
    path = results(tmp_path, rows)
    ran = run(f"--ann_file={ann_file}", f"--results={path}")
    parts = ran.stdout.split("Evaluate annotation type ")[1:]
    assert [part.split("*")[1] for part in parts] == ["bbox", "segm"], ran.stderr
    assert [average(part) for part in parts] == ["0.500", "1.000"]
    assert "small, medium or large by the area of their boxes" in ran.stdout
    with contextlib.redirect_stdout(io.StringIO()):
        gt = COCO(ann_file)
        found = gt.loadRes(str(path))
    for part, kind in zip(parts, ("bbox", "segm")):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            theirs = COCOeval(gt, found, kind)
            theirs.evaluate()
            theirs.accumulate()
            theirs.summarize()
        lines = [line for line in printed.getvalue().splitlines() if " @[ " in line]
        assert [line for line in part.splitlines() if " @[ " in line] == lines


def test_flags_are_asked_for():
    for flags, words in (
            (["--truth"], "--ann_file is missing"),
            (["--ann_file=a.json"], "either --results"),
            (["--ann_file=a.json", "--results=,"], "either --results")):
        with pytest.raises(InputError, match=words):
            parse_args(flags)
    for number in (0, -3):
        with pytest.raises(SystemExit):
            parse_args(["--ann_file=a.json", "--truth", f"--max_detections={number}"])


def test_results_have_the_texts_that_the_annotation_file_has_as_ids(tmp_path):
    data, rows = content(), boxes()
    for entries, key in ((data["images"], "id"), (data["annotations"], "image_id"), (rows, "image_id")):
        for entry in entries:
            entry[key] = f"image-{entry[key]}"
    ran = run(f"--ann_file={write_coco(tmp_path, data)}", f"--results={results(tmp_path, rows)}")
    assert average(ran.stdout) == "1.000", ran.stderr


def test_sizes_that_annotations_lack_are_those_of_the_files_where_there_are_any(tmp_path):
    path, data = write_coco(tmp_path), content()
    for entry in data["images"]:
        del entry["height"], entry["width"]
    path.write_text(json.dumps(data))
    flags = f"--ann_file={path}", "--truth"
    assert average(run(*flags).stdout) == "1.000"
    (tmp_path / "val").rename(tmp_path / "elsewhere")
    assert "or --image_dir has to name the folder of the image files, which say it" in run(*flags).stderr
    assert average(run(*flags, f"--image_dir={tmp_path / 'elsewhere'}").stdout) == "1.000"


def test_bad_annotations_can_be_left_out(tmp_path):
    data = content()
    data["annotations"][0]["category_id"] = 77
    flags = f"--ann_file={write_coco(tmp_path, data)}", "--truth"
    assert "--on_bad=skip" in run(*flags).stderr
    assert average(run(*flags, "--on_bad=skip").stdout) == "1.000"
