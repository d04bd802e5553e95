"""Every key of the published table: what changing it changes, or what is said of it; and the rules between keys."""
import src  # noqa: F401  isort: skip
import functools
import logging

import numpy as np
import pytest
from mindspore.nn.utils import no_init_parameters

from src import tasks
from src.config import build, parse, read_yaml
from src.contract import InputError
from src.engine import loop
from src.engine.build import update_rates
from src.maskrcnn.config import PRESETS, MaskRCNNConfig
from src.maskrcnn.task import MaskRCNNTask

COCO = ("background", "person", "bicycle", "car")
SMALL = {"device_target": "CPU", "coco_classes": COCO, "backbone": "resnet18", "norm": "frozen", "freeze_at": 0,
         "fpn_out_channels": 8, "rpn_feat_channels": 8, "rcnn_fc_out_channels": 16, "rcnn_mask_out_channels": 8}
PLAIN = SMALL | {"dynamic_loss_scale": True, "coco_root": str(PRESETS)}

# key of the table: (its value there, another value, what the other value changes)
KEYS = {
    "img_width": (1280, 640, "recipe"), "img_height": (768, 384, "recipe"), "keep_ratio": (True, False, "recipe"),
    "flip_ratio": (0.5, 0.0, "transform"), "photo_ratio": (0.5, 0.0, "transform"),
    "expand_ratio": (1.0, 0.0, "transform"), "max_instance_count": (128, 5, "transform"),
    "anchor_scales": ((8,), (4, 8), "network"), "anchor_ratios": ((0.5, 1.0, 2.0), (1.0,), "network"),
    "anchor_strides": ((4, 8, 16, 32, 64), (2, 4, 8, 16, 32), "network"),
    "fpn_out_channels": (256, 16, "network"), "rpn_feat_channels": (256, 16, "network"),
    "rpn_loss_cls_weight": (1.0, 2.0, "losses"), "rpn_loss_reg_weight": (1.0, 2.0, "losses"),
    "rpn_target_stds": ((1.0,) * 4, (0.5,) * 4, "losses"), "neg_iou_thr": (0.3, 0.2, "losses"),
    "pos_iou_thr": (0.7, 0.6, "losses"), "min_pos_iou": (0.3, 0.2, "losses"),
    "num_expected_neg": (256, 99, "losses"), "num_expected_pos": (128, 9, "losses"),
    "roi_align_finest_scale": (56, 28, "network"), "neg_iou_thr_stage2": (0.5, 0.4, "losses"),
    "pos_iou_thr_stage2": (0.5, 0.6, "losses"), "min_pos_iou_stage2": (0.5, 0.4, "losses"),
    "num_expected_pos_stage2": (128, 9, "losses"), "num_expected_neg_stage2": (512, 99, "losses"),
    "rcnn_fc_out_channels": (1024, 32, "network"), "rcnn_mask_out_channels": (256, 16, "network"),
    "rcnn_loss_cls_weight": (1, 2, "losses"), "rcnn_loss_reg_weight": (1, 2, "losses"),
    "rcnn_loss_mask_fb_weight": (1, 2, "losses"), "rcnn_target_stds": ((0.1, 0.1, 0.2, 0.2), (0.5,) * 4, "losses"),
    "rpn_proposal_nms_pre": (2000, 99, "losses"), "rpn_proposal_max_num": (2000, 99, "losses"),
    "rpn_proposal_nms_thr": (0.7, 0.6, "losses"), "rpn_proposal_min_bbox_size": (0, 3, "losses"),
    "rpn_nms_pre": (1000, 99, "network"), "rpn_max_num": (1000, 99, "network"), "rpn_nms_thr": (0.7, 0.6, "network"),
    "rpn_min_bbox_min_size": (0, 3, "network"), "test_score_thr": (0.05, 0.3, "network"),
    "test_iou_thr": (0.5, 0.6, "network"), "test_max_per_img": (100, 50, "network"),
    "test_batch_size": (2, 5, "predictor"), "mask_thr_binary": (0.5, 0.4, "predictor"),
    "rpn_head_weight": (1.0, 2.0, "losses"), "base_lr": (0.02, 0.1, "rates"), "total_epoch": (13, 20, "rates"),
    "warmup_step": (500, 10, "rates"), "warmup_ratio": (1 / 3, 0.1, "rates"), "epoch_size": (12, 3, "rates"),
    "momentum": (0.91, 0.5, "step"), "weight_decay": (1e-4, 0.0, "step"), "loss_scale": (1, 8, "step"),
    "batch_size": (2, 4, "memory"), "save_checkpoint": (True, False, "checkpoints"),
    "save_checkpoint_epochs": (1, 3, "checkpoints"), "train_data_type": ("train2017", "train2018", "train source"),
    "val_data_type": ("val2017", "val2018", "val source"),
    "instance_set": ("annotations/instances_{}.json", "{}.json", "train source"),
    "num_classes": (81, 4, "classes"), "coco_classes": (None, ("background", "cat"), "network"),
}
# Read by the loop, whose tests hold what they do (tests/engine/test_loop.py): attribute of the configuration.
SHARED = {"pretrain_epoch_size": (0, "start_epoch"), "keep_checkpoint_max": (12, "keep_checkpoint_max"),
          "save_checkpoint_path": ("./checkpoint", "output_dir")}
