"""Builds the network from named options; the options in which published weights differ are one `Conventions`."""
from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from src.layers.conv_norm import norm_factory
from src.layers.resnet import ResNet
from src.maskrcnn.box_head import BoxHead, BoxLoss, RoISampler
from src.maskrcnn.fpn import FPN
from src.maskrcnn.mask_head import MaskHead
from src.maskrcnn.network import STRIDES, Anchors, MaskRCNN, MaskRCNNLosses
from src.maskrcnn.proposals import DetectionPostprocess, ProposalGenerator
from src.maskrcnn.roi import RoIAlign
from src.maskrcnn.rpn import RPNHead, RPNLoss


@dataclass(frozen=True)
class Conventions:
    """Arithmetic that belongs to the weights; the names are those of `weights/families.py`."""

    stem_pool: str = "pad"
    bn_eps: float = 1e-5
    box_offset: int = 0
    anchor_scales: tuple[float, ...] = (8.0,)
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    anchor_centre: str = "origin"
    anchor_strides: tuple[float, ...] = STRIDES
    fpn_upsample: str = "nearest"
    rpn_stds: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    box_stds: tuple[float, ...] = (0.1, 0.1, 0.2, 0.2)
    delta_clip: str = "above"
    roi_level: str = "eps_outside"
    proposal_min_size: float = 1e-3
    detection_min_size: float = 1e-2

    @classmethod
    def of_family(cls, options: Mapping[str, Any], **changes: Any) -> Conventions:
        """Take the options of a weights family that the network needs; those of its input are left aside."""
        names = {field.name for field in dataclasses.fields(cls)}
        taken = {name: value for name, value in options.items() if name in names}
        if "anchor_scale" in options:
            taken["anchor_scales"] = (options["anchor_scale"],)
        return cls(**{name: tuple(v) if isinstance(v, list) else v for name, v in (taken | changes).items()})

    @property
    def rpn_coder(self) -> dict[str, Any]:
        return {"stds": self.rpn_stds, "delta_clip": self.delta_clip, "box_offset": self.box_offset}

    @property
    def box_coder(self) -> dict[str, Any]:
        return {"stds": self.box_stds, "delta_clip": self.delta_clip, "box_offset": self.box_offset}

    def anchors(self) -> Anchors:
        return Anchors(scales=self.anchor_scales, ratios=self.anchor_ratios, centre=self.anchor_centre,
                       box_offset=self.box_offset, strides=self.anchor_strides)

    def align(self, size: int, finest_scale: float) -> RoIAlign:
        return RoIAlign(size, roi_level=self.roi_level, finest_scale=finest_scale, box_offset=self.box_offset)


@dataclass(frozen=True)
class Widths:
    """Sizes of the layers; the defaults are the published network's."""

    fpn: int = 256
    rpn: int = 256
    box_hidden: int = 1024
    box_size: int = 7
    mask_channels: int = 256
    mask_size: int = 14
    finest_scale: float = 56.0


def build_network(conventions: Conventions, *, num_classes: int, depth: int = 50, norm: str = "frozen",
                  widths: Widths = Widths(), proposals: Mapping[str, Any] | None = None,
                  detections: Mapping[str, Any] | None = None) -> MaskRCNN:
    """Return the inference network with fresh weights.

    Args:
        conventions: see there.
        num_classes: K, background included; at least 2.
        depth: of the ResNet. norm: of its normalisation, see `conv_norm.norm_factory`.
        widths: see there.
        proposals: arguments of `ProposalGenerator` at inference: before_nms, after_nms, nms_iou; 1000,
        1000 and 0.7 if absent.
        detections: arguments of `DetectionPostprocess`: max_detections, score_threshold, nms_iou, candidates.
    """
    if num_classes < 2:
        raise ValueError(f"num_classes={num_classes}: expected at least 2, background is one of them")
    backbone = ResNet(depth, norm=norm_factory(norm, eps=conventions.bn_eps), stem_pool=conventions.stem_pool)
    anchors = conventions.anchors()
    kept = {"before_nms": 1000, "after_nms": 1000, "min_size": conventions.proposal_min_size} | dict(proposals or {})
    shown = {"min_size": conventions.detection_min_size} | dict(detections or {})
    return MaskRCNN(
        backbone=backbone, fpn=FPN(backbone.out_channels, widths.fpn, upsample=conventions.fpn_upsample),
        rpn=RPNHead(widths.fpn, widths.rpn, anchors.per_cell), anchors=anchors,
        box=(conventions.align(widths.box_size, widths.finest_scale),
             BoxHead(widths.fpn, num_classes, size=widths.box_size, hidden=widths.box_hidden)),
        mask=(conventions.align(widths.mask_size, widths.finest_scale),
              MaskHead(widths.fpn, num_classes, channels=widths.mask_channels)),
        proposals=ProposalGenerator(**kept, **conventions.rpn_coder),
        detections=DetectionPostprocess(**shown, **conventions.box_coder))


def build_losses(network: MaskRCNN, conventions: Conventions, *, proposals: Mapping[str, Any] | None = None,
                 rpn: Mapping[str, Any] | None = None, rois: Mapping[str, Any] | None = None, box_beta: float = 1.0,
                 **others: Any) -> MaskRCNNLosses:
    """Return the training cell of `network`.

    Args:
        conventions: those that the network was built with.
        proposals: arguments of `ProposalGenerator` in training; 2000, 2000 and 0.7 if absent.
        rpn: arguments of `RPNLoss`. rois: arguments of `RoISampler`. box_beta: of `BoxLoss`.
        others: arguments of `MaskRCNNLosses`.
    """
    kept = {"before_nms": 2000, "after_nms": 2000, "min_size": conventions.proposal_min_size} | dict(proposals or {})
    offset = {"box_offset": conventions.box_offset}
    return MaskRCNNLosses(network, proposals=ProposalGenerator(**kept, **conventions.rpn_coder),
                          rpn_loss=RPNLoss(stds=conventions.rpn_stds, **offset, **dict(rpn or {})),
                          sampler=RoISampler(**offset, **dict(rois or {})),
                          box_loss=BoxLoss(stds=conventions.box_stds, beta=box_beta, **offset), **others)
