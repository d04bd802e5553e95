"""Configuration of Mask R-CNN. Names and defaults are those of the published table of parameters.

Some keys of that table are not options: see `published.py`. Its paths are not defaults here. No MindSpore.
"""
from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pydantic

from src.config import Positive, Scale, build, option, redeclared
from src.contract import Dataset, InputError
from src.data.instance.coco_classes import COCO_CLASSES
from src.data.instance.target import class_names
from src.engine.settings import Settings
from src.maskrcnn.input_settings import InputSettings
from src.maskrcnn.published import DERIVED, RETIRED, STRIDES
from src.maskrcnn.splits import categories, check_split, list_split, names_data
from src.maskrcnn.tiles import Tiling
from src.metrics import score_thresholds as by_score

log = logging.getLogger(__name__)
PRESETS = Path(__file__).parent / "configs"
NEVER = 2 ** 62  # steps
Deviations = tuple[Positive, Positive, Positive, Positive]

# Conventions of published weights that have other names here.
_RENAMED = {"rpn_stds": ("rpn_target_stds",), "box_stds": ("rcnn_target_stds",),
            "detections_per_image": ("test_max_per_img",),
            "proposal_min_size": ("rpn_proposal_min_bbox_size", "rpn_min_bbox_min_size")}
_CLASS_MAPS = {"coco80": "order", "coco91": "id"}


