"""The keys of Mask R-CNN's configuration: names and defaults of the published recipe's table, and what they do.

Rules between keys, and the table's keys that are no options of their own, are in `config.py`.
"""
from __future__ import annotations

from typing import Annotated, Any, Literal

import pydantic

from src.config import Positive, option, read_text
from src.engine.settings import Settings

Deviations = tuple[Positive, Positive, Positive, Positive]
STRIDES = (4, 8, 16, 32, 64)  # of P2..P6


class RoILayer(pydantic.BaseModel):
    """Bins a side of RoIAlign for the box head and the mask head."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")
    type: Literal["RoIAlign"] = "RoIAlign"
    out_size: int = pydantic.Field(7, ge=1)
    mask_out_size: int = pydantic.Field(14, ge=1)
    sample_num: Literal[2] = 2


def _read_mapping(value: Any) -> Any:
    """A flag's text as YAML: '{out_size: 5}'."""
    return read_text(value) if isinstance(value, str) else value


class MaskRCNNOptions(Settings):
    """Every option of Mask R-CNN, beside those that all models share."""

    model: Literal["mask_rcnn_r50"] = option("mask_rcnn_r50", "mask_rcnn_r50", group="common")
    batch_size: int = option(2, "images per batch and process in training", group="common", ge=1)
    test_batch_size: int = option(2, "images per batch in evaluation", group="common", ge=1)

    # data
    dataset: Literal["coco", "other"] = option("coco", "coco: annotation files in COCO's layout; other: text files",
                                               group="common")
    coco_root: str = option("", "folder of a data set in COCO's layout", group="common")
    train_data_type: str = option("train2017", "name of the training split: folder in coco_root", group="common")
    val_data_type: str = option("val2017", "name of the validation split: folder in coco_root", group="common")
    instance_set: str = option("annotations/instances_{}.json", "annotation file in coco_root; {}: the split's name",
                               group="common")
    ann_file: str = option("", "annotation file to evaluate on; its images are in image_dir, or as in COCO's layout",
                           group="eval")
    image_dir: str = option("", "folder that the paths of anno_path start from", group="common")
    anno_path: str = option("", "dataset=other: text file, one image a line: path x1,y1,x2,y2,class ...",
                           group="common")
    val_anno_path: str = option("", "dataset=other: text file that training evaluates on")
    data_file: str = option("", "records to train on instead: path, first shard or manifest", group="common",
                            aliases=("mindrecord_dir",))
    val_data_file: str = option("", "records that training evaluates on, or to evaluate", group="common")
    coco_classes: tuple[str, ...] = option((), "names by class index, background first; by default those of the data",
                                           group="common")
    category_ids: tuple[int, ...] = option((), "category ids in results by class index, 0 first; by default those of "
                                               "the training data", group="common")
    num_classes: int = option(0, "number of classes, background included; 0: as many as the data has", group="common",
                              ge=0, le=10_000)
    class_map: Literal["order", "id"] = option("order", "class index: place among the categories, or the category's id",
                                               group="common")

    # input
    img_width: int = option(1280, "width of the network's input, pixels; a multiple of 32", group="common", ge=32)
    img_height: int = option(768, "height of the network's input, pixels; a multiple of 32", group="common", ge=32)
    keep_ratio: bool = option(True, "scale both sides alike and pad; False: stretch to the input", group="common")
    flip_ratio: float = option(0.5, "share of the samples that are mirrored", ge=0, le=1)
    photo_ratio: float = option(0.5, "share of the samples whose colours are distorted", ge=0, le=1)
    expand_ratio: float = option(1.0, "share of the samples that may be put on a larger canvas", ge=0, le=1)
    max_instance_count: int = option(128, "ground truth slots of an image; a random choice where there are more", ge=1)
    mask_crop_size: int = option(112, "side of the mask crops that a batch carries", ge=14)
    colour_order: Literal["RGB", "BGR"] = option("RGB", "order of the network's input channels", group="common")
    image_mean: tuple[float, float, float] = option((123.675, 116.28, 103.53), "in colour_order, 0..255 scale",
                                                    group="common")
    image_std: tuple[Positive, Positive, Positive] = option((58.395, 57.12, 57.375), "in colour_order, 0..255 scale",
                                                   group="common")
    resize_rule: Literal["canvas", "short_side"] = option(
        "canvas", "fit into img_height x img_width; short_side: those are the short side and the longest long side",
        group="common")
    resize_rounding: Literal["round", "floor"] = option("round", "of the scaled sides", group="common")
    pad_before_normalise: bool = option(False, "padding is black before normalisation, not 0 after it", group="common")

    # anchors
    anchor_scales: tuple[Positive, ...] = option((8.0,), "sides of the square anchors, in anchor_strides",
                                                 group="common", min_length=1)
    anchor_ratios: tuple[Positive, ...] = option((0.5, 1.0, 2.0), "heights by widths of the anchors", group="common",
                                                 min_length=1)
    anchor_strides: tuple[Positive, Positive, Positive, Positive, Positive] = option(
        STRIDES, "what anchor_scales multiply on P2..P6, pixels", group="common")
    anchor_centre: Literal["origin", "pixel"] = option("origin", "anchors are centred on a cell's corner or middle",
                                                       group="common")

    # network
    backbone: Literal["resnet18", "resnet34", "resnet50", "resnet101"] = option("resnet50", "feature extractor",
                                                                                group="common")
    norm: Literal["auto", "frozen", "batch", "group", "sync"] = option(
        "auto", "normalisation layers; auto: frozen with loaded weights, else group", group="common")
    freeze_at: int = option(-1, "frozen parts of the backbone: 0 none, 1 stem, 2 and layer1, ... 5 all; -1: 2 with "
                                "loaded weights, else 0", ge=-1, le=5)
    stem_pool: Literal["same", "pad"] = option("pad", "padding of the stem's max pool", group="common")
    bn_eps: float = option(1e-5, "added to the variance", group="common", ge=0)
    fpn_out_channels: int = option(256, "channels of the pyramid", group="common", ge=1)
    fpn_upsample: Literal["nearest", "asymmetric"] = option("nearest", "upsampling of the pyramid", group="common")
    rpn_feat_channels: int = option(256, "channels of the RPN", group="common", ge=1)
    rcnn_fc_out_channels: int = option(1024, "width of the box head", group="common", ge=1)
    rcnn_mask_out_channels: int = option(256, "channels of the mask head", group="common", ge=1)
    roi_layer: Annotated[RoILayer, pydantic.BeforeValidator(_read_mapping)] = option(
        RoILayer(), "bins of RoIAlign: {out_size: box head, mask_out_size: mask head}", group="common")
    roi_align_finest_scale: float = option(56.0, "RoIs of twice this side, pixels, go to P3", group="common", gt=0)
    roi_level: Literal["eps_outside", "eps_inside"] = option("eps_outside", "rounding of a RoI's level", group="common")
    box_offset: int = option(0, "1: a box's width counts pixels, x2 - x1 + 1", group="common", ge=0, le=1)
    delta_clip: Literal["above", "both"] = option("above", "limit of size deltas", group="common")
    rpn_target_stds: Deviations = option((1.0,) * 4, "of the RPN's deltas", group="common")
    rcnn_target_stds: Deviations = option((0.1, 0.1, 0.2, 0.2), "of the box head's deltas", group="common")

    # losses
    rpn_head_weight: float = option(1.0, "weight of the RPN's losses", ge=0)
    rpn_loss_cls_weight: float = option(1.0, "weight of its class loss", ge=0)
    rpn_loss_reg_weight: float = option(1.0, "weight of its box loss", ge=0)
    rcnn_loss_cls_weight: float = option(1.0, "weight of the box head's class loss", ge=0)
    rcnn_loss_reg_weight: float = option(1.0, "weight of the box head's box loss", ge=0)
    rcnn_loss_mask_fb_weight: float = option(1.0, "weight of the mask head's loss", ge=0)

    # matching and sampling
    neg_iou_thr: float = option(0.3, "anchors below this IoU are negative", ge=0, le=1)
    pos_iou_thr: float = option(0.7, "anchors from this IoU on are positive", ge=0, le=1)
    min_pos_iou: float = option(0.3, "least IoU of an object's best anchors, which are positive too", ge=0, le=1)
    num_expected_pos: int = option(128, "positive anchors an image at most", ge=1)
    num_expected_neg: int = option(256, "anchors an image, positive and negative", ge=1)
    neg_iou_thr_stage2: float = option(0.5, "proposals below this IoU are background", ge=0, le=1)
    pos_iou_thr_stage2: float = option(0.5, "proposals from this IoU on are positive", ge=0, le=1)
    min_pos_iou_stage2: float = option(0.5, "least IoU of an object's best proposals", ge=0, le=1)
    num_expected_pos_stage2: int = option(128, "positive RoIs an image at most", ge=1)
    num_expected_neg_stage2: int = option(512, "RoIs an image, positive and background", ge=1)
    num_mask_rois: int = option(0, "positive RoIs an image that train the masks; 0: num_expected_pos_stage2", ge=0)

    # proposals and detections
    rpn_proposal_nms_pre: int = option(2000, "training: boxes a level before suppression", ge=1, le=2864)
    rpn_proposal_max_num: int = option(2000, "training: proposals an image", ge=1)
    rpn_proposal_nms_thr: float = option(0.7, "training: IoU of suppression", ge=0, le=1)
    rpn_proposal_min_bbox_size: float = option(0.0, "training: least side of a proposal, pixels", group="common", ge=0)
    rpn_nms_pre: int = option(1000, "evaluation: boxes a level before suppression", group="common", ge=1, le=2864)
    rpn_max_num: int = option(1000, "evaluation: proposals an image", group="common", ge=1)
    rpn_nms_thr: float = option(0.7, "evaluation: IoU of suppression", group="common", ge=0, le=1)
    rpn_min_bbox_min_size: float = option(0.0, "evaluation: least side of a proposal, pixels", group="common", ge=0)
    detection_min_size: float = option(0.0, "least side of a detection, pixels", group="common", ge=0)
    test_score_thr: float = option(0.05, "detections have to exceed this score", group="common", ge=0, le=1)
    test_iou_thr: float = option(0.5, "IoU of the suppression of detections", group="common", ge=0, le=1)
    test_max_per_img: int = option(100, "detections an image", group="common", ge=1, le=2000)
    eval_max_detections: int = option(100, "best detections of an image that count in AP; COCO's numbers have 100",
                                      group="common", ge=1)
    mask_thr_binary: float = option(0.5, "probability from which a pixel is the object's", group="common", ge=0, le=1)
    mask_paste_pad: int | None = option(None, "pasting as published evaluations do: 0 or 1", group="common", ge=0, le=1)

    # schedule
    epochs: int = option(12, "passes over the training split", aliases=("epoch_size", "train_epochs"), ge=1)
    lr_epochs: int = option(13, "epochs that the learning rate decays over, 0 for those of the run",
                            aliases=("total_epoch",), ge=0)
    base_lr: float = option(0.02, "learning rate after warm-up", gt=0)
    warmup_steps: int = option(500, "updates of warm-up", aliases=("warmup_step",), ge=0)
    warmup_mode: Literal["linear"] = option("linear", "growth of the learning rate in warm-up")
    momentum: float = option(0.91, "of the Momentum optimizer", ge=0, lt=1)
    loss_scale: float = option(1.0, "factor on the loss in the backward pass", gt=0)
    filter_weight: bool = option(True, "leave out a pretrained Mask R-CNN's class, box and mask predictors")
    save_checkpoint: bool = option(True, "False: the last step's checkpoint alone")
    save_checkpoint_epochs: int = option(1, "epochs between two checkpoints", ge=1)
    save_steps: int = option(0, "steps between two checkpoints instead, 0 for save_checkpoint_epochs", ge=0)
    keep_checkpoint_max: int = option(12, "newest checkpoints that are kept", ge=1)
