"""Export of Mask R-CNN: the graph from image tensor to detections with masks, and its preprocessing as data."""
from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import mindspore as ms
import mindspore.nn as nn
import numpy as np

from src.contract import InputError
from src.exporting.preprocess_spec import decode_spec, tensor
from src.maskrcnn.config import MaskRCNNConfig
from src.maskrcnn.inference import Predictor
from src.maskrcnn.network import MaskRCNN
from src.maskrcnn.preprocess import Preprocess
from src.maskrcnn.splits import category_ids
from src.metrics import score_thresholds


class Detector(nn.Cell):
    """The inference network with scores and masks of type `dtype`; boxes stay float32, as float16 is too coarse."""

    def __init__(self, network: MaskRCNN, dtype: ms.Type = ms.float32):
        super().__init__(auto_prefix=False)
        self.network = network
        self.dtype = dtype

    def construct(self, image, image_size):
        boxes, labels, scores, valid, masks = self.network(image, image_size)
        return boxes, labels, scores.astype(self.dtype), valid, masks.astype(self.dtype)


class Export:
    """See `contract.Export`. An exported model has one landscape canvas; portrait images are scaled to fit it.

    Args:
        predictor: `(detect, preprocess, batch_size) -> predictor`, the task's.
    """

    def __init__(self, config: MaskRCNNConfig, preprocess: Preprocess, predictor: Callable):
        self.config = config
        self.preprocess = dataclasses.replace(preprocess, rule="canvas")
        self.make_predictor = predictor

    def cell(self, network: MaskRCNN) -> nn.Cell:
        if self.config.nms_method != "hard":
            raise InputError(f"nms_method={self.config.nms_method}: Soft-NMS is a loop in the graph, which ONNX and "
                             "the converters of MindIR do not take; export with --nms_method=hard, or evaluate and "
                             "predict with the checkpoint")
        return Detector(network, getattr(ms, self.config.precision))

    def inputs(self, image: np.ndarray) -> tuple[np.ndarray, ...]:
        if tiling := self.config.tiling:
            image = tiling.tiles(image.shape[:2])[0].pixels(image)
        pixels, size = self.preprocess.prepare(image)
        return pixels, np.array(size, np.float32)

    def predictor(self, run: Callable, shape: tuple[int, ...]) -> Predictor:
        return self.make_predictor(run, dataclasses.replace(self.preprocess, size=shape[2:]), shape[0])

    def preprocess_spec(self) -> dict[str, Any]:
        c, batch, preprocess = self.config, self.config.exported_batch, self.preprocess
        side, detections = 2 * c.roi_layer.mask_out_size, c.test_max_per_img
        padding = "black_before_normalisation" if c.pad_before_normalise else "zero_after_normalisation"
        return {
            "task": "instance", "class_names": list(c.names), "category_ids": category_ids(c),
            "inputs": [tensor("image", (batch, 3, *preprocess.canvas((1, 1))), "float32",
                              "normalised image, top left on the canvas", layout="NCHW"),
                       tensor("image_size", (batch, 2), "float32", "height and width of the image on it")],
            "outputs": [
                tensor("boxes", (batch, detections, 4), "float32",
                       "x1, y1, x2, y2 in pixels of the input, half-open; best score first"),
                tensor("labels", (batch, detections), "int32", "class index, 0 where not valid"),
                tensor("scores", (batch, detections), c.precision, "0 where not valid"),
                tensor("valid", (batch, detections), "bool", "which slots hold a detection"),
                tensor("masks", (batch, detections, side, side), c.precision, "probabilities in the frame of the box")],
            "decode": {"colour_order": c.colour_order, **decode_spec(c.exif, c.bit_depth)},
            "resize": self._resize_spec(),
            "pad": {"position": "bottom_right", "value": padding},
            "normalise": {"mean": list(c.image_mean), "std": list(c.image_std), "in_model": False},
            "postprocess": {"done_in_model": ["score_threshold", "nms", "sigmoid"], "score_threshold": c.test_score_thr,
                            "mask_threshold": c.mask_thr_binary, "paste_pad": c.mask_paste_pad}
            | ({"merged_max_per_img": c.merged_max_per_img} if c.tiling else {})
            | ({score_thresholds.KEY: c.thresholds} if c.score_thresholds else {}),
        }

    def _resize_spec(self) -> dict[str, Any]:
        c, rule = self.config, "canvas" if self.config.keep_ratio else "stretch"
        spec = {"rule": rule, "size": list(self.preprocess.size), "rounding": c.resize_rounding,
                "interpolation": "bilinear"}
        if c.tiling:
            spec |= {"rule": "tiles", "tile_rule": rule, "tile_size": list(c.tiling.size),
                     "tile_overlap": c.tiling.overlap}
        return spec
