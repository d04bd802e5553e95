"""The translation to ONNX, operation by operation: equal to MindSpore's results in ONNX Runtime and OpenVINO.

One small graph holds every primitive of the table, in the forms in which they have options; its results are compared
one by one. `TABLE` is checked to be covered.
"""
import src  # noqa: F401  isort: skip
import mindspore as ms
import mindspore.nn as nn
import numpy as np
import pytest
from mindspore import ops

from src.contract import InputError
from src.exporting import graph as mindir_graph
from src.exporting import mindir, runners
from src.maskrcnn.nms import nms
from tests.conftest import running_mode

pytest.importorskip("onnx", reason="needs requirements/export.txt")
onnx_file = pytest.importorskip("src.exporting.onnx_file")

BOXES = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [0, 0, 10, 5], [20, 20, 30, 30], [0, 0, 0, 0], [0, 1, 10, 11]],
                 np.float32)  # overlaps with the first: 0.82, 0.5 (not more than the limit), none, none, 0.82


class Everything(nn.Cell):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 6, 3, stride=2, pad_mode="pad", padding=(1, 2, 0, 3), dilation=2, has_bias=True)
        self.plain = nn.Conv2d(6, 4, 1, pad_mode="valid")
        self.norm = nn.BatchNorm2d(4)
        self.groups = nn.GroupNorm(2, 4, gamma_init="normal", beta_init="normal")
        self.same = nn.MaxPool2d(3, 2, "same")
        self.every_second = nn.MaxPool2d(1, 2, "valid")
        self.border = nn.Pad(((0, 0), (0, 0), (1, 2), (0, 1)))
        self.dense = nn.Dense(8, 3)
        self.best = ops.Argmax(axis=1, output_type=ms.int32)

    def construct(self, image, boxes):
        return self.layers(image) + self.pieces(image) + self.ranks(image, boxes)

    def layers(self, image):
        x = self.conv(image)
        y = self.groups(self.plain(x))
        small = ops.softmax(image.mean((2, 3), keep_dims=True), 1)
        return (x, y, self.norm(image), self.same(image), self.same(image[:, :, :6, :7]), self.every_second(image),
                self.border(image), ops.broadcast_to(small, (2, 4, 3, 5)), self.dense(image[:, 0, 0, :8]),
                ops.matmul(image, image.transpose(0, 1, 3, 2)), ops.bmm(image[0], image[1].transpose(0, 2, 1)))

    def pieces(self, x):
        positive = ops.relu(x) + 0.25
        large = x > 0.5
        return (x[..., 1], x[0, :, 2], x[:, 1:3, 2:7:2], x[:, None, 0, -2:], ops.stack((x, positive), -1),
                ops.stack((x,), 0), ops.cat((x, positive), 1), x.reshape(2, -1), x[:, :1].squeeze(1),
                ops.log(positive), ops.sqrt(positive), ops.exp(x), ops.sigmoid(x), ops.floor(x * 3),
                ops.clamp(x, -0.5, 0.75), ops.minimum(x, 0.1), ops.maximum(x, positive / 2), x / positive - x,
                x * positive, x * 3, ops.where(large, x, -1e8), x <= 0.1,
                ops.logical_and(large, x >= 0.6).astype(ms.int32))

    def ranks(self, x, boxes):
        values, index = ops.topk(x.reshape(2, -1), 20)
        rows = index.astype(ms.int32) * 2
        return (values, index, ops.gather(boxes, ops.minimum(rows, 5), 0), self.best(x), nms(boxes[None], 0.5)[0])


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """(folder, inputs, MindSpore's results)."""
    folder, rng = tmp_path_factory.mktemp("onnx"), np.random.default_rng(0)
    inputs = (rng.normal(0, 1, (2, 4, 9, 11)).astype(np.float32), BOXES)
    cell = Everything().set_train(False)
    with running_mode("GRAPH"):
        mindir.write(cell, inputs, folder / "all.mindir", "MINDIR")
        expected = mindir.as_function(cell)(*inputs)
    onnx_file.write(folder / "all.mindir", folder / "all.onnx", [f"y{i}" for i in range(len(expected))])
    return folder, inputs, expected


@pytest.mark.parametrize("runtime", ["ONNX Runtime", "OpenVINO"])
def test_every_operation_gives_the_same(exported, runtime):
    folder, inputs, expected = exported
    results = runners.load(folder / "all.onnx", runtime)(*inputs)
    assert len(results) == len(expected)
    for i, (ours, theirs) in enumerate(zip(expected, results)):
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype), i
        np.testing.assert_allclose(theirs.astype(float), ours.astype(float), rtol=1e-4, atol=1e-5, err_msg=f"y{i}")
    assert results[-1].tolist() == [[True, False, True, True, True, False]]


def test_the_graph_above_covers_the_table(exported):
    from src.exporting.onnx_ops import TABLE

    graph = mindir_graph.read(exported[0] / "all.mindir")
    assert set(TABLE) - {op.primitive for op in graph.operations} == set()
    assert [(ref.name, ref.shape) for ref in graph.inputs] == [("image", (2, 4, 9, 11)), ("boxes", (6, 4))]
    assert any("conv-Conv2d" in op.place for op in graph.operations)


def test_suppressions_are_written_with_all_inputs(exported):
    import onnx

    nodes = onnx.load(exported[0] / "all.onnx").graph.node
    assert [len(node.input) for node in nodes if node.op_type == "NonMaxSuppression"] == [5]


def test_what_has_no_translation_is_named_with_its_place(tmp_path):
    class Erf(nn.Cell):
        def construct(self, x):
            return ops.erf(x)

    class Network(nn.Cell):
        def __init__(self):
            super().__init__()
            self.head = Erf()

        def construct(self, x):
            return self.head(x)

    with running_mode("GRAPH"):
        mindir.write(Network(), [np.zeros(3, np.float32)], tmp_path / "x.mindir", "MINDIR")
    with pytest.raises(InputError, match="no translation of Erf of Default/head-Erf/Erf-op0.*export MINDIR"):
        onnx_file.translate(tmp_path / "x.mindir", ["y"])


@pytest.mark.parametrize("content", [b"", b"not a graph", b"\x0a\xff"], ids=repr)
def test_files_that_are_no_models(tmp_path, content):
    for name in ("x.mindir", "x.onnx"):
        (tmp_path / name).write_bytes(content)
        for runtime in runners.RUNTIMES[(tmp_path / name).suffix]:
            with pytest.raises(InputError, match=name):
                runners.load(tmp_path / name, runtime)
    with pytest.raises(InputError, match="no such file"):
        runners.load(tmp_path / "y.onnx")
    with pytest.raises(InputError, match="needs OpenVINO; pip install"):
        runners.load(tmp_path / "x.mindir", "OpenVINO")
