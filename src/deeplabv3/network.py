"""DeepLabV3: dilated ResNet -> atrous spatial pyramid pooling -> classifier -> bilinear resize to the input size.

Where published weights need other arithmetic, the difference is a named option of a block here;
`src/weights/families.py` says which family of weights needs which option.
"""
from __future__ import annotations

import mindspore.nn as nn
from mindspore import ops
from mindspore.common.initializer import HeNormal

from src.layers.conv_norm import ConvNormAct, NormFactory, conv2d
from src.layers.random import SampleDropout
from src.layers.resize import bilinear_resize
from src.layers.resnet import ResNet

ASPP_CHANNELS = 256


class ImagePooling(nn.Cell):
    """Image-level feature: (B, C, h, w) -> (B, 256, 1, 1), the mean over all of h and w whatever their ratio.

    One image gives a single value per channel, without variance. So a batch of one (over all ranks, if they share
    statistics) is normalised with the running statistics, in training too.
    """

    def __init__(self, in_channels: int, *, norm: NormFactory):
        super().__init__()
        self.conv = conv2d(in_channels, ASPP_CHANNELS, 1)
        self.bn = norm(ASPP_CHANNELS)
        self.has_running_statistics = hasattr(self.bn, "moving_mean")
        self.ranks = getattr(self.bn, "world_size", 1)

    def construct(self, x):
        x = self.conv(x.mean((2, 3), keep_dims=True))
        if self.training and x.shape[0] * self.ranks == 1 and self.has_running_statistics:
            x = ops.batch_norm(x, self.bn.moving_mean, self.bn.moving_variance, self.bn.gamma, self.bn.beta,
                               training=False, eps=self.bn.eps)
        else:
            x = self.bn(x)
        return ops.relu(x)


class ASPP(nn.Cell):
    """Atrous spatial pyramid pooling (section 3.3): (B, C, h, w) -> (B, 256, h, w).

    Branches in the order of concatenation: a 1x1 convolution, a dilated 3x3 one per rate, the image-level feature.
    """

    def __init__(self, in_channels: int, *, rates: tuple[int, ...], norm: NormFactory):
        super().__init__()
        self.branches = nn.CellList([ConvNormAct(in_channels, ASPP_CHANNELS, 1, norm=norm)] + [
            ConvNormAct(in_channels, ASPP_CHANNELS, 3, dilation=rate, norm=norm) for rate in rates])
        self.pooling = ImagePooling(in_channels, norm=norm)
        self.project = ConvNormAct(ASPP_CHANNELS * (len(rates) + 2), ASPP_CHANNELS, 1, norm=norm)

    def construct(self, x):
        outputs = [branch(x) for branch in self.branches]
        # One value per image and channel: every way of resizing it to (h, w) is a broadcast.
        pooled = ops.broadcast_to(self.pooling(x), outputs[0].shape)
        return self.project(ops.concat((*outputs, pooled), 1))


class FCNHead(nn.Cell):
    """Auxiliary head on C4 (torchvision): 3x3 convolution to a quarter of the channels, then 1x1 to K logits."""

    def __init__(self, in_channels: int, num_classes: int, *, norm: NormFactory):
        super().__init__()
        self.conv = conv2d(in_channels, in_channels // 4, 3)
        self.bn = norm(in_channels // 4)
        self.classifier = conv2d(in_channels // 4, num_classes, 1, bias=True)

    def construct(self, x):
        return self.classifier(ops.relu(self.bn(self.conv(x))))


class DeepLabV3(nn.Cell):
    """Image (B, 3, H, W) -> logits (B, K, H, W).

    Args:
        backbone: its C5 has `out_channels[-1]` channels.
        num_classes: K.
        aspp_rates: dilation of the ASPP's 3x3 branches.
        norm: `channels -> normalisation cell`.
        dropout: of the ASPP's output features while training; none by default.
        resize_rule: of the final bilinear resize, see `layers.resize.bilinear_matrix`.
        head_conv: a 3x3 convolution, norm and ReLU before the classifier (torchvision).
        auxiliary: a second head on C4, for training alone.
    """

    def __init__(self, backbone: ResNet, *, num_classes: int, aspp_rates: tuple[int, ...], norm: NormFactory,
                 dropout: SampleDropout | None = None, resize_rule: str = "align_corners", head_conv: bool = False,
                 auxiliary: bool = False):
        super().__init__()
        self.backbone = backbone
        self.aspp = ASPP(backbone.out_channels[-1], rates=aspp_rates, norm=norm)
        self.head = ConvNormAct(ASPP_CHANNELS, ASPP_CHANNELS, 3, norm=norm) if head_conv else nn.Identity()
        self.classifier = nn.Conv2d(ASPP_CHANNELS, num_classes, 1, has_bias=True, pad_mode="valid",
                                    weight_init=HeNormal(mode="fan_in", nonlinearity="linear"), bias_init="zeros")
        self.auxiliary = FCNHead(backbone.out_channels[2], num_classes, norm=norm) if auxiliary else None
        self.dropout = dropout or SampleDropout(0.0)
        self.resize_rule = resize_rule

    def construct(self, image):
        features = self.backbone(image)[-1]
        return self.resize(self.classifier(self.head(self.aspp(features))), image)

    def train_logits(self, c5, image, sample_id, epoch):
        """C5 -> logits (B, K, H, W) with dropout."""
        features = self.dropout(self.aspp(c5), sample_id, epoch)
        return self.resize(self.classifier(self.head(features)), image)

    def auxiliary_logits(self, c4, image):
        """C4 -> logits (B, K, H, W) of the auxiliary head."""
        return self.resize(self.auxiliary(c4), image)

    def resize(self, logits, image):
        return bilinear_resize(logits, image.shape[2:], rule=self.resize_rule)
