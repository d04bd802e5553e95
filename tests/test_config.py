import json
import logging
import resource
import subprocess
import sys
from typing import ClassVar, Literal

import pytest

from src import tasks
from src.config import Config, option, parse
from src.contract import InputError
from src.deeplabv3.config import PRESETS, DeepLabV3Config


def train(*words: str) -> DeepLabV3Config:
    return tasks.parse_settings(words, program="train.py", groups=("train",))


def evaluate(*words: str) -> DeepLabV3Config:
    return tasks.parse_settings(words, program="eval.py", groups=("eval",))


def refused(capsys, *words: str, parser=train) -> str:
    """The message of a flag that ends the program with status 2."""
    with pytest.raises(SystemExit) as exit_:
        parser(*words)
    assert exit_.value.code == 2
    return capsys.readouterr().err


# --- command lines ----------------------------------------------------------------------------------------------------

def test_published_command_line():
    config = train("--data_file=/d/vocaug_mindrecord0", "--train_dir=./ckpt", "--train_epochs=200", "--batch_size=32",
                   "--crop_size=513", "--base_lr=0.015", "--lr_type=cos", "--min_scale=0.5", "--max_scale=2.0",
                   "--ignore_label=255", "--num_classes=21", "--model=deeplab_v3_s16", "--ckpt_pre_trained=/p/r.ckpt",
                   "--save_steps=1500", "--keep_checkpoint_max=200", "--device_target=Ascend", "--freeze_bn=False")
    assert (config.data_file, config.output_dir, config.epochs) == ("/d/vocaug_mindrecord0", "./ckpt", 200)
    assert (config.batch_size, config.base_lr, config.lr_type, config.output_stride) == (32, 0.015, "cos", 16)
    assert (config.pretrained, config.save_steps, config.freeze_bn) == ("/p/r.ckpt", 1500, False)


@pytest.mark.parametrize(("flag", "key"), [("train_epochs", "epochs"), ("epoch_size", "epochs"), ("epochs", "epochs")])
def test_both_spellings_of_a_key_are_one(flag, key):
    assert getattr(train(f"--{flag}=7"), key) == 7
    assert getattr(train(f"--{flag}", "7"), key) == 7


@pytest.mark.parametrize(("flag", "key"), [
    ("ckpt_pre_trained", "pretrained"), ("pre_trained", "pretrained"), ("train_dir", "output_dir"),
    ("save_checkpoint_path", "output_dir"), ("mindrecord_dir", "data_file")])
def test_aliases_of_paths(flag, key):
    assert getattr(train(f"--{flag}=/a b/c"), key) == "/a b/c"


@pytest.mark.parametrize("flag", ["ckpt_path", "ckpt_file", "checkpoint_path", "checkpoint"])
def test_aliases_of_the_checkpoint(flag):
    assert evaluate(f"--{flag}=x.ckpt").checkpoint == "x.ckpt"


@pytest.mark.parametrize(("words", "expected"), [
    (["--scales=0.5", "--scales=0.75", "--scales=1.0", "--scales=1.25", "--scales=1.75"], (0.5, 0.75, 1, 1.25, 1.75)),
    (["--scales=0.5,0.75"], (0.5, 0.75)), (["--scales=[0.5, 0.75]"], (0.5, 0.75)), (["--scales=(0.5, 2)"], (0.5, 2)),
    (["--scales", "1.5"], (1.5,)), ([], (1.0,))])
def test_every_repeated_scale_counts(words, expected):
    assert evaluate(*words).scales == expected


@pytest.mark.parametrize(("words", "expected"), [
    (["--flip"], True), (["--flip=True"], True), (["--flip=true"], True), (["--flip", "--batch_size=1"], True),
    (["--flip=1"], True), (["--flip=False"], False), (["--flip=no"], False), ([], False)])
def test_truth_values_bare_and_written(words, expected):
    assert evaluate(*words).flip is expected


def test_the_other_bare_flags():
    config = train("--is_distributed", "--filter_weight", "--freeze_bn", "--resume")
    assert config.is_distributed
    assert config.filter_weight
    assert config.freeze_bn
    assert config.resume
    assert train("--run_distribute=True").is_distributed


def test_unknown_flag_is_named_with_the_nearest(capsys):
    assert "unknown flag --bathc_size; did you mean --batch_size?" in refused(capsys, "--bathc_size=3")
    assert "unknown flag --zzz (see train.py --help)" in refused(capsys, "--zzz")


def test_flags_are_not_abbreviated(capsys):
    assert "unknown flag --train_epoch; did you mean --train_epochs?" in refused(capsys, "--train_epoch=3")


