"""The `contract.Task` of DeepLabV3. The configuration stops here: building blocks get plain arguments."""
from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import mindspore as ms
import mindspore.nn as nn
import numpy as np
from mindspore import ops

from src.contract import Dataset
from src.data.decode import Decoding, decode_label
from src.data.semantic.rare_classes import rarity
from src.deeplabv3.augmentation import TrainAugmentation
from src.deeplabv3.config import DeepLabV3Config
from src.deeplabv3.export import Export, make_predictor
from src.deeplabv3.inference import Predictor
from src.deeplabv3.loss import DeepLabV3Loss
from src.deeplabv3.loss_terms import read_terms
from src.deeplabv3.memory import activation_bytes
from src.deeplabv3.network import DeepLabV3
from src.deeplabv3.preprocess import Preprocess
from src.deeplabv3.slide import SlidePredictor
from src.deeplabv3.splits import class_pixels, open_split, training_split
from src.engine.inference_engine import InferenceEngine
from src.engine.precision import gathers
from src.layers.conv_norm import norm_factory
from src.layers.freezing import freeze
from src.layers.random import SampleDropout
from src.layers.resnet import ResNet
from src.metrics.miou import MeanIoU
from src.metrics.tables import miou_table


class SoftmaxScores(nn.Cell):
    """Inference graph: image (B, 3, H, W) -> class probabilities (B, K, H, W)."""

    def __init__(self, network: DeepLabV3):
        super().__init__(auto_prefix=False)
        self.network = network

    def construct(self, image):
        return ops.softmax(self.network(image).astype(ms.float32), 1)


class DeepLabV3Task:
    """DeepLabV3 at both output strides, which follow from the model's name."""

    columns = ("image", "label", "sample_id", "epoch")
    metric = "miou"
    classifier = ("classifier.*", "auxiliary.classifier.*")
    may_be_missing = ("auxiliary.*",)

    def __init__(self, config: DeepLabV3Config):
        self.config = config
        self.terms = read_terms(config.loss)
        parts = (*self.terms, "auxiliary") if config.auxiliary else tuple(self.terms)
        self.loss_names = ("loss", *parts) if len(self.terms) > 1 else ("loss",)
        self.class_names = config.names
        self.preprocess = Preprocess(config.colour_order, config.image_mean, config.image_std,
                                     Decoding(config.exif, config.bit_depth, config.max_pixels))
        self.export = Export(config, self.preprocess)
        self.engine = InferenceEngine(config.inference_engine, config.device_target, config.shaping())
        self.scores: SoftmaxScores | None = None

    def dataset(self, split: str) -> Dataset:
        return training_split(self.config) if split == "train" else open_split(self.config, split)

    def train_augmentation(self) -> Callable:
        c = self.config
        return TrainAugmentation(
            self.preprocess, crop_size=c.crop_size, min_scale=c.min_scale, max_scale=c.max_scale,
            num_classes=c.num_classes, ignore_label=c.ignore_label, rotation=c.rotation, colour_jitter=c.colour_jitter,
            blur=c.blur, rare_class_crops=c.rare_class_crops, rarity=self.rarity)

    @cached_property
    def rarity(self) -> np.ndarray:
        """(256,) weights of label values for crops; counts the training labels only where crops ask for it."""
        c = self.config
        return rarity(class_pixels(c).pixels if c.rare_class_crops else {}, c.ignore_label)

    def network(self) -> DeepLabV3:
        c = self.config
        norm = norm_factory("frozen" if c.freeze_bn else c.norm, eps=c.bn_eps, momentum=c.bn_momentum)
        backbone = ResNet(int(c.backbone.removeprefix("resnet")), norm=norm, output_stride=c.output_stride,
                          dilation=c.dilation, stem_pool=c.stem_pool)
        network = DeepLabV3(backbone, num_classes=c.num_classes, aspp_rates=c.aspp_rates, norm=norm,
                            dropout=SampleDropout(c.dropout, seed=c.seed, noise=c.noise),
                            resize_rule="align_corners" if c.resize_align_corners else "half_pixel",
                            head_conv=c.head_conv3x3, auxiliary=c.auxiliary)
        freeze(network, c.freeze_at)
        return network

    def training_cell(self, network: DeepLabV3) -> nn.Cell:
        c = self.config
        return DeepLabV3Loss(network, ignore_label=c.ignore_label, terms=self.terms,
                             auxiliary_weight=c.auxiliary_weight, ohem_threshold=c.ohem_threshold,
                             ohem_min_kept=c.ohem_min_kept, gather=gathers(c.device_target),
                             class_weights=c.class_weights, label_smoothing=c.label_smoothing)

    def predictor(self, network: DeepLabV3, *, confidence: bool = False) -> Predictor | SlidePredictor:
        if self.scores is None or self.scores.network is not network:
            self.scores = SoftmaxScores(network)  # kept, so that a run that evaluates often compiles it once
        self.scores.set_train(False)
        c, run = self.config, self.engine.function(self.scores)
        return make_predictor(c, self.preprocess, lambda batch: run(batch)[0], side=c.canvas, batch_size=c.batch_size,
                              scales=c.scales, flip=c.flip, confidence=confidence)

    def evaluator(self) -> MeanIoU:
        return MeanIoU(self.class_names, decode_label, self.config.ignore_label)

    def memory_flags(self) -> str:
        c = self.config
        return f"--batch_size={c.batch_size}, --crop_size={c.crop_size} or --backbone={c.backbone}"

    def results(self, evaluator: MeanIoU) -> dict:
        """None: label maps are not kept."""
        return {}

    def describe(self, numbers: dict) -> str:
        return miou_table(numbers)

    def activation_bytes(self) -> int:
        c = self.config
        return activation_bytes(depth=int(c.backbone.removeprefix("resnet")), output_stride=c.output_stride,
                                batch_size=c.batch_size, crop_size=c.crop_size, num_classes=c.num_classes,
                                losses=(*self.terms, "ce") if c.auxiliary else self.terms)
