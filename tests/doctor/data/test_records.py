"""The data doctor on MindRecords and text files: the same numbers as from the files that records were built from."""
import pytest

from src.data.instance.coco import CocoDataset
from src.data.records.mindrecord import build
from src.data.semantic.voc import ListDataset
from src.deeplabv3.config import DeepLabV3Config
from src.doctor.data.checkup import examine
from src.maskrcnn.config import MaskRCNNConfig
from tests.doctor.data.shapes import write_instances, write_labels
from tests.tiny_coco import write_txt


def numbers(given, *leave_out: str) -> dict:
    part = examine(given, decode=-1).facts["splits"]["train"]
    return {key: value for key, value in part.items() if key not in ("name", *leave_out)}


def test_records_of_instances(tmp_path):
    write_instances(tmp_path)
    build(CocoDataset(tmp_path / "annotations/instances_train.json", tmp_path / "train"), tmp_path / "records/train")
    files = MaskRCNNConfig(coco_root=str(tmp_path), train_data_type="train", val_data_type="val", workers=2)
    records = MaskRCNNConfig(data_file=str(tmp_path / "records/train"), workers=2)
    assert numbers(records) == numbers(files)


def test_records_of_label_maps(tmp_path):
    lst = write_labels(tmp_path)
    build(ListDataset(tmp_path, lst), tmp_path / "records/train")
    files = DeepLabV3Config(data_root=str(tmp_path), data_lst=str(lst), num_classes=2, workers=2)
    records = DeepLabV3Config(data_file=str(tmp_path / "records/train"), num_classes=2, workers=2)
    assert numbers(records) == numbers(files)


@pytest.mark.parametrize("class_map", ["order", "id"])
def test_class_maps(tmp_path, class_map):
    write_instances(tmp_path)
    given = MaskRCNNConfig(coco_root=str(tmp_path), train_data_type="train", val_data_type="val", workers=1,
                           class_map=class_map)
    done = examine(given, decode=-1)
    assert list(done.facts["splits"]["val"]["instances"]["classes"]) == ["cat", "dog"]
    assert done.settings.num_classes == 3


def test_text_files(tmp_path):
    given = MaskRCNNConfig(dataset="other", anno_path=str(write_txt(tmp_path)), image_dir=str(tmp_path / "images"),
                           num_classes=3, workers=1)
    part = numbers(given)
    assert (part["records"], part["instances"]["objects"], part["instances"]["without_objects"]) == (3, 3, 1)
    assert part["instances"]["masks"]["boxes_alone"] == 3
