"""postprocess.py on folders of results: the C++ program's, and the raw tensors of the model zoo's packages."""
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from postprocess import parse
from src.contract import InputError
from src.data.instance.target import to_rle
from src.metrics.coco_map import CocoMAP
from src.results import zoo_raw
from src.results.comparison import compare
from src.results.runs import open_runs
from src.results.score import score_coco, score_list
from tests.tiny_coco import HEIGHT, POLYGON, WIDTH, write_coco
from tests.tiny_seg import png, write_data

ROOT = Path(__file__).parents[2]
NAMES = ["background", "cat", "dog"]


def postprocess(results: str | Path, *flags: str, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, ROOT / "postprocess.py", f"--result_path={results}", *flags], cwd=cwd,
                          capture_output=True, text=True)


def index(folder: Path, task: str, images: dict[str, str | None], names: list[str] = NAMES) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "index.json").write_text(json.dumps({
        "format": "mindseg.results", "version": 1, "task": task, "model": "m", "class_names": names,
        "images": [{"file_name": n, "result": r, "error": None if r else "is empty"} for n, r in images.items()]}))
    return folder


def label_results(root: Path, *, names: int = 3) -> Path:
    """Label maps equal to the truth, but that the second image's upper half is 0, and the third's is missing."""
    from src.data.decode import decode_label

    results = root / "results"
    (results / "labels").mkdir(parents=True)
    for n in range(names):
        label = decode_label((root / f"labels/{n}.png").read_bytes()).copy()
        label[label == 255] = 0
        if n == 1:
            label[:6] = 0
        (results / f"labels/images__{n}.png").write_bytes(png(label))
    return index(results, "semantic", {f"images/{n}.jpg": f"labels/images__{n}.png" for n in range(names)})


def expected_miou(root: Path) -> float:
    truths = [cv2.imread(str(root / f"labels/{n}.png"), cv2.IMREAD_UNCHANGED) for n in range(3)]
    found = [truth.copy() for truth in truths]
    found[1][:6] = 0
    truth, found = np.stack(truths), np.stack(found)
    counted = truth != 255
    both = [((truth == k) & (found == k) & counted).sum() for k in range(3)]
    either = [(((truth == k) | (found == k)) & counted).sum() for k in range(3)]
    return float(np.mean(np.divide(both, either)))


def test_label_maps_against_a_list(tmp_path):
    data_lst = write_data(tmp_path, 3)
    numbers, statistics = score_list(str(label_results(tmp_path)), str(tmp_path), str(data_lst), num_classes=21,
                                     crop_size=513)
    assert statistics.numbers(np.ones((3, 1)))["miou",] == pytest.approx(numbers["miou"])
    assert numbers["miou"] == pytest.approx(expected_miou(tmp_path), abs=1e-9)
    assert 0.5 < numbers["miou"] < 1
    assert numbers["images"] == 3
    assert numbers["images_without_result"] == []
    assert list(numbers["iou"]) == NAMES