# Paths of the table's own machine: no defaults here. Tested in test_task.py and test_spec_lines_maskrcnn.py.
PATHS = ("mindrecord_dir", "coco_root")
REFUSED = {"warmup_mode": ("linear", "constant"), "roi_layer": ("{type: RoIAlign, out_size: 7, mask_out_size: 14, "
                                                                "sample_num: 2}", "{sample_num: 3}")}
DERIVED = {
    "mask_shape": "(28, 28)", "feature_shapes": [[192, 320], [96, 160], [48, 80], [24, 40], [12, 20]], "num_anchors": 3,
    "resnet_block": [3, 4, 6, 3], "resnet_in_channels": [64, 256, 512, 1024],
    "resnet_out_channels": [256, 512, 1024, 2048], "fpn_in_channels": [256, 512, 1024, 2048], "fpn_num_outs": 5,
    "rpn_in_channels": 256, "rpn_cls_out_channels": 1, "rpn_target_means": [0.0, 0.0, 0.0, 0.0], "num_bboxes": 245520,
    "num_gts": 128, "activate_num_classes": 2, "use_sigmoid_cls": True, "roi_align_out_channels": 256,
    "roi_align_featmap_strides": [4, 8, 16, 32], "roi_sample_num": 640, "num_bboxes_stage2": 2000,
    "num_expected_total_stage2": 512, "rcnn_num_layers": 2, "rcnn_in_channels": 256,
    "rcnn_target_means": [0.0, 0.0, 0.0, 0.0], "rpn_proposal_nms_across_levels": False, "rpn_proposal_nms_post": 2000,
    "rpn_nms_across_levels": False, "rpn_nms_post": 1000, "rpn_head_loss_type": "CrossEntropyLoss",
    "rpn_head_use_sigmoid": True,
}
RETIRED = {"base_step": 58633, "sgd_momentum": 0.9}


def config(**values) -> MaskRCNNConfig:
    return MaskRCNNConfig(**SMALL | values)


def flag(key: str, value) -> MaskRCNNConfig:
    """The configuration of a command line with `--key=value`."""
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return parse(MaskRCNNConfig, [f"--{key}={text}"], program="train.py", groups=("common", "train"), presets=PRESETS)


def fingerprint(cell) -> dict:
    """All plain values in a cell and the cells inside it, and its parameters' shapes."""
    found = {f"{name}.{key}": repr(value) for name, part in cell.cells_and_names() for key, value in vars(part).items()
             if isinstance(value, (int, float, str, tuple, list, dict)) and not key.startswith("_") and key not in (
                 "cell_init_args", "cls_name", "param_prefix", "instance_name", "cell_type")}
    return found | {p.name: (p.shape, p.requires_grad) for p in cell.get_parameters()}