def test_a_flag_of_another_script_says_whose_it_is(capsys):
    assert "--base_lr is a flag of train.py, not of eval.py" in refused(capsys, "--base_lr=1", parser=evaluate)
    assert "--flip is a flag of eval.py, not of train.py" in refused(capsys, "--flip")


def test_a_flag_of_another_model_says_whose_it_is(capsys):
    for parser in (train, evaluate):
        message = refused(capsys, "--model=mask_rcnn_r50", "--slide_stride=9", parser=parser)
        assert "--slide_stride is a setting of deeplabv3, not of maskrcnn" in message
        assert "--coco_root is a setting of maskrcnn, not of deeplabv3" in refused(capsys, "--coco_root=x")


def test_a_word_without_dashes_is_explained(capsys):
    assert "unexpected word 'batch_size=3'; flags are written --name=value" in refused(capsys, "batch_size=3")


@pytest.mark.parametrize(("words", "message"), [
    (["--batch_size=two"], "--batch_size='two': input should be a valid integer"),
    (["--batch_size=0"], "--batch_size=0: input should be greater than or equal to 1"),
    (["--batch_size=1.5"], "--batch_size=1.5: input should be a valid integer"),
    (["--base_lr=fast"], "--base_lr='fast': input should be a valid number"),
    (["--lr_type=linear"], "--lr_type='linear': input should be 'cos', 'poly', 'exp' or 'step'"),
    (["--resume=perhaps"], "--resume='perhaps': input should be a valid boolean"),
    (["--min_scale=3"], "min_scale=3.0 is above max_scale=2.0"),
    (["--num_classes=3", "--class_names=a,b"], "2 class_names for num_classes=3"),
    (["--num_classes=2", "--class_names=a,a"], "class_names: a: expected a different name"),
    (["--lr_type=step", "--lr_milestones=4,2"], "lr_milestones=4,2: "),
    (["--lr_type=step"], "lr_type=step decays at lr_milestones"),
    (["--aspp_rates=0"], "--aspp_rates=0: input should be greater than 0"),
    (["--max_scale=100"], "--max_scale=100: input should be less than or equal to 16"),
    (["--num_classes=30", "--ignore_label=21"], "ignore_label=21 is a class index (num_classes=30)"),
    (["--model=deeplab_v3_s6"], "--model=deeplab_v3_s6: unknown model; did you mean deeplab_v3_s16?"),
    (["--config=cam"], "--config=cam: neither a file nor a preset; did you mean camvid?")])
def test_wrong_values_are_named_with_what_was_expected(words, message):
    with pytest.raises(InputError) as error:
        train(*words)
    assert message in str(error.value)


def test_every_wrong_value_is_listed_at_once():
    with pytest.raises(InputError) as error:
        train("--batch_size=0", "--epochs=x")
    assert len(str(error.value).splitlines()) == 2


def test_names_of_classes_tell_their_number():
    assert train("--class_names=a,b,c").num_classes == 3
    assert train().num_classes == 21


def test_a_wrong_entry_of_a_list_is_the_only_complaint():
    with pytest.raises(InputError) as error:
        train("--aspp_rates=a")
    assert str(error.value) == "--aspp_rates='a': input should be a valid integer, unable to parse string as an integer"


# --- presets ----------------------------------------------------------------------------------------------------------

def preset(tmp_path, text: str) -> str:
    (tmp_path / "mine.yaml").write_text(text)
    return f"--config={tmp_path / 'mine.yaml'}"


def test_flags_win_over_the_preset_and_the_preset_over_defaults(tmp_path):
    config = train(preset(tmp_path, "batch_size: 4\ntrain_epochs: 5\nscales: [0.5, 1]\n"), "--epochs=6")
    assert (config.batch_size, config.epochs, config.scales, config.momentum) == (4, 6, (0.5, 1.0), 0.9)


@pytest.mark.parametrize(("text", "message"), [
    ("epochs: 3\nbatchsize: 4\n", "mine.yaml:2: unknown key 'batchsize'; did you mean batch_size?"),
    ("epochs: 3\n\n# more\ntrain_epochs: 4\n", "mine.yaml:4: key 'epochs' is given twice (first at "),
    ("epochs: 3\nbatch_size: many\n", "mine.yaml:2 batch_size='many': input should be a valid integer"),
    ("train_epochs: 0\n", "mine.yaml:1 train_epochs=0: input should be greater than or equal to 1"),
    ("flip: perhaps\n", "mine.yaml:1 flip='perhaps': input should be a valid boolean"),
    ("a: [1\n", "mine.yaml: not readable as YAML"), ("- a\n", "mine.yaml: expected lines of `key: value`"),
    ("", "mine.yaml: expected lines of `key: value`")])
