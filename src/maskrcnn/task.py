"""The `contract.Task` of Mask R-CNN. The configuration stops here: building blocks get plain arguments."""
from __future__ import annotations

import logging
from collections.abc import Callable

import mindspore.nn as nn
import numpy as np

from src.contract import Dataset
from src.data.decode import Decoding
from src.engine.inference_engine import InferenceEngine
from src.engine.precision import plain_box_ops
from src.layers.freezing import freeze
from src.maskrcnn import COLUMNS, LOSS_NAMES, UNDECIDED
from src.maskrcnn.augmentation import TrainAugmentation
from src.maskrcnn.build import (
    Conventions,
    Detections,
    Proposals,
    Sampling,
    Widths,
    build_losses,
    build_network,
)
from src.maskrcnn.config import MaskRCNNConfig
from src.maskrcnn.export import Export
from src.maskrcnn.inference import Predictor, TiledPredictor
from src.maskrcnn.memory import activation_bytes
from src.maskrcnn.network import BoxMasks, CountedDetections, LossWeights, MaskRCNN, MaskRCNNLosses
from src.maskrcnn.preprocess import Preprocess
from src.maskrcnn.splits import open_split, training_split
from src.maskrcnn.views import MultiViewPredictor, views_of
from src.metrics.coco_map import CocoMAP
from src.metrics.tables import coco_table

log = logging.getLogger(__name__)