def observe(what: str, values: dict):
    """What a part of a training or evaluation run is made from, under a configuration."""
    c = MaskRCNNConfig(**values)
    c = c.completed() if c.coco_classes else c
    task = MaskRCNNTask(c)
    if what in ("network", "losses"):
        with no_init_parameters():
            network = task.network()
        return fingerprint(network if what == "network" else task.training_cell(network))
    if what == "step":
        step = loop.build_step(task, c, loop.runtime.Runtime("CPU"), task.network(), 5)
        optimizer = step.optimizer
        return (float(step.loss_scale.asnumpy()), float(optimizer.momentum.asnumpy()),
                [float(np.max(decay.asnumpy())) for decay in optimizer.get_weight_decay()])
    if what == "predictor":
        predictor = task.predictor(task.network())
        return predictor.batch_size, predictor.paste
    if what.endswith("source"):
        with pytest.raises(InputError) as error:
            task.dataset(what.split()[0])
        return str(error.value)
    return {"recipe": lambda: task.preprocess, "transform": task.train_augmentation,
            "rates": lambda: update_rates(c, per_epoch=300, world_size=1).tolist(),
            "checkpoints": lambda: c.steps_between_checkpoints(100), "memory": task.activation_bytes,
            "classes": lambda: c.names}[what]()


@pytest.mark.parametrize("key", KEYS)
def test_a_changed_key_changes_what_it_says(key):
    default, other, what = KEYS[key]
    name = canonical(key)
    if key not in ("num_classes", "coco_classes"):
        assert MaskRCNNConfig.model_fields[name].get_default() == default
    changed = getattr(flag(key, other), name)
    assert changed == other
    classes = {"coco_classes": ()} if key == "num_classes" else {}
    assert observe_plain(what, key == "num_classes") != observe(what, PLAIN | classes | {name: changed})


@functools.cache
def observe_plain(what: str, without_classes: bool):
    return observe(what, PLAIN | ({"coco_classes": ()} if without_classes else {}))


def canonical(key: str) -> str:
    return MaskRCNNConfig.spellings()[key]


@pytest.mark.parametrize("key", SHARED)
def test_keys_of_the_shared_loop(key):
    default, name = SHARED[key]
    assert canonical(key) == name
    assert getattr(MaskRCNNConfig(), name) == default


@pytest.mark.parametrize("key", REFUSED)
def test_keys_with_one_meaning_are_refused_otherwise(key):
    accepted, refused = REFUSED[key]
    assert flag(key, accepted) == MaskRCNNConfig()
    with pytest.raises(InputError, match=rf"--{key}\b.*"):
        flag(key, refused)


def test_bins_of_the_heads():
    five = config(**{"roi_layer": {"out_size": 5, "mask_out_size": 7}})
    network = MaskRCNNTask(five.completed()).network()
    assert network.box_head.fc1.weight.shape == (16, 8 * 5 * 5)
    assert network.mask_align.size == 7
    assert five.derived["mask_shape"](five) == (14, 14)


@pytest.mark.parametrize("key", DERIVED)
def test_a_derived_key_is_computed_and_compared(key, caplog):
    build(MaskRCNNConfig, {key: DERIVED[key]})
    assert caplog.text == ""
    build(MaskRCNNConfig, {key: [DERIVED[key]]})
    assert f"{key}=[" in caplog.text
    assert "has no effect: it follows from the other keys and is" in caplog.text


def test_derived_values_follow_the_other_keys():
    c = config(img_height=128, img_width=160, anchor_scales=(4, 8), num_expected_pos_stage2=10,
               num_expected_neg_stage2=30, fpn_out_channels=256)
    value = {key: rule(c) for key, rule in c.derived.items()}
    assert value["feature_shapes"] == ((32, 40), (16, 20), (8, 10), (4, 5), (2, 3))
    assert value["num_anchors"] == 6
    assert value["num_bboxes"] == 6 * (1280 + 320 + 80 + 20 + 6)
    assert value["roi_sample_num"] == 40
    assert value["num_expected_total_stage2"] == 30
    assert value["resnet_block"] == (2, 2, 2, 2)
    assert value["fpn_in_channels"] == (64, 128, 256, 512)


@pytest.mark.parametrize("key", RETIRED)
def test_a_retired_key_is_said_to_have_no_effect(key, caplog):
    assert build(MaskRCNNConfig, {key: RETIRED[key]}) == MaskRCNNConfig()
    assert f"{key}: has no effect" in caplog.text


