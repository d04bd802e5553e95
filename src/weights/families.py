"""Families of published weights: for each, a table of parameter names and a table of conventions.

A family is the weights of one network from one publisher. Its rows map its parameter names and layouts to ours and
back; its conventions are the options that the network and its input need to reproduce the publisher's numbers. Both
are data, and this is the only file of the package that names layers of networks.

A converted checkpoint carries the conventions as JSON metadata, so they hold lists, never tuples.

`load.read_weights` adds what the tensors show: "backbone" (resnet18/34/50/101), "num_classes", "auxiliary".

Input, all networks
    colour_order        "RGB" or "BGR": order of the network's three input channels
    image_mean          mean and
    image_std           standard deviation by channel, on the 0..255 scale, in `colour_order`
    stem_pool           padding of the 3x3 max pooling after conv1: "pad" = one row and column on every side; "same"
                        (the model zoo) = for even sizes, at the bottom and right only
    bn_eps              epsilon of every batch norm

DeepLabV3
    dilation            "multi_grid" = every block of a dilated layer is dilated, and the blocks of layer4 multiply
                        its dilation by 1, 2, 4; "previous" = no grid, and the first block of a dilated layer keeps
                        the dilation of the layer before it
    aspp_rates          {output stride as text: dilations of the three 3x3 branches}
    head_conv3x3        a 3x3 convolution + BN + ReLU between ASPP's projection and the classifier
    resize_align_corners  whether resizing the logits to the input aligns corners; false = half-pixel centres
    output_stride       8 or 16; null = either: names and shapes do not show it

Mask R-CNN
    class_map           "coco80" = indices 1..80 are COCO's categories in order; "coco91" = the index is the category id
    box_offset          1 = widths are x2 - x1 + 1 in IoU, deltas, anchors and levels (NMS has none); 0 = x2 - x1
    anchor_scale        side of the square anchor in strides of its level
    anchor_ratios       height / width, in the order of the channels
    anchor_centre       "pixel" = base anchors are centred on (stride - 1) / 2; "origin" = on 0. Both round corners,
                        halves to even
    fpn_upsample        "asymmetric" = bilinear with source = target * ratio (no half pixels); "nearest"
    rpn_stds, box_stds  standard deviations that deltas are divided by (torchvision's weights are their inverses)
    delta_clip          "both" = dw and dh limited to +-log(1000 / 16); "above" = limited above only
    roi_level           "eps_inside" = floor(log2(scale / 56 + 1e-6)); "eps_outside" = floor(log2(scale / 56) + 1e-6);
                        clipped to P2..P5; scale = sqrt of the RoI's area, with `box_offset`
    proposal_min_size   proposals with a shorter side (pixels) are dropped before NMS
    detection_min_size  the same for detections
    detections_per_image  how many are kept, best scores first
    mask_paste_pad      pixels that a predicted mask is padded by, and its box expanded with it, before pasting
    resize_rule         "canvas" = fit into `resize_size` (height, width), portrait images in two steps, padded to all
                        of it; "short_side" = short side `resize_size[0]`, long side at most `resize_size[1]`, padded to
                        multiples of `pad_multiple`
    resize_rounding     how scaled sides are rounded: "round" (half up) or "floor"
    pad_before_normalise  true = padding is black, that is -mean/std in the network's input; false = padding is 0 there
"""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

_RGB_MEAN, _RGB_STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
_BGR_MEAN, _BGR_STD = [103.53, 116.28, 123.675], [57.375, 57.12, 58.395]