def test_mistakes_in_a_preset_are_named_with_file_and_line(tmp_path, text, message):
    with pytest.raises(InputError) as error:
        train(preset(tmp_path, text))
    assert message in str(error.value)


def test_numbers_in_scientific_notation_are_numbers(tmp_path):
    config = train(preset(tmp_path, "weight_decay: 5e-4\nbase_lr: 1.0e-2\n"))
    assert (config.weight_decay, config.base_lr) == (5e-4, 0.01)


def test_the_resolved_configuration_reads_back(tmp_path):
    config = train("--num_classes=2", "--class_names=a,b", "--crop_size=65")
    assert train(preset(tmp_path, config.to_yaml())) == config
    printed = train("--num_classes=2", "--class_names=a,b", "--crop_size=65", "--print_config")
    again = train(preset(tmp_path, printed.to_preset()))
    assert again == config  # a run, not a print of it
    assert again.adopting({"backbone": "resnet50", "crop_size": 97}, again.network_keys()) == config.adopting(
        {"backbone": "resnet50", "crop_size": 97}, config.network_keys())
    assert again.to_preset() == printed.to_preset()


@pytest.mark.parametrize("path", sorted(PRESETS.glob("*.yaml")), ids=lambda p: p.stem)
def test_presets_load(path):
    assert train(f"--config={path.stem}") == train(f"--config={path}")


def test_a_configuration_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        train().batch_size = 3


class Derived(Config):
    """A configuration with keys that follow from others."""

    derived: ClassVar = {"double": lambda c: 2 * c.size, "shape": lambda c: (c.size, 1)}
    retired: ClassVar = {"fast_mode": "has no effect: nothing is slow"}

    size: int = option(3, "pixels", ge=1)
    kind: Literal["a", "b"] = option("a", "of two")


@pytest.mark.parametrize(("words", "said"), [
    (["--size=4", "--double=8"], ""), (["--size=4", "--shape=[4, 1]"], ""),
    (["--size=4", "--double=6"], "--double=6 has no effect: it follows from the other keys and is 8"),
    (["--fast_mode=True"], "--fast_mode: has no effect: nothing is slow")])
def test_derived_keys_are_compared_and_retired_ones_explained(tmp_path, caplog, words, said):
    with caplog.at_level(logging.WARNING):
        parse(Derived, words, program="x", groups=("train",), presets=tmp_path)
    assert caplog.messages == ([said] if said else [])


