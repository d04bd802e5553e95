"""Configuration of DeepLabV3. The defaults are those of the published recipe's table."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import pydantic

from src.config import Positive, option
from src.engine.settings import Settings

PRESETS = Path(__file__).parent / "configs"
MODELS = {"deeplab_v3_s16": 16, "deeplab_v3_s8": 8}  # name -> output stride
VOC_CLASSES = ("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
               "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
               "tvmonitor")


class DeepLabV3Config(Settings):
    """DeepLabV3: semantic segmentation, scored by mean IoU."""

    weight_keys: ClassVar = ("backbone", "bn_eps", "aspp_rates", "dilation", "stem_pool", "head_conv3x3", "auxiliary",
                             "resize_align_corners", "colour_order", "image_mean", "image_std")
    network_keys: ClassVar = (*weight_keys, "model", "num_classes", "class_names", "ignore_label", "norm", "crop_size",
                              "eval_crop_size")

    model: Literal["deeplab_v3_s16", "deeplab_v3_s8"] = option(
        "deeplab_v3_s16", "deeplab_v3_s16 or deeplab_v3_s8: output stride 16 or 8", group="common")

    data_file: str = option("", "MindRecord to train on or evaluate: path, first shard or manifest", group="common",
                            aliases=("mindrecord_dir",))
    data_root: str = option("", "folder that the paths in data_lst are relative to", group="common")
    data_lst: str = option("", "list file with lines `image label`: to train on without conversion, or to evaluate",
                           group="common")
    val_data_file: str = option("", "MindRecord that training evaluates on", group="train")
    val_data_lst: str = option("", "list file that training evaluates on", group="train")
    num_classes: int = option(21, "number of classes, background included", group="common", ge=2, le=255)
    class_names: tuple[str, ...] = option((), "names of the classes, index 0 first; by default VOC's or class_0, ...",
                                          group="common")
    ignore_label: int = option(255, "label value of pixels that do not count", group="common", ge=0, le=255)

    backbone: Literal["resnet18", "resnet34", "resnet50", "resnet101"] = option("resnet101", "feature extractor",
                                                                                group="common")
    norm: Literal["batch", "frozen", "group", "sync"] = option("batch", "normalisation layers", group="common")
    freeze_bn: bool = option(False, "norm=frozen: running statistics while training; evaluation always uses them",
                             group="common")
    bn_momentum: float = option(0.9, "share of the old running statistics that stays in a step", ge=0, lt=1)
    bn_eps: float = option(1e-5, "added to the variance", group="common", ge=0)
    dropout: float = option(0.1, "share of the ASPP features dropped in training", ge=0, lt=1)
    aspp_rates: tuple[pydantic.PositiveInt, ...] = option((6, 12, 18), "dilation of the ASPP's 3x3 branches",
                                                          group="common", min_length=1)
    dilation: Literal["multi_grid", "previous"] = option("multi_grid", "scheme of the dilated stages", group="common")
    stem_pool: Literal["same", "pad"] = option("same", "padding of the stem's max pool", group="common")
    head_conv3x3: bool = option(False, "a 3x3 convolution before the classifier", group="common")
    auxiliary: bool = option(False, "a second head on C4 with half the loss weight", group="common")
    resize_align_corners: bool = option(True, "of the resize of the logits to the input size", group="common")

    colour_order: Literal["RGB", "BGR"] = option("RGB", "order of the network's input channels", group="common")
    image_mean: tuple[float, float, float] = option((123.675, 116.28, 103.53), "in colour_order, 0..255 scale",
                                                    group="common")
    image_std: tuple[Positive, Positive, Positive] = option((58.395, 57.12, 57.375), "in colour_order, 0..255 scale",
                                                   group="common")
    crop_size: int = option(513, "side of the training crop and of the evaluation canvas at scale 1, pixels",
                            group="common", ge=33)
    eval_crop_size: int = option(0, "side of the evaluation canvas where it is not crop_size", group="common", ge=0)
    input_size: int = option(0, "side of the exported model's input, pixels; 0: the evaluation canvas", group="export",
                             ge=0)
    output: Literal["scores", "labels"] = option(
        "scores", "what the exported model returns: class probabilities, or the index of the best class",
        group="export")
    base_lr: float = option(0.08, "learning rate at the start, after warm-up", gt=0)
    save_steps: int = option(410, "steps between two checkpoints; the last step is always saved", ge=1)
    min_scale: float = option(0.5, "smallest random scale in training", gt=0, le=16)
    max_scale: float = option(2.0, "largest random scale in training", gt=0, le=16)
    scales: tuple[Positive, ...] = option((1.0,), "scales whose probabilities are added; repeat the flag", group="eval",
                                       min_length=1)
    flip: bool = option(False, "add the probabilities of the mirrored image", group="eval")

    @pydantic.model_validator(mode="before")
    @classmethod
    def _count_names(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Names of classes say how many there are, where the user does not."""
        return {"num_classes": len(values["class_names"])} | values if values.get("class_names") else values

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> DeepLabV3Config:
        if self.min_scale > self.max_scale:
            raise ValueError(f"min_scale={self.min_scale} is above max_scale={self.max_scale}")
        if self.class_names and len(self.class_names) != self.num_classes:
            raise ValueError(f"{len(self.class_names)} class_names for num_classes={self.num_classes}")
        twice = sorted({n for n in self.class_names if self.class_names.count(n) > 1})
        if twice or "" in self.class_names:
            raise ValueError(f"class_names: {', '.join(twice) or 'an empty one'}: expected a name of its own for each "
                             "class")
        if self.ignore_label < self.num_classes:
            raise ValueError(f"ignore_label={self.ignore_label} is a class index (num_classes={self.num_classes})")
        canvas = self.eval_crop_size or self.crop_size
        if 0 < self.input_size < 33:
            raise ValueError(f"input_size={self.input_size}: no side may be below 33")
        if canvas < 33 or any(int((canvas - 1) * s) + 1 < 33 for s in self.scales):
            raise ValueError(f"a canvas of {canvas} pixels at scales={self.scales}: no side may be below 33")
        return self

    def adopting(self, conventions: Mapping[str, Any], keys: Sequence[str]) -> DeepLabV3Config:
        """See `Config`. A crop size that the user gives is also that of the evaluation."""
        given = {"crop_size", "eval_crop_size"} & self.model_fields_set
        return super().adopting(conventions, [key for key in keys if key != "eval_crop_size" or not given])

    def translate(self, conventions: Mapping[str, Any]) -> dict[str, Any]:
        """ASPP rates are published by output stride, which follows from the model's name unless it is given."""
        values = dict(conventions)
        stride = values.pop("output_stride", None)
        if stride and "model" not in self.model_fields_set:
            values["model"] = next((name for name, s in MODELS.items() if s == stride), f"of output stride {stride}")
        rates = values.get("aspp_rates")
        if isinstance(rates, Mapping):
            values["aspp_rates"] = rates.get(str(MODELS.get(values.get("model", self.model))), rates)
        return values

    @property
    def exported_side(self) -> int:
        """Side of the exported model's input."""
        return self.input_size or self.eval_crop_size or self.crop_size

    @property
    def output_stride(self) -> int:
        return MODELS[self.model]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes, given or by default."""
        if self.class_names:
            return self.class_names
        return VOC_CLASSES if self.num_classes == 21 else tuple(f"class_{i}" for i in range(self.num_classes))

