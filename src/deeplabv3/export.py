"""Export of DeepLabV3: the graph from image tensor to result, its preprocessing as data, its predictor."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import mindspore as ms
import mindspore.nn as nn
import numpy as np
from mindspore import ops

from src.deeplabv3.config import DeepLabV3Config
from src.deeplabv3.inference import Predictor
from src.deeplabv3.network import DeepLabV3
from src.deeplabv3.preprocess import Preprocess
from src.deeplabv3.slide import SlidePredictor
from src.exporting.preprocess_spec import decode_spec, tensor


class Scores(nn.Cell):
    """Image (B, 3, S, S) -> class probabilities (B, K, S, S) of type `dtype`."""

    def __init__(self, network: DeepLabV3, dtype: ms.Type = ms.float32):
        super().__init__(auto_prefix=False)
        self.network = network
        self.dtype = dtype

    def construct(self, image):
        return ops.softmax(self.network(image).astype(ms.float32), 1).astype(self.dtype)


class Labels(nn.Cell):
    """Image (B, 3, S, S) -> index of the best class (B, S, S) int32."""

    def __init__(self, network: DeepLabV3):
        super().__init__(auto_prefix=False)
        self.network = network
        self.best = ops.Argmax(axis=1, output_type=ms.int32)

    def construct(self, image):
        return self.best(self.network(image))


class Export:
    """See `contract.Export`."""

    def __init__(self, config: DeepLabV3Config, preprocess: Preprocess):
        self.config = config
        self.preprocess = preprocess

    def cell(self, network: DeepLabV3) -> nn.Cell:
        if self.config.output == "labels":
            return Labels(network)
        return Scores(network, getattr(ms, self.config.precision))

    def inputs(self, image: np.ndarray) -> tuple[np.ndarray, ...]:
        side = self.config.exported_side
        if self.config.eval_mode == "slide":  # the first window
            return (self.preprocess.normalise(image[:side, :side], (side, side)),)
        return self.preprocess.fit(image, side)[:1]

    def predictor(self, run: Callable, shape: tuple[int, ...]) -> Predictor | SlidePredictor:
        def probabilities(batch: np.ndarray) -> np.ndarray:
            output = run(batch)[0]
            if output.ndim == 3:  # label maps carry no probability: 1 for the class
                return np.moveaxis(np.eye(self.config.num_classes, dtype=np.float32)[output], -1, 1)
            return output.astype(np.float32)

        return make_predictor(self.config, self.preprocess, probabilities, side=shape[-1], batch_size=shape[0],
                              fixed_batch=True)

    def preprocess_spec(self) -> dict[str, Any]:
        c, batch, side = self.config, self.config.exported_batch, self.config.exported_side
        if c.output == "labels":
            output = tensor("labels", (batch, side, side), "int32", "index of the best class of every input pixel")
        else:
            output = tensor("scores", (batch, c.num_classes, side, side), c.precision,
                            "class probabilities of every input pixel")
        slide = c.eval_mode == "slide"
        whole = {"rule": "long_side", "size": [side, side], "rounding": "floor", "interpolation": "bilinear"}
        return {
            "task": "semantic", "class_names": list(c.names),
            "inputs": [tensor("image", (batch, 3, side, side), "float32", "normalised image, top left on the canvas",
                              layout="NCHW")],
            "outputs": [output],
            "decode": {"colour_order": c.colour_order, **decode_spec(c.exif, c.bit_depth)},
            "resize": {"rule": "slide", "size": [side, side], "slide_stride": c.stride(side)} if slide else whole,
            "pad": {"position": "bottom_right", "value": "zero_after_normalisation"},
            "normalise": {"mean": list(c.image_mean), "std": list(c.image_std), "in_model": False},
            "postprocess": {"done_in_model": ["argmax"] if c.output == "labels" else ["softmax"],
                            "resize_back": "average" if slide else "nearest" if c.output == "labels" else "bilinear"},
        }


def make_predictor(config: DeepLabV3Config, preprocess: Preprocess, probabilities: Callable, *, side: int,
                   batch_size: int, fixed_batch: bool = False, scales: Sequence[float] = (1.0,),
                   flip: bool = False, confidence: bool = False) -> Predictor | SlidePredictor:
    """The predictor of the configuration's `eval_mode`; for `probabilities` see either. `side` is that of its input."""
    if config.eval_mode == "slide":
        return SlidePredictor(probabilities, preprocess=preprocess, window=side, stride=config.stride(side),
                              scales=scales, flip=flip, batch_size=batch_size, fixed_batch=fixed_batch,
                              workers=config.workers, confidence=confidence)
    return Predictor(probabilities, preprocess=preprocess, crop_size=side, scales=scales, flip=flip,
                     batch_size=batch_size, workers=config.workers, confidence=confidence)