class MaskRCNNTask:
    """Takes a `completed` configuration, which has fixed classes, normalisation and frozen parts."""

    columns = COLUMNS
    metric = "ap"
    classifier = ("box_head.cls.*", "box_head.reg.*", "mask_head.predict.*")
    may_be_missing = ()

    def __init__(self, config: MaskRCNNConfig):
        self.config = c = config
        self.class_names = c.names
        self.preprocess = Preprocess((c.img_height, c.img_width), c.image_mean, c.image_std, c.colour_order,
                                  keep_ratio=c.keep_ratio, rule=c.resize_rule, rounding=c.resize_rounding,
                                  pad_before_normalise=c.pad_before_normalise,
                                  decoding=Decoding(c.exif, c.bit_depth, c.max_pixels))
        self.engine = InferenceEngine(c.inference_engine, c.device_target, c.shaping())
        self.plain = plain_box_ops(c.box_ops, c.device_target)
        self.loss_names = (*LOSS_NAMES, UNDECIDED) if self.plain else LOSS_NAMES
        self.export = Export(c, self.preprocess, self._predictor)
        self.conventions = Conventions(
            stem_pool=c.stem_pool, bn_eps=c.bn_eps, box_offset=c.box_offset, anchor_scales=c.anchor_scales,
            anchor_ratios=c.anchor_ratios, anchor_centre=c.anchor_centre, anchor_strides=c.anchor_strides,
            fpn_upsample=c.fpn_upsample, rpn_stds=c.rpn_target_stds, box_stds=c.rcnn_target_stds,
            delta_clip=c.delta_clip, roi_level=c.roi_level, proposal_min_size=c.rpn_min_bbox_min_size,
            detection_min_size=c.detection_min_size)

    def dataset(self, split: str) -> Dataset:
        return training_split(self.config) if split == "train" else open_split(self.config, split)

    def train_augmentation(self) -> TrainAugmentation:
        c = self.config
        return TrainAugmentation(self.preprocess, c.num_classes, max_instances=c.max_instance_count,
                              mask_side=c.mask_crop_size, flip_ratio=c.flip_ratio, photo_ratio=c.photo_ratio,
                              expand_ratio=c.expand_ratio, scales=c.train_scales,
                              scale_limits=(c.min_scale, c.max_scale), crop_size=c.train_size if c.crop_size else None,
                              rotate_ratio=c.rotate_ratio, copy_paste_ratio=c.copy_paste_ratio)

    def network(self) -> MaskRCNN:
        c = self.config
        widths = Widths(fpn=c.fpn_out_channels, rpn=c.rpn_feat_channels, box_hidden=c.rcnn_fc_out_channels,
                        box_size=c.roi_layer.out_size, mask_channels=c.rcnn_mask_out_channels,
                        mask_size=c.roi_layer.mask_out_size, finest_scale=c.roi_align_finest_scale)
        network = build_network(
            self.conventions, num_classes=c.num_classes, depth=c.depth, norm=c.norm, widths=widths,
            proposals=Proposals(before_nms=c.rpn_nms_pre, after_nms=c.rpn_max_num, nms_iou=c.rpn_nms_thr),
            detections=Detections(max_detections=c.test_max_per_img, score_threshold=c.test_score_thr,
                                  nms_iou=c.test_iou_thr, nms_method=c.nms_method, nms_sigma=c.nms_sigma),
            plain=self.plain)
        freeze(network, c.freeze_at)
        return network

    def training_cell(self, network: MaskRCNN) -> MaskRCNNLosses:
        c = self.config
        proposals = Proposals(before_nms=c.rpn_proposal_nms_pre, after_nms=c.rpn_proposal_max_num,
                              nms_iou=c.rpn_proposal_nms_thr, min_size=c.rpn_proposal_min_bbox_size)
        anchors = Sampling(negative_iou=c.neg_iou_thr, positive_iou=c.pos_iou_thr, best_iou=c.min_pos_iou,
                           max_positive=c.num_expected_pos, samples=c.num_expected_neg)
        rois = Sampling(negative_iou=c.neg_iou_thr_stage2, positive_iou=c.pos_iou_thr_stage2,
                        best_iou=c.min_pos_iou_stage2, max_positive=c.num_expected_pos_stage2,
                        samples=c.num_expected_neg_stage2)
        weights = LossWeights(rpn=c.rpn_head_weight, rpn_cls=c.rpn_loss_cls_weight, rpn_reg=c.rpn_loss_reg_weight,
                              rcnn_cls=c.rcnn_loss_cls_weight, rcnn_reg=c.rcnn_loss_reg_weight,
                              rcnn_mask=c.rcnn_loss_mask_fb_weight)
        return build_losses(network, self.conventions, proposals=proposals, anchors=anchors, rois=rois, weights=weights,
                            mask_rois=c.num_mask_rois or c.num_expected_pos_stage2, seed=c.seed, noise=c.noise,
                            plain=self.plain)

    def predictor(self, network: nn.Cell, *, confidence: bool = False) -> Predictor:
        c = self.config
        network.set_train(False)

        run = self.engine.function(CountedDetections(network).set_train(False) if self.plain else network)

        def detect(image: np.ndarray, image_size: np.ndarray) -> tuple[np.ndarray, ...]:
            found = run(image, image_size)
            if self.plain and (undecided := found[-1]).any():
                log.warning("suppression left %s=%d in a batch of %d images: they are dropped, so a detection may be "
                            "missing; --box_ops=primitive decides them on a CPU", UNDECIDED, undecided.sum(),
                            len(image))
            return found[:5]

        one_by_one = c.tiling and not self.engine.gains_from_batches
        masks_of = self.engine.function(BoxMasks(network).set_train(False))
        return self._predictor(detect, self.preprocess, 1 if one_by_one else c.test_batch_size,
                               lambda *inputs: masks_of(*inputs)[0])

    def _predictor(self, detect: Callable, preprocess: Preprocess, batch_size: int,
                   masks_of: Callable | None = None) -> Predictor:
        """`masks_of`: see `MultiViewPredictor`; exported models have none, and look at an image once."""
        c = self.config
        common = {"preprocess": preprocess, "batch_size": batch_size, "workers": c.workers,
                  "paste_pad": c.mask_paste_pad, "threshold": c.mask_thr_binary, "with_masks": c.dataset != "other"}
        if c.tiling:
            return TiledPredictor(detect, tiling=c.tiling, limit=c.merged_max_per_img, **common)
        views = views_of(preprocess, c.scales, flip=c.flip)
        if masks_of and (c.flip or c.scales != (1.0,)):
            return MultiViewPredictor(detect, masks_of=masks_of, views=views, limit=c.test_max_per_img,
                                      iou=c.test_iou_thr, **common)
        return Predictor(detect, **common)

    def evaluator(self) -> CocoMAP:
        return CocoMAP(self.config.eval_max_detections)

    def results(self, evaluator: CocoMAP) -> dict[str, list]:
        """Detections in COCO's results format: {"bbox": boxes, "segm": masks}."""
        kinds = ("bbox",) if self.config.dataset == "other" else ("bbox", "segm")
        return {kind: evaluator.results(kind) for kind in kinds}

    def describe(self, numbers: dict) -> str:
        """COCO's lines for boxes and masks, AP by class, and the images that did not count."""
        return coco_table(numbers, self.config.eval_max_detections)

    def activation_bytes(self) -> int:
        return activation_bytes(self.config)

    def memory_flags(self) -> str:
        c = self.config
        size = (f"--crop_size={c.train_size[0]},{c.train_size[1]}" if c.crop_size else
                f"--img_height={c.img_height} and --img_width={c.img_width}")
        return (f"--batch_size={c.batch_size}, {size}, or "
                f"--num_expected_neg_stage2={c.num_expected_neg_stage2}")
