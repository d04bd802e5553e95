"""The data doctor on instances: every number of data whose answers are known, and what it makes of them."""
import cv2
import numpy as np
import pytest

from src.doctor.data.checkup import examine
from src.doctor.finding import FAILURE, OK, WARNING
from src.maskrcnn.config import MaskRCNNConfig
from tests.doctor.data.shapes import picture, rectangle, write_instances, write_split


def checkup(root, decode=-1, **changes):
    given = {"coco_root": str(root), "train_data_type": "train", "val_data_type": "val", "img_height": 64,
             "img_width": 96, "workers": 1} | changes
    return examine(MaskRCNNConfig(**given), decode=decode)


def found(done, check: str) -> list:
    return [finding for finding in done.findings if finding.check == check]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return checkup(write_instances(tmp_path_factory.mktemp("plain")))


def test_images_and_their_sizes(plain):
    images = plain.facts["splits"]["train"]["images"]
    assert images["height"] == {"min": 64, "5%": 64, "median": 64, "95%": 64, "max": 64}
    assert (images["sizes"], images["most_frequent"], images["portrait"]) == (1, [[64, 96, 3]], 0)
    assert (images["kinds"], images["channels"]) == ({"PNG": 3}, {"colour": 3})
    assert (images["bits"], images["orientations"]) == ({"8": 3}, {"1": 3})


def test_objects_classes_crowds_and_images_without_any(plain):
    part = plain.facts["splits"]["train"]["instances"]
    assert (part["objects"], part["crowds"], part["crowd_share"], part["without_objects"]) == (3, 1, 0.25, 1)
    assert part["classes"] == {"cat": {"objects": 2, "images": 1}, "dog": {"objects": 1, "images": 1}}
    assert part["per_image"]["max"] == 2
    assert plain.facts["splits"]["val"]["instances"]["classes"]["dog"] == {"objects": 0, "images": 0}
    assert [f.text for f in found(plain, "val: classes")] == ["no object of dog"]


def test_colours_are_those_of_the_pixels(plain):
    rows = np.concatenate([picture(seed)[::4, :, ::-1].reshape(-1, 3) for seed in (1, 2, 3)]).astype(float)
    pixels = plain.facts["splits"]["train"]["pixels"]
    np.testing.assert_allclose(pixels["mean"], rows.mean(0), atol=0.01)
    np.testing.assert_allclose(pixels["std"], rows.std(0), atol=0.01)
    assert (pixels["looked_at"], pixels["images"]) == ("all", 3)


def test_slots_and_detections(tmp_path):
    many = [rectangle(k, 1, [2 * k, 3, 9, 9]) for k in range(1, 31)]
    write_split(tmp_path, "train", many, {"a.png": picture(1), "b.png": picture(2)})
    write_split(tmp_path, "val", many[:7], {"c.png": picture(3)})
    done = checkup(tmp_path, max_instance_count=10, test_max_per_img=6)
    part = done.facts["splits"]
    assert part["train"]["instances"]["above_max_instance_count"] == {"limit": 10, "images": 1, "objects": 20}
    assert part["val"]["instances"]["above_test_max_per_img"] == {"limit": 6, "images": 1, "objects": 1}
    assert (found(done, "slots")[0].level, found(done, "detections")[0].level) == (WARNING, WARNING)
    proposed = {proposal.key: proposal.proposed for proposal in done.proposals}
    assert (proposed["max_instance_count"], proposed["test_max_per_img"]) == (32, 50)


def test_a_single_crowded_image_does_not_decide_the_slots(tmp_path):
    crowded = [rectangle(k, 1, [k, 3, 9, 9]) for k in range(1, 41)]
    others = [rectangle(100 + k, k, [3, 3, 30, 30]) for k in range(2, 6)]
    write_split(tmp_path, "train", crowded + others, {f"{k}.png": picture(k) for k in range(1, 6)})

    def slots(now: int) -> list:
        return [p.proposed for p in checkup(tmp_path, max_instance_count=now).proposals
                if p.key == "max_instance_count"]

    assert slots(30) == [40]  # ten more hold all objects
    assert slots(39) == [40]
    assert slots(128) == []
    assert slots(160) == [40]


def test_sizes_are_measured_in_the_input_and_anchors_fitted(tmp_path):
    boxes = [rectangle(1, 1, [0, 0, 1, 1]), rectangle(2, 1, [32, 16, 16, 16]), rectangle(3, 1, [0, 16, 32, 32])]
    write_split(tmp_path, "train", boxes, {"a.png": picture(1, 128, 192)})
    write_split(tmp_path, "val", boxes, {"c.png": picture(3, 128, 192)})
    part = checkup(tmp_path, anchor_scales=[2.0], anchor_ratios=[1.0]).facts["splits"]["train"]["instances"]
    assert (part["vanish"], part["below_a_cell"]) == (1, 0)  # half a pixel wide; 8 and 16 pixels
    # Anchors of 8 and 16 pixels are centred on corners of cells, as both boxes are: on (20, 12) and on (8, 16).
    assert part["anchors"]["mean_best_iou"] == 1.0
    wrong = checkup(tmp_path, anchor_scales=[32.0], anchor_ratios=[1.0])
    assert wrong.facts["splits"]["train"]["instances"]["anchors"]["unreached"] == {"0.5": 1.0, "0.7": 1.0}
    assert found(wrong, "anchors")[0].level == WARNING
    assert "anchor_scales" in {proposal.key for proposal in wrong.proposals}