def test_a_derived_key_in_a_preset_is_named_with_its_line(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        config = parse(Derived, [preset(tmp_path, "size: 5\nshape: [5, 2]\n")], program="x", groups=("train",),
                       presets=tmp_path)
    assert config.size == 5
    assert "mine.yaml:2 shape=[5, 2] has no effect" in caplog.text
    assert "is (5, 1)" in caplog.text


# --- what a key says of itself ----------------------------------------------------------------------------------------

RESUMABLE = {"device_id", "workers", "checkpoint", "result_path", "output_dir", "pretrained", "resume", "save_steps",
             "keep_checkpoint_max", "eval_interval", "preview_interval", "log_steps", "sink_size", "replay",
             "print_config", "is_distributed", "overflow_check", "deterministic", "jit_level", "inference_engine",
             "compile_cache", "bootstrap", "log_grad_norms", "early_stop_patience", "profile"}
PER_HOST = {"device_id", "workers", "checkpoint", "result_path", "output_dir", "pretrained", "replay", "log_steps",
            "inference_engine", "compile_cache", "profile"}
DATA = {"data_file", "data_root", "data_lst", "val_data_file", "val_data_lst"}
COCO_DATA = {"data_file", "val_data_file", "coco_root", "ann_file", "image_dir", "anno_path", "val_anno_path"}
TILES = {"eval_mode", "tile_size", "tile_overlap", "merged_max_per_img"}
DECLARED = {
    "deeplab_v3_s16": {
        "resumable": RESUMABLE | DATA | {"eval_crop_size", "allow_single_class", "max_pixels", "scales", "flip",
                                         "class_names", "eval_mode", "slide_stride"},
        "per host": PER_HOST | DATA,
        "always": {"backbone", "bn_eps", "aspp_rates", "dilation", "stem_pool", "head_conv3x3", "auxiliary",
                   "resize_align_corners", "colour_order", "image_mean", "image_std"},
        "to inference": {"model", "num_classes", "class_names", "ignore_label", "norm", "crop_size", "eval_crop_size",
                         "exif", "bit_depth", "eval_mode", "slide_stride"}},
    "mask_rcnn_r50": {
        "resumable": RESUMABLE | COCO_DATA | {
            "train_data_type", "val_data_type", "instance_set", "coco_classes", "category_ids", "save_checkpoint",
            "save_checkpoint_epochs", "test_score_thr", "test_iou_thr", "test_max_per_img", "test_batch_size",
            "eval_max_detections", "max_pixels", "score_thresholds", "scales", "flip", "nms_method", "nms_sigma",
            *TILES},
        "per host": PER_HOST | COCO_DATA,
        "always": {
            "backbone", "stem_pool", "bn_eps", "colour_order", "image_mean", "image_std", "pad_before_normalise",
            "norm", "box_offset", "anchor_scales", "anchor_ratios", "anchor_strides", "anchor_centre", "fpn_upsample",
            "fpn_out_channels", "rpn_feat_channels", "rcnn_fc_out_channels", "rcnn_mask_out_channels", "roi_layer",
            "roi_level", "roi_align_finest_scale", "rpn_target_stds", "rcnn_target_stds", "delta_clip"},
        "to inference": {
            "num_classes", "coco_classes", "category_ids", "class_map", "img_width", "img_height", "keep_ratio",
            "resize_rule", "resize_rounding", "mask_paste_pad", "rpn_proposal_min_bbox_size", "rpn_min_bbox_min_size",
            "rpn_nms_pre", "rpn_max_num", "rpn_nms_thr", "detection_min_size", "test_score_thr", "test_iou_thr",
            "test_max_per_img", "nms_method", "nms_sigma", "freeze_at", "exif", "bit_depth", "score_thresholds",
            *TILES}}}


@pytest.mark.parametrize("model", DECLARED)
def test_sets_of_keys_follow_from_their_declarations(model):
    cls, expected = tasks.config_class(model), DECLARED[model]
    assert set(cls.resumable_keys()) == expected["resumable"]
    assert set(cls.keys(lambda key: key.per_host)) == expected["per host"]
    assert set(cls.weight_keys()) == expected["always"]
    assert set(cls.network_keys()) == expected["always"] | expected["to inference"]
    assert cls(model=model).common().keys() == cls.model_fields.keys() - expected["per host"]


@pytest.mark.parametrize("model", DECLARED)
def test_every_key_has_a_topic_and_a_help_text_with_its_default(model, capsys):
    cls = tasks.config_class(model)
    assert {key.topic for key in cls.keys().values()} <= set(cls.topics)
    with pytest.raises(SystemExit):
        tasks.parse_settings([f"--model={model}", "--help"], program="train.py", groups=("train",))
    text = capsys.readouterr().out
    places = [text.index(f"\n{topic}:\n") for topic in ("data", "network", "optimisation", "device and launch")]
    assert places == sorted(places)
    assert text.count("(default:") == len(cls.keys(lambda key: {"train", "common"} & {*key.group}))


def test_a_key_declared_again_keeps_what_it_says_of_itself():
    key, field = DeepLabV3Config.keys()["save_steps"], DeepLabV3Config.model_fields["save_steps"]
    assert (field.default, key.resumable, key.topic) == (410, True, "checkpoints and logging")
    with pytest.raises(InputError, match="save_steps"):
        train("--save_steps=0")


# --- weights decide what the user does not ----------------------------------------------------------------------------

def test_weights_decide_where_the_user_is_silent():
    config = train("--bn_eps=0.001").adopting({"bn_eps": 1e-5, "colour_order": "BGR", "num_classes": 7},
                                              DeepLabV3Config.weight_keys())
    assert (config.bn_eps, config.colour_order, config.num_classes) == (0.001, "BGR", 21)


def test_conventions_are_what_json_can_hold():
    conventions = train("--class_names=a,b", "--num_classes=2").conventions()
    assert json.loads(json.dumps(conventions))["class_names"] == ["a", "b"]


# --- processes --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("program", ["train.py", "eval.py"])
@pytest.mark.parametrize(("words", "status", "said"), [
    (["--help"], 0, "--data_root"), (["--bathc_size=2"], 2, "did you mean --batch_size?"),
    (["--batch_size=no"], 2, "error: --batch_size='no'"), (["--print_config", "--crop_size=65"], 0, "crop_size: 65")])
def test_answers_come_without_mindspore_in_less_than_a_second(program, words, status, said):
    """Processor time: another program on the machine does not count."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-X", "importtime", program, *words], capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == status
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "mindspore" not in done.stderr
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1


def test_print_config_writes_yaml_alone(tmp_path):
    words = ["--model=mask_rcnn_r50", "--base_step=58633", "--roi_layer=dict(out_size=5)"]
    done = subprocess.run([sys.executable, "train.py", *words, "--print_config"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "base_step: has no effect" in done.stderr
    assert "base_step" not in done.stdout
    again = train("--model=mask_rcnn_r50", preset(tmp_path, done.stdout))
    assert again == train(*words)
    assert again.roi_layer.out_size == 5
