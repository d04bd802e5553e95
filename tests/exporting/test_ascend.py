"""The Ascend lint: the vendor's table, its verdicts on literal calls, and on the final graphs of both models.

Small networks have the primitives and types of large ones; sizes at the presets' settings are those that
`src/tools/ascend_report.py` prints.
"""
import src  # noqa: F401  isort: skip
import re
from dataclasses import replace
from pathlib import Path

import mindspore as ms
import mindspore.nn as nn
import numpy as np
import pytest
from mindspore import ops

from src.contract import InputError
from src.engine import loop
from src.engine.float_status import FloatStatus
from src.engine.precision import apply_amp
from src.engine.runtime import Runtime
from src.engine.train_step import LossScale, TrainStep
from src.exporting import ascend, calls
from src.exporting.ascend import Verdict, judge, rows, verdict
from src.exporting.ascend_table import CHIPS, TRAINING_CHIPS, Operator, Rule, family, table
from src.exporting.calls import Call, TensorType
from src.layers.sync_norm import SyncBatchNorm
from src.tools.ascend_report import training_batch
from tests.engine.tiny_task import Linear, SquaredError, TinyTask, settings

ROOT = Path(__file__).parents[2]
SERVING = ("310P", "910", "910B", "A3")
F32, F16, I32, BOOL = (TensorType(dtype, (4, 5)) for dtype in ("float32", "float16", "int32", "bool"))


def call(primitive, *inputs, outputs=()):
    return Call(primitive, inputs, tuple(outputs), f"Default/{primitive}-op0")


@pytest.mark.parametrize(("name", "chip"), [
    ("Ascend310P3", "310P"), ("Ascend310", "310"), ("Ascend310B4", "310B"), ("Ascend910B2C", "910B"),
    ("Ascend910_9391", "A3"), ("Ascend910A", "910"), ("Ascend910ProB", "910"), ("910b", "910B"), ("A3", "A3")])
def test_the_family_of_a_chip(name, chip):
    assert family(name) == chip


@pytest.mark.parametrize("name", ["", "Ascend950", "H100", "Ascend31"])
def test_chips_that_the_table_does_not_have_are_named_with_those_that_it_has(name):
    with pytest.raises(InputError, match=r"none of the families in the table \(310, 310B, 310P, 910, 910B, A3\)"):
        family(name)


@pytest.mark.parametrize(("dtypes", "expected"), [
    (["float16", "int32"], Verdict("AI Core")),
    (["float16", None], Verdict("AI Core")),
    (["float32", "int32"], Verdict("cast", "float16 alone on the AI Core; the AI CPU has it")),
    (["int32", "int32"], Verdict("AI CPU", "no AI Core kernel for int32"))])
def test_types_decide_where_an_operator_runs(dtypes, expected):
    operator = Operator("TopKV2", {"910": (frozenset({"float16"}), frozenset({"int32"}))}, True)
    assert judge(operator, dtypes, "910") == expected


def test_an_operator_without_a_kernel_runs_on_the_ai_cpu_or_nowhere():
    assert judge(Operator("A", on_ai_cpu=True), ["int32"], "910") == Verdict("AI CPU", "no AI Core kernel")
    assert judge(Operator("A"), ["int32"], "910") == Verdict("nowhere", "no kernel")
    wide = Operator("A", {"910": (frozenset({"float32"}),)})
    assert judge(wide, ["float16"], "910") == Verdict("AI Core", "calculated in float32")
    assert judge(wide, ["int8"], "910") == Verdict("nowhere", "no AI Core kernel for int8")
    chosen = Operator("A", {"910": (frozenset(),)})
    assert judge(chosen, ["bool"], "910") == Verdict("AI Core")