def test_boxes_that_contradict_their_masks_overlaps_and_twins(tmp_path):
    off = rectangle(1, 1, [0, 0, 20, 20]) | {"bbox": [0, 0, 40, 20]}
    twins = [rectangle(2, 2, [10, 10, 20, 20]), rectangle(3, 2, [10, 10, 20, 20])]
    half = [rectangle(4, 3, [10, 10, 20, 20]), rectangle(5, 3, [20, 10, 40, 20], 2)]
    write_split(tmp_path, "train", [off, *twins, *half], {f"{k}.png": picture(k) for k in (1, 2, 3)})
    write_split(tmp_path, "val", [rectangle(1, 1, [5, 5, 32, 32])], {"v.png": picture(4)})
    done = checkup(tmp_path)
    masks = done.facts["splits"]["train"]["instances"]["masks"]
    assert masks["box_contradicts"]["examples"] == [{"image": "1.png", "annotation": 1}]
    assert [entry["annotation"] for entry in masks["twice"]["examples"]] == [2, 3]
    assert [entry["annotation"] for entry in masks["covered"]["examples"]] == [2, 3, 4, 5]  # 1, 1, 1/2, 1/4 of them
    assert len(found(done, "train: masks")) == 3


def test_leaks_and_duplicates_exact_and_near(tmp_path):
    write_split(tmp_path, "train", [rectangle(1, 1, [0, 0, 20, 20])],
                {"a.png": picture(1), "b.png": picture(2), "c.png": picture(2), "d.png": picture(3)})
    brighter = np.clip(picture(3).astype(int) + 4, 0, 255).astype(np.uint8)
    write_split(tmp_path, "val", [rectangle(1, 1, [5, 5, 32, 32])], {"e.png": picture(1), "f.png": brighter})
    done = checkup(tmp_path)
    copies = done.facts["copies"]
    assert copies["exact_across"]["examples"] == [["train: a.png", "val: e.png"]]
    assert copies["exact_within"]["examples"] == [["train: b.png", "train: c.png"]]
    assert copies["near_across"]["examples"] == [["train: d.png", "val: f.png"]]
    assert [f.level for f in found(done, "leaks")] == [FAILURE, WARNING]
    headers = checkup(tmp_path, decode=0).facts["copies"]
    assert headers["exact_across"]["count"] == 1, "files of one size are compared without decoding"
    assert headers["looked_at"] == {"exact": "all", "near": "not looked at"}


def test_without_decoding_nothing_is_said_of_pixels(tmp_path):
    done = checkup(write_instances(tmp_path), decode=0)
    pixels = done.facts["splits"]["train"]["pixels"]
    assert (pixels["looked_at"], pixels["images"], pixels["mean"]) == ("not looked at", 0, None)
    assert found(done, "colours")[0].text == "not looked at, because no image was decoded"
    assert "not looked at" in found(done, "train: files")[0].text
    assert checkup(tmp_path, decode=2).facts["splits"]["train"]["pixels"]["looked_at"] == "sampled"


def test_exif_bit_depths_and_images_that_are_not_read(tmp_path):
    root = write_instances(tmp_path)
    cv2.imwrite(str(root / "train/a.png"), (picture(1).astype(np.uint16) << 4)[..., 0])
    cv2.imwrite(str(root / "train/b.png"), picture(2, 32, 32))
    (root / "train/c.png").write_bytes(b"no image")
    done = checkup(root)
    part = done.facts["splits"]["train"]
    assert part["images"]["bits"] == {"8": 1, "16": 1}
    assert part["pixels"]["samples_of_16_bits"][1] < 4096
    assert found(done, "train: bit depth")[0].remedy == "train with --bit_depth=12"
    assert part["unusable"]["count"] == 2
    assert "32x32 (H x W), its annotation says 64x96" in part["unusable"]["examples"][0]
    assert "is not an image" in part["unusable"]["examples"][1]
    assert {"on_bad": "skip", "bit_depth": 12}.items() <= {p.key: p.proposed for p in done.proposals}.items()


def test_a_split_of_crowds_teaches_nothing(tmp_path):
    write_split(tmp_path, "train", [rectangle(1, 1, [0, 0, 20, 20], iscrowd=1)], {"a.png": picture(1)})
    done = checkup(tmp_path)
    assert "0 objects of the classes and 1 crowd regions" in found(done, "train: objects")[0].text
    assert "no such annotation file" in done.facts["no_val"]


def test_processes_find_what_one_finds(tmp_path, monkeypatch):
    root = write_instances(tmp_path)
    alone = checkup(root).as_json()
    monkeypatch.setattr("src.doctor.data.look.FEW", 0)
    monkeypatch.setattr("src.doctor.data.look.BLOCK", 1)
    assert checkup(root, workers=2).as_json() == alone


def test_sound_data_has_no_warning_but_of_what_it_lacks(plain):
    assert {f.check for f in plain.findings if f.level != OK} == {"train: classes", "val: classes", "train: crowds",
                                                                     "anchors"}
