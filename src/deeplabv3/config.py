"""Configuration of DeepLabV3. The defaults are those of the published table of parameters."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pydantic

from src.config import Scale, option, redeclared
from src.contract import Dataset, InputError
from src.data.semantic.voc_classes import VOC_CLASSES
from src.deeplabv3.loss_terms import read_terms, written
from src.engine.settings import Settings

PRESETS = Path(__file__).parent / "configs"
MODELS = {"deeplab_v3_s16": 16, "deeplab_v3_s8": 8}  # name -> output stride
_WINDOW = {"crop_size", "eval_crop_size"}
BALANCED = "median_frequency"  # instead of weights of the classes: those that the training labels ask for


def _class_weight(value: float | str) -> float | str:
    if value != BALANCED and (isinstance(value, str) or not 0 < value < float("inf")):
        raise ValueError(f"expected a number above 0, or {BALANCED} alone")
    return value


Fraction = Annotated[float, pydantic.Field(ge=0, le=1)]
ClassWeight = Annotated[float | str, pydantic.AfterValidator(_class_weight)]

_PATH = {"resumable": True, "per_host": True}
_data = partial(option, group="common", topic="data")
_input = partial(option, group="common", topic="input and augmentation")
_network = partial(option, group="common", topic="network")
_losses = partial(option, topic="losses")
_evaluation = partial(option, group="eval", topic="evaluation", resumable=True)
_inference = partial(option, group="common", topic="evaluation", resumable=True, travels="to inference")


class DeepLabV3Config(Settings):
    """DeepLabV3: semantic segmentation, scored by mean IoU."""

    family: ClassVar = "deeplabv3"

    model: Literal["deeplab_v3_s16", "deeplab_v3_s8"] = option(
        "deeplab_v3_s16", "deeplab_v3_s16 or deeplab_v3_s8: output stride 16 or 8; deeplabv3: the checkpoint's, or 16",
        group="common", topic="model", travels="to inference")

    data_file: str = _data("", "MindRecord to train on or to evaluate on: path, first shard or manifest",
                           aliases=("mindrecord_dir",), **_PATH)
    data_root: str = _data("", "folder that the paths in list files are relative to", **_PATH)
    data_lst: str = _data("", "list file with a line `image label` per image: to train on without conversion, or to "
                              "evaluate on", **_PATH)
    val_data_file: str = _data("", "MindRecord that training evaluates on", group="train", **_PATH)
    val_data_lst: str = _data("", "list file that training evaluates on", group="train", **_PATH)
    num_classes: int = _data(21, "number of classes, background included", travels="to inference", ge=2, le=255)
    class_names: tuple[str, ...] = _data((), "names of the classes, index 0 first; by default PASCAL VOC's, or "
                                             "class_0, class_1, ...", resumable=True, travels="to inference")
    ignore_label: int = _data(255, "label value of pixels that do not count", travels="to inference", ge=0, le=255)
    label_map: str = _data("", "renumber the labels of a list: cityscapes (labelIds to trainIds), reduce_zero_label, "
                               "pairs such as 0:0,255:1, or a file of pairs")
    allow_single_class: bool = _data(False, "take labels in which all pixels that count are of one class",
                                     resumable=True)

    crop_size: int = _input(513, "side of the training crop, and of the evaluation canvas at scale 1, in pixels",
                            travels="to inference", ge=33)
    eval_crop_size: int = _input(0, "side of the evaluation canvas at scale 1, in pixels; 0: crop_size", resumable=True,
                                 travels="to inference", ge=0)
    min_scale: float = _input(0.5, "smallest random scale in training", group="train", gt=0, le=16)
    max_scale: float = _input(2.0, "largest random scale in training", group="train", gt=0, le=16)
    rotation: float = _input(0.0, "largest random rotation in training, in degrees either way; 0: none", group="train",
                             ge=0, le=180)
    colour_jitter: tuple[Fraction, ...] = _input(
        (), "largest random change of brightness, contrast and saturation in training, as a fraction of them, and of "
            "hue, as a fraction of the colour circle, such as 0.3,0.3,0.3,0.05; by default none", group="train")
    blur: float = _input(0.0, "largest standard deviation of a Gaussian blur of half of the training crops, in pixels; "
                              "0: none", group="train", ge=0, le=20)
    rare_class_crops: float = _input(0.0, "fraction of the training crops that are put around a pixel of a class drawn "
                                          "in favour of rare ones", group="train", ge=0, le=1)

    backbone: Literal["resnet18", "resnet34", "resnet50", "resnet101"] = _network(
        "resnet101", "feature extractor", travels="always")
    norm: Literal["batch", "frozen", "group", "sync"] = _network("batch", "normalisation layers",
                                                                 travels="to inference")
    freeze_bn: bool = _network(False, "train with the stored running statistics, as norm=frozen does; evaluation "
                                      "always uses them")
    bn_momentum: float = _network(0.9, "fraction of the old running statistics that a step keeps", group="train", ge=0,
                                  lt=1)
    bn_eps: float = _network(1e-5, "added to the variance in normalisation layers", travels="always", ge=0)
    dropout: float = _network(0.7, "fraction of the ASPP features dropped in training", group="train", ge=0, lt=1)
    aspp_rates: tuple[pydantic.PositiveInt, ...] = _network(
        (6, 12, 18), "dilation rates of the ASPP's 3x3 branches", travels="always", min_length=1)
    dilation: Literal["multi_grid", "previous"] = _network(
        "multi_grid", "dilation of the blocks in the dilated stages", travels="always")
    stem_pool: Literal["same", "pad"] = _network("same", "padding of the stem's max pooling", travels="always")
    head_conv3x3: bool = _network(False, "a 3x3 convolution before the classifier", travels="always")
    auxiliary: bool = _network(False, "a second head on C4, for training alone; see aux_weight", travels="always")
    resize_align_corners: bool = _network(True, "align corners when logits are resized to the input size",
                                          travels="always")

    loss: tuple[str, ...] = _losses(
        ("ce:1",), "terms of the loss and their weights, such as ce:1,dice:0.5: ce (cross-entropy), ohem (that of hard "
                   "pixels), dice, lovasz (Lovasz-softmax)")
    class_weights: tuple[ClassWeight, ...] = _losses(
        (), "weights of the classes in ce and ohem, index 0 first, or median_frequency: from the training labels; by "
            "default all count alike")
    label_smoothing: float = _losses(0.0, "part of the truth that ce and ohem spread evenly over all classes", ge=0,
                                     lt=1)
    ohem_threshold: float = _losses(0.7, "loss ohem: pixels whose class has a lower probability are hard", gt=0, lt=1)
    ohem_min_kept: int = _losses(100_000, "loss ohem: pixels of an image, on average over a batch, that count even "
                                          "if they are not hard", ge=1)
    aux_weight: float = _losses(0.0, "weight of the auxiliary head's cross-entropy, which adds that head; 0: 0.5 where "
                                     "the network has one", ge=0, allow_inf_nan=False)

    base_lr: float = redeclared(Settings, "base_lr", 0.08)
    save_steps: int = redeclared(Settings, "save_steps", 410)

    scales: tuple[Scale, ...] = _evaluation(
        (1.0,), "scales of the image whose probabilities are added; repeat the flag for several", min_length=1)
    flip: bool = _evaluation(False, "add the probabilities of the mirrored image")
    eval_mode: Literal["whole", "slide"] = _inference(
        "whole", "whole: an image is scaled to the evaluation canvas; slide: it keeps its scale and is seen through "
                 "windows of that size, whose probabilities are averaged")
    slide_stride: int | None = _inference(
        None, "eval_mode=slide: pixels from one window to the next; None: two thirds of a window", ge=1)
    input_size: int = option(0, "side of the exported model's input, in pixels; 0: that of the evaluation canvas",
                             group="export", topic="export", ge=0)
    output: Literal["scores", "labels"] = option(
        "scores", "what the exported model returns: class probabilities, or the index of the best class",
        group="export", topic="export")

    @pydantic.model_validator(mode="before")
    @classmethod
    def _count_names(cls, values: dict[str, Any]) -> dict[str, Any]:
        """The number of class names is the number of classes where the user does not give it."""
        return {"num_classes": len(values["class_names"])} | values if values.get("class_names") else values

    @pydantic.model_validator(mode="before")
    @classmethod
    def _add_head(cls, values: dict[str, Any]) -> dict[str, Any]:
        """A weight of the auxiliary head asks for that head."""
        return {"auxiliary": True} | values if values.get("aux_weight") else values

    @pydantic.field_validator("loss", mode="before")
    @classmethod
    def _mapping_of_losses(cls, loss: Any) -> Any:
        """YAML's `ce: 1` is the entry `ce:1`."""
        if isinstance(loss, Mapping):
            loss = [loss]
        if not isinstance(loss, (list, tuple)):
            return loss
        return [text for entry in loss for text in (
            [f"{name}:{weight}" for name, weight in entry.items()] if isinstance(entry, Mapping) else [entry])]

    @pydantic.field_validator("loss")
    @classmethod
    def _known_losses(cls, loss: tuple[str, ...]) -> tuple[str, ...]:
        return written(read_terms(loss))

    @pydantic.model_validator(mode="after")
    def _losses_have_an_effect(self) -> DeepLabV3Config:
        terms, loss = read_terms(self.loss), ",".join(self.loss)
        if not {"ce", "ohem"} & terms.keys() and not self.auxiliary:
            for key in ("class_weights", "label_smoothing"):
                if getattr(self, key):
                    raise ValueError(f"{key} has no effect on loss={loss}; add ce or ohem, or leave {key} out")
        changed = [key for key in ("ohem_threshold", "ohem_min_kept")
                   if getattr(self, key) != type(self).model_fields[key].default]
        if changed and "ohem" not in terms:
            raise ValueError(f"{changed[0]}={getattr(self, changed[0])} has no effect on loss={loss}; add ohem, or "
                             f"leave {changed[0]} out")
        if "ohem" in terms and self.ohem_min_kept >= self.crop_size ** 2:
            raise ValueError(f"ohem_min_kept={self.ohem_min_kept} keeps every pixel of a crop of {self.crop_size} x "
                             f"{self.crop_size}; give fewer than {self.crop_size ** 2}, such as "
                             f"{self.crop_size ** 2 // 4}")
        if self.aux_weight and not self.auxiliary:
            raise ValueError(f"aux_weight={self.aux_weight:g} has no effect with auxiliary=False; leave one out")
        return self

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> DeepLabV3Config:
        if self.min_scale > self.max_scale:
            raise ValueError(f"min_scale={self.min_scale} is above max_scale={self.max_scale}")
        if self.colour_jitter and (len(self.colour_jitter) != 4 or self.colour_jitter[3] > 0.5):
            raise ValueError(f"colour_jitter={','.join(f'{v:g}' for v in self.colour_jitter)}: expected four numbers, "
                             "for brightness, contrast, saturation (0 to 1) and hue (0 to 0.5)")
        if self.class_names and len(self.class_names) != self.num_classes:
            raise ValueError(f"{len(self.class_names)} class_names for num_classes={self.num_classes}")
        if self.class_weights not in ((), (BALANCED,)) and len(self.class_weights) != self.num_classes:
            raise ValueError(f"{len(self.class_weights)} class_weights for num_classes={self.num_classes}: expected "
                             f"one for each class, or {BALANCED} alone")
        if self.class_weights != (BALANCED,) and BALANCED in self.class_weights:
            raise ValueError(f"class_weights={','.join(map(str, self.class_weights))}: give {BALANCED} alone, or "
                             "numbers")
        twice = sorted({n for n in self.class_names if self.class_names.count(n) > 1})
        if twice or "" in self.class_names:
            raise ValueError(f"class_names: {', '.join(twice) or 'an empty name'}: expected a different name for each "
                             "class")
        if 0 < self.ignore_label < self.num_classes:
            raise ValueError(f"ignore_label={self.ignore_label} is a class index (num_classes={self.num_classes})")
        canvas = self.canvas
        if 0 < self.input_size < 33:
            raise ValueError(f"input_size={self.input_size}: expected at least 33 pixels, or 0")
        scales = (1.0,) if self.eval_mode == "slide" else self.scales  # windows have one size
        if canvas < 33 or any(int((canvas - 1) * s) + 1 < 33 for s in scales):
            raise ValueError(f"scales={scales}: a canvas of {canvas} pixels at the smallest of them is below "
                             "33 pixels; give larger scales or a larger crop_size")
        return self

    @pydantic.model_validator(mode="after")
    def _windows_fit(self) -> DeepLabV3Config:
        if self.eval_mode == "whole" and self.slide_stride is not None:
            raise ValueError(f"slide_stride={self.slide_stride} has no effect without eval_mode=slide; give "
                             "--eval_mode=slide too, or leave it out")
        if self.eval_mode == "slide" and self.output == "labels":
            raise ValueError("output=labels with eval_mode=slide: label maps of windows that overlap cannot be "
                             "averaged; give --output=scores, or --eval_mode=whole")
        weights_decide = (self.checkpoint or self.pretrained) and not _WINDOW & self.model_fields_set
        if not weights_decide:
            self._refuse_gaps()
        return self

    def _refuse_gaps(self) -> None:
        """Raise InputError for windows that would leave pixels between them."""
        window = min(self.canvas, self.exported_side)
        if self.eval_mode == "slide" and self.stride(window) > window:
            raise InputError(f"slide_stride={self.slide_stride} is above the side of a window, {window} pixels "
                             "(eval_crop_size, or crop_size), and would leave gaps; give at most that side")

    def adopting(self, conventions: Mapping[str, Any], keys: Sequence[str]) -> DeepLabV3Config:
        """See `Config`. A crop size that the user gives is also the evaluation's, and its stride follows from it."""
        decided = set()
        if _WINDOW & self.model_fields_set:
            decided = {"eval_crop_size", "slide_stride"}
        if self.eval_mode == "whole" and "eval_mode" in self.model_fields_set:
            decided.add("slide_stride")
        return super().adopting(conventions, [key for key in keys if key not in decided])

    def completed(self) -> DeepLabV3Config:
        self._refuse_gaps()
        if self.class_weights != (BALANCED,) or self.checkpoint:  # a checkpoint is evaluated or exported
            return self
        from src.deeplabv3.splits import balanced_weights

        return self.model_copy(update={"class_weights": balanced_weights(self)})

    def translate(self, conventions: Mapping[str, Any]) -> dict[str, Any]:
        """Choose the ASPP rates, which are published for each output stride, by the model's name."""
        values = dict(conventions)
        stride = values.pop("output_stride", None)
        if stride and "model" not in self.model_fields_set:
            values["model"] = next((name for name, s in MODELS.items() if s == stride), f"of output stride {stride}")
        rates = values.get("aspp_rates")
        if isinstance(rates, Mapping):
            values["aspp_rates"] = rates.get(str(MODELS.get(values.get("model", self.model))), rates)
        return values

    def check_data(self, split: str) -> None:
        from src.deeplabv3.splits import check_split

        check_split(self, split)

    def list_split(self, split: str) -> Dataset:
        from src.deeplabv3.splits import list_split

        return list_split(self, split, on_bad="skip")

    @property
    def canvas(self) -> int:
        """Side of the evaluation canvas at scale 1, and of the windows of eval_mode=slide."""
        return self.eval_crop_size or self.crop_size

    @property
    def exported_side(self) -> int:
        """Side of the exported model's input."""
        return self.input_size or self.canvas

    def stride(self, window: int) -> int:
        """Pixels from one window of this side to the next."""
        return self.slide_stride or window * 2 // 3

    @property
    def auxiliary_weight(self) -> float:
        """Weight of the auxiliary head's loss, where there is one."""
        return self.aux_weight or 0.5

    @property
    def output_stride(self) -> int:
        return MODELS[self.model]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes: those given, or the default ones."""
        if self.class_names:
            return self.class_names
        return VOC_CLASSES if self.num_classes == 21 else tuple(f"class_{i}" for i in range(self.num_classes))