@pytest.mark.parametrize(("flag", "key", "value"), [
    ("--box_offset=1", "box_offset", 1), ("--mask_paste_pad=1", "mask_paste_pad", 1),
    ("--anchor_scales=4,6", "anchor_scales", (4.0, 6.0))])
def test_values_arrive_from_the_command_line(flag, key, value):
    config = tasks.parse_settings(["--model=mask_rcnn_r50", flag], program="train.py", groups=("train",))
    assert getattr(config, key) == value


def test_no_key_of_the_published_table_is_forgotten(shared):
    text = (shared / "spec/maskrcnn.md").read_text(encoding="utf-8")
    table = text[text.index('"img_width":1280'):text.index("## 训练过程")]
    keys = {line.split('"')[1] for line in table.splitlines() if line.startswith('"') and '":' in line}
    known = {*KEYS, *SHARED, *PATHS, *REFUSED, *DERIVED, *RETIRED}
    assert len(keys) > 80
    assert keys - known == set()


@pytest.mark.parametrize(("values", "message"), [
    ({"img_width": 100}, "img_width=100: .*multiple of 32"),
    ({"num_classes": 1}, "num_classes=1: "),
    ({"num_classes": 5}, "4 coco_classes for num_classes=5"),
    ({"epochs": 20}, "total_epoch=13 is below epoch_size=20.*give --total_epoch=20 or 0"),
    ({"neg_iou_thr": 0.8}, "neg_iou_thr=0.8 .*pos_iou_thr=0.7"),
    ({"anchor_scales": (8.0, 0.0)}, "anchor_scales.*greater than 0"), ({"box_offset": 2}, "box_offset"),
    ({"image_std": (0, 1, 1)}, "image_std.*greater than 0"), ({"base_lr": float("inf")}, "base_lr.*finite"),
    ({"coco_classes": ("background", "a", "a", "b"), "num_classes": 4}, r"coco_classes: a\b"),
    ({"category_ids": (0, 1, 1, 2)}, r"category_ids: 1\b"),
    ({"mask_paste_pad": -1}, "mask_paste_pad"), ({"lr_milestones": (-1,)}, "lr_milestones"),
    ({"roi_layer": "{"}, "roi_layer.*dictionary"), ({"seed": 2 ** 32}, "seed"),
    ({"image_dir": "images"}, "image_dir=images: .*anno_path or ann_file"),
    ({"tile_size": (512,)}, "tile_size=.*no effect without eval_mode=tiles; give --eval_mode=tiles too"),
    ({"tile_overlap": 0}, "tile_overlap=0 has no effect without eval_mode=tiles"),
    ({"eval_mode": "tiles", "tile_size": (1, 2, 3)}, "tile_size.*at most 2"),
    ({"eval_mode": "tiles", "tile_size": (0,)}, "tile_size.*greater than 0"),
    ({"eval_mode": "tiles", "tile_size": (90, 60), "tile_overlap": 60}, "tile_overlap=60 leaves nothing of tiles of "
                                                                        "90 x 60 pixels .*at most 30, or larger"),
    ({"eval_mode": "tiles", "merged_max_per_img": -1}, "merged_max_per_img"),
    ({"nms_sigma": 0.7}, "nms_sigma=0.7 has no effect without nms_method=gaussian; give --nms_method=gaussian too"),
    ({"nms_sigma": 0.7, "nms_method": "linear"}, "nms_sigma=0.7 has no effect without nms_method=gaussian"),
    ({"nms_method": "linear", "flip": True}, "nms_method=linear with scales=1 and flip=True: .* --nms_method=hard, or"),
    ({"nms_method": "gaussian", "scales": (1, 1.5)}, "nms_method=gaussian with scales=1,1.5 and flip=False: "),
    ({"rpn_proposal_nms_pre": 3000}, "rpn_proposal_nms_pre=3000: input should be less than or equal to 2864")])
def test_what_cannot_work_is_refused(values, message):
    with pytest.raises(InputError, match=message):
        build(MaskRCNNConfig, SMALL | values)