class RoILayer(pydantic.BaseModel):
    """Bins along a side of RoIAlign's output, for the box head and for the mask head."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")
    type: Literal["RoIAlign"] = "RoIAlign"
    out_size: int = pydantic.Field(7, ge=1)
    mask_out_size: int = pydantic.Field(14, ge=1)
    sample_num: Literal[2] = 2

    def __str__(self) -> str:
        return f"dict({', '.join(f'{name}={value!r}' for name, value in self.model_dump().items())})"


_PATH = {"resumable": True, "per_host": True}
_data = partial(option, group="common", topic="data")
_network = partial(option, group="common", topic="network", travels="always")
_loss = partial(option, topic="losses", ge=0)
_sampling = partial(option, topic="matching and sampling")
_proposals = partial(option, topic="proposals and detections")
_detections = partial(option, group="common", topic="proposals and detections")
_saving = partial(option, topic="checkpoints and logging", resumable=True)
_tiles = partial(option, group="common", topic="evaluation", resumable=True, travels="to inference")
_views = partial(option, group="eval", topic="evaluation", resumable=True)
TILE_KEYS = ("tile_size", "tile_overlap", "merged_max_per_img")


class MaskRCNNConfig(InputSettings):
    """Mask R-CNN with a feature pyramid: instance segmentation, scored by COCO's average precision."""

    family: ClassVar = "maskrcnn"
    derived: ClassVar = DERIVED
    retired: ClassVar = RETIRED

    model: Literal["mask_rcnn_r50"] = redeclared(Settings, "model", "mask_rcnn_r50", "mask_rcnn_r50, or maskrcnn")

    dataset: Literal["coco", "other"] = _data("coco", "coco: annotation files in COCO's layout; other: text files")
    coco_root: str = _data("", "folder of a data set in COCO's layout", **_PATH)
    train_data_type: str = _data("train2017", "name of the training split: its image folder in coco_root",
                                 resumable=True)
    val_data_type: str = _data("val2017", "name of the validation split: its image folder in coco_root", resumable=True)
    instance_set: str = _data("annotations/instances_{}.json", "annotation file in coco_root; {} is the split's name",
                              resumable=True)
    ann_file: str = _data("", "annotation file to evaluate on; its images are in image_dir, or in COCO's layout",
                          group="eval", **_PATH)
    image_dir: str = _data("", "folder that the paths in anno_path and ann_file are relative to", **_PATH)
    anno_path: str = _data("", "dataset=other: text file, one image a line: path x1,y1,x2,y2,class ...", **_PATH)
    val_anno_path: str = _data("", "dataset=other: text file that training evaluates on", group="train", **_PATH)
    data_file: str = _data("", "MindRecord to train on instead: path, first shard or manifest",
                           aliases=("mindrecord_dir",), **_PATH)
    val_data_file: str = _data("", "MindRecord that training evaluates on, or to evaluate on", **_PATH)
    coco_classes: tuple[str, ...] = _data((), "names of the classes, background first; by default those of the data",
                                          resumable=True, travels="to inference")
    category_ids: tuple[int, ...] = _data((), "category id of each class in results, 0 for the background first; by "
                                              "default those of the training data", resumable=True,
                                          travels="to inference")
    num_classes: int = _data(0, "number of classes, background included; 0: as many as the data has",
                             travels="to inference", ge=0, le=10_000)
    class_map: Literal["order", "id"] = _data(
        "order", "a class index is the category's position in the annotation file (order) or its id (id)",
        travels="to inference")
    batch_size: int = redeclared(Settings, "batch_size", 2, "images per batch and process in training")

    anchor_scales: tuple[Positive, ...] = _network((8.0,), "sides of the square anchors, in units of anchor_strides",
                                                   min_length=1)
    anchor_ratios: tuple[Positive, ...] = _network((0.5, 1.0, 2.0), "height / width of the anchors", min_length=1)
    anchor_strides: tuple[Positive, Positive, Positive, Positive, Positive] = _network(
        STRIDES, "factors of anchor_scales on P2..P6, in pixels")
    anchor_centre: Literal["origin", "pixel"] = _network("origin", "anchors are centred on a cell's corner (origin) or "
                                                                   "on its middle (pixel)")
    backbone: Literal["resnet18", "resnet34", "resnet50", "resnet101"] = _network("resnet50", "feature extractor")
    norm: Literal["auto", "frozen", "batch", "group", "sync"] = _network(
        "auto", "normalisation layers; auto: frozen with loaded weights, else group")
    freeze_at: int = _network(
        -1, "frozen parts of the backbone: 0: none, 1: the stem, 2: and layer1, ... 5: all; -1: 2 with loaded weights, "
            "else 0", group="train", travels="to inference", ge=-1, le=5)
    stem_pool: Literal["same", "pad"] = _network("pad", "padding of the stem's max pooling")
    bn_eps: float = _network(1e-5, "added to the variance in normalisation layers", ge=0)
    fpn_out_channels: int = _network(256, "channels of the feature pyramid", ge=1)
    fpn_upsample: Literal["nearest", "asymmetric"] = _network("nearest", "upsampling in the feature pyramid")
    rpn_feat_channels: int = _network(256, "channels of the RPN", ge=1)
    rcnn_fc_out_channels: int = _network(1024, "width of the box head", ge=1)
    rcnn_mask_out_channels: int = _network(256, "channels of the mask head", ge=1)
    roi_layer: RoILayer = _network(
        RoILayer(), "bins along a side of RoIAlign's output: out_size for the box head, mask_out_size for the mask "
                    "head")
    roi_align_finest_scale: float = _network(56.0, "RoIs with twice this side, in pixels, are pooled from P3", gt=0)
    roi_level: Literal["eps_outside", "eps_inside"] = _network("eps_outside", "rounding of a RoI's pyramid level")
    box_offset: int = _network(0, "1: widths of boxes count pixels, x2 - x1 + 1", ge=0, le=1)
    delta_clip: Literal["above", "both"] = _network("above", "whether size deltas are limited above, or on both sides")
    box_ops: Literal["auto", "primitive", "plain"] = option(
        "auto", "suppression and overlaps by MindSpore's primitives, fast on a CPU, or by plain operators, which every "
                "Ascend device runs; auto: plain on Ascend. Give plain to export a model for Ascend on a CPU",
        group="common", topic="device and launch")
    rpn_target_stds: Deviations = _network((1.0,) * 4, "standard deviations that the RPN's box deltas are divided by")
    rcnn_target_stds: Deviations = _network((0.1, 0.1, 0.2, 0.2), "standard deviations that the box head's deltas are "
                                                                  "divided by")

    rpn_head_weight: float = _loss(1.0, "weight of the RPN's losses")
    rpn_loss_cls_weight: float = _loss(1.0, "weight of the RPN's class loss")
    rpn_loss_reg_weight: float = _loss(1.0, "weight of the RPN's box loss")
    rcnn_loss_cls_weight: float = _loss(1.0, "weight of the box head's class loss")
    rcnn_loss_reg_weight: float = _loss(1.0, "weight of the box head's box loss")
    rcnn_loss_mask_fb_weight: float = _loss(1.0, "weight of the mask head's loss")

    neg_iou_thr: float = _sampling(0.3, "anchors below this IoU are negative", ge=0, le=1)
    pos_iou_thr: float = _sampling(0.7, "anchors from this IoU on are positive", ge=0, le=1)
    min_pos_iou: float = _sampling(0.3, "IoU from which an object's best anchors are positive too", ge=0, le=1)
    num_expected_pos: int = _sampling(128, "positive anchors per image, at most", ge=1)
    num_expected_neg: int = _sampling(256, "anchors per image that train the RPN, positive and negative", ge=1)
    neg_iou_thr_stage2: float = _sampling(0.5, "proposals below this IoU are background", ge=0, le=1)
    pos_iou_thr_stage2: float = _sampling(0.5, "proposals from this IoU on are positive", ge=0, le=1)
    min_pos_iou_stage2: float = _sampling(0.5, "IoU from which an object's best proposals are positive too", ge=0, le=1)
    num_expected_pos_stage2: int = _sampling(128, "positive RoIs per image, at most", ge=1)
    num_expected_neg_stage2: int = _sampling(512, "RoIs per image that train the heads, positive and background", ge=1)
    num_mask_rois: int = _sampling(0, "positive RoIs per image that train the mask head; 0: num_expected_pos_stage2",
                                   ge=0)

    rpn_proposal_nms_pre: int = _proposals(2000, "training: boxes per level before NMS", ge=1, le=2864)
    rpn_proposal_max_num: int = _proposals(2000, "training: proposals per image", ge=1)
    rpn_proposal_nms_thr: float = _proposals(0.7, "training: IoU threshold of NMS", ge=0, le=1)
    rpn_proposal_min_bbox_size: float = _detections(0.0, "training: shortest side of a proposal, in pixels",
                                                    travels="to inference", ge=0)
    rpn_nms_pre: int = _detections(1000, "evaluation: boxes per level before NMS", travels="to inference", ge=1,
                                   le=2864)
    rpn_max_num: int = _detections(1000, "evaluation: proposals per image", travels="to inference", ge=1)
    rpn_nms_thr: float = _detections(0.7, "evaluation: IoU threshold of NMS", travels="to inference", ge=0, le=1)
    rpn_min_bbox_min_size: float = _detections(0.0, "evaluation: shortest side of a proposal, in pixels",
                                               travels="to inference", ge=0)
    detection_min_size: float = _detections(0.0, "shortest side of a detection, in pixels", travels="to inference",
                                            ge=0)
    test_score_thr: float = _detections(0.05, "detections have scores above this", resumable=True,
                                        travels="to inference", ge=0, le=1)
    test_iou_thr: float = _detections(0.5, "IoU threshold of the detections' NMS", resumable=True,
                                      travels="to inference", ge=0, le=1)
    nms_method: Literal["hard", "linear", "gaussian"] = _detections(
        "hard", "the detections' NMS: hard drops boxes that overlap a better one by more than test_iou_thr; linear and "
                "gaussian (Soft-NMS) lower their scores", resumable=True, travels="to inference")
    nms_sigma: float = _detections(0.5, "nms_method=gaussian: scores are multiplied by exp(-IoU^2 / nms_sigma)",
                                   resumable=True, travels="to inference", gt=0)
    test_max_per_img: int = _detections(100, "detections per image, at most", resumable=True, travels="to inference",
                                        ge=1, le=2000)
    score_thresholds: Annotated[tuple[str, ...], pydantic.BeforeValidator(by_score.entries)] = option(
        (), "least score of each class in predict.py and in exported models, NAME=NUMBER,... or a JSON file of "
            "src/tools/score_thresholds.py; evaluation counts all detections", group="export",
        topic="proposals and detections", resumable=True, travels="to inference")
    mask_thr_binary: float = _detections(0.5, "probability from which a pixel belongs to the object", ge=0, le=1)
    mask_paste_pad: int | None = _detections(
        None, "paste masks as published evaluations do, with a border of 0 or 1 cells; None: pasting of this project",
        travels="to inference", ge=0, le=1)

    epochs: int = redeclared(Settings, "epochs", 12)
    lr_epochs: int = redeclared(Settings, "lr_epochs", 13)
    base_lr: float = redeclared(Settings, "base_lr", 0.02)
    warmup_steps: int = redeclared(Settings, "warmup_steps", 500)
    warmup_mode: Literal["linear"] = option("linear", "growth of the learning rate in warm-up", topic="optimisation")
    momentum: float = redeclared(Settings, "momentum", 0.91)
    loss_scale: float = redeclared(Settings, "loss_scale", 1.0)
    filter_weight: bool = redeclared(Settings, "filter_weight", True,
                                     "leave out the class, box and mask predictors of a pretrained Mask R-CNN")
    save_checkpoint: bool = _saving(True, "False: save the last step's checkpoint only")
    save_checkpoint_epochs: int = _saving(1, "epochs between two checkpoints", ge=1)
    save_steps: int = redeclared(Settings, "save_steps", 0, "steps between two checkpoints; 0: save_checkpoint_epochs "
                                                            "decides", ge=0)
    keep_checkpoint_max: int = redeclared(Settings, "keep_checkpoint_max", 12)
    test_batch_size: int = option(2, "images per batch in evaluation, or tiles of large ones, which go one by one on a "
                                     "CPU", group="common", topic="evaluation", resumable=True, ge=1)
    eval_max_detections: int = option(
        100, "detections per image that count in AP, the best ones; COCO's numbers are with 100", group="common",
        topic="evaluation", resumable=True, ge=1)
    scales: tuple[Scale, ...] = _views(
        (1.0,), "scales of the input whose detections are united; repeat the flag for several", min_length=1)
    flip: bool = _views(False, "unite the detections of the mirrored image with them")
    eval_mode: Literal["whole", "tiles"] = _tiles(
        "whole", "whole: an image is scaled to the network's input; tiles: parts of it are, which overlap, and "
                 "detections of one object in several tiles are merged")
    tile_size: tuple[pydantic.PositiveInt, ...] = _tiles(
        (), "eval_mode=tiles: height and width of a tile, or the side of a square one, in pixels of the image; by "
            "default img_height and img_width, which keeps the image's scale", max_length=2)
    tile_overlap: int | None = _tiles(
        None, "eval_mode=tiles: overlap of neighbouring tiles, in pixels of the image; objects up to this size lie "
              "completely in a tile; None: a quarter of a tile's short side", ge=0)
    merged_max_per_img: int = _tiles(0, "eval_mode=tiles: detections per image after merging, at most; 0: all "
                                        "(test_max_per_img is for each tile)", ge=0)

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> MaskRCNNConfig:
        if self.num_classes == 1:
            raise ValueError("num_classes=1: expected at least 2 with the background, or 0 for those of the data")
        for name in ("coco_classes", "category_ids"):
            twice = sorted({str(v) for v in getattr(self, name) if getattr(self, name).count(v) > 1})
            if twice:
                raise ValueError(f"{name}: {', '.join(twice)}: given more than once")
        if self.coco_classes and self.num_classes not in (0, len(self.coco_classes)):
            raise ValueError(f"{len(self.coco_classes)} coco_classes for num_classes={self.num_classes}")
        for low, high in (("neg_iou_thr", "pos_iou_thr"), ("neg_iou_thr_stage2", "pos_iou_thr_stage2")):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(f"{low}={getattr(self, low)} is above {high}={getattr(self, high)}")
        if self.copy_paste_ratio and self.dataset == "other":
            raise ValueError(f"copy_paste_ratio={self.copy_paste_ratio:g} with dataset=other: objects are pasted by "
                             "their masks, which text files do not have; leave it out, or give annotations in COCO's "
                             "layout")
        by_score.parse(self.score_thresholds)
        if self.image_dir and not (self.anno_path or self.ann_file):
            raise ValueError(f"image_dir={self.image_dir}: holds the images of anno_path or ann_file; give one of them")
        return self

    @pydantic.model_validator(mode="after")
    def _tiles_overlap(self) -> MaskRCNNConfig:
        if self.eval_mode == "whole":
            for name in TILE_KEYS:
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"{name}={getattr(self, name)} has no effect without eval_mode=tiles; give "
                                     "--eval_mode=tiles too, or leave it out")
        elif self.flip or self.scales != (1.0,):
            raise ValueError(f"eval_mode=tiles with scales={','.join(f'{s:g}' for s in self.scales)} and "
                             f"flip={self.flip}: tiles are looked at once; leave scales and flip out, or give "
                             "--eval_mode=whole")
        elif not self.checkpoint or {"tile_size", "img_height", "img_width"} & self.model_fields_set:
            self._refuse_overlap()  # else the weights may still decide the size: see `completed`
        return self

    @pydantic.model_validator(mode="after")
    def _suppression_has_an_effect(self) -> MaskRCNNConfig:
        if self.nms_method != "gaussian" and self.nms_sigma != type(self).model_fields["nms_sigma"].default:
            raise ValueError(f"nms_sigma={self.nms_sigma:g} has no effect without nms_method=gaussian; give "
                             "--nms_method=gaussian too, or leave it out")
        if self.nms_method != "hard" and (self.flip or len(self.scales) > 1):
            raise ValueError(f"nms_method={self.nms_method} with scales={','.join(f'{s:g}' for s in self.scales)} and "
                             f"flip={self.flip}: what several views find is united by hard suppression, which would "
                             "drop what Soft-NMS keeps; give --nms_method=hard, or leave scales and flip out")
        return self

    def _refuse_overlap(self) -> None:
        if self.tiling and self.tiling.overlap >= min(self.tiling.size):
            height, width = self.tiling.size
            raise InputError(f"tile_overlap={self.tile_overlap} leaves nothing of tiles of {height} x {width} pixels "
                             f"(tile_size, or img_height and img_width); give at most {min(height, width) // 2}, or "
                             "larger tiles")

    @property
    def tiling(self) -> Tiling | None:
        """How images are cut into tiles; None under eval_mode=whole."""
        if self.eval_mode == "whole":
            return None
        size = self.tile_size * 2 if len(self.tile_size) == 1 else self.tile_size or (self.img_height, self.img_width)
        return Tiling(size, min(size) // 4 if self.tile_overlap is None else self.tile_overlap)

    @property
    def thresholds(self) -> dict[str, float]:
        """Score threshold by class name.

        Raises:
            InputError: a class that the model does not have.
        """
        found = by_score.parse(self.score_thresholds)
        by_score.by_label(found, self.names)
        return found

    @property
    def depth(self) -> int:
        """Depth of the ResNet."""
        return int(self.backbone.removeprefix("resnet"))

    @property
    def num_anchors(self) -> int:
        """Anchors per cell."""
        return len(self.anchor_scales) * len(self.anchor_ratios)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes: those given, or numbered ones."""
        return self.coco_classes or ("background", *(f"class_{i}" for i in range(1, self.num_classes)))

    @property
    def chose_classes(self) -> bool:
        """Whether somebody chose the classes; those of the training data come with its category ids."""
        return not self.category_ids

    def check_data(self, split: str) -> None:
        check_split(self, split)

    def list_split(self, split: str) -> Dataset:
        return list_split(self, split, on_bad="skip")

    def steps_between_checkpoints(self, per_epoch: int) -> int:
        if not self.save_checkpoint:
            return NEVER
        return self.save_steps or self.save_checkpoint_epochs * per_epoch

    def translate(self, conventions: Mapping[str, Any]) -> dict[str, Any]:
        """Rename the conventions of published weights to this configuration's keys."""
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
        """See `Config`. A run that continues after `start_epoch` freezes the same parts: its optimizer has the rest.

        Category ids and score thresholds belong to the weights' own classes: classes that the user chose do not get
        them. Tiles belong to the weights' own `eval_mode`, and `nms_sigma` to their `nms_method`: another one that the
        user chose does not get them.
        """
        dropped = {"category_ids", "score_thresholds"} if "coco_classes" in self.model_fields_set else set()
        if "eval_mode" in self.model_fields_set and self.eval_mode != conventions.get("eval_mode"):
            dropped |= set(TILE_KEYS)
        if "nms_method" in self.model_fields_set and self.nms_method != conventions.get("nms_method"):
            dropped.add("nms_sigma")
        keys = (*keys, "freeze_at") if self.start_epoch else keys
        return super().adopting(conventions, [key for key in keys if key not in dropped])

    def completed(self) -> MaskRCNNConfig:
        """This configuration with normalisation, frozen parts and classes decided by weights and data.

        Raises:
            InputError: the data does not name its classes, or has another number of them; or tiles do not fit.
        """
        self._refuse_overlap()
        loaded = bool(self.checkpoint or self.pretrained)
        values: dict[str, Any] = {}
        if self.norm == "auto":
            values["norm"] = "frozen" if loaded else "group"
            log.info("norm=%s: %s", values["norm"],
                     "the weights have statistics" if loaded else "there are no weights to load")
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
                                 f"the background ({', '.join(names[:6])}, ...); choose some with --coco_classes")
            values["num_classes"] = len(names)
            if self.class_map == "order":
                values |= {"coco_classes": names, "category_ids": (0, *(c.category_id for c in found))}
        config = build(type(self), self.model_dump(include=self.model_fields_set) | values)
        config.thresholds  # noqa: B018  refuses classes that there are not
        return config