ZOO_RESNET: dict[str, Any] = {
    "colour_order": "RGB", "image_mean": _RGB_MEAN, "image_std": _RGB_STD, "stem_pool": "same", "bn_eps": 1e-4,
}
TORCHVISION_RESNET: dict[str, Any] = {
    "colour_order": "RGB", "image_mean": _RGB_MEAN, "image_std": _RGB_STD, "stem_pool": "pad", "bn_eps": 1e-5,
}
ZOO_DEEPLABV3: dict[str, Any] = {
    "colour_order": "BGR", "image_mean": _BGR_MEAN, "image_std": _BGR_STD, "stem_pool": "same", "bn_eps": 1e-5,
    "dilation": "multi_grid", "aspp_rates": {"8": [6, 12, 18], "16": [6, 12, 18]}, "head_conv3x3": False,
    "resize_align_corners": True, "output_stride": None,
}
TORCHVISION_DEEPLABV3: dict[str, Any] = {
    "colour_order": "RGB", "image_mean": _RGB_MEAN, "image_std": _RGB_STD, "stem_pool": "pad", "bn_eps": 1e-5,
    "dilation": "previous", "aspp_rates": {"8": [12, 24, 36], "16": [12, 24, 36]}, "head_conv3x3": True,
    "resize_align_corners": False, "output_stride": 8,
}
ZOO_MASKRCNN: dict[str, Any] = {
    "colour_order": "RGB", "image_mean": _RGB_MEAN, "image_std": _RGB_STD, "stem_pool": "same", "bn_eps": 1e-5,
    "class_map": "coco80", "box_offset": 1,
    "anchor_scale": 8, "anchor_ratios": [0.5, 1.0, 2.0], "anchor_centre": "pixel", "fpn_upsample": "asymmetric",
    "rpn_stds": [1.0, 1.0, 1.0, 1.0], "box_stds": [0.1, 0.1, 0.2, 0.2], "delta_clip": "both",
    "roi_level": "eps_inside", "proposal_min_size": 0.0, "detection_min_size": 0.0, "detections_per_image": 128,
    "mask_paste_pad": 0, "resize_rule": "canvas", "resize_size": [768, 1280], "resize_rounding": "round",
    "pad_before_normalise": True, "pad_multiple": 32,
}
TORCHVISION_MASKRCNN: dict[str, Any] = {
    "colour_order": "RGB", "image_mean": _RGB_MEAN, "image_std": _RGB_STD, "stem_pool": "pad", "bn_eps": 1e-5,
    "class_map": "coco91", "box_offset": 0,
    "anchor_scale": 8, "anchor_ratios": [0.5, 1.0, 2.0], "anchor_centre": "origin", "fpn_upsample": "nearest",
    "rpn_stds": [1.0, 1.0, 1.0, 1.0], "box_stds": [0.1, 0.1, 0.2, 0.2], "delta_clip": "above",
    "roi_level": "eps_outside", "proposal_min_size": 1e-3, "detection_min_size": 1e-2, "detections_per_image": 100,
    "mask_paste_pad": 1, "resize_rule": "short_side", "resize_size": [800, 1333], "resize_rounding": "floor",
    "pad_before_normalise": False, "pad_multiple": 32,
}

# --- names ------------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Family:
    """One network from one publisher.

    Attributes:
        name: its name in `--family` and in reports.
        publisher: the value of `--family` for writing in its names: "zoo" or "torchvision"; "mindseg" is ours.
        signatures: {name: shape, None for any size}; a file is of this family when it has all names of one of them.
        rows: (their module, our module, kind) with `{x}` for a number; the first match counts, in both directions.
        norm: their names of a norm's gamma, beta, moving_mean, moving_variance.
        parts: keys of `PARTS` that a complete file has besides the backbone.
        conventions: see above.
        state: globs of names that are not weights and are ignored: optimizer state, counters.
        variants: (glob, conventions that hold where no name matches it).
    """

    name: str
    publisher: str
    signatures: tuple[dict[str, tuple[int | None, ...]], ...]
    rows: tuple[tuple[str, str, str], ...] = ()
    norm: tuple[str, str, str, str] = ("gamma", "beta", "moving_mean", "moving_variance")
    parts: tuple[str, ...] = ()
    conventions: dict[str, Any] = field(default_factory=dict)
    state: tuple[str, ...] = ()
    variants: tuple[tuple[str, dict[str, Any]], ...] = ()


