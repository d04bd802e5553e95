"""eval.py of a checkpoint, predict.py with postprocess.py, and the C++ program with its export: the same numbers.

The weights are random. So that the numbers are neither 0 nor 1, the truth is what the checkpoint itself predicts, with
changes.
"""
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from src.data.decode import decode_image
from src.data.practice.sample_set import write_sample_set
from tests.exporting.test_export import save_checkpoint
from tests.maskrcnn.test_task import SHAPES, TINY

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]

IN_MINDSPORE = "--inference_engine=mindspore"  # as eval.py by default: equal to the last digit

@pytest.fixture
def run(tmp_path):
    """Run a script of the project in a folder with the practice set in `set`."""
    write_sample_set(tmp_path / "set", train=1, val=12)
    outer = {k: v for k, v in os.environ.items() if k != "MS_LITE_HOME"}
    outer |= {"DEVICE_TYPE": "CPU", "PYTHON": sys.executable}

    def run(*words) -> None:
        program = [sys.executable] if words[0].endswith(".py") else ["bash"]
        done = subprocess.run([*program, ROOT / words[0], *map(str, words[1:])], cwd=tmp_path, env=outer, text=True,
                              capture_output=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    return run


def numbers(path: Path) -> dict:
    return json.loads(path.read_text())


def without_origin(evaluation: dict) -> dict:
    """The numbers and their intervals, without what eval.py says of the checkpoint."""
    more = ("checkpoint", "inference_engine", "configuration")
    return {k: v for k, v in evaluation.items() if k not in more}


@pytest.mark.parametrize(("mode", "crop_size", "count"), [
    ((), 129, 12), (("--eval_mode=slide", "--slide_stride=40"), 97, 4)], ids=["whole", "slide"])
def test_mean_iou(mode, crop_size, count, run, program, tmp_path):
    from src.deeplabv3.config import DeepLabV3Config
    from src.deeplabv3.task import DeepLabV3Task

    task = DeepLabV3Task(DeepLabV3Config(device_target="CPU", backbone="resnet18", crop_size=crop_size, num_classes=4))
    images = sorted((tmp_path / "set/JPEGImages").iterdir())[1:][:count]
    inputs = np.stack([task.preprocess.fit(decode_image(image.read_bytes()), crop_size)[0] for image in images])
    save_checkpoint(task, tmp_path / "a.ckpt", balanced_on=inputs)
    run("predict.py", *images, "--model_path=a.ckpt", "--output_dir=p", "--batch_size=4", IN_MINDSPORE, *mode)
    rows = []
    for k, image in enumerate(images):
        label = cv2.imread(str(tmp_path / f"p/labels/{image.stem}.png"), cv2.IMREAD_UNCHANGED)
        assert len(np.unique(label)) > 1
        cv2.imwrite(str(tmp_path / f"set/{k}.png"), np.roll(label, label.shape[0] // 6, 0))
        rows.append(f"JPEGImages/{image.name} {k}.png\n")
    (tmp_path / "list.txt").write_text("".join(rows))
    run("eval.py", "--ckpt_path=a.ckpt", "--data_root=set", "--data_lst=list.txt", "--device_target=CPU",
        "--batch_size=4", "--result_path=e.json", *mode)
    run("export.py", "--ckpt_file=a.ckpt", "--file_format=ONNX", "--device_target=CPU", *mode)
    run("scripts/deeplabv3/run_infer_310.sh", "a.onnx", "set", "set", "list.txt")
    expected, got = numbers(tmp_path / "e.json"), numbers(tmp_path / "result_Files/metrics.json")
    assert 0.2 < expected["miou"] < 0.98
    run("postprocess.py", "--result_path=p", "--data_root=set", "--data_lst=list.txt")
    predicted = numbers(tmp_path / "p/metrics.json")
    assert predicted == without_origin(expected) | {"images_without_result": []}
    assert got["images"] == expected["images"] == len(images)
    assert got["miou"] == pytest.approx(expected["miou"], abs=0.0001)
    assert got["iou"] == pytest.approx(expected["iou"], abs=0.001)
    python, cpp = (np.concatenate([cv2.imread(f"{tmp_path}/{start}{image.stem}.png", cv2.IMREAD_UNCHANGED).ravel()
                                   for image in images]) for start in ("p/labels/", "result_Files/labels/JPEGImages__"))
    assert (python == cpp).mean() >= 0.9999


@pytest.mark.parametrize("mode", [(), ("--eval_mode=tiles", "--tile_size=80", "--tile_overlap=30")],
                         ids=["whole", "tiles"])
def test_average_precision(mode, run, program, tmp_path):
    from src.maskrcnn.config import MaskRCNNConfig
    from src.maskrcnn.task import MaskRCNNTask

    counts = {"test_max_per_img": 12, "rpn_max_num": 60, "rpn_nms_pre": 200, "test_score_thr": 0.0}
    truth = tmp_path / "set/annotations/instances_val2017.json"
    content = numbers(truth)
    by_name = {category["name"]: category["id"] for category in content["categories"]}
    config = MaskRCNNConfig(**TINY | counts | {"img_width": 128, "img_height": 128}, dataset="other", num_classes=6,
                            coco_classes=SHAPES, category_ids=(0, *(by_name[name] for name in SHAPES[1:])))
    save_checkpoint(MaskRCNNTask(config.completed()), tmp_path / "a.ckpt")
    flags = [f"--{name}={value}" for name, value in counts.items()] + ["--device_target=CPU", *mode]
    evaluate = ("eval.py", "--model=mask_rcnn_r50", "--ckpt_path=a.ckpt", "--coco_root=set", *flags)
    run(*evaluate, "--result_path=first.json")
    found = json.loads((tmp_path / "first.segm.json").read_text())
    boxes = [coco_mask.toBbox(d["segmentation"]).tolist() for d in found]
    kept = [(d, box) for d, box in zip(found, boxes) if min(box[2:]) > 4][::3]
    content["annotations"] = [
        {"id": k, "image_id": d["image_id"], "category_id": d["category_id"], "iscrowd": 0, "bbox": box,
         "area": box[2] * box[3], "segmentation": d["segmentation"]} for k, (d, box) in enumerate(kept, 1)]
    truth.write_text(json.dumps(content))
    run(*evaluate, "--result_path=e.json")
    run("export.py", "--ckpt_file=a.ckpt", "--file_format=ONNX", *flags)
    run("scripts/maskrcnn/run_infer_310.sh", "a.onnx", "set/val2017", truth)
    expected, got = numbers(tmp_path / "e.json"), numbers(tmp_path / "result_Files/metrics.json")
    for kind in ("bbox", "segm"):
        assert 0.05 < expected[kind]["AP"] < 0.98
        assert got[kind] == pytest.approx(expected[kind], abs=0.002), kind
    run("predict.py", "set/val2017", "--model_path=a.ckpt", "--output_dir=p", f"--ann_file={truth}", "--batch_size=2",
        IN_MINDSPORE, *mode)
    run("postprocess.py", "--result_path=p", f"--ann_file={truth}", "--img_path=set/val2017")
    assert numbers(tmp_path / "p/metrics.json") == without_origin(expected)
    for folder in ("p", "result_Files"):
        _coco_results_are_cocos(tmp_path / folder / "detections.json", truth, expected)


def _coco_results_are_cocos(path: Path, truth: Path, expected: dict) -> None:
    """pycocotools reads the file as it is, and finds the AP of boxes that eval.py found."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    gt = COCO(truth)
    theirs = COCOeval(gt, gt.loadRes(str(path)), "bbox")
    theirs.evaluate()
    theirs.accumulate()
    theirs.summarize()
    assert theirs.stats[0] == pytest.approx(expected["bbox"]["AP"], abs=0.002 if "result_Files" in str(path) else 1e-9)
