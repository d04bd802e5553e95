"""Configuration of Mask R-CNN. Names and defaults are those of the published recipe's table.

Some keys of that table are no fields: those that follow from others are `derived`, those without effect `retired`; the
table's own paths are no defaults. Pure: no MindSpore.
"""
from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pydantic

from src.config import build
from src.contract import InputError
from src.data.instance.coco_classes import COCO_CLASSES
from src.data.instance.target import class_names
from src.maskrcnn.options import STRIDES, MaskRCNNOptions
from src.maskrcnn.splits import categories, names_data

log = logging.getLogger(__name__)
PRESETS = Path(__file__).parent / "configs"
NEVER = 2 ** 62  # steps

# Conventions of published weights that have other names here.
_RENAMED = {"rpn_stds": ("rpn_target_stds",), "box_stds": ("rcnn_target_stds",),
            "detections_per_image": ("test_max_per_img",),
            "proposal_min_size": ("rpn_proposal_min_bbox_size", "rpn_min_bbox_min_size")}
_CLASS_MAPS = {"coco80": "order", "coco91": "id"}


def feature_shapes(c: MaskRCNNConfig) -> tuple[tuple[int, int], ...]:
    """(H, W) of P2..P6."""
    sizes = [(c.input_size[0] // stride, c.input_size[1] // stride) for stride in STRIDES[:4]]
    return (*sizes, tuple((side + 1) // 2 for side in sizes[-1]))


def _resnet(c: MaskRCNNConfig) -> tuple[tuple[int, ...], tuple[int, ...]]:
    from src.layers.resnet import BLOCKS, out_channels

    return BLOCKS[c.depth], out_channels(c.depth)


class MaskRCNNConfig(MaskRCNNOptions):
    """Mask R-CNN with a feature pyramid: instance segmentation, scored by COCO's average precision."""

    derived: ClassVar = {
        "mask_shape": lambda c: (2 * c.roi_layer.mask_out_size,) * 2,
        "feature_shapes": feature_shapes,
        "num_anchors": lambda c: len(c.anchor_scales) * len(c.anchor_ratios),
        "num_bboxes": lambda c: c.num_anchors * sum(h * w for h, w in feature_shapes(c)),
        "num_gts": lambda c: c.max_instance_count,
        "resnet_block": lambda c: _resnet(c)[0],
        "resnet_in_channels": lambda c: (64, *_resnet(c)[1][:3]),
        "resnet_out_channels": lambda c: _resnet(c)[1],
        "fpn_in_channels": lambda c: _resnet(c)[1],
        "fpn_num_outs": lambda c: len(STRIDES),
        "rpn_in_channels": lambda c: c.fpn_out_channels,
        "roi_align_out_channels": lambda c: c.fpn_out_channels,
        "rcnn_in_channels": lambda c: c.fpn_out_channels,
        "rcnn_num_layers": lambda c: 2,
        "rpn_cls_out_channels": lambda c: 1,
        "activate_num_classes": lambda c: 2,
        "use_sigmoid_cls": lambda c: True,
        "rpn_head_use_sigmoid": lambda c: True,
        "rpn_head_loss_type": lambda c: "CrossEntropyLoss",
        "rpn_target_means": lambda c: (0.0,) * 4,
        "rcnn_target_means": lambda c: (0.0,) * 4,
        "roi_align_featmap_strides": lambda c: STRIDES[:4],
        "roi_sample_num": lambda c: c.num_expected_pos_stage2 + c.num_expected_neg_stage2,
        "num_bboxes_stage2": lambda c: c.rpn_proposal_max_num,
        "num_expected_total_stage2": lambda c: c.num_expected_neg_stage2,
        "rpn_proposal_nms_across_levels": lambda c: False,
        "rpn_nms_across_levels": lambda c: False,
        "rpn_proposal_nms_post": lambda c: c.rpn_proposal_nms_pre,
        "rpn_nms_post": lambda c: c.rpn_nms_pre,
    }
    retired: ClassVar = {
        "base_step": "has no effect: an epoch's steps are counted from the data, images // (batch_size x processes)",
        "sgd_momentum": "has no effect, and had none: the optimizer's momentum is the key momentum",
        "only_create_dataset": "has no effect: records are built with src/tools/build_coco_data.py",
    }
    free_to_change: ClassVar = (
        *MaskRCNNOptions.free_to_change, "coco_root", "train_data_type", "val_data_type", "instance_set", "image_dir",
        "anno_path", "ann_file", "val_anno_path", "val_ann_file", "coco_classes", "category_ids", "save_checkpoint",
        "save_checkpoint_epochs", "test_score_thr", "test_iou_thr", "test_max_per_img", "test_batch_size",
        "eval_max_detections")
    weight_keys: ClassVar = (
        "backbone", "stem_pool", "bn_eps", "colour_order", "image_mean", "image_std", "pad_before_normalise", "norm",
        "box_offset", "anchor_scales", "anchor_ratios", "anchor_strides", "anchor_centre", "fpn_upsample",
        "fpn_out_channels", "rpn_feat_channels", "rcnn_fc_out_channels", "rcnn_mask_out_channels", "roi_layer",
        "roi_level", "roi_align_finest_scale", "rpn_target_stds", "rcnn_target_stds", "delta_clip")
    network_keys: ClassVar = (
        *weight_keys, "num_classes", "coco_classes", "category_ids", "class_map", "img_width", "img_height",
        "keep_ratio", "resize_rule", "resize_rounding", "mask_paste_pad", "rpn_proposal_min_bbox_size",
        "rpn_min_bbox_min_size", "rpn_nms_pre", "rpn_max_num", "rpn_nms_thr", "detection_min_size", "test_score_thr",
        "test_iou_thr", "test_max_per_img", "freeze_at")

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> MaskRCNNConfig:
        for name in ("img_width", "img_height"):
            value = getattr(self, name)
            if value % 32 and self.resize_rule == "canvas":
                raise ValueError(f"{name}={value}: the network's input has to be a multiple of 32, "
                                 f"{-(-value // 32) * 32} for example; or give resize_rule=short_side, torchvision's")
        if self.num_classes == 1:
            raise ValueError("num_classes=1: expected at least 2, background is one of them; 0 takes those of the data")
        for name in ("coco_classes", "category_ids"):
            twice = sorted({str(v) for v in getattr(self, name) if getattr(self, name).count(v) > 1})
            if twice:
                raise ValueError(f"{name}: {', '.join(twice)} occurs more than once")
        if self.coco_classes and self.num_classes not in (0, len(self.coco_classes)):
            raise ValueError(f"{len(self.coco_classes)} coco_classes for num_classes={self.num_classes}")
        for low, high in (("neg_iou_thr", "pos_iou_thr"), ("neg_iou_thr_stage2", "pos_iou_thr_stage2")):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(f"{low}={getattr(self, low)} is above {high}={getattr(self, high)}")
        if self.image_dir and not (self.anno_path or self.ann_file):
            raise ValueError(f"image_dir={self.image_dir}: names the images of anno_path or ann_file; give one of them")
        return self

    @property
    def depth(self) -> int:
        """Of the ResNet."""
        return int(self.backbone.removeprefix("resnet"))

    @property
    def input_size(self) -> tuple[int, int]:
        """(H, W) of the network's input for a landscape image: multiples of 32."""
        return tuple(-(-side // 32) * 32 for side in (self.img_height, self.img_width))

    @property
    def num_anchors(self) -> int:
        """Anchors of a cell."""
        return len(self.anchor_scales) * len(self.anchor_ratios)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes, given or by number."""
        return self.coco_classes or ("background", *(f"class_{i}" for i in range(1, self.num_classes)))

    def steps_between_checkpoints(self, per_epoch: int) -> int:
        if not self.save_checkpoint:
            return NEVER
        return self.save_steps or self.save_checkpoint_epochs * per_epoch

    def translate(self, conventions: Mapping[str, Any]) -> dict[str, Any]:
        """What published weights' conventions are called here."""
        values = dict(conventions)
        for theirs, ours in _RENAMED.items():
            if theirs in values:
                values |= dict.fromkeys(ours, values.pop(theirs))
        if "anchor_scale" in values:
            values["anchor_scales"] = [values.pop("anchor_scale")]
        values["class_map"] = _CLASS_MAPS.get(values.get("class_map"), values.get("class_map"))
        if "resize_size" in values:
            values["img_height"], values["img_width"] = values["resize_size"]
        return values

    def adopting(self, conventions: Mapping[str, Any], keys: Sequence[str]) -> MaskRCNNConfig:
        """See `Config`. A run that goes on after `start_epoch` freezes what it froze: its optimizer has the rest."""
        return super().adopting(conventions, (*keys, "freeze_at") if self.start_epoch else keys)

    def completed(self) -> MaskRCNNConfig:
        """This configuration with what follows from weights and data: normalisation, frozen parts, classes.

        Raises:
            InputError: the data does not say its classes, or has another number of them.
        """
        loaded = bool(self.checkpoint or self.pretrained)
        values: dict[str, Any] = {}
        if self.norm == "auto":
            values["norm"] = "frozen" if loaded else "group"
            log.info("norm=%s: %s", values["norm"], "the weights bring statistics" if loaded else "no weights to load")
        if self.freeze_at < 0:
            values["freeze_at"] = 2 if loaded else 0
        if not self.coco_classes and self.class_map == "order" and self.num_classes == 81 and not names_data(self):
            values |= {"coco_classes": COCO_CLASSES}
        elif self.coco_classes or (self.num_classes and (self.dataset == "other" or self.class_map == "id"
                                                         or not names_data(self))):
            values["num_classes"] = len(self.names)
        else:
            found = categories(self, "val" if self.checkpoint else "train")
            names = class_names(found)
            if self.num_classes not in (0, len(names)):
                raise InputError(f"num_classes={self.num_classes}, but the data has {len(names)} classes with "
                                 f"background ({', '.join(names[:6])}, ...); choose some of them with --coco_classes")
            values["num_classes"] = len(names)
            if self.class_map == "order":
                values |= {"coco_classes": names, "category_ids": (0, *(c.category_id for c in found))}
        return build(type(self), self.model_dump(include=self.model_fields_set) | values)