# kind of a row -> (their leaf, our leaf, transposed); "norm" comes from `Family.norm`
LEAVES = {
    "conv": (("weight", "weight", False),),
    "biased": (("weight", "weight", False), ("bias", "bias", False)),
    "dense_in_out": (("weight", "weight", True), ("bias", "bias", False)),
}
COUNTER = "num_batches_tracked"  # in every norm of torchvision's networks; not a weight
PREFIXES = ("network.", "module.")  # added by the cells and modules that wrap a network in training

BACKBONES = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
_CONV_NORM = ("conv", "conv"), ("bn", "norm")
PARTS = {  # our modules outside the backbone: (module, kind). A file has all of a part or nothing of it
    "fc": (("fc", "biased"),),
    "aspp": tuple((f"aspp.{m}.{leaf}", kind) for m in (*(f"branches.{i}" for i in range(4)), "pooling", "project")
                  for leaf, kind in _CONV_NORM),
    "head": tuple((f"head.{leaf}", kind) for leaf, kind in _CONV_NORM),
    "classifier": (("classifier", "biased"),),
    "auxiliary": (*((f"auxiliary.{leaf}", kind) for leaf, kind in _CONV_NORM), ("auxiliary.classifier", "biased")),
    "fpn": tuple((f"fpn.{m}.{i}", "biased") for m in ("lateral", "output") for i in range(4)),
    "rpn": tuple((f"rpn.{m}", "biased") for m in ("conv", "cls", "reg")),
    "box_head": tuple((f"box_head.{m}", "biased") for m in ("fc1", "fc2", "cls", "reg")),
    "mask_head": tuple((f"mask_head.{m}", "biased") for m in (*(f"convs.{i}" for i in range(4)), "deconv", "predict")),
}
NUM_CLASSES_BY = ("classifier.bias", "box_head.cls.bias")  # their length is the number of classes


def _resnet(theirs: str, ours: str, shortcut: tuple[str, str]) -> tuple[tuple[str, str, str], ...]:
    """Rows of a ResNet under a prefix; `shortcut`: their names of a downsampling shortcut's convolution and norm."""
    rows = (("conv1", "conv1", "conv"), ("bn1", "bn1", "norm"),
            ("layer{l}.{b}.conv{k}", "layer{l}.{b}.conv{k}", "conv"),
            ("layer{l}.{b}.bn{k}", "layer{l}.{b}.bn{k}", "norm"),
            ("layer{l}.{b}." + shortcut[0], "layer{l}.{b}.downsample.0", "conv"),
            ("layer{l}.{b}." + shortcut[1], "layer{l}.{b}.downsample.1", "norm"))
    return tuple((theirs + a, ours + b, kind) for a, b, kind in rows)


_ZOO_STATE = ("moments.*", "momentum", "learning_rate", "weight_decay", "global_step", "epoch_num", "step_num",
              "scale_sense", "loss_scale", "current_iterator_step", "last_overflow_iterator_step")
_TORCH: dict[str, Any] = {"publisher": "torchvision", "norm": ("weight", "bias", "running_mean", "running_var"),
          "state": (f"*.{COUNTER}",)}
_TORCH_SHORTCUT = ("downsample.0", "downsample.1")
_1X1 = (None, None, 1, 1)

