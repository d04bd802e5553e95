"""Build the network and its losses from named options; `Conventions` are those in which published weights differ."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from src.layers.conv_norm import norm_factory
from src.layers.random import NEWEST
from src.layers.resnet import ResNet
from src.maskrcnn.box_head import BoxHead, BoxLoss, RoISampler
from src.maskrcnn.fpn import FPN
from src.maskrcnn.mask_head import MaskHead
from src.maskrcnn.network import STRIDES, Anchors, LossWeights, MaskRCNN, MaskRCNNLosses
from src.maskrcnn.proposals import DetectionPostprocess, ProposalGenerator
from src.maskrcnn.roi import RoIAlign
from src.maskrcnn.rpn import RPNHead, RPNLoss


@dataclass(frozen=True)
class Conventions:
    """The arithmetic that weights were trained with; the names are those of `weights/families.py`."""

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
        """Pick the network's options from a weights family's conventions, without those of its input."""
        names = {field.name for field in fields(cls)}
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

    def proposal_generator(self, proposals: Proposals, plain: bool) -> ProposalGenerator:
        chosen = asdict(proposals)
        if proposals.min_size is None:
            chosen["min_size"] = self.proposal_min_size
        return ProposalGenerator(**chosen, **self.rpn_coder, plain=plain)

    def align(self, size: int, finest_scale: float) -> RoIAlign:
        return RoIAlign(size, roi_level=self.roi_level, finest_scale=finest_scale, box_offset=self.box_offset)


@dataclass(frozen=True)
class Widths:
    """Sizes of layers; the defaults are those of the published network."""

    fpn: int = 256
    rpn: int = 256
    box_hidden: int = 1024
    box_size: int = 7
    mask_channels: int = 256
    mask_size: int = 14
    finest_scale: float = 56.0


@dataclass(frozen=True)
class Proposals:
    """Arguments of `ProposalGenerator`; the defaults are those of inference.

    Attributes:
        min_size: shortest side of a proposal, in pixels; None for that of the conventions.
    """

    before_nms: int = 1000
    after_nms: int = 1000
    nms_iou: float = 0.7
    min_size: float | None = None


@dataclass(frozen=True)
class Detections:
    """Arguments of `DetectionPostprocess`, except the shortest side of a detection, which is a convention."""

    max_detections: int = 100
    candidates: int = 2000
    score_threshold: float = 0.05
    nms_iou: float = 0.5
    nms_method: str = "hard"
    nms_sigma: float = 0.5


@dataclass(frozen=True)
class Sampling:
    """Which anchors or RoIs are positive, and how many are sampled: arguments of `RPNLoss` and `RoISampler`.

    Attributes:
        negative_iou, positive_iou, best_iou: see `matching.match`.
        max_positive: positives per image, at most.
        samples: positives and negatives per image.
    """

    negative_iou: float
    positive_iou: float
    best_iou: float | None
    max_positive: int
    samples: int


TRAINING_PROPOSALS = Proposals(before_nms=2000, after_nms=2000)
ANCHOR_SAMPLING = Sampling(negative_iou=0.3, positive_iou=0.7, best_iou=0.3, max_positive=128, samples=256)
ROI_SAMPLING = Sampling(negative_iou=0.5, positive_iou=0.5, best_iou=None, max_positive=128, samples=512)
EQUAL_WEIGHTS = LossWeights()


def build_network(conventions: Conventions, *, num_classes: int, depth: int = 50, norm: str = "frozen",
                  widths: Widths = Widths(), proposals: Proposals = Proposals(),
                  detections: Detections = Detections(), plain: bool = False) -> MaskRCNN:
    """Return the inference network with fresh weights.

    Args:
        num_classes: K, background included; at least 2.
        depth: of the ResNet.
        norm: normalisation of the ResNet, see `conv_norm.norm_factory`.
        conventions, widths, proposals, detections: see their classes.
        plain: see `engine.precision.plain_box_ops`.
    """
    if num_classes < 2:
        raise ValueError(f"num_classes={num_classes}: expected at least 2, background is one of them")
    backbone = ResNet(depth, norm=norm_factory(norm, eps=conventions.bn_eps), stem_pool=conventions.stem_pool)
    anchors = conventions.anchors()
    return MaskRCNN(
        backbone=backbone, fpn=FPN(backbone.out_channels, widths.fpn, upsample=conventions.fpn_upsample),
        rpn=RPNHead(widths.fpn, widths.rpn, anchors.per_cell), anchors=anchors,
        box=(conventions.align(widths.box_size, widths.finest_scale),
             BoxHead(widths.fpn, num_classes, size=widths.box_size, hidden=widths.box_hidden)),
        mask=(conventions.align(widths.mask_size, widths.finest_scale),
              MaskHead(widths.fpn, num_classes, channels=widths.mask_channels)),
        proposals=conventions.proposal_generator(proposals, plain),
        detections=DetectionPostprocess(**asdict(detections), min_size=conventions.detection_min_size,
                                        **conventions.box_coder, plain=plain))


def build_losses(network: MaskRCNN, conventions: Conventions, *, proposals: Proposals = TRAINING_PROPOSALS,
                 anchors: Sampling = ANCHOR_SAMPLING, rois: Sampling = ROI_SAMPLING,
                 weights: LossWeights = EQUAL_WEIGHTS, mask_rois: int = 128, box_beta: float = 1.0,
                 seed: int = 1, noise: int = NEWEST, plain: bool = False) -> MaskRCNNLosses:
    """Return the training cell of `network`.

    Args:
        conventions: those that the network was built with.
        proposals: settings of the proposals that RoIs are sampled from.
        anchors, rois: sampling for the RPN and for the heads.
        weights, mask_rois, seed, noise: see `MaskRCNNLosses`.
        box_beta: point at which the box head's smooth L1 loss turns from quadratic to linear.
        plain: the value that the network was built with.
    """
    offset, form = conventions.box_offset, {"box_offset": conventions.box_offset, "plain": plain}
    return MaskRCNNLosses(network, proposals=conventions.proposal_generator(proposals, plain),
                          rpn_loss=RPNLoss(stds=conventions.rpn_stds, **form, **asdict(anchors)),
                          sampler=RoISampler(**form, **asdict(rois)),
                          box_loss=BoxLoss(stds=conventions.box_stds, beta=box_beta, box_offset=offset),
                          mask_rois=mask_rois, weights=weights, seed=seed, noise=noise)
