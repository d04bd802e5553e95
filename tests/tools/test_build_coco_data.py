"""The record builder of detection data as a process, and training batches from records and from their source."""
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from src.data.instance.coco import CocoDataset
from src.data.instance.target import categories_of, decode_target
from src.data.records.mindrecord import RecordDataset
from src.maskrcnn import COLUMNS
from src.maskrcnn.augmentation import TrainAugmentation
from src.maskrcnn.preprocess import Preprocess
from tests.tiny_coco import annotation, content, write_coco, write_txt

TOOL = Path("src/tools/build_coco_data.py").resolve()


def run(folder: Path, *flags: str) -> str:
    """Run the tool in `folder` and return what it says."""
    done = subprocess.run([sys.executable, str(TOOL), *flags], cwd=folder, capture_output=True, text=True,
                          env={**os.environ, "GLOG_v": "3"}, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_records_are_those_of_the_annotation_file(tmp_path):
    path = write_coco(tmp_path / "coco", content(5))
    text = run(tmp_path, "--coco_root=coco", "--data_type=val", "--dst_path=out/r", "--num_shards=2", "--verify")
    assert "5 images, classes: background, dog, cat, fish" in text
    assert "out/r: 5 records are as they were written" in text
    records, dataset = RecordDataset(tmp_path / "out/r"), CocoDataset(path, tmp_path / "coco/val")
    for ours, theirs in zip(records.rows(range(5)), dataset.rows(range(5)), strict=True):
        assert (ours.image_id, ours.file_name, ours.image, ours.target) == (
            theirs.image_id, theirs.file_name, theirs.image, theirs.target)
    assert categories_of(records) == dataset.categories
    assert records.manifest.histogram == {1: 4, 2: 4}


def test_bad_images_are_left_out_and_listed(tmp_path):
    data = content(5)
    data["annotations"].append(annotation(1, 20, bbox=[30, 0, 9, 9]))
    write_coco(tmp_path / "coco", data)
    (tmp_path / "coco/val/3.jpg").write_bytes((tmp_path / "coco/val/3.jpg").read_bytes()[:-60])
    text = run(tmp_path, "--ann_file=coco/annotations/instances_val.json", "--dst_path=r", "--on_bad=skip")
    assert "left out 2 bad entries, 4 images remain" in text
    assert "annotation 1 (image 20): bbox" in text
    assert "image 30: 3.jpg: image is a damaged" in text
    assert [record.image_id for record in RecordDataset(tmp_path / "r").rows(range(4))] == [10, 20, 40, 50]
    assert len(json.loads((tmp_path / "r.manifest.json").read_text())["bad"]) == 2


def test_text_file(tmp_path):
    write_txt(tmp_path / "txt")
    run(tmp_path, "--dataset=other", "--anno_path=txt/list.txt", "--image_dir=txt/images",
        "--coco_classes=background,cat,dog", "--dst_path=r")
    records = list(RecordDataset(tmp_path / "r").rows(range(3)))
    assert [record.image_id for record in records] == [1, 2, 3]
    target = decode_target(records[0].target)
    assert target.categories == ((1, 1, "cat"), (2, 2, "dog"))
    assert target.labels.tolist() == [1, 2]


def test_training_from_the_file_and_from_records_is_the_same(tmp_path):
    """Batch by batch and bit by bit, over two epochs; and as the columns of the network's contract."""
    from src.data.pipeline import training_batches
    from src.data.records.mindrecord import build

    dataset = CocoDataset(write_coco(tmp_path / "coco", content(5)), tmp_path / "coco/val")
    build(dataset, tmp_path / "r")
    augmentation = TrainAugmentation(Preprocess((64, 96), (1.0, 2.0, 3.0), (4.0, 5.0, 6.0)), 4, max_instances=3,
                                     mask_side=8)
    batches = []
    for data in (dataset, RecordDataset(tmp_path / "r")):
        loaded = training_batches(data, augmentation=augmentation, columns=COLUMNS, seed=1, epochs=2, batch_size=2)
        batches.append(list(loaded.create_dict_iterator(num_epochs=1, output_numpy=True)))
    assert len(batches[0]) == 4
    for ours, theirs in zip(*batches, strict=True):
        assert tuple(ours) == COLUMNS
        for name in COLUMNS:
            np.testing.assert_array_equal(ours[name], theirs[name])
    shapes = {name: (value.shape, value.dtype.name) for name, value in batches[0][0].items()}
    assert shapes == {
        "image": ((2, 3, 64, 96), "float32"), "image_size": ((2, 2), "float32"), "gt_boxes": ((2, 3, 4), "float32"),
        "gt_labels": ((2, 3), "int32"), "gt_valid": ((2, 3), "bool"), "gt_ignore": ((2, 3), "bool"),
        "gt_masks": ((2, 3, 8, 8), "uint8"), "gt_has_mask": ((2, 3), "bool"), "sample_id": ((2,), "int32"),
        "epoch": ((2,), "int32")}


@pytest.mark.parametrize(("split", "images"), [("train2017", 92), ("val2017", 66)])
def test_real_images_take_the_room_of_their_files(shared, tmp_path, split, images):
    """Allocated size of the records: within a tenth of images and annotations."""
    root = shared / "data/coco_open"
    run(tmp_path, f"--coco_root={root}", f"--data_type={split}", "--dst_path=r")
    assert len(RecordDataset(tmp_path / "r")) == images
    given = sum(path.stat().st_size for path in (root / split).iterdir())
    given += (root / f"annotations/instances_{split}.json").stat().st_size
    assert sum(path.stat().st_blocks * 512 for path in tmp_path.glob("r*")) <= 1.1 * given