def test_the_script_prints_the_table_and_names_images_without_result(tmp_path):
    data_lst = write_data(tmp_path, 3)
    results = label_results(tmp_path, names=2)
    ran = postprocess(results, f"--data_root={tmp_path}", f"--data_lst={data_lst}", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert "3 labels: background" in lines[0]
    assert lines[1].split() == ["class", "IoU", "%"]
    assert lines[2].split()[0] == "background"
    assert lines[5].startswith("mean IoU 0.")
    assert lines[5].endswith("2 images")
    assert lines[6] == "1 images without a result did not count: ['images/2.jpg']"
    assert lines[7] == "95 % intervals: none, 2 images are too few"
    assert json.loads((results / "metrics.json").read_text())["images"] == 2


def test_folders_of_results_are_compared(tmp_path):
    """Two results of one val set, as the C++ program and predict.py write them."""
    data_lst, folders = write_data(tmp_path, 12), []
    truth = f"--data_root={tmp_path}", f"--data_lst={data_lst}"
    for name, right in (("a", 12), ("b", 4)):
        folders.append(tmp_path / name)
        (folders[-1] / "labels").mkdir(parents=True)
        for n in range(12):
            label = cv2.imread(str(tmp_path / f"labels/{n}.png"), cv2.IMREAD_UNCHANGED)
            label[label == 255] = 0
            (folders[-1] / f"labels/{n}.png").write_bytes(png(label if n < right else np.roll(label, 5, 1)))
        index(folders[-1], "semantic", {f"images/{n}.jpg": f"labels/{n}.png" for n in range(12)})
        ran = postprocess(folders[-1], *truth, "--bootstrap=200", cwd=tmp_path)
        assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1].startswith("95 % intervals: mean IoU 0.")
    numbers = [json.loads((folder / "metrics.json").read_text()) for folder in folders]
    assert numbers[1]["bootstrap"]["samples"] == 200
    found = compare(open_runs(list(map(str, folders))), samples=200, seed=1).whole["mean IoU"]
    assert [cell.value for cell in found] == pytest.approx([one["miou"] for one in numbers])
    assert found[1].difference_interval[1] < 0
    (folders[1] / "metrics.images.npz").unlink()
    with pytest.raises(InputError, match=f"python postprocess.py --result_path={folders[1]} VAL_DATA_FLAGS"):
        open_runs(list(map(str, folders)))


def raw_scores(labels: np.ndarray, side: int, classes: int) -> np.ndarray:
    """(K, S, S) float32 of a network that is sure of (h, w) `labels`, which lie at the top left."""
    scores = np.zeros((classes, side, side), np.float32)
    for k in range(classes):
        scores[k, :labels.shape[0], :labels.shape[1]] = labels == k
    return scores


def test_raw_scores_of_the_model_zoo(tmp_path):
    """16 x 12 images on a canvas of 32: twice the size, so the label map is the truth again."""
    data_lst = write_data(tmp_path, 3)
    (tmp_path / "raw").mkdir()
    for n in range(3):
        truth = cv2.imread(str(tmp_path / f"labels/{n}.png"), cv2.IMREAD_UNCHANGED)
        if n == 1:
            truth[:6] = 0
        raw_scores(truth.repeat(2, 0).repeat(2, 1), 32, 4).tofile(tmp_path / f"raw/{n}_0.bin")
    paths = str(tmp_path / "raw"), str(tmp_path), str(data_lst)
    numbers = score_list(*paths, num_classes=4, crop_size=32).numbers
    assert numbers["miou"] == pytest.approx(expected_miou(tmp_path), abs=1e-9)
    with pytest.raises(InputError, match=r"0_0.bin: has 16384 bytes, expected float32 21 x 513 x 513 .--num_classes"):
        score_list(*paths, num_classes=21, crop_size=513)
    for damaged, message in ((np.full((4, 32, 32), np.nan, np.float32), "1_0.bin: 4096 of its values are NaN"),
                             (np.zeros(0, np.float32), "1_0.bin: has 0 bytes, .*run the inference again")):
        damaged.tofile(tmp_path / "raw/1_0.bin")
        with pytest.raises(InputError, match=message):
            score_list(*paths, num_classes=4, crop_size=32)


DETECTION = {"label": 2, "category_id": 99, "score": 0.9, "bbox": [4, 6, 8, 5]}


def coco_results(root: Path, names: list[str], detections: dict[str, list]) -> str:
    results = index(root / "results", "instance", {f"{n}.jpg": f"detections/{n}.json" for n in detections}, names)
    (results / "detections").mkdir()
    for n, found in detections.items():
        (results / f"detections/{n}.json").write_text(json.dumps(
            {"file_name": f"{n}.jpg", "height": HEIGHT, "width": WIDTH, "detections": found}))
    return str(results)