def test_the_graph_engine_needs_an_adapter_and_lists_need_one_type():
    rule = Rule("Less", graph_engine=False)
    assert verdict(rule, [F32], "910", graph_engine=True).detail == "the graph engine has no adapter for it"
    assert verdict(rule, [F32], "910B", graph_engine=False) == Verdict("AI Core")
    gather = table().primitives["GatherD"]
    assert verdict(gather, [F32, None, I32], "910", graph_engine=True) == Verdict("AI CPU", "no AI Core kernel")
    assert verdict(gather, [F32, None, I32], "910", graph_engine=False) == Verdict("AI Core")
    joined = Rule("ConcatD", variadic=True)
    assert verdict(joined, [F32, F32, None], "910", graph_engine=True) == Verdict("AI Core")
    assert verdict(joined, [F32, F16], "910", graph_engine=True).place == "nowhere"
    assert verdict(Rule("Less"), [I32, TensorType("int64", ())], "910", graph_engine=True).place == "nowhere"
    assert verdict(Rule("Less"), [I32, TensorType("int64", ())], "910B", graph_engine=False).place == "AI Core"


def test_inputs_of_another_order_are_matched_by_the_table():
    assert rows([call("GatherD", F32, None, I32)], "910B")[0].verdict == Verdict("AI Core")
    assert rows([call("Conv2DBackpropInput", F32, F32, None)], "910")[0].verdict.place == "cast"
    assert rows([call("Conv2DBackpropInput", F16, F16, None)], "910")[0].verdict == Verdict("AI Core")


def test_what_the_table_does_not_know_is_named_with_its_place():
    with pytest.raises(InputError, match="does not know NewPrimitive of Default/NewPrimitive-op0. Add what the vendor"):
        rows([call("Add", F32, F32), call("NewPrimitive", F32)], "910B")


def test_sizes_are_summed_and_an_exception_ends_at_its_size():
    once = [call("IsFinite", TensorType("float32", ()))]
    (row,) = rows(once, "910")
    assert (row.calls, row.elements, row.is_problem) == (1, 1, False)
    assert "one number a step" in ascend.report([row], "910")
    (row,) = rows(once * 2, "910")
    assert (row.calls, row.elements, row.is_problem) == (2, 2, True)
    assert "1 AI CPU, 0 nowhere; 1 not accepted" in ascend.report([row], "910")
    assert "in: Default/IsFinite-op0" in ascend.report([row], "910")


def test_the_report_says_what_the_verdicts_stand_on():
    found = rows([call("Add", F32, F32), call("GatherD", F32, None, I32), call("LogicalNot", BOOL)], "910B")
    said = ascend.report(found, "910B").splitlines()[-4:]
    assert said[0] == "by the toolkit's table and the newer source: 1 of 3 operators"
    assert said[1].endswith("the newer source lists the operator without 910B: GatherElements")
    assert said[2].endswith("the newer source does not have the operator: LogicalNot")
    assert said[3] == "never run on a device: 3 of 3 operators"
    ran = replace(found[0].operator, ran_on={"910B": "CANN 9.1.0"})
    assert ascend.report([replace(found[0], operator=ran)], "910B").endswith("never run on a device: 0 of 1 operators")


def test_every_fact_is_used_and_has_its_source():
    facts = table()
    used = {rule.operator_in(engine) for rules in (facts.primitives, facts.onnx) for rule in rules.values()
            for engine in (False, True)}
    assert used == set(facts.operators)
    for operator in facts.operators.values():
        assert operator.types or operator.on_ai_cpu, operator.name
        assert set(operator.types) <= set(CHIPS)
    for allowed in facts.exceptions:
        assert set(allowed.names) <= facts.primitives.keys() | facts.onnx.keys()
        assert set(allowed.chips) <= set(CHIPS)
        assert allowed.place in ascend.PLACES[1:]
        assert len(allowed.reason) > 20
    assert [ascend.keeps_float32(chip) for chip in ("310", "310P", "910", "910B", "A3")] == [False] * 3 + [True] * 2


