"""Which files a split comes from, and what is said of files that are left over."""
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
