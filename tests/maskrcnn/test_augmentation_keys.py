"""The keys of augmentation: off by default, obeyed by the training augmentation, and bad values are refused."""
import pytest

from src.config import build, parse
from src.contract import InputError
from src.maskrcnn.config import PRESETS, MaskRCNNConfig
from src.maskrcnn.memory import activation_bytes
from src.maskrcnn.published import feature_shapes

SMALL = {"coco_classes": ("background", "a"), "norm": "group", "freeze_at": 0}


def config(**values) -> MaskRCNNConfig:
    return build(MaskRCNNConfig, SMALL | values)


def augmentation(**values):
    from src.maskrcnn.task import MaskRCNNTask

    return MaskRCNNTask(config(**values)).train_augmentation()


def test_everything_is_off_by_default():
    one = augmentation()
    assert (one.scales, one.scale_limits, one.crop_size) == ((), (1, 1), None)
    assert (one.rotate_ratio, one.partner_ratio) == (0, 0)
    assert one.canvas == (768, 1280)


def test_the_augmentation_gets_what_is_asked_for():
    one = augmentation(train_scales=(0.5, 0.75, 1.0), crop_size=(320, 416), rotate_ratio=0.75, copy_paste_ratio=0.5)
    assert (one.scales, one.canvas, one.rotate_ratio, one.partner_ratio) == ((0.5, 0.75, 1), (320, 416), 0.75, 0.5)
    assert augmentation(min_scale=0.1, max_scale=2, crop_size=(512,)).scale_limits == (0.1, 2)
    assert augmentation(crop_size=(512,)).canvas == (512, 512)


def test_the_crop_is_the_input_of_training_alone():
    whole, cut = config(), config(crop_size=(320, 416))
    assert (cut.train_size, cut.input_size, whole.train_size) == ((320, 416), (768, 1280), (768, 1280))
    assert feature_shapes(cut)[0] == (80, 104)
    assert activation_bytes(cut) < activation_bytes(whole) / 2


@pytest.mark.parametrize(("flags", "said"), [
    (["--min_scale=2"], "min_scale=2 is above max_scale=1; exchange them"),
    (["--train_scales=0.5,1", "--max_scale=2"], "train_scales=0.5,1 beside min_scale=1 and max_scale=2: .* leave one"),
    (["--crop_size=320,400"], "crop_size=320,400: 400 is no multiple of 32; give 416"),
    (["--crop_size=1,2,3"], "--crop_size=.*at most 2"),
    (["--train_scales=0.5,-1"], "--train_scales=.*greater than 0"),
    (["--copy_paste_ratio=1.5"], "--copy_paste_ratio=1.5: input should be less than or equal to 1"),
    (["--rotate_ratio=-1"], "--rotate_ratio=-1: input should be greater than or equal to 0"),
    (["--copy_paste_ratio=0.5", "--dataset=other"], "copy_paste_ratio=0.5 with dataset=other: .* leave it out, or"),
    (["--repeat_factor_threshold=3"], "--repeat_factor_threshold=3: input should be less than or equal to 1")])
def test_bad_values_are_refused_with_their_place_and_a_way_out(flags, said):
    with pytest.raises(InputError, match=said):
        parse(MaskRCNNConfig, ["--num_classes=3", *flags], program="train.py", groups=("common", "train"),
              presets=PRESETS)
