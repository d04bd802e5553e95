"""Overflows on devices without Inf: which check is used, the graph that is built, and what a set register does.

Not run on Ascend: the register is that of `saturating.py`, and the graph with the real primitives is compiled, not run.
"""
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from src.contract import InputError
from src.engine import float_status
from src.engine.float_status import FloatStatus, overflow_register, saturates
from src.engine.train_step import LossScale
from tests.engine.saturating import saturating_step
from tests.engine.test_train_step import run, weights

CLASSIC, LATER = "amp_loss_scale_train_classic_target", "train_hq_dtype_line"  # the 910's and the 910B's feature
SATURATION = {float_status.MODE: "SATURATION_MODE"}
OVERFLOW = [[1000, 0]], [0]  # error 1000, gradient (2e6, 0)


@pytest.mark.parametrize(("device", "features", "environment", "expected"), [
    ("Ascend", {CLASSIC}, {}, True), ("Ascend", {CLASSIC}, {float_status.MODE: "INFNAN_MODE"}, True),
    ("Ascend", {LATER}, {}, False), ("Ascend", {LATER}, {float_status.MODE: "INFNAN_MODE"}, False),
    ("Ascend", {LATER}, SATURATION, True), ("Ascend", set(), SATURATION, False), ("CPU", {CLASSIC}, SATURATION, False),
    ("GPU", {LATER}, SATURATION, False)])
def test_which_devices_saturate(device, features, environment, expected):
    assert saturates(device, environment, features.__contains__) is expected


def test_mindspore_knows_the_two_features_by_these_names():
    from mindspore import amp

    source = Path(amp.__file__).read_text(encoding="utf-8")
    assert CLASSIC in source
    assert LATER in source
    assert not saturates("Ascend", {}, float_status._chip_has)  # there is no chip here, and no error either


def test_the_check_can_be_chosen(monkeypatch):
    assert overflow_register("auto", "CPU") is None
    assert overflow_register("finite", "Ascend") is None
    assert overflow_register("auto", "Ascend") is None
    assert isinstance(overflow_register("status", "Ascend"), FloatStatus)
    monkeypatch.setattr(float_status, "_chip_has", lambda feature: True)
    monkeypatch.setattr(float_status, "saturates", lambda device: device == "Ascend")
    assert isinstance(overflow_register("auto", "Ascend"), FloatStatus)
    with pytest.raises(InputError, match="overflow_check=status: a CPU has no overflow register; use .*=auto"):
        overflow_register("status", "CPU")


@pytest.mark.usefixtures("graph_mode")
class TestSteps:
    """Gradients here are always finite numbers: only the register shows an overflow."""

    def test_a_set_register_skips_the_step_and_halves_the_scale(self):
        step = saturating_step(loss_scale=LossScale(4.0, dynamic=True, window=2))
        bad = run(step, *OVERFLOW)
        assert (bad["finite"], bad["applied"], bad["loss_scale"]) == (0, 0, 4)
        assert weights(step) == [1, 2]
        good = run(step, [[1, 1]], [1])  # the register that was left behind is cleared first
        assert (good["finite"], good["applied"], good["loss_scale"]) == (1, 1, 2)
        assert weights(step) == pytest.approx([0.6, 1.6])

    def test_an_overflow_amid_an_accumulation_spoils_that_update_alone(self):
        step = saturating_step(accumulate_steps=2)
        assert [run(step, *batch)["applied"] for batch in (OVERFLOW, ([[1, 1]], [1]))] == [0, 0]
        assert weights(step) == [1, 2]
        assert [run(step, [[1, 1]], [1])["applied"] for _ in range(2)] == [0, 1]
        assert weights(step) == pytest.approx([0.6, 1.6])


BUILD = """
import src, sys
import mindspore as ms, numpy as np
from src.engine.float_status import FloatStatus
from src.engine.optim import momentum_optimizer
from src.engine.train_step import LossScale, TrainStep
from tests.engine.tiny_task import Linear, SquaredError
ms.set_context(mode=ms.GRAPH_MODE)
network = Linear()
optimizer = momentum_optimizer(network.trainable_params(), np.full(9, 0.1, np.float32), momentum=0.9, weight_decay=0.0)
step = TrainStep(SquaredError(network), optimizer, float_status=FloatStatus(),
                 loss_scale=LossScale(4.0, dynamic=True)).set_train()
step(ms.Tensor(np.ones((3, 2), np.float32)), ms.Tensor(np.ones(3, np.float32)))
"""


@pytest.fixture(scope="module")
def graph(tmp_path_factory) -> dict[str, tuple[str, set[str]]]:
    """The main graph of a step with the device's primitives, as the frontend leaves it: {node: (operator, inputs)}."""
    folder = tmp_path_factory.mktemp("graph")
    environment = os.environ | {"MS_DEV_PRECOMPILE_ONLY": "1", "MS_DEV_SAVE_GRAPHS": "1",
                                "MS_DEV_SAVE_GRAPHS_PATH": str(folder), "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", BUILD], check=True, env=environment, cwd=folder, capture_output=True)
    text = next(folder.glob("*_backend_pass_*.ir")).read_text()
    entry = re.search(r"IR entry: @(\S+)", text)[1]
    lines = text[text.index(f"subgraph @{entry}("):].split("\n}")[0].splitlines()
    nodes = filter(None, (re.match(r" +(%\d+)\(.*?\) = (?:PrimFunc_)?([^\s(]+)\((.*)", line) for line in lines))
    inputs_end = r" primitive_attrs:| cnode_attrs:| \{instance"
    return {name: (operator, set(re.findall(r"%(?:para)?\d+", re.split(inputs_end, rest)[0])))
            for name, operator, rest in (node.groups() for node in nodes)}


def before(graph: dict, *names: str) -> set[str]:
    """Everything that has to be computed before these nodes."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        new = graph.get(waiting.pop(), ("", set()))[1] - found
        found |= new
        waiting += new
    return found


@pytest.mark.slow
def test_the_graph_clears_the_register_first_and_reads_it_between_gradients_and_update(graph):
    def named(*operators):
        return {name for name, (operator, _) in graph.items() if operator in operators}

    clear, = named("NPUClearFloatStatusV2")
    read, = named("NPUGetFloatStatusV2")
    batch = {"%para1", "%para2"}
    takers = {name for name, (_, inputs) in graph.items() if inputs & batch}
    assert takers
    assert all(graph[name][0] == "Depend" and clear in graph[name][1] for name in takers)
    losses_and_gradient = named("ReduceMean", "SumExt", "Square", "Abs")
    assert len(losses_and_gradient) == 6
    assert losses_and_gradient <= before(graph, read)
    switch, = named("Switch")
    norm, = named("L2Loss")
    assert read in before(graph, norm)
    assert read in before(graph, *[name for name in graph[switch][1] if graph[name][0] == "LogicalAnd"])
    assert read in before(graph, *[name for name in graph[switch][1] if graph[name][0] == "Partial"])
    assert named("Assign") <= {name for name in graph if read in before(graph, name)}  # loss scale, good steps