FAMILIES = {family.name: family for family in (
    Family("mindseg", "mindseg", state=(*_ZOO_STATE, "state.*"), signatures=(
        {"layer2.0.downsample.0.weight": _1X1, "bn1.gamma": (64,)},
        {"backbone.conv1.weight": (64, 3, 7, 7), "aspp.branches.0.conv.weight": (256, None, 1, 1)},
        {"backbone.conv1.weight": (64, 3, 7, 7), "fpn.lateral.0.weight": _1X1})),
    Family("zoo_resnet", "zoo", conventions=ZOO_RESNET, state=_ZOO_STATE, parts=("fc",),
           signatures=({"layer2.0.down_sample_layer.0.weight": _1X1},),
           rows=(*_resnet("", "", ("down_sample_layer.0", "down_sample_layer.1")), ("end_point", "fc", "biased"))),
    Family("zoo_deeplabv3", "zoo", conventions=ZOO_DEEPLABV3, state=_ZOO_STATE, parts=("aspp", "classifier"),
           signatures=({"resnet.conv1.weight": (64, 3, 7, 7), "aspp.aspp1.aspp_conv.0.weight": (256, None, 1, 1)},),
           rows=(*_resnet("resnet.", "backbone.", _TORCH_SHORTCUT),
                 ("aspp.aspp1.aspp_conv.0", "aspp.branches.0.conv", "conv"),
                 ("aspp.aspp1.aspp_conv.1", "aspp.branches.0.bn", "norm"),
                 ("aspp.aspp2.aspp_conv.0", "aspp.branches.1.conv", "conv"),
                 ("aspp.aspp2.aspp_conv.1", "aspp.branches.1.bn", "norm"),
                 ("aspp.aspp3.aspp_conv.0", "aspp.branches.2.conv", "conv"),
                 ("aspp.aspp3.aspp_conv.1", "aspp.branches.2.bn", "norm"),
                 ("aspp.aspp4.aspp_conv.0", "aspp.branches.3.conv", "conv"),
                 ("aspp.aspp4.aspp_conv.1", "aspp.branches.3.bn", "norm"),
                 ("aspp.aspp_pooling.conv.0", "aspp.pooling.conv", "conv"),
                 ("aspp.aspp_pooling.conv.1", "aspp.pooling.bn", "norm"),
                 ("aspp.conv1", "aspp.project.conv", "conv"),
                 ("aspp.bn1", "aspp.project.bn", "norm"),
                 ("aspp.conv2", "classifier", "biased"))),
    Family("zoo_maskrcnn", "zoo", conventions=ZOO_MASKRCNN, state=_ZOO_STATE,
           parts=("fpn", "rpn", "box_head", "mask_head"),
           signatures=({"fpn_ncek.lateral_convs_list.0.weight": (256, 256, 1, 1),
                        "rcnn_cls.fpn_cls.shared_fc_0.weight": (12544, 1024)},),
           rows=(*_resnet("backbone.", "backbone.", ("conv_down_sample", "bn_down_sample")),
                 ("fpn_ncek.lateral_convs_list.{i}", "fpn.lateral.{i}", "biased"),
                 ("fpn_ncek.fpn_convs_list.{i}", "fpn.output.{i}", "biased"),
                 ("rpn_with_loss.rpn_convs_list.0.rpn_conv", "rpn.conv", "biased"),
                 ("rpn_with_loss.rpn_convs_list.0.rpn_cls", "rpn.cls", "biased"),
                 ("rpn_with_loss.rpn_convs_list.0.rpn_reg", "rpn.reg", "biased"),
                 ("rcnn_cls.fpn_cls.shared_fc_0", "box_head.fc1", "dense_in_out"),
                 ("rcnn_cls.fpn_cls.shared_fc_1", "box_head.fc2", "dense_in_out"),
                 ("rcnn_cls.fpn_cls.cls_scores", "box_head.cls", "dense_in_out"),
                 ("rcnn_cls.fpn_cls.reg_scores", "box_head.reg", "dense_in_out"),
                 ("rcnn_mask.fpn_mask.mask_conv1", "mask_head.convs.0", "biased"),
                 ("rcnn_mask.fpn_mask.mask_conv2", "mask_head.convs.1", "biased"),
                 ("rcnn_mask.fpn_mask.mask_conv3", "mask_head.convs.2", "biased"),
                 ("rcnn_mask.fpn_mask.mask_conv4", "mask_head.convs.3", "biased"),
                 ("rcnn_mask.fpn_mask.mask_deconv5", "mask_head.deconv", "biased"),
                 ("rcnn_mask.fpn_mask.mask_conv6", "mask_head.predict", "biased"))),
    Family("torchvision_resnet", conventions=TORCHVISION_RESNET, parts=("fc",), **_TORCH,
           signatures=({"layer2.0.downsample.0.weight": _1X1, "bn1.running_mean": (64,)},),
           rows=(*_resnet("", "", _TORCH_SHORTCUT), ("fc", "fc", "biased"))),
    Family("torchvision_deeplabv3", conventions=TORCHVISION_DEEPLABV3, parts=("aspp", "head", "classifier"), **_TORCH,
           signatures=({"backbone.conv1.weight": (64, 3, 7, 7), "classifier.0.convs.0.0.weight": (256, None, 1, 1)},),
           rows=(*_resnet("backbone.", "backbone.", _TORCH_SHORTCUT),
                 ("classifier.0.convs.4.1", "aspp.pooling.conv", "conv"),
                 ("classifier.0.convs.4.2", "aspp.pooling.bn", "norm"),
                 ("classifier.0.convs.{i}.0", "aspp.branches.{i}.conv", "conv"),
                 ("classifier.0.convs.{i}.1", "aspp.branches.{i}.bn", "norm"),
                 ("classifier.0.project.0", "aspp.project.conv", "conv"),
                 ("classifier.0.project.1", "aspp.project.bn", "norm"),
                 ("classifier.1", "head.conv", "conv"),
                 ("classifier.2", "head.bn", "norm"),
                 ("classifier.4", "classifier", "biased"),
                 ("aux_classifier.0", "auxiliary.conv", "conv"),
                 ("aux_classifier.1", "auxiliary.bn", "norm"),
                 ("aux_classifier.4", "auxiliary.classifier", "biased"))),
    Family("torchvision_maskrcnn", conventions=TORCHVISION_MASKRCNN, parts=("fpn", "rpn", "box_head", "mask_head"),
           signatures=({"backbone.body.conv1.weight": (64, 3, 7, 7),
                        "roi_heads.box_head.fc6.weight": (1024, 12544)},), **_TORCH,
           # Published weights come with frozen norms: without counters, and read with an epsilon of 0.
           variants=((f"*.{COUNTER}", {"bn_eps": 0.0}),),
           rows=(*_resnet("backbone.body.", "backbone.", _TORCH_SHORTCUT),
                 ("backbone.fpn.inner_blocks.{i}.0", "fpn.lateral.{i}", "biased"),
                 ("backbone.fpn.layer_blocks.{i}.0", "fpn.output.{i}", "biased"),
                 ("rpn.head.conv.0.0", "rpn.conv", "biased"),
                 ("rpn.head.cls_logits", "rpn.cls", "biased"),
                 ("rpn.head.bbox_pred", "rpn.reg", "biased"),
                 ("roi_heads.box_head.fc6", "box_head.fc1", "biased"),
                 ("roi_heads.box_head.fc7", "box_head.fc2", "biased"),
                 ("roi_heads.box_predictor.cls_score", "box_head.cls", "biased"),
                 ("roi_heads.box_predictor.bbox_pred", "box_head.reg", "biased"),
                 ("roi_heads.mask_head.{i}.0", "mask_head.convs.{i}", "biased"),
                 ("roi_heads.mask_predictor.conv5_mask", "mask_head.deconv", "biased"),
                 ("roi_heads.mask_predictor.mask_fcn_logits", "mask_head.predict", "biased"),
                 # Names before torchvision 0.13, which the published files still have.
                 ("backbone.fpn.inner_blocks.{i}", "fpn.lateral.{i}", "biased"),
                 ("backbone.fpn.layer_blocks.{i}", "fpn.output.{i}", "biased"),
                 ("rpn.head.conv", "rpn.conv", "biased"),
                 ("roi_heads.mask_head.mask_fcn1", "mask_head.convs.0", "biased"),
                 ("roi_heads.mask_head.mask_fcn2", "mask_head.convs.1", "biased"),
                 ("roi_heads.mask_head.mask_fcn3", "mask_head.convs.2", "biased"),
                 ("roi_heads.mask_head.mask_fcn4", "mask_head.convs.3", "biased"))),
)}
