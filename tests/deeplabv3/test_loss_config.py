"""The keys of the loss: one form, refusals that say what to give, weights of classes from the labels."""
import re
from pathlib import Path

import numpy as np
import pytest

from src import tasks
from src.contract import InputError
from src.data.records.mindrecord import BuildOptions, build
from src.data.semantic.label_counts import median_frequency_weights
from src.data.semantic.voc import ListDataset, RecordCheck
from src.deeplabv3.loss_terms import read_terms
from src.engine.start import _check_settings
from tests.tiny_seg import jpeg, png


def load(*flags: str):
    return tasks.parse_settings(["--device_target=CPU", *flags], program="train.py", groups=("train",))


@pytest.mark.parametrize(("text", "expected"), [
    ("ce", ("ce:1",)), ("ce:1,dice:0.5", ("ce:1", "dice:0.5")), ("dice:0.50,ce:1.0", ("dice:0.5", "ce:1")),
    ("lovasz:1e-3", ("lovasz:0.001",))])
def test_terms_have_one_spelling(text, expected):
    assert load(f"--loss={text}").loss == expected


def test_the_published_loss_is_the_default():
    settings = load()
    assert read_terms(settings.loss) == {"ce": 1.0}
    assert (settings.class_weights, settings.label_smoothing, settings.auxiliary) == ((), 0.0, False)


@pytest.mark.parametrize("text", ["[ce:1, dice:0.5]", "{ce: 1, dice: 0.5}", "[ce, dice: 0.5]"])
def test_terms_in_a_preset(text, tmp_path):
    (tmp_path / "a.yaml").write_text(f"loss: {text}\n")
    assert load(f"--config={tmp_path / 'a.yaml'}").loss == ("ce:1", "dice:0.5")


def test_a_weight_of_the_auxiliary_head_adds_the_head():
    assert (load("--aux_weight=0.4").auxiliary, load("--aux_weight=0.4").aux_weight) == (True, 0.4)
    assert (load("--auxiliary").auxiliary_weight, load("--aux_weight=0.4").auxiliary_weight) == (0.5, 0.4)


@pytest.mark.parametrize(("flags", "message"), [
    ("--loss=dise", "--loss=['dise']: unknown loss 'dise'; did you mean dice? losses are ce, ohem, dice, lovasz"),
    ("--loss=ce,ce:2", "ce is given twice"),
    ("--loss=ce:0", "'ce:0' has the weight '0'; expected a number above 0"),
    ("--loss=ce:one", "'ce:one' has the weight 'one'; expected a number"),
    ("--loss=ce:inf", "expected a number above 0"),
    ("--loss=", "no loss; expected NAME:WEIGHT"),
    ("--class_weights=1,2", "2 class_weights for num_classes=21: expected one for each class, or median_frequency"),
    ("--class_weights=median", "--class_weights='median': expected a number above 0, or median_frequency alone"),
    ("--num_classes=2 --class_weights=1,-1", "expected a number above 0"),
    ("--num_classes=2 --class_weights=1,median_frequency", "give median_frequency alone, or numbers"),
    ("--loss=dice --label_smoothing=0.1", "label_smoothing has no effect on loss=dice:1; add ce or ohem"),
    ("--loss=dice --class_weights=median_frequency", "class_weights has no effect on loss=dice:1"),
    ("--label_smoothing=1", "less than 1"),
    ("--ohem_threshold=0.5", "ohem_threshold=0.5 has no effect on loss=ce:1; add ohem"),
    ("--loss=ohem --crop_size=161", "ohem_min_kept=100000 keeps every pixel of a crop of 161 x 161; give fewer"),
    ("--loss=ohem --ohem_threshold=1", "less than 1"),
    ("--aux_weight=-1", "greater than or equal to 0"),
    ("--aux_weight=0.3 --auxiliary=False", "aux_weight=0.3 has no effect with auxiliary=False")])
def test_refusals_name_value_and_way_out(flags, message):
    with pytest.raises(InputError, match=re.escape(message)):
        load(*flags.split())


def test_dice_with_an_auxiliary_head_takes_the_weights_of_its_cross_entropy():
    assert load("--loss=dice", "--aux_weight=0.4", "--label_smoothing=0.1").label_smoothing == 0.1


def test_median_frequency_of_literal_values():
    assert median_frequency_weights([0.5, 0.3, 0.2]) == (0.6, 1.0, 1.5)
    assert median_frequency_weights([0.9, 0.1, 0.0]) == (0.556, 5.0, 1.0)
    assert median_frequency_weights([100, 1, 100, 10_000]) == (1.0, 10.0, 1.0, 0.1)  # within limits


@pytest.fixture
def data(tmp_path):
    """Two images: 150 pixels of class 0, 36 of class 1, 6 of class 2, 192 ignored."""
    labels = np.zeros((2, 12, 16), np.uint8)
    labels[0, :, :3], labels[0, 0, 3:9] = 1, 2
    labels[1] = 255
    for i, label in enumerate(labels):
        (tmp_path / f"{i}.jpg").write_bytes(jpeg(np.zeros((12, 16, 3), np.uint8)))
        (tmp_path / f"{i}.png").write_bytes(png(label))
    (tmp_path / "list.txt").write_text("0.jpg 0.png\n1.jpg 1.png\n")
    return tmp_path


def test_weights_come_from_the_labels_and_from_the_histogram_of_records(data, caplog):
    flags = ["--num_classes=4", "--class_weights=median_frequency"]
    listed = load(*flags, f"--data_root={data}", f"--data_lst={data / 'list.txt'}")
    assert listed.class_weights == ("median_frequency",)  # as given, for --print_config
    with caplog.at_level("INFO"):
        found = tasks.with_conventions(listed).class_weights
    assert found == (0.24, 1.0, 6.0, 1.0)
    assert "class_0 0.24, class_1 1, class_2 6, class_3 1" in caplog.text
    check = RecordCheck(4, 255)
    build(ListDataset(data, data / "list.txt"), data / "records", BuildOptions(), check=check)
    records = load(*flags, f"--data_file={data / 'records'}")
    assert tasks.with_conventions(records).class_weights == found
    assert tasks.with_conventions(records).shaping()["class_weights"] == list(found)  # the compile cache's key


def test_weights_need_two_classes(data):
    (data / "list.txt").write_text("1.jpg 1.png\n")
    with pytest.raises(InputError, match="the training labels have 0 classes, and it needs two or more; leave it out"):
        tasks.with_conventions(load("--class_weights=median_frequency", f"--data_root={data}",
                                    f"--data_lst={data / 'list.txt'}"))


@pytest.mark.parametrize("known", [True, False], ids=["has the key", "is older than the key"])
def test_a_run_is_resumed_with_its_own_loss(known):
    before = load().model_dump(mode="json", exclude=set() if known else {"loss", "label_smoothing"})
    _check_settings(load(), before, Path("m-1_3.ckpt"))
    with pytest.raises(InputError, match=r"label_smoothing=0.1 \(was 0.0\)") as error:
        _check_settings(load("--loss=ce,dice:0.5", "--label_smoothing=0.1"), before, Path("m-1_3.ckpt"))
    assert "--loss=ce:1 --label_smoothing=0.0" in str(error.value)