@pytest.mark.parametrize(("given", "norm", "freeze_at"), [
    ({}, "group", 0), ({"pretrained": "resnet50.ckpt"}, "frozen", 2), ({"checkpoint": "a.ckpt"}, "frozen", 2),
    ({"pretrained": "resnet50.ckpt", "norm": "batch", "freeze_at": 1}, "batch", 1)])
def test_norms_are_frozen_where_weights_bring_their_statistics(given, norm, freeze_at, caplog):
    caplog.set_level(logging.INFO)
    c = MaskRCNNConfig(coco_classes=COCO, **given).completed()
    assert (c.norm, c.freeze_at, c.num_classes) == (norm, freeze_at, 4)
    assert ("norm=" in caplog.text) is ("norm" not in given)


def test_frozen_parts_do_not_train():
    network = MaskRCNNTask(config(freeze_at=2).completed()).network()
    still = {p.name.split(".")[1] for p in network.get_parameters()
             if p.name.startswith("backbone") and not p.requires_grad and "moving" not in p.name}
    assert still == {"conv1", "bn1", "layer1"}


def test_conventions_of_published_weights():
    from src.weights.families import TORCHVISION_MASKRCNN, ZOO_MASKRCNN

    zoo, torch = (MaskRCNNConfig().adopting(MaskRCNNConfig().translate(c), MaskRCNNConfig.network_keys())
                  for c in (ZOO_MASKRCNN, TORCHVISION_MASKRCNN))
    assert (zoo.box_offset, zoo.anchor_centre, zoo.fpn_upsample, zoo.stem_pool) == (1, "pixel", "asymmetric", "same")
    assert (zoo.img_height, zoo.img_width, zoo.test_max_per_img, zoo.mask_paste_pad) == (768, 1280, 128, 0)
    assert (zoo.class_map, zoo.pad_before_normalise, zoo.delta_clip) == ("order", True, "both")
    assert (torch.img_height, torch.img_width, torch.resize_rule, torch.resize_rounding) == (800, 1333, "short_side",
                                                                                            "floor")
    assert torch.input_size == (800, 1344)
    assert torch.class_map == "id"
    assert torch.rpn_min_bbox_min_size == 1e-3


def test_training_keeps_its_own_classes_and_size_when_it_starts_from_weights():
    from src.weights.families import ZOO_MASKRCNN

    c = MaskRCNNConfig()
    taken = c.adopting(c.translate(ZOO_MASKRCNN | {"num_classes": 81}), c.weight_keys())
    assert taken.box_offset == 1
    assert taken.stem_pool == "same"
    assert taken.num_classes == 0
    assert taken.img_width == 1280


def test_own_conventions_come_back():
    c = config(img_width=640, img_height=384, anchor_scales=(4, 8), roi_layer={"out_size": 5}).completed()
    back = MaskRCNNConfig().adopting(c.translate(c.conventions()), c.network_keys())
    assert {k: getattr(back, k) for k in c.network_keys()} == {k: getattr(c, k) for k in c.network_keys()}


@pytest.mark.parametrize(("words", "size", "overlap"), [
    ([], (768, 1280), 192), (["--tile_size=500"], (500, 500), 125),
    (["--tile_size=400,600", "--tile_overlap=0"], (400, 600), 0)])
def test_tiles_of_the_command_line(words, size, overlap):
    c = tasks.parse_settings(["--model=mask_rcnn_r50", "--eval_mode=tiles", *words], program="eval.py",
                             groups=("eval",))
    assert (c.tiling.size, c.tiling.overlap) == (size, overlap)
    assert config().tiling is None


def test_tiles_travel_with_the_weights_unless_the_user_looks_otherwise():
    trained = config(eval_mode="tiles", tile_size=(300,), tile_overlap=40, merged_max_per_img=9)
    said = trained.translate(trained.completed().conventions())

    def evaluated(**given):
        return MaskRCNNConfig(**given).adopting(said, trained.network_keys())

    assert evaluated().tiling == trained.tiling
    assert evaluated().merged_max_per_img == 9
    assert evaluated(eval_mode="whole").tiling is None
    assert evaluated(eval_mode="tiles", tile_size=(200,)).tiling.size == (200, 200)
    assert evaluated(eval_mode="tiles", tile_overlap=20).tiling.overlap == 20


