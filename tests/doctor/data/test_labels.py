"""The data doctor on label maps: every number of data whose answers are known, and what it makes of them."""
import cv2
import numpy as np
import pytest

from src.deeplabv3.config import DeepLabV3Config
from src.doctor.data.checkup import examine
from src.doctor.finding import FAILURE, WARNING
from tests.doctor.data.shapes import HEIGHT, WIDTH, write_labels

PIXELS, OBJECT, IGNORED = 2 * HEIGHT * WIDTH, 2 * 12 * 12, 2 * WIDTH


def checkup(root, decode=-1, **changes):
    given = {"data_root": str(root), "data_lst": str(root / "train.txt"), "num_classes": 3, "crop_size": 97,
             "workers": 1} | changes
    return examine(DeepLabV3Config(**given), decode=decode)


def found(done, check: str) -> list:
    return [finding for finding in done.findings if finding.check == check]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    root = tmp_path_factory.mktemp("plain")
    write_labels(root)
    write_labels(root, ["v"], 7, "val.txt")
    return checkup(root, val_data_lst=str(root / "val.txt"))


def test_pixels_by_class_and_ignored(plain):
    labels = plain.facts["splits"]["train"]["labels"]
    counted = PIXELS - IGNORED
    assert labels["classes"] == {
        "class_0": {"pixels": counted - OBJECT, "share": round((counted - OBJECT) / counted, 6), "images": 2},
        "class_1": {"pixels": OBJECT, "share": round(OBJECT / counted, 6), "images": 2},
        "class_2": {"pixels": 0, "share": 0.0, "images": 0}}
    assert labels["ignored_share"] == round(IGNORED / PIXELS, 6)
    assert (labels["looked_at"], labels["labels"], labels["wholly_ignored"]) == ("all", 2, 0)
    assert plain.facts["splits"]["val"]["labels"]["classes"]["class_1"]["pixels"] == OBJECT // 2
    assert found(plain, "train: classes")[0].text == "no pixel of class_2 in 2 labels"


def test_regions_by_size(plain):
    regions = plain.facts["splits"]["train"]["labels"]["regions"]["classes"]
    assert regions["class_1"] == {"regions": 2, "below_a_cell": 2, "vanish": 0, "below_share": 1.0}  # 12 pixels of 16
    assert regions["class_0"]["below_a_cell"] == 0
    assert "class_1 (100 % of its pixels" in found(plain, "small regions")[0].text


def test_a_rare_class_gets_a_weight(tmp_path):
    write_labels(tmp_path)
    done = checkup(tmp_path, num_classes=2)
    proposal = next(p for p in done.proposals if p.key == "class_weights")
    frequency = np.array([1 - OBJECT / (PIXELS - IGNORED), OBJECT / (PIXELS - IGNORED)])
    np.testing.assert_allclose(proposal.proposed, np.clip(np.median(frequency) / frequency, 0.1, 10), atol=1e-3)


def test_values_that_are_no_class(tmp_path):
    write_labels(tmp_path, value=5)
    done = checkup(tmp_path)
    assert done.facts["splits"]["train"]["labels"]["other_values"] == {"5": 2}
    assert found(done, "train: labels")[0].level == FAILURE
    assert {p.key: p.proposed for p in done.proposals}["num_classes"] == 6
    mapped = checkup(tmp_path, label_map="5:1", num_classes=2)
    assert mapped.facts["splits"]["train"]["labels"]["classes"]["class_1"]["pixels"] == OBJECT


def test_masks_of_0_and_255_are_refused_as_training_refuses_them(tmp_path):
    write_labels(tmp_path, value=255)
    done = checkup(tmp_path, num_classes=2)
    assert "all pixels of 2 labels are 0" in found(done, "train: labels")[0].text


@pytest.mark.parametrize(("value", "num_classes", "label_map"), [(255, 2, "255:1"), (254, 2, "254:1"),
                                                                 (26, 19, "cityscapes"), (26, 2, "26:1")])
def test_another_numbering_is_proposed_as_a_map_that_training_takes(tmp_path, value, num_classes, label_map):
    write_labels(tmp_path, value=value)
    done = checkup(tmp_path, num_classes=num_classes)
    proposed = {p.key: p.proposed for p in done.proposals}
    assert proposed["label_map"] == label_map
    assert "num_classes" not in proposed
    mended = checkup(tmp_path, num_classes=num_classes, label_map=label_map, allow_single_class=num_classes == 19)
    assert not [finding for finding in found(mended, "train: labels") if finding.level == FAILURE]


def test_sizes_that_differ_are_found_with_and_without_decoding(tmp_path):
    write_labels(tmp_path)
    cv2.imwrite(str(tmp_path / "labels/a.png"), np.zeros((30, 40), np.uint8))
    for decode in (-1, 0):
        unusable = checkup(tmp_path, decode).facts["splits"]["train"]["unusable"]
        assert unusable["count"] == 1
        assert "the image is 64x96 (H x W), its label is 30x40" in unusable["examples"][0]


def test_the_canvas_that_shrinks_images(tmp_path):
    write_labels(tmp_path)
    done = checkup(tmp_path, crop_size=49)
    assert found(done, "crop")[0].level == WARNING
    assert {p.key: p.proposed for p in done.proposals}["eval_crop_size"] == 97
    padded = checkup(tmp_path, crop_size=513)
    assert "mostly padding" in found(padded, "crop")[0].text
    assert {p.key: p.proposed for p in padded.proposals}["crop_size"] == 97


def test_frames_of_one_video_in_both_splits(tmp_path):
    for name, number in (("train.txt", 10), ("val.txt", 11)):
        write_labels(tmp_path, [f"drive_{number:06d}"], 1, name)
    shifted = cv2.imread(str(tmp_path / "images/drive_000010.png"))
    cv2.imwrite(str(tmp_path / "images/drive_000011.png"), np.roll(shifted, 4, 1))
    copies = checkup(tmp_path, val_data_lst=str(tmp_path / "val.txt")).facts["copies"]
    assert copies["frames_across"]["count"] == 1


def test_the_training_list_is_no_validation_split(tmp_path):
    write_labels(tmp_path)
    done = checkup(tmp_path)
    assert list(done.facts["splits"]) == ["train"]
    assert found(done, "val")[0].level == WARNING
