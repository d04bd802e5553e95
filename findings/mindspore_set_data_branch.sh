#!/usr/bin/env bash
# MindSpore: after a graph has run, Parameter.set_data is not seen by the graph's conditional branches.
#
# A training step that updates its weights in `if finite:` is compiled into a graph with a branch. If parameters are set
# with `set_data` between two steps (the state of another checkpoint), the branch goes on with the old memory of those
# that it alone uses: step counter, learning rate, moments. Here a counter that is set to 100 stays 100 for whoever
# reads it, and the branch counts on from 1 unseen. Without the branch, or with ops.assign, the same code is right.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check --no-compile mindspore==2.10.0 numpy==1.26.4
cat >"$folder/finding.py" <<'PYTHON'
import mindspore as ms
import numpy as np
from mindspore import nn, ops

ms.set_context(mode=ms.GRAPH_MODE)


class Counter(nn.Cell):
    """Adds x to the weights and 1 to a counter, in a branch or without one."""

    def __init__(self, branch):
        super().__init__()
        self.branch = branch
        self.weight = ms.Parameter(ms.Tensor([1.0], ms.float32), name="weight")
        self.steps = ms.Parameter(ms.Tensor([0], ms.int32), name="steps", requires_grad=False)

    def update(self, x):
        return ops.assign_add(self.weight, x), ops.assign_add(self.steps, ms.Tensor([1], ms.int32))

    def construct(self, x):
        before = self.weight * 1
        if self.branch:
            if ops.isfinite(x.sum()):
                before = ops.depend(before, self.update(x))
        else:
            before = ops.depend(before, self.update(x))
        return before


def experiment(branch, put):
    cell = Counter(branch)
    x = ms.Tensor(np.array([10.0], np.float32))
    cell(x)
    put(cell.weight, ms.Tensor([5.0], ms.float32))
    put(cell.steps, ms.Tensor([100], ms.int32))
    cell(x)
    return float(cell.weight.asnumpy()[0]), int(cell.steps.asnumpy()[0])


def set_data(parameter, value):
    parameter.set_data(value)


seen = {(branch, put.__name__): experiment(branch, put) for branch in (False, True) for put in (set_data, ops.assign)}
for (branch, put), (weight, steps) in seen.items():
    print(f"{ms.__version__} {'branch' if branch else 'straight'}, {put}: 5 + 10 = {weight:g}, 100 + 1 = {steps}")
assert seen[False, "set_data"] == seen[False, "assign"] == seen[True, "assign"] == (15.0, 101), "has changed"
assert seen[True, "set_data"] != (15.0, 101), "set_data reaches the branch now"
PYTHON
GLOG_v=3 "$folder/bin/python" "$folder/finding.py"