def test_known_facts_of_the_table():
    """Checked one by one against the sources that the table names."""
    operators = table().operators
    assert "float32" not in operators["TopKV2"].types["910"][0]
    assert "float32" in operators["TopKV2"].types["910B"][0]
    assert operators["RightShift"].types == {}
    assert operators["RightShift"].on_ai_cpu
    assert set(operators["NonMaxSuppressionV6"].types) == {"310P"}
    assert "910" not in operators["GroupNormGrad"].types


WHEEL = Path(ms.__file__).parent / "lib"


def test_the_wheel_has_no_adapter_for_what_the_table_says():
    libraries = [(WHEEL / name).read_bytes()
                 for name in ("plugin/ascend/libmindspore_graph_ir.so", "libmindspore_ge_backend.so")]
    without = [name for name, rule in table().primitives.items() if not rule.graph_engine]
    assert "LessScalar" in without
    assert [name for name in without if any(name.encode() in library for library in libraries)] == []
    assert all(b"NMSWithMask" in library or b"TopK" in library for library in libraries)


@pytest.mark.parametrize("name", ["Dockerfile", "scripts/install.sh", "docs/ascend.md"])
def test_the_base_image_has_the_cann_of_the_wheels_custom_operators(name):
    said = (WHEEL / "plugin/ascend/custom_ascendc_910b/version.info").read_text()
    version = said.partition("custom_opp_compiler_version=")[2].strip()
    assert set(re.findall(r"cann:([\d.]+)-", (ROOT / name).read_text())) == {version}