def test_a_sigma_travels_with_its_method():
    said = config(nms_method="gaussian", nms_sigma=0.7).completed().conventions()

    def evaluated(**given):
        c = MaskRCNNConfig(**given)
        c = c.adopting(c.translate(said), c.network_keys())
        return c.nms_method, c.nms_sigma

    assert evaluated() == ("gaussian", 0.7)
    assert evaluated(nms_method="hard") == ("hard", 0.5)
    assert evaluated(nms_method="gaussian") == ("gaussian", 0.7)
    assert evaluated(nms_method="gaussian", nms_sigma=0.3) == ("gaussian", 0.3)


def test_score_thresholds_travel_with_the_weights_unless_the_user_has_other_classes_or_others(tmp_path):
    names = ("background", "cat", "traffic light")
    trained = config(coco_classes=names, score_thresholds=("cat=0.25", "traffic light=0.5"))
    said = trained.translate(trained.completed().conventions())

    def exported(**given):
        return MaskRCNNConfig(**given).adopting(said, trained.network_keys())

    assert exported().thresholds == {"cat": 0.25, "traffic light": 0.5}
    assert exported(score_thresholds="").thresholds == {}
    assert exported(score_thresholds={"cat": 0.7}).thresholds == {"cat": 0.7}
    assert exported(coco_classes=("background", "cow", "pig")).thresholds == {}
    path = tmp_path / "t.json"
    path.write_text('{"score_thresholds": {"cat": 0.125}}')
    c = tasks.parse_settings(["--model=mask_rcnn_r50", f"--score_thresholds={path}"], program="export.py",
                             groups=("export",))
    assert c.score_thresholds == ("cat=0.125",)


@pytest.mark.parametrize(("given", "message"), [
    ("dog=0.5", "'dog' is no class of the model; did you mean fog.* correct the name"),
    ("cat=1.5", "'cat=1.5': scores are from 0 to 1"), ("0.5", "'0.5' has no class; write"),
    ("none.json", "none.json: no such file; src/tools/score_thresholds.py writes it")])
def test_score_thresholds_that_cannot_be(given, message):
    with pytest.raises(InputError, match=message):
        build(MaskRCNNConfig, {"coco_classes": ["background", "cat", "fog"], "score_thresholds": [given]}).completed()


def test_an_overlap_is_judged_by_the_size_that_the_weights_decide():
    given = MaskRCNNConfig(checkpoint="a.ckpt", eval_mode="tiles", tile_overlap=800, coco_classes=COCO)
    adopted = given.adopting({"img_height": 1024, "img_width": 1024}, given.network_keys()).completed()
    assert (adopted.tiling.size, adopted.tiling.overlap) == ((1024, 1024), 800)
    with pytest.raises(InputError, match="tile_overlap=800 leaves nothing of tiles of 768 x 1280"):
        given.completed()


@pytest.mark.parametrize("path", sorted(PRESETS.glob("*.yaml")), ids=lambda path: path.stem)
def test_presets_hold_no_key_without_effect(path):
    values, _ = read_yaml(path, MaskRCNNConfig)
    assert not {*MaskRCNNConfig.derived, *MaskRCNNConfig.retired} & set(values)


def test_the_coco_preset_is_the_table():
    c = parse(MaskRCNNConfig, ["--config=coco"], program="train.py", groups=("common", "train"), presets=PRESETS)
    same = {canonical(k): v for k, (v, *_) in KEYS.items() if k not in ("coco_classes",)}
    assert {k: getattr(c, k) for k in same} == same
    assert len(c.coco_classes) == 81
    assert c.coco_classes[80] == "toothbrush"
    assert c.lr_type == "cos"


@pytest.mark.parametrize(("start_epoch", "expected"), [(2, 0), (0, 2)])
def test_a_run_that_goes_on_freezes_what_it_froze(start_epoch, expected):
    own = {key: value for key, value in SMALL.items() if key not in ("freeze_at", "norm")}
    before = MaskRCNNConfig(**own).completed()
    assert before.freeze_at == 0
    after = MaskRCNNConfig(**own, pretrained="earlier.ckpt", start_epoch=start_epoch)
    after = after.adopting(after.translate(before.conventions()), after.weight_keys())
    assert after.completed().freeze_at == expected
