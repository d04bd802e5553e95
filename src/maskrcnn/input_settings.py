"""Configuration keys of Mask R-CNN's input and of its augmentation. No MindSpore."""
from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import pydantic

from src.config import Scale, option
from src.engine.settings import Settings

_input = partial(option, group="common", topic="input and augmentation", travels="to inference")
_augment = partial(option, topic="input and augmentation")


class InputSettings(Settings):
    """Size of the input, and what training makes of images."""

    img_width: int = _input(1280, "width of the network's input, in pixels; a multiple of 32", ge=32)
    img_height: int = _input(768, "height of the network's input, in pixels; a multiple of 32", ge=32)
    keep_ratio: bool = _input(True, "scale both sides alike and pad; False: stretch to the input size")
    resize_rule: Literal["canvas", "short_side"] = _input(
        "canvas", "canvas: fit into img_height x img_width; short_side: scale the short side to img_height, the long "
                  "one to img_width at most")
    resize_rounding: Literal["round", "floor"] = _input("round", "rounding of the scaled sides")
    pad_before_normalise: bool = _input(False, "pad with black before normalisation instead of with 0 after it",
                                        travels="always")
    flip_ratio: float = _augment(0.5, "probability that an image is mirrored", ge=0, le=1)
    photo_ratio: float = _augment(0.5, "probability that an image's colours are distorted", ge=0, le=1)
    expand_ratio: float = _augment(1.0, "images are placed on a larger canvas with probability expand_ratio / 2", ge=0,
                                   le=1)
    train_scales: tuple[Scale, ...] = _augment(
        (), "scales of the image in training, in units of evaluation's, of which one is drawn for each image; what is "
            "larger than the input is cut to a random window; by default min_scale to max_scale")
    min_scale: float = _augment(1.0, "smallest random scale in training, in units of evaluation's; large-scale jitter "
                                     "is min_scale=0.1 and max_scale=2", gt=0, le=16)
    max_scale: float = _augment(1.0, "largest random scale in training", gt=0, le=16)
    crop_size: tuple[pydantic.PositiveInt, ...] = _augment(
        (), "height and width of the training input, or its side, in pixels; multiples of 32; larger images are cut to "
            "a random window; by default img_height and img_width", max_length=2)
    rotate_ratio: float = _augment(0.0, "probability that an image is turned by 90, 180 or 270 degrees, for pictures "
                                        "without an up", ge=0, le=1)
    copy_paste_ratio: float = _augment(0.0, "probability that objects of another training image are pasted into an "
                                            "image, by their masks", ge=0, le=1)
    max_instance_count: int = _augment(128, "instances per image in training, at most; where there are more, the "
                                            "largest are kept", ge=1)
    mask_crop_size: int = _augment(112, "side of the mask crops in a batch, in pixels", ge=14)

    @pydantic.model_validator(mode="after")
    def _canvas_fits(self) -> InputSettings:
        for name in ("img_width", "img_height"):
            value = getattr(self, name)
            if value % 32 and self.resize_rule == "canvas":
                raise ValueError(f"{name}={value}: the network's input has to be a multiple of 32; give "
                                 f"{-(-value // 32) * 32}, or resize_rule=short_side, torchvision's rule")
        return self

    @pydantic.model_validator(mode="after")
    def _augmentation_fits(self) -> InputSettings:
        if self.min_scale > self.max_scale:
            raise ValueError(f"min_scale={self.min_scale:g} is above max_scale={self.max_scale:g}; exchange them")
        if self.train_scales and (self.min_scale, self.max_scale) != (1, 1):
            raise ValueError(f"train_scales={_listed(self.train_scales)} beside min_scale={self.min_scale:g} and "
                             f"max_scale={self.max_scale:g}: scales are drawn from a list or between two limits; leave "
                             "one of them out")
        uneven = next((side for side in self.crop_size if side % 32), 0)
        if uneven:
            raise ValueError(f"crop_size={_listed(self.crop_size)}: {uneven} is no multiple of 32; give "
                             f"{-(-uneven // 32) * 32}")
        return self

    @property
    def input_size(self) -> tuple[int, int]:
        """(H, W) of the network's input for a landscape image: multiples of 32."""
        return tuple(-(-side // 32) * 32 for side in (self.img_height, self.img_width))

    @property
    def train_size(self) -> tuple[int, int]:
        """(H, W) of the network's input in training."""
        return self.crop_size * 2 if len(self.crop_size) == 1 else self.crop_size or self.input_size


def _listed(values: Sequence[float]) -> str:
    return ",".join(f"{value:g}" for value in values)