def test_detections_against_coco(tmp_path):
    """The dogs of both images with boxes and masks, no cat: half of the classes at AP 1, the other at 0."""
    ann_file = write_coco(tmp_path)
    dog = DETECTION | {"segmentation": to_rle(POLYGON, (HEIGHT, WIDTH))}
    results = coco_results(tmp_path, ["background", "cat", "dog", "fish"], {"1": [dog], "2": [dog], "3": []})
    numbers = score_coco(results, str(ann_file), str(tmp_path / "val")).numbers
    assert numbers["classes"]["dog"]["bbox"] == numbers["classes"]["dog"]["segm"] == pytest.approx(1)
    assert numbers["bbox"]["AP"] == pytest.approx(0.5)
    assert numbers["images_without_prediction"] == []
    (tmp_path / "val").rename(tmp_path / "elsewhere")
    ran = postprocess(results, f"--ann_file={ann_file}", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "Evaluate annotation type *segm*" in ran.stdout
    assert "Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = 0.500" in ran.stdout


def test_classes_that_only_one_side_has(tmp_path):
    """The truth has cat, dog and fish (without objects); the model knows dog and cow, and finds both dogs and a cow."""
    ann_file = write_coco(tmp_path)
    dog = DETECTION | {"label": 1, "segmentation": to_rle(POLYGON, (HEIGHT, WIDTH))}
    found = {"1": [dog, dog | {"label": 2}], "2": [dog], "3": []}
    results = coco_results(tmp_path, ["background", "dog", "cow"], found)
    numbers = score_coco(results, str(ann_file), str(tmp_path / "val")).numbers
    assert {name: row["bbox"] for name, row in numbers["classes"].items()} == {
        "dog": pytest.approx(1), "cat": 0, "fish": None}
    assert numbers["bbox"]["AP"] == pytest.approx(0.5)
    assert numbers["detections_of_other_classes"] == 1
    ran = postprocess(results, f"--ann_file={ann_file}", f"--img_path={tmp_path / 'val'}", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "the model does not know 2 classes; their objects count as not found: cat, fish" in ran.stdout
    assert "has no classes cow; detections of them do not count" in ran.stdout
    assert "1 detections are of classes that the data does not have; they did not count" in ran.stdout
    others = coco_results(tmp_path / "b", ["background", "cow"], {"1": []})
    with pytest.raises(InputError, match="has none of the classes cow"):
        score_coco(others, str(ann_file), str(tmp_path / "val"))


def raw_detections(folder: Path, name: str, dtype: str, rows: list[tuple]) -> None:
    """(box with its last pixel, score, class without background, whether it counts), each with a mask that is full."""
    folder.mkdir(exist_ok=True)
    np.array([[*box, score] for box, score, _, _ in rows], dtype).tofile(folder / f"{name}_0.bin")
    np.array([[label] for *_, label, _ in rows], np.int32).tofile(folder / f"{name}_1.bin")
    np.array([[valid] for *_, valid in rows], bool).tofile(folder / f"{name}_2.bin")
    np.ones((len(rows), 28, 28), dtype).tofile(folder / f"{name}_3.bin")


@pytest.mark.parametrize("dtype", ["<f2", "<f4"])
def test_raw_detections_of_the_model_zoo(dtype, tmp_path):
    """Categories count by id: 3 dog, 7 cat, 12 fish are classes 0, 1, 2. Boxes include their last pixel."""
    ann_file = write_coco(tmp_path)
    dog, wrong = ((4, 6, 11, 10), 0.9, 0, True), ((20, 1, 30, 9), 0.99, 0, False)
    for name in ("1", "2"):
        raw_detections(tmp_path / "raw", name, dtype, [wrong, dog])
    raw_detections(tmp_path / "raw", "3", dtype, [])
    one = zoo_raw.instances(tmp_path / "raw", "1.jpg", 10, image_size=(HEIGHT, WIDTH))
    assert one.boxes_image.tolist() == [[4, 6, 12, 11]]
    assert one.labels.tolist() == [1]
    assert one.rles == [to_rle(POLYGON, (HEIGHT, WIDTH))]
    numbers = score_coco(str(tmp_path / "raw"), str(ann_file), str(tmp_path / "val")).numbers
    assert numbers["classes"]["dog"]["segm"] == numbers["classes"]["dog"]["bbox"] == pytest.approx(1)
    assert numbers["classes"]["cat"]["bbox"] == 0
    assert numbers["images_without_prediction"] == []
    assert score_coco(str(tmp_path / "raw"), str(ann_file), "").numbers == numbers  # without the images
    (tmp_path / "raw/1_2.bin").write_bytes(b"\1")
    with pytest.raises(InputError, match="1_2.bin: 1 rows, 1_1.bin has 2"):
        score_coco(str(tmp_path / "raw"), str(ann_file), str(tmp_path / "val"))
    (tmp_path / "raw/1_3.bin").unlink()
    with pytest.raises(InputError, match="1_3.bin: does not exist"):
        score_coco(str(tmp_path / "raw"), str(ann_file), str(tmp_path / "val"))


@pytest.mark.parametrize(("output", "place", "damaged", "message"), [
    (0, 0, np.nan, "1_0.bin: 1 of its values are NaN or infinite.*run the inference again"),
    (0, 4, np.nan, "1_0.bin: 1 of its values are NaN"), (3, 7, np.inf, "1_3.bin: 1 of its values are NaN"),
    (0, None, None, "1_0.bin: 0 bytes are not float16 or float32 .*run the inference again"),
    (1, None, None, "1_0.bin: 40 bytes are not float16 .*run the inference again"),
    (2, None, None, "1_2.bin: 0 rows, 1_1.bin has 2.*run the inference again"),
    (3, None, None, "1_3.bin: 0 bytes are not float16 .*run the inference again")])
def test_raw_detections_that_are_damaged_are_named(output, place, damaged, message, tmp_path):
    """Values that are not finite count where their row does; an empty file is one of no row."""
    raw_detections(tmp_path, "1", "<f4", [((4, 6, 11, 10), 0.9, 0, True), ((1, 1, 5, 5), np.nan, 0, False)])
    assert len(zoo_raw.instances(tmp_path, "1.jpg", 1, image_size=(HEIGHT, WIDTH)).scores) == 1
    path = tmp_path / f"1_{output}.bin"
    values = np.fromfile(path, "<f4") if place is not None else np.zeros(0)
    if place is not None:
        values[place] = damaged
    values.tofile(path)
    with pytest.raises(InputError, match=message):
        zoo_raw.instances(tmp_path, "1.jpg", 1, image_size=(HEIGHT, WIDTH))


def test_a_wrong_image_folder_and_bad_entries(tmp_path):
    """What the message advises is known here: an image that is not there is left out with --on_bad=skip."""
    ann_file = write_coco(tmp_path)
    dog = DETECTION | {"segmentation": to_rle(POLYGON, (HEIGHT, WIDTH))}
    results = coco_results(tmp_path, ["background", "cat", "dog", "fish"], {"1": [dog], "2": [dog], "3": []})
    for wrong in ("annotations", "gone"):
        ran = postprocess(results, f"--ann_file={ann_file}", f"--img_path={tmp_path / wrong}", cwd=tmp_path)
        assert ran.returncode == 2
        assert f"--img_path={tmp_path / wrong}: " in ran.stderr
        assert "Trace" not in ran.stderr
    (tmp_path / "val/2.jpg").unlink()
    with pytest.raises(InputError, match=r"2.jpg does not exist [\s\S]*leave them out with --on_bad=skip"):
        score_coco(results, str(ann_file), str(tmp_path / "val"))
    ran = postprocess(results, f"--ann_file={ann_file}", f"--img_path={tmp_path}/val", "--on_bad=skip", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "left out, " in ran.stdout, ran.stderr
    assert "2.jpg does not exist" in ran.stdout, ran.stderr
    data_lst = write_data(tmp_path / "seg", 3)
    labels = str(label_results(tmp_path / "seg"))
    (tmp_path / "seg/images/2.jpg").unlink()
    flags = {"num_classes": 3, "crop_size": 9, "on_bad": "skip"}
    numbers = score_list(labels, str(tmp_path / "seg"), str(data_lst), **flags).numbers
    assert numbers["images"] == 2
    Path(labels, "labels/images__0.png").unlink()
    with pytest.raises(InputError, match="images__0.png: does not exist, though index.json names it; run"):
        score_list(labels, str(tmp_path / "seg"), str(data_lst), **flags)


def test_the_best_detections_of_a_raw_image_count(tmp_path):
    raw_detections(tmp_path, "a", "<f4", [((0, 0, 5, 5), k / 200, 0, True) for k in range(200)])
    scores = zoo_raw.instances(tmp_path, "x/a.b.jpg", 1, image_size=(20, 20)).scores
    assert len(scores) == 128
    assert scores[0] == np.float32(199 / 200)
    assert scores[-1] == np.float32(72 / 200)


def test_what_is_wrong_is_named(tmp_path):
    data_lst, ann_file = str(write_data(tmp_path / "seg", 2)), str(write_coco(tmp_path / "coco"))
    semantic = str(tmp_path / "seg"), data_lst
    instance = ann_file, str(tmp_path / "coco/val")
    shape = {"num_classes": 21, "crop_size": 513}
    (tmp_path / "void").mkdir()
    with pytest.raises(InputError, match="no such folder"):
        score_list(str(tmp_path / "gone"), *semantic, **shape)
    with pytest.raises(InputError, match="neither index.json nor NAME_0.bin"):
        score_coco(str(tmp_path / "void"), *instance)
    other = str(index(tmp_path / "a", "instance", {"x.jpg": None}))
    with pytest.raises(InputError, match="task instance; score them with --ann_file"):
        score_list(other, *semantic, **shape)
    with pytest.raises(InputError, match="none of its results belongs to an image of"):
        score_coco(other, *instance)
    (tmp_path / "b").mkdir()
    with pytest.raises(InputError, match="none of its results belongs to an image of"):
        score_list(str(index(tmp_path / "b", "semantic", {"images/0.jpg": None})), *semantic, **shape)
    (tmp_path / "b/x.png").write_bytes(b"cut")
    with pytest.raises(InputError, match="x.png: .*delete it and run the inference again"):
        score_list(str(index(tmp_path / "b", "semantic", {"images/0.jpg": "x.png"})), *semantic, **shape)
    strange = coco_results(tmp_path / "d", ["background", "wolf"], {"1": []})
    with pytest.raises(InputError, match="none of the classes"):
        score_coco(strange, *instance)
    (tmp_path / "b/index.json").write_text("{}")
    with pytest.raises(InputError, match="is no index of results"):
        score_list(str(tmp_path / "b"), *semantic, **shape)


@pytest.mark.parametrize(("flags", "message"), [
    ([], "give either --data_root and --data_lst, or --ann_file"),
    (["--data_lst=l", "--ann_file=a"], "give either"), (["--data_lst=l"], "--data_root is missing"),
    (["--img_path=a"], "--ann_file is missing"), (["--data_list=l"], "did you mean --data_lst")])
def test_flags(flags, message, capsys):
    with pytest.raises((InputError, SystemExit)) as stopped:
        parse(flags)
    assert message in str(stopped.value) + capsys.readouterr().err


@pytest.mark.slow
def test_tables_are_those_of_evaluation():
    """One layout: what eval.py prints and what is printed here."""
    from src.deeplabv3.task import DeepLabV3Task
    from src.maskrcnn.task import MaskRCNNTask
    from src.metrics import tables

    miou = {"iou": {"cat": 0.5, "dog": None}, "miou": 0.5, "pixel_accuracy": 0.9, "mean_accuracy": 0.8, "images": 7}
    assert tables.miou_table(miou) == DeepLabV3Task.describe(None, miou)
    coco = CocoMAP().compute() | {"images_without_prediction": [3], "images_without_masks": 2, "classes": {
        "cat": {"instances": 3, "bbox": 0.25, "segm": None}}}
    task = SimpleNamespace(config=SimpleNamespace(eval_max_detections=300))
    assert tables.coco_table(coco, 300) == MaskRCNNTask.describe(task, coco)