class Small(nn.Cell):
    """A convolution, a branch that becomes a graph of its own, and a sum of what has two types."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3)

    def construct(self, x, flag):
        y = self.conv(x).astype(ms.float16)
        if flag > 0:
            y = ops.relu(y)
        return y, ops.topk(x, 2)[1]


@pytest.mark.usefixtures("graph_mode")
def test_calls_of_a_cell_have_types_shapes_and_places_in_all_of_its_graphs():
    inputs = np.zeros((1, 2, 4, 5), np.float32), np.zeros((), np.float32)
    found = {c.primitive: c for c in calls.of_cell(Small().set_train(False), inputs)}
    conv = found["Conv2D"]
    assert conv.inputs == (TensorType("float32", (1, 2, 4, 5)), TensorType("float32", (3, 2, 3, 3)))
    assert (conv.outputs, conv.size) == ((TensorType("float32", (1, 3, 4, 5)),), 60)
    assert "conv-Conv2d" in conv.place
    assert found["ReLU"].inputs == (TensorType("float16", (1, 3, 4, 5)),)
    assert [t.dtype for t in found["TopK"].outputs] == ["float32", "int32"]
    assert not found.keys() & calls.COMPILER


class Synchronised(nn.Cell):
    def __init__(self):
        super().__init__()
        self.body = nn.SequentialCell(nn.Conv2d(2, 3, 3), SyncBatchNorm(3), nn.ReLU())

    def construct(self, x):
        return self.body(x).astype(ms.float32).sum()


@pytest.mark.usefixtures("graph_mode")
@pytest.mark.parametrize("level", ["O2", "O3"])
def test_statistics_over_ranks_stay_in_float32(level):
    cell = Synchronised().set_train(True)
    apply_amp(cell.body, level, "Ascend")
    found = calls.of_cell(ms.amp.build_train_network(cell, nn.Momentum(cell.trainable_params(), 0.1, 0.9), level="O0"),
                          (np.zeros((2, 2, 4, 5), np.float32),))
    assert problems(found, "910") == []
    inside = [c for c in found if "SyncBatchNorm" in c.place and c.primitive != "Cast"]
    assert {"Rsqrt", "RsqrtGrad"} <= {c.primitive for c in inside}
    assert [c for c in inside if any(t and t.dtype == "float16" for t in c.inputs)] == []


@pytest.mark.usefixtures("graph_mode")
@pytest.mark.parametrize("accumulate_steps", [1, 2])
def test_the_step_that_reads_the_overflow_register_runs_on_910_alone(accumulate_steps):
    network = Linear()
    step = TrainStep(SquaredError(network), nn.Momentum(network.trainable_params(), 0.1, 0.9), in_chunks=True,
                     loss_scale=LossScale(4.0, dynamic=True), float_status=FloatStatus(),
                     accumulate_steps=accumulate_steps).set_train()
    found = calls.of_cell(step, (np.ones((3, 2), np.float32), np.ones(3, np.float32)))
    assert problems(found, "910") == []
    assert {row.name for row in rows(found, "910B") if row.is_problem} == {"NPUClearFloatStatusV2",
                                                                          "NPUGetFloatStatusV2"}


@pytest.mark.usefixtures("graph_mode")
@pytest.mark.parametrize("options", [
    {"ema_decay": 0.9}, {"ema_decay": 0.9, "accumulate_steps": 2, "optimizer": "adamw", "layer_decay": 0.5,
                         "weight_decay": 0.1, "log_grad_norms": True}], ids=str)
def test_the_options_of_training_run_on_every_chip_that_trains(options):
    found = calls.of_cell(loop.build_step(TinyTask(), settings("", **options), Runtime("CPU"), Linear(), 5),
                          (np.ones((3, 2), np.float32), np.ones(3, np.float32)))
    assert problems(found, *TRAINING_CHIPS) == []


@pytest.mark.usefixtures("graph_mode")
@pytest.mark.parametrize("method", ["linear", "gaussian"])
def test_soft_suppression_runs_on_every_chip_that_trains(method):
    from src.maskrcnn.soft_nms import SoftNMS

    found = calls.of_cell(SoftNMS(method, limit=3), (np.zeros((2, 5, 4), np.float32), np.zeros((2, 5), np.int32),
                                                     np.zeros((2, 5), np.float32), np.ones((2, 5), bool)))
    assert problems(found, *TRAINING_CHIPS) == []
    assert "TopK" in {c.primitive for c in found}  # the graph of the loop is read, too


@pytest.mark.usefixtures("graph_mode")
def test_masks_of_given_boxes_run_on_every_chip():
    from src.maskrcnn.network import BoxMasks

    cell = BoxMasks(maskrcnn().network()).set_train(False)
    found = calls.of_cell(cell, (np.zeros((1, 3, 64, 64), np.float32), np.zeros((1, 5, 4), np.float32),
                                 np.zeros((1, 5), np.int32)))
    assert problems(found, *SERVING) == []


def test_a_file_that_is_no_graph(tmp_path):
    (tmp_path / "x.mindir").write_bytes(b"\x0a\xff")
    with pytest.raises(InputError, match=r"x.mindir: not a MindIR file"):
        calls.of_mindir(tmp_path / "x.mindir")


# --- the graphs of both models ----------------------------------------------------------------------------------------

def deeplabv3(**values):
    from src.deeplabv3.config import DeepLabV3Config
    from src.deeplabv3.task import DeepLabV3Task

    return DeepLabV3Task(DeepLabV3Config(**{"backbone": "resnet18", "crop_size": 33, "batch_size": 2, "num_classes": 3,
                                            "auxiliary": True, "epochs": 1, "output": "labels"} | values))


def maskrcnn(**values):
    from src.maskrcnn.config import MaskRCNNConfig
    from src.maskrcnn.task import MaskRCNNTask
    from tests.maskrcnn.test_task import TINY

    settings = TINY | {"device_target": "Ascend", "num_classes": 4, "dataset": "other", "batch_size": 2} | values
    return MaskRCNNTask(MaskRCNNConfig(**settings).completed())


def trained(task) -> list[Call]:
    step = loop.build_step(task, task.config, Runtime("Ascend"), task.network(), 10)
    return calls.of_cell(step, training_batch(task))


def exported_calls(task, *inputs) -> list[Call]:
    return calls.of_cell(task.export.cell(task.network()).set_train(False), inputs)


def problems(found: list[Call], *chips: str) -> list[str]:
    return [f"{chip}: {row.name} {row.dtypes} {row.verdict} {row.elements} {min(row.places)}" for chip in chips
            for row in rows(found, chip) if row.is_problem]


@pytest.mark.usefixtures("graph_mode")
def test_deeplabv3_served():
    found = exported_calls(deeplabv3(), np.zeros((2, 3, 33, 33), np.float32))
    assert problems(found, *SERVING) == []
    assert {"Conv2D", "MaxPool", "Argmax"} <= {c.primitive for c in found}
    assert [c.place for c in found if "auxiliary" in c.place] == []  # the second head is for training alone


@pytest.mark.slow
@pytest.mark.usefixtures("graph_mode")
@pytest.mark.parametrize(("norm", "amp_level", "options"), [
    ("batch", "O3", {"freeze_at": 2, "ema_decay": 0.9, "log_grad_norms": True, "layer_decay": 0.5}),
    ("group", "O0", {"optimizer": "adamw", "base_lr": 1e-4, "ema_decay": 0.9})])
def test_deeplabv3_trained(norm, amp_level, options):
    found = trained(deeplabv3(norm=norm, amp_level=amp_level, dynamic_loss_scale=True, accumulate_steps=2, **options))
    assert problems(found, "910B", "A3") == []
    assert [p for p in problems(found, "910") if "GroupNormGrad" not in p] == []
    update = "Adam" if "optimizer" in options else "ApplyMomentum"
    assert {"Conv2D", "Conv2DBackpropFilter", update, "MaxPool"} <= {c.primitive for c in found}
    assert any("auxiliary" in c.place for c in found)


class LossAlone(nn.Cell):
    """The training cell's loss and its gradient, of logits that stand for a network's."""

    def __init__(self, task):
        super().__init__()
        losses = task.training_cell(nn.Identity())
        self.terms = losses.terms
        self.gradient = ops.value_and_grad(self.total, 0)

    def total(self, logits, label):
        return sum([term(logits, label) for term in self.terms])

    def construct(self, logits, label):
        return self.gradient(logits, label)


@pytest.mark.usefixtures("graph_mode")
@pytest.mark.parametrize(("loss", "on_910"), [
    (("ce", "dice"), set()), (("ohem",), set()), (("lovasz",), {"GatherD", "GatherDGradV2"})])
def test_losses_of_deeplabv3(loss, on_910):
    """On Ascend 910 the Lovasz-softmax gathers on the AI CPU."""
    task = deeplabv3(loss=loss, class_weights=(1, 2, 3), label_smoothing=0.1, **(
        {"ohem_min_kept": 99} if loss == ("ohem",) else {}))
    logits, label = np.zeros((2, 3, 33, 33), np.float16), np.zeros((2, 33, 33), np.int32)
    found = calls.of_cell(LossAlone(task), [logits, label])
    assert problems(found, "910B", "A3") == []
    assert {row.name for row in rows(found, "910") if row.is_problem} == on_910
    assert {"ohem": "TopK", "lovasz": "Sort"}.get(loss[0], "Log") in {c.primitive for c in found}


@pytest.mark.slow
@pytest.mark.usefixtures("graph_mode")
@pytest.mark.parametrize(("norm", "amp_level"), [("frozen", "O3")])
def test_maskrcnn_trained(norm, amp_level):
    found = trained(maskrcnn(norm=norm, amp_level=amp_level, clip_norm=5, ema_decay=0.9, log_grad_norms=True))
    assert problems(found, *TRAINING_CHIPS) == []
    assert {"TopK", "UnsortedSegmentSum"} <= {c.primitive for c in found}


@pytest.mark.slow
@pytest.mark.usefixtures("graph_mode")
def test_maskrcnn_served():
    found = exported_calls(maskrcnn(), np.zeros((1, 3, 64, 64), np.float32), np.full((1, 2), 64, np.float32))
    assert problems(found, *SERVING) == []
