"""A cell's fingerprint: equal for equal cells in every process, another for everything that shapes a graph."""
import subprocess
import sys
from functools import partial
from pathlib import Path

import mindspore as ms
import mindspore.nn as nn
import numpy as np
import pytest
from mindspore import Parameter, Tensor, ops

from src import tasks
from src.compile_cache.fingerprint import Unknown, fingerprint
from src.config import build
from src.engine import loop
from src.engine.runtime import Runtime

FACTOR = 2.0


def helper(x):
    return x * FACTOR


class Tiny(nn.Cell):
    def __init__(self, *, k=2.0, table=(1, 2), array=(1.0, 2.0), function=helper, name="w", shape=(3,), other=None):
        super().__init__()
        self.k = k
        self.table = table
        self.array = Tensor(np.array(array, np.float32))
        self.function = function
        self.w = Parameter(Tensor(np.ones(shape, np.float32)), name=name)
        self.conv = nn.Conv2d(3, 4, 3, dilation=1)
        self.scale = ops.ReduceSum(keep_dims=True)
        self.other = other

    def construct(self, x):
        return helper(x) * self.k + self.w


def closure(value):
    def inner(x):
        return x * value
    return inner


CHANGES = {
    "number": {"k": 3.0}, "type of a number": {"k": 2}, "tuple": {"table": (1, 3)}, "constant": {"array": (1.0, 2.5)},
    "parameter's name": {"name": "v"}, "parameter's shape": {"shape": (1,)}, "function": {"function": closure(2.0)},
    "closure": {"function": closure(3.0)}, "partial": {"function": partial(helper, 1)}, "cell": {"other": nn.ReLU()},
    "another cell": {"other": nn.Sigmoid()}, "dictionary": {"other": {"a": 1}}, "type": {"other": ms.float16},
    "operator": {"other": ops.ReduceSum(keep_dims=False)}, "its attribute": {"other": ops.ReduceSum(keep_dims=True)},
    "array": {"other": np.arange(3)}, "another array": {"other": np.arange(3.0)}}


def test_equal_cells_have_equal_fingerprints():
    assert fingerprint(Tiny()) == fingerprint(Tiny())


def test_every_change_gives_another_fingerprint():
    found = {name: fingerprint(Tiny(**change)) for name, change in CHANGES.items()} | {"none": fingerprint(Tiny())}
    assert len(set(found.values())) == len(found), found


@pytest.mark.parametrize("change", [
    lambda cell: cell.set_train(), lambda cell: setattr(cell.conv, "dilation", (2, 2)),
    lambda cell: setattr(cell.w, "requires_grad", False), lambda cell: cell.to_float(ms.float16),
    lambda cell: cell.scale.add_prim_attr("x", 1)])
def test_changes_after_construction_count(change):
    cell, before = Tiny(), fingerprint(Tiny())
    change(cell)
    assert fingerprint(cell) != before


def test_values_of_modules_count(monkeypatch):
    before = fingerprint(Tiny())
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    assert fingerprint(Tiny()) != before


def test_values_of_parameters_do_not_count():
    cell, before = Tiny(), fingerprint(Tiny())
    cell.w.set_data(Tensor(np.array([5, 6, 7], np.float32)))
    assert fingerprint(cell) == before


def test_hooks_count_and_looking_for_them_does_not():
    cell, before = Tiny(), fingerprint(Tiny())
    assert not cell._forward_hook, "MindSpore makes an empty dictionary here, as its parser does"
    assert fingerprint(cell) == before
    cell.register_forward_hook(lambda cell, inputs, output: output)
    assert fingerprint(cell) != before


def test_what_cannot_be_told_apart_is_named():
    with pytest.raises(Unknown, match="Tiny.other"):
        fingerprint(Tiny(other=object()))


SMALL = {"deeplab_v3_s16": {"backbone": "resnet18", "num_classes": 3, "crop_size": 33, "freeze_bn": True},
         "mask_rcnn_r50": {"backbone": "resnet18", "num_classes": 3, "img_width": 64, "img_height": 64}}
KEYS = {"deeplab_v3_s16": {"aspp_rates": [1, 2, 3], "bn_eps": 1e-3, "dropout": 0.3, "ignore_label": 7, "seed": 2,
                           "clip_norm": 1.0, "weight_decay": 1e-3, "dilation": "previous"},
        "mask_rcnn_r50": {"anchor_scales": [4.0], "rpn_proposal_nms_thr": 0.5, "neg_iou_thr": 0.2,
                          "rpn_loss_reg_weight": 0.5}}


@pytest.mark.slow
@pytest.mark.parametrize("model", KEYS)
def test_the_cell_alone_tells_keys_that_shape_its_graph(model):
    def of(**changes):
        config = build(tasks.config_class(model), {"model": model, "device_target": "CPU"} | SMALL[model] | changes)
        task = tasks.create(config.completed())
        return fingerprint(loop.build_step(task, task.config, Runtime("CPU"), task.network(), 10))

    base, found = of(), {name: of(**{name: value}) for name, value in KEYS[model].items()}
    assert [name for name, one in found.items() if one == base] == []
    assert of(workers=7, save_steps=5) == base


@pytest.mark.slow
def test_a_fingerprint_is_the_same_in_every_process():
    program = ("import sys; sys.path[:0] = ['.', 'tests/compile_cache']\n"
               "from test_fingerprint import SMALL, Runtime, build, fingerprint, loop, tasks\n"
               "for model in SMALL:\n"
               "    config = build(tasks.config_class(model), dict(model=model, device_target='CPU', **SMALL[model]))\n"
               "    task = tasks.create(config.completed())\n"
               "    print(fingerprint(loop.build_step(task, task.config, Runtime('CPU'), task.network(), 10)))\n")
    outputs = [subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True,
                              cwd=Path(__file__).parents[2]).stdout for _ in range(2)]
    assert outputs[0] == outputs[1]
    assert len(set(outputs[0].split())) == 2
