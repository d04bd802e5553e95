"""Which files a split comes from, what is said of files that are left over, and records of other classes."""
import pytest

from src.contract import InputError
from src.data.instance.coco import CocoDataset
from src.data.records.mindrecord import build
from src.maskrcnn.config import MaskRCNNConfig
from src.maskrcnn.splits import open_split
from tests.tiny_coco import content, write_coco


def test_image_files_that_no_entry_names_are_named(tmp_path, caplog):
    write_coco(tmp_path, content(), split="val")
    c = MaskRCNNConfig(coco_root=str(tmp_path), val_data_type="val")
    assert len(open_split(c, "val")) == 3
    assert not caplog.records
    for name in ("new.jpg", "another.jpg"):
        (tmp_path / "val" / name).write_bytes(b"")
    assert len(open_split(c, "val")) == 3
    message = caplog.messages[-1]
    assert "2 files" in message
    assert "(another.jpg, new.jpg)" in message
    assert "instances_val.json" in message


def test_an_annotation_file_wins_over_the_folder(tmp_path):
    path = write_coco(tmp_path / "own", content(2), split="val")
    c = MaskRCNNConfig(coco_root=str(tmp_path), ann_file=str(path))
    assert len(open_split(c, "val")) == 2


def test_skipping_leaves_out_images_that_cannot_be_read(tmp_path, caplog):
    write_coco(tmp_path, content(), split="val")
    path = tmp_path / "val/2.jpg"
    path.write_bytes(path.read_bytes()[:-20])
    c = MaskRCNNConfig(coco_root=str(tmp_path), val_data_type="val", on_bad="skip")
    assert [record.file_name for record in open_split(c, "val").rows([0, 1])] == ["1.jpg", "3.jpg"]
    assert "1 of 3 records are left out" in caplog.text


def test_training_from_records_reads_no_annotations(tmp_path):
    path = write_coco(tmp_path, content(), split="train")
    build(CocoDataset(path, tmp_path / "train"), tmp_path / "records")
    path.write_text("no JSON")
    c = MaskRCNNConfig(coco_root=str(tmp_path), data_file=str(tmp_path / "records"), train_data_type="train")
    c = c.completed()
    assert c.coco_classes == ("background", "dog", "cat", "fish")
    assert [row.image_id for row in open_split(c, "train").rows([2, 0])] == [30, 10]


@pytest.mark.parametrize(("chosen", "category_ids", "fits"), [
    (("dog", "cat", "fish"), (0, 3, 7, 12), True), (("dog", "cat"), (0, 3, 7), True),  # fish counts as not found
    (("cat", "dog", "fish"), (0, 7, 3, 12), False), (("dog", "wolf", "fish"), (0, 3, 7, 12), False),
    (("chien", "chat", "poisson"), (), True)])
def test_records_of_other_classes_are_refused(tmp_path, chosen, category_ids, fits):
    """The records have dog, cat and fish as 1, 2 and 3; without category ids somebody chose the names."""
    build(CocoDataset(write_coco(tmp_path), tmp_path / "val"), tmp_path / "r")
    c = MaskRCNNConfig(val_data_file=str(tmp_path / "r"), coco_classes=("background", *chosen),
                       category_ids=category_ids)
    if fits:
        assert len(open_split(c, "val")) == 3
    else:
        with pytest.raises(InputError, match=r"of the records is '\w+', that of the model '\w+'; build the records"):
            open_split(c, "val")
