"""Every primitive of the training and inference graphs has to run on Ascend: its documentation has to say so.

The graphs are those of small networks, which have the primitives of large ones. A primitive whose documentation refers
to a function is as good as that function's; `OF` holds what MindSpore does not document, with what it belongs to.
"""
import src  # noqa: F401  isort: skip
import importlib
import re
from functools import cache

import numpy as np
import pytest

from src.engine import loop
from src.engine.runtime import Runtime
from src.exporting import mindir

pytestmark = pytest.mark.usefixtures("graph_mode")
PLACES = ("mindspore.ops", "mindspore.ops.operations", "mindspore.mint", "mindspore.ops.auto_generate.gen_ops_prim",
          "mindspore.ops.operations._grad_ops")
# The compiler's own: they order side effects, build tuples and choose branches, and are no kernels of a device.
COMPILER = {"Depend", "Load", "MakeTuple", "Partial", "Switch", "TensorMove", "TupleGetItem", "UpdateState"}
# Undocumented: the gradient, or the form with a number in place of a tensor, of a primitive or function that is.
OF = {"BatchNormGrad": "BatchNorm", "BiasAddGrad": "BiasAdd", "ClampScalar": "clamp", "Conv2DBackpropFilter": "Conv2D",
      "Conv2DBackpropInput": "Conv2D", "Divs": "Div", "GatherDGradV2": "GatherD", "GroupNormGrad": "GroupNorm",
      "LessScalar": "Less", "MatMulExt": "matmul", "MaxPoolGrad": "MaxPool", "Muls": "Mul", "ReluGrad": "ReLU",
      "SigmoidCrossEntropyWithLogitsGrad": "SigmoidCrossEntropyWithLogits", "SplitWithSize": "split", "SumExt": "sum"}
# Listed for other devices alone, and why that does no harm: none at present.
EXCEPTIONS: dict[str, str] = {}


@cache
def platforms(name: str) -> str:
    """What a primitive's or function's documentation says after "Supported Platforms", "" where it says nothing."""
    for place in PLACES:
        text = getattr(getattr(importlib.import_module(place), OF.get(name, name), None), "__doc__", "") or ""
        said = re.search(r"Supported Platforms:\s*(.+)", text)
        if said and "Deprecated" not in said.group(1):
            return said.group(1)
        referred = re.search(r":func:`mindspore\.(?:ops|mint)\.(\w+)`", text)
        if referred and referred.group(1) != name and platforms(referred.group(1)):
            return platforms(referred.group(1))
    return ""


def primitives(cell, batch, path) -> set[str]:
    """Names of the primitives in a cell's compiled graph, with those of graphs that it calls."""
    from mindspore.train.mind_ir_pb2 import ModelProto

    mindir.write(cell, batch, path, "MINDIR")
    model = ModelProto.FromString(path.read_bytes())
    return {primitive.op_type for primitive in model.primitives}


def not_on_ascend(names: set[str]) -> set[str]:
    return {name for name in names - COMPILER - EXCEPTIONS.keys() if "Ascend" not in platforms(name)}


def step_of(task, network):
    return loop.build_step(task, task.config, Runtime("CPU"), network, 10)


def test_the_rule_itself():
    assert not_on_ascend({"Conv2D", "Add", "NMSWithMask", "Muls", "MakeTuple"}) == set()
    wrong = {"SparseSoftmaxCrossEntropyWithLogits", "NoSuchPrimitive"}
    assert not_on_ascend(wrong) == wrong


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["batch", "group"])
def test_deeplabv3(tmp_path, norm):
    from src.deeplabv3.config import DeepLabV3Config
    from src.deeplabv3.task import DeepLabV3Task

    task = DeepLabV3Task(DeepLabV3Config(device_target="CPU", backbone="resnet18", norm=norm, crop_size=33,
                                         batch_size=2, num_classes=3, auxiliary=True, epochs=1, output="labels"))
    network, ids = task.network(), np.zeros(2, np.int32)
    batch = (np.zeros((2, 3, 33, 33), np.float32), np.zeros((2, 33, 33), np.int32), ids, ids)
    found = primitives(step_of(task, network), batch, tmp_path / "train.mindir")
    found |= primitives(task.export.cell(network).set_train(False), batch[:1], tmp_path / "serve.mindir")
    assert not_on_ascend(found) == set()
    assert {"Conv2D", "Conv2DBackpropFilter", "ApplyMomentum", "MaxPool"} <= found


@pytest.mark.slow
def test_maskrcnn(tmp_path):
    from src.maskrcnn.config import MaskRCNNConfig
    from src.maskrcnn.task import MaskRCNNTask
    from tests.maskrcnn.test_task import TINY

    task = MaskRCNNTask(MaskRCNNConfig(**TINY, dataset="other", num_classes=4, batch_size=2, clip_norm=5).completed())
    network, ids = task.network(), np.zeros(2, np.int32)
    slots, side = (2, task.config.max_instance_count), task.config.mask_crop_size
    images = np.zeros((2, 3, 64, 64), np.float32), np.full((2, 2), 64, np.float32)
    truth = (np.zeros((*slots, 4), np.float32), np.zeros(slots, np.int32), np.ones(slots, bool), np.zeros(slots, bool),
             np.zeros((*slots, side, side), np.uint8), np.ones(slots, bool))
    found = primitives(step_of(task, network), (*images, *truth, ids, ids), tmp_path / "train.mindir")
    found |= primitives(task.export.cell(network).set_train(False), images, tmp_path / "serve.mindir")
    assert not_on_ascend(found) == set()
    assert {"NMSWithMask", "TopK", "UnsortedSegmentSum", "IOU"} <= found
